"""Settings of optimizers and schedules: how they are checked, shown, and written down as plain data."""

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import numpy as np


def require(condition: bool, owner: Any, field: str, expected: str) -> None:
    """Raise ValueError in the user's words unless a condition on a setting holds."""
    if not condition:
        raise ValueError(f"{type(owner).__name__}: {field} must be {expected}, got {shown(getattr(owner, field))}")


def check_fields(owner: Any, check: Callable[..., Any], *names: str, **bounds: Any) -> None:
    """Check settings by a function of `thalweg.checks`."""
    for name in names:
        check(getattr(owner, name), f"{type(owner).__name__}: {name}", **bounds)


def plain(value: Any) -> Any:
    """Return a value without NumPy's types: numbers as Python's, lists and arrays as tuples."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    if isinstance(value, (list, tuple, np.ndarray)):
        return tuple(plain(part) for part in value)
    return value


def shown(value: Any) -> str:
    """Return a setting as it is printed: a function by its name."""
    return getattr(value, "__qualname__", "") or repr(plain(value))


def call(owner: Any) -> str:
    """Return the call that makes a dataclass: its first setting, and each that is not its default."""
    first, *_ = settings = fields(owner)
    values = {field: getattr(owner, field.name) for field in settings}
    told = [field for field in settings if field is first or field.default is MISSING or values[field] != field.default]
    return f"{type(owner).__name__}({', '.join(f'{field.name}={shown(values[field])}' for field in told)})"
