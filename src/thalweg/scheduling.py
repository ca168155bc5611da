"""What a learning rate may be: a number, a schedule of ours, or a function of yours; and how each is evaluated and kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg.arrays import Array
from thalweg.checks import check_number, check_positive, is_number
from thalweg.settings import call, check_fields, plain, require, shown

Rate = float | Callable[[Array], Array]


@dataclass(frozen=True, repr=False)
class Schedule:
    """Base of schedules: a dataclass of plain settings and of other schedules, called with steps.

    For one of your own write ``check`` where there is something to check, and ``rates``; or use any function.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import thalweg as tw
    >>> @dataclass(frozen=True, repr=False)
    ... class RootDecay(tw.schedules.Schedule):
    ...     lr: float
    ...     def rates(self, t):
    ...         return self.lr / np.sqrt(1 + t)
    >>> 10 * RootDecay(0.1)
    Product(schedules=(Constant(lr=10), RootDecay(lr=0.1)))
    """

    def __post_init__(self) -> None:
        """Turn NumPy's numbers and lists into Python's numbers and tuples, and check all."""
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        self.check()

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""

    def rates(self, t: Array) -> Array:
        """Return the rates of steps t, a float64 array."""
        raise NotImplementedError

    def __call__(self, steps: npt.ArrayLike) -> Array:
        """Return the rates of steps, numbers from 0 of any shape."""
        return np.asarray(self.rates(np.asarray(steps, np.float64)), np.float64)

    def parts(self) -> Iterator[Any]:
        """Go through the settings, those in tuples one by one."""
        for field in fields(self):
            value = getattr(self, field.name)
            yield from value if isinstance(value, tuple) else (value,)

    def config(self) -> dict[str, Any]:
        """Return the settings as plain data, for `from_config`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"type": type(self).__name__} | {name: to_config(value) for name, value in values.items()}

    def __mul__(self, other: "Rate") -> "Schedule":
        """Return the product of two schedules, or of a number and a schedule."""
        from thalweg.schedules import Product

        return Product((self, other)) if is_number(other) or callable(other) else NotImplemented

    def __rmul__(self, other: "Rate") -> "Schedule":
        """Return the product of a number and a schedule."""
        from thalweg.schedules import Product

        return Product((other, self)) if is_number(other) or callable(other) else NotImplemented

    def __repr__(self) -> str:
        """Return the call that makes this schedule."""
        return call(self)


def check_rates(owner: Schedule, *names: str) -> None:
    """Demand numbers >= 0."""
    check_fields(owner, check_number, *names, least=0)


def check_lengths(owner: Schedule, *names: str) -> None:
    """Demand numbers of steps, or other numbers above 0."""
    check_fields(owner, check_positive, *names)


def check_ascending(owner: Schedule, name: str) -> None:
    """Demand steps at which something happens: above 0, each after the one before."""
    steps = getattr(owner, name)
    ascending = isinstance(steps, tuple) and all(is_number(step) and 0 < step < np.inf for step in steps)
    ascending = ascending and all(a < b for a, b in pairwise(steps))
    require(ascending, owner, name, "steps above 0 in ascending order")


def evaluate(rate: Rate, steps: npt.ArrayLike) -> Array:
    """Return the rates of steps as a float64 array, checked.

    Raises
    ------
    ValueError, TypeError
        What a schedule returned is not one finite number >= 0 for each step: names the schedule and the step.
    """
    t = np.array(steps, np.float64, ndmin=1)
    if not callable(rate):
        t.fill(rate)
        return t
    result = np.asarray(rate(t.copy()))  # theirs to write to
    if result.dtype.kind not in "fiu":
        raise TypeError(f"schedule {shown(rate)} returned an array of dtype {result.dtype}; expected real numbers")
    if result.shape != t.shape:
        raise ValueError(
            f"schedule {shown(rate)} returned an array of shape {result.shape} for {len(t)} steps; expected one rate a "
            f"step, shape {t.shape}"
        )
    rates = result.astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"schedule {shown(rate)} returned {rates[first]} at step {t[first]:.0f}; expected a finite number >= 0"
        )
    return rates


# ---- as data ----------------------------------------------------------------------------------------------------------


def is_data(value: Any) -> bool:
    """Whether a rate or a setting can be written down: nothing in it is a function of the user's."""
    return all(is_data(part) for part in value.parts()) if isinstance(value, Schedule) else not callable(value)


def to_config(value: Any) -> Any:
    """Return a rate or a setting as plain data; of what has a function of the user's in it only the name."""
    if not is_data(value):
        return {"function": shown(value)}
    if isinstance(value, tuple):
        return [to_config(part) for part in value]
    return value.config() if isinstance(value, Schedule) else plain(value)


def from_config(data: Any) -> Any:
    """Make a schedule again from its `Schedule.config`.

    Raises
    ------
    ValueError
        There is no such schedule, or it has no such settings.

    Examples
    --------
    >>> import thalweg as tw
    >>> schedule = tw.schedules.Step(0.1, step_size=500)
    >>> tw.schedules.from_config(schedule.config()) == schedule
    True
    """
    if isinstance(data, list):
        return tuple(from_config(part) for part in data)
    if not isinstance(data, dict):
        return data
    kinds = {kind.__name__: kind for kind in Schedule.__subclasses__()}
    if data.get("type") not in kinds:
        raise ValueError(f"unknown schedule {data.get('type', data)!r}; there are: {', '.join(kinds)}")
    settings = {name: from_config(value) for name, value in data.items() if name != "type"}
    try:
        return kinds[data["type"]](**settings)
    except TypeError as error:
        raise ValueError(f"{data['type']} cannot be made of the settings {settings}: {error}") from error


def restore(data: Any, own: Rate) -> Rate:
    """Return the rate that a file holds; where that is the name of a function, the function in `own`.

    Raises
    ------
    ValueError
        The file has a function's name, and `own` is no function of the user's.
    """
    if not (isinstance(data, dict) and "function" in data):
        rate: Rate = from_config(data)
        return rate
    if is_data(own):
        raise ValueError(
            f"the file's learning rate is a function of yours, {data['function']}, which a file cannot hold: give it "
            f"to this trainer's optimizer as lr before load; its lr is {shown(own)}"
        )
    return own
