"""Users' arrays: what is accepted, in which words it is refused, and how the door holds them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import _native

Array = npt.NDArray[Any]


def as_real(array: npt.ArrayLike, name: str) -> Array:
    """Return an array of floats, integers or booleans that the core can read in place, or raise in the user's words."""
    result = np.asarray(array)
    if result.dtype.kind not in "fiub" or result.dtype.itemsize > 8 or result.dtype == np.float16:
        raise TypeError(
            f"{name} has dtype {result.dtype}; expected float32, float64, integers or booleans: "
            f"convert it, for example {name}.astype('float32')"
        )
    return result if result.dtype.isnative else result.astype(result.dtype.newbyteorder("="))


def check_inputs(x: npt.ArrayLike, inputs: int, owner: str, name: str = "X") -> Array:
    """Check the inputs of a model: (rows, inputs), at least one row."""
    x = as_real(x, name)
    if x.ndim != 2:
        hint = f"; for one row use {name}[None, :], for one column {name}[:, None]" if x.ndim == 1 else ""
        raise ValueError(f"{name} has shape {x.shape}; expected (rows, {inputs}){hint}")
    if x.shape[1] != inputs:
        raise ValueError(f"{owner} got {name} with {x.shape[1]} columns")
    if x.shape[0] == 0:
        raise ValueError(f"{name} has no rows")
    return x


def check_weight(weight: npt.ArrayLike | None, rows: int, name: str = "sample_weight") -> Array | None:
    """Check sample weights: one for each row, finite, none negative. Booleans and integers are welcome."""
    if weight is None:
        return None
    weight = as_real(weight, name)
    if weight.shape != (rows,):
        raise ValueError(f"{name} has shape {weight.shape}; expected ({rows},), one weight a row")
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if wrong.size:
        raise ValueError(f"{name}[{wrong[0]}] is {weight[wrong[0]]}; weights must be finite and not negative")
    return weight


def source(array: Array | None) -> _native.Source | None:
    """Let the door hold an array."""
    return None if array is None else _native.Source(array)


def readable_in_place(x: Array, dtype: np.dtype[Any]) -> bool:
    """Whether the kernels can read rows of x as they lie."""
    return (
        x.dtype == dtype
        and x.flags.aligned
        and (x.shape[1] == 1 or x.strides[1] == x.itemsize)
        and x.strides[0] % x.itemsize == 0
    )


def find_fault(rows: Array, name: str, numbers: npt.ArrayLike) -> str | None:
    """Name the first NaN or infinity in some rows of X or y; `numbers` are the rows' numbers in the whole."""
    if rows.dtype.kind != "f":
        return None
    wrong = np.argwhere(~np.isfinite(rows))
    if not wrong.size:
        return None
    first = tuple(wrong[0])
    row = int(np.asarray(numbers)[first[0]])
    column = f", column {first[1]}" if rows.ndim == 2 else ""
    return f"{name} is {rows[first]} at row {row}{column}"
