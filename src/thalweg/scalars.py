"""What of a rule changes from step to step and not from weight to weight, for the steps of a slice and those to come."""

from typing import Any

import numpy as np

from thalweg.arrays import Array
from thalweg.optimizer import Optimizer

AHEAD = 2**15  # numbers made at once: 256 KB


class Scalars:
    """An optimizer's scalars, one row a step.

    Asked for the steps that follow, it makes those of many more: after some milliseconds of kernels NumPy's code and data are
    out of the caches, and a few of its calls take a tenth of a millisecond, for however few steps. A learning rate that is
    a function is asked for the steps of one slice only: it may be one of the user's, that looks at something else, too.
    """

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._rows = np.empty((0, 1))
        self._first = self._next = 0  # steps: that of the first row, and the one after those last asked for

    def take(self, optimizer: Optimizer, regulated: bool, first: int, steps: int) -> Array:
        """Return the rows of so many steps; `regulated`: with those of what comes before and after the rule."""
        now = optimizer, Optimizer.changes, regulated
        still = now == self._of and not callable(optimizer.lr)
        if not still or not self._first <= first <= first + steps <= self._first + len(self._rows):
            ahead = AHEAD // self._rows.shape[1] if still and first == self._next else 0
            numbers = np.arange(first, first + max(steps, ahead))
            self._rows = optimizer.regulated_scalars(numbers) if regulated else optimizer.scalars(numbers)
            self._of, self._first = now, first
        self._next = first + steps
        return self._rows[first - self._first : self._next - self._first]
