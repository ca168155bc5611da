"""Feeding: where a training's batches come from, rows of arrays in an order or batches from an iterator.

Both keep two promises to the loop: ``begin`` an epoch, and ``take`` the next piece of it, None at its end.
"""

import operator
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg import _native, arrays, frames, system
from thalweg.arrays import Array, check_weight
from thalweg.checks import check_count_or_none
from thalweg.custom import CustomLoss
from thalweg.exact_block import steps_to_take
from thalweg.weighting import ClassWeight, weigh

if TYPE_CHECKING:
    from thalweg.losses import Loss
    from thalweg.model import Sequential
    from thalweg.training import Position

NAMES = ("X", "y", "sample_weight")


@dataclass
class Data:
    """Arrays to train on, checked, and how the core reads their targets."""

    x: Array
    y: Array
    kind: str
    weight: Array | None

    @cached_property
    def sources(self) -> dict[str, Any]:
        """The arrays as a program's run takes them; targets of a loss of the user's own are none of its business."""
        y = None if self.kind == "own" else self.y
        return {"x": arrays.source(self.x), "y": arrays.source(y), "weight": arrays.source(self.weight)}

    @property
    def parts(self) -> tuple[Array, Array, Array | None]:
        """X, y and sample_weight."""
        return self.x, self.y, self.weight

    def __getitem__(self, rows: slice) -> "Data":
        """Return some rows, as views."""
        return Data(self.x[rows], self.y[rows], self.kind, None if self.weight is None else self.weight[rows])


@dataclass
class Piece:
    """Some steps of equal batches: so many rows of some data a step, from the `first` on, where given in an order.

    A step whose gradient is accumulated takes `part` rows at a time; None: all. `block` steps update the first layer
    together: see `exact_block`. All steps are made `passes` times: see `passes`.
    """

    data: Data
    rows: int
    steps: int
    first: int = 0
    order: Array | None = None
    part: int | None = None
    block: int = 1
    passes: int = 1

    def numbers(self, step: int) -> Array:
        """Return the numbers of the rows of a step's batch."""
        first = self.first + step * self.rows
        rows: Array = np.arange(first, first + self.rows)
        return rows if self.order is None else self.order[rows]


def check_data(
    model: "Sequential", loss: "Loss", x: Any, y: Any, weight: Any = None, names: tuple[str, str, str] = NAMES
) -> Data:
    """Check what a loss needs of some rows, without a pass over x; `names` are those that errors use."""
    inputs = model.check_inputs(x, names[0])
    targets, kind = loss.check_targets(y, len(inputs), model.shape.outputs, names[1])
    if weight is not None and isinstance(loss, CustomLoss):
        raise ValueError(f"{names[2]}: {loss.name} weighs rows itself; a loss of thalweg.losses takes weights")
    return Data(inputs, targets, kind, check_weight(weight, len(inputs), model.dtype, names[2]))


