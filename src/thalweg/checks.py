"""Checks of numbers that a user gave, in the user's words. `what` names owner and argument: "Dense: units"."""

import math
import operator
import os
from typing import Any

import numpy as np

_NUMBERS = (float, int, np.integer, np.floating)


def is_number(value: Any) -> bool:
    """Whether a value is a real number, NumPy's among them, and no boolean."""
    return isinstance(value, _NUMBERS) and value is not True and value is not False


def is_whole(value: Any) -> bool:
    """Whether a value is an integer, NumPy's among them, and no boolean."""
    try:
        operator.index(value)
    except TypeError:  # also of an array with an axis
        return False
    return not isinstance(value, (bool, np.bool_))


def is_pair(value: Any) -> bool:
    """Whether a value is two real numbers."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(is_number(each) for each in value)


def check_flag(value: Any, what: str) -> bool:
    """Return a boolean; 0 and 1 are welcome."""
    if not isinstance(value, (int, np.integer, np.bool_)) or value not in (0, 1):
        raise ValueError(f"{what} must be True or False, got {value!r}")
    return bool(value)


def check_path(value: Any, what: str) -> str:
    """Return a path as text."""
    path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(path, str):
        raise TypeError(f"{what} must be a path, got {value!r}")
    return path


def check_positive(value: Any, what: str) -> float:
    """Return a finite number above 0."""
    if not is_number(value) or not 0 < value < float("inf"):
        raise ValueError(f"{what} must be a finite number > 0, got {value!r}")
    return float(value)


def check_count(value: Any, what: str, least: int = 1, other: str = "") -> int:
    """Return an integer of at least `least`; `other` is what else would have done: " or None"."""
    if not is_whole(value) or int(value) < least:
        expected = "a positive integer" if least == 1 else f"an integer >= {least}"
        raise ValueError(f"{what} must be {expected}{other}, got {value!r}")
    return int(value)


def check_count_or_none(value: Any, what: str) -> int | None:
    """Return a positive integer, or None."""
    return None if value is None else check_count(value, what, other=" or None")


def check_size(value: Any, what: str) -> int:
    """Return a positive integer that the core can index with."""
    size = check_count(value, what)
    if size >= 2**31:
        raise ValueError(f"{what} must be below 2**31, got {size:,}")
    return size


def check_number(value: Any, what: str, least: float = -math.inf, below: float = math.inf) -> float:
    """Return a finite number in [least, below)."""
    if not is_number(value) or not math.isfinite(value) or not least <= value < below:
        bounds = f"a finite number >= {least:g}" if below == math.inf else f"a number from {least:g} to below {below:g}"
        raise ValueError(f"{what} must be {'a finite number' if least == -math.inf else bounds}, got {value!r}")
    return float(value)


def check_share(value: Any, what: str) -> float:
    """Return a number in [0, 1]."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{what} must be a number from 0 to 1, got {value!r}")
    return float(value)
