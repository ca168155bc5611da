"""Users' arrays: what is accepted, in which words it is refused, and how the door holds them."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import _native, frames

Array = npt.NDArray[Any]

BLOCK = 4096  # rows looked at in one go

_READABLE = frozenset(np.dtype(code) for code in "fd?bBhHiIlLqQ")


def as_real(array: Any, name: str) -> Array:
    """Return an array of floats, integers or booleans that the core can read in place, or raise in the user's words.

    An array is not copied, unless its bytes are in the other order; a path of a ``.npy`` file is mapped into memory,
    read-only; a frame or Series of pandas becomes an array (`frames.to_array` says when by copying).
    """
    if type(array) is np.ndarray and array.dtype in _READABLE:
        return array  # as most are
    if isinstance(array, (str, os.PathLike)):
        array = open_file(array, name)
    elif frames.is_frame(array):
        array = frames.to_array(array, name)
    try:
        result = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} is no array of numbers: {error}") from error
    if result.dtype == object and result.ndim == 0:
        raise TypeError(f"{name} is of type {type(array).__name__}; expected an array{_advice(array)}")
    if result.dtype.kind not in "fiub" or result.dtype.itemsize > 8 or result.dtype == np.float16:
        raise TypeError(
            f"{name} has dtype {result.dtype}; expected float32, float64, integers or booleans: "
            f"convert it, for example {name}.astype('float32')"
        )
    return result if result.dtype.isnative else result.astype(result.dtype.newbyteorder("="))


def _advice(given: Any) -> str:
    if hasattr(given, "toarray"):
        return ": .toarray() makes one"
    gives_batches = hasattr(given, "__iter__") or callable(given)
    return "; batches from an iterable or a function are given to fit without y" if gives_batches else ""


def open_file(path: str | os.PathLike[str], name: str) -> Array:
    """Map a ``.npy`` file into memory, read-only."""
    try:
        mapped: Array = np.lib.format.open_memmap(path, mode="r")
        return mapped
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{name}: there is no file {os.fspath(path)!r}; expected an array or a .npy file"
        ) from None
    except ValueError as error:
        raise ValueError(f"{name}: {os.fspath(path)!r} cannot be read as a .npy file of numbers: {error}") from error


def check_inputs(x: Any, inputs: int, owner: str, name: str = "X") -> Array:
    """Check the inputs of a model: (rows, inputs), at least one row."""
    rows = as_real(x, name)
    shape = rows.shape
    if len(shape) != 2:
        hint = f"; for one row use {name}[None, :], for one column {name}[:, None]" if len(shape) == 1 else ""
        raise ValueError(f"{name} has shape {shape}; expected (rows, {inputs}){hint}")
    if shape[1] != inputs:
        raise ValueError(f"{owner} got {name} with {shape[1]} columns")
    if shape[0] == 0:
        raise ValueError(f"{name} has no rows")
    return rows


def check_weight(weight: Any, rows: int, dtype: np.dtype[Any], name: str = "sample_weight") -> Array | None:
    """Check sample weights: one for each row, finite, also in the dtype that they are used in, none negative.

    Booleans and integers are welcome.
    """
    if weight is None:
        return None
    weights = as_real(weight, name)
    if weights.shape != (rows,):
        raise ValueError(f"{name} has shape {weights.shape}; expected ({rows},), one weight a row")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise ValueError(f"{name}[{wrong[0]}] is {weights[wrong[0]]}; weights must be finite and not negative")
    large = np.flatnonzero(weights > np.finfo(dtype).max)
    if large.size:
        raise ValueError(
            f"{name}[{large[0]}] is {weights[large[0]]}, which is infinite in {dtype}, in which it is computed; "
            f"expected weights of at most {np.finfo(dtype).max:.6g}"
        )
    return weights


def check_shapes(given: Sequence[Array], parameters: Sequence[Array], name: str) -> None:
    """Raise unless there is one array for each parameter, of its shape."""
    if len(given) != len(parameters):
        raise ValueError(f"{name} has {len(given)} arrays; the model has {len(parameters)} parameters")
    for i, (array, parameter) in enumerate(zip(given, parameters, strict=True)):
        if array.shape != parameter.shape:
            raise ValueError(f"{name}[{i}] has shape {array.shape}; expected {parameter.shape}")


def source(array: Array | None) -> _native.Source | None:
    """Let the door hold an array."""
    return None if array is None else _native.Source(array)


def find_fault(array: Array, name: str, rows: npt.ArrayLike) -> str | None:
    """Name the first NaN or infinity in some rows of X or y, of which no more than a block is copied at a time."""
    if array.dtype.kind != "f":
        return None
    numbers = np.asarray(rows)
    for first in range(0, len(numbers), BLOCK):
        block = numbers[first : first + BLOCK]
        values = array[block]
        wrong = np.argwhere(~np.isfinite(values))
        if wrong.size:
            place = tuple(wrong[0])
            column = f", column {place[1]}" if array.ndim == 2 else ""
            return f"{name} is {values[place]} at row {block[place[0]]}{column}"
    return None