def check_batch(model: "Sequential", loss: "Loss", batch: Any, number: int, name: str = "X") -> Data:
    """Check a batch from an iterable."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        what = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else f"of type {type(batch).__name__}"
        raise TypeError(
            f"batch {number} of {name} is {what}; expected (x, y) or (x, y, sample_weight); arrays need y beside {name}"
        )
    of = f" of batch {number}" + ("" if name == "X" else f" of {name}")
    x, y, *weight = batch
    return check_data(model, loss, x, y, weight[0] if weight else None, (f"x{of}", f"y{of}", f"sample_weight{of}"))


def checked_batches(model: "Sequential", loss: "Loss", given: Any, name: str = "X") -> Iterator[Data]:
    """Open batches and check each as it comes; at least one must."""
    number = -1
    for number, batch in enumerate(open_batches(given, name)):
        yield check_batch(model, loss, batch, number, name)
    if number < 0:
        raise ValueError(f"{name} gave no batch: it is empty, or an iterator that has given all it had")


def check_again(model: "Sequential", loss: "Loss", given: Any, name: str) -> None:
    """Check the first of some batches that are to be passed over more than once."""
    if hasattr(given, "__next__"):
        raise ValueError(
            f"{name} is an iterator, which gives its batches once; expected an iterable such as a list, or a function "
            "that returns an iterator for each epoch"
        )
    next(checked_batches(model, loss, given, name))


def open_batches(given: Any, name: str = "X") -> Iterator[Any]:
    """Return an iterator of batches: of an iterable, of a sequence, or the one that a function returns."""
    if isinstance(given, (np.ndarray, str, bytes, os.PathLike, dict)) or frames.is_frame(given):
        raise ValueError(f"y is missing: {name} is of type {type(given).__name__}, which needs y beside it")
    if hasattr(given, "__iter__"):
        return iter(given)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        return (given[i] for i in range(len(given)))
    opened = given() if callable(given) else None
    if opened is not None and hasattr(opened, "__iter__"):
        return iter(opened)
    found = f"{name} returned {type(opened).__name__}" if callable(given) else f"{name} is {type(given).__name__}"
    raise TypeError(
        f"{found}; expected batches, since y is missing: an iterable of (x, y) or (x, y, sample_weight), or a function "
        "that returns an iterator of them"
    )


def check_norms(model: "Sequential", batch: int) -> None:
    """Refuse batches of one row where a layer takes statistics over the rows."""
    if batch == 1 and any(layer.kind == "batch_norm" and not layer.frozen for layer in model.shape.layers):
        raise ValueError(
            "batch_size is 1, and BatchNorm needs batches of 2 rows or more: use LayerNorm, or larger batches"
        )


class Rows:
    """Rows of arrays, an epoch being all of them, shuffled or as they lie; the last batch may be smaller.

    A step takes so many batches, `accumulate`.
    """

    def __init__(
        self, model: "Sequential", loss: "Loss", data: Data, batch: int, accumulate: int, shuffle: bool
    ) -> None:
        self.loss = loss
        self.model, self.data, self.batch, self.samples, self.shuffle = model, data, batch, len(data.x), shuffle
        self.rows = min(batch * accumulate, self.samples)
        self.full_steps, self.tail = divmod(self.samples, self.rows)
        self.steps = self.full_steps + (self.tail > 0)
        self.order = np.empty(self.samples, np.int64) if shuffle and self.rows < self.samples else None
        self._drawn = 0  # rows of it, in this epoch
        self._source = 0, 0  # seed and epoch

    def weigh(self, class_weight: ClassWeight | None) -> None:
        """Let each row count as much as its class says."""
        data = self.data
        name = "class_weight[y]" if data.weight is None else "sample_weight * class_weight[y]"
        weight = weigh(class_weight, self.loss, data.y, self.model.shape.outputs, data.weight)
        data.weight = weight if class_weight is None else check_weight(weight, len(data.y), self.model.dtype, name)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.data.weight is not None

    def learn_inputs(self) -> None:
        """Let the model learn what it standardises its inputs by."""
        self.model.learn_inputs(self.data.x)

    def begin(self, position: "Position", seed: int) -> None:
        """Begin an epoch; or go on with one that was stopped, if it was of as many rows and of this batch size."""
        if (position.rows, position.batch) != (self.samples, self.rows) or not position.step_in_epoch:
            position.restart_epoch(self.samples, self.rows)
        self._drawn, self._source = 0, (seed, position.epoch)

    def _draw(self, rows: int) -> None:
        """Have the first rows of the order, at least so many: an epoch's first piece does not wait for all of them."""
        if self.order is not None and self._drawn < rows:
            wanted = self.samples if self._drawn else rows
            self._drawn = _native.shuffle(self.order, *self._source, wanted, system.ISA)

    def all_steps(self, block: int) -> Piece:
        """Return an epoch whose rows come as they lie."""
        return Piece(self.data, self.rows, self.steps, 0, None, self.batch, block)

    def take(self, position: "Position", most: int, block: int = 1) -> Piece | None:
        """Return at most so many steps, rounded up to whole blocks, or the last, smaller one."""
        done = position.step_in_epoch
        if done == self.steps:
            return None
        first = done * self.rows
        if done == self.full_steps:
            self._draw(self.samples)
            return Piece(self.data, self.tail, 1, first, self.order, self.batch)
        steps = min(steps_to_take(done, most, block), self.full_steps - done)
        self._draw(first + steps * self.rows)
        return Piece(self.data, self.rows, steps, first, self.order, self.batch, block)


class Batches:
    """Batches as they come, one step each.

    Parameters
    ----------
    given : iterable of (x, y) or (x, y, sample_weight), or function that returns an iterator of them
        Begun anew for every epoch. An iterator cannot be: it serves one epoch, or several of `steps` batches each.
    steps : int or None
        So many batches are an epoch, each going on where the one before stopped; None: all are.
    """

    batch = rows = samples = None  # not known before they have come
    shuffle = weighted = False

    def __init__(self, model: "Sequential", loss: "Loss", given: Any, steps: int | None, epochs: int) -> None:
        self.model, self.loss, self.given, self.limit = (
            model,
            loss,
            given,
            check_count_or_none(steps, "steps_per_epoch"),
        )
        self.steps = steps or operator.length_hint(given) or None
        self.once = hasattr(given, "__next__")
        if self.once and steps is None and epochs > 1:
            raise ValueError(
                f"epochs is {epochs}, but X is an iterator, which gives its batches once; expected steps_per_epoch, "
                "or an iterable such as a list, or a function that returns an iterator for each epoch"
            )
        self._open()
        self._ahead = next(self._iterator) if epochs else None  # checked before anything changes

    def weigh(self, class_weight: ClassWeight | None) -> None:
        """Refuse class weights."""
        if class_weight is not None:
            raise ValueError(
                "class_weight goes with arrays, but y is missing, so X is taken for batches: give each its weights, "
                "(x, y, sample_weight)"
            )

    def learn_inputs(self) -> None:
        """Demand that the model has learned from elsewhere what it standardises its inputs by."""
        self.model.check_learned()

    def _open(self) -> None:
        self._iterator = checked_batches(self.model, self.loss, self.given)
        self._ended = False

    def begin(self, position: "Position", seed: int) -> None:
        """Begin an epoch."""
        position.restart_epoch(0, 0)
        if self._ended:
            self._open()

    def take(self, position: "Position", most: int, block: int = 1) -> Piece | None:
        """Return the next batch."""
        if position.step_in_epoch == self.limit:
            return None
        data, self._ahead = self._ahead or next(self._iterator, None), None
        if data is None and self.limit is None:
            self._ended = True
            return None
        if data is None:
            data = self._begin_anew(position)
        return Piece(data, len(data.x), 1)

    def _begin_anew(self, position: "Position") -> Data:
        """Return the first batch of another pass in the middle of an epoch of so many steps."""
        if self.once:
            raise ValueError(
                f"X, an iterator, ended in epoch {position.epoch} before step {position.step_in_epoch}; expected "
                f"steps_per_epoch={self.limit} batches for every epoch"
            )
        self._open()
        return next(self._iterator)
