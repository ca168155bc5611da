"""Frames and Series of pandas as arrays. pandas is never imported here: where it has not been, nothing is a frame."""

import sys
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

MOST_NAMES = 10  # that an error lists


def is_frame(given: Any) -> TypeGuard[Any]:
    """Whether something is a DataFrame or a Series of pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(given, (pandas.DataFrame, pandas.Series))


def column_names(given: Any) -> list[str] | None:
    """Return the names of a DataFrame's columns where all are strings, as scikit-learn understands feature names."""
    if not is_frame(given) or given.ndim != 2 or not all(isinstance(name, str) for name in given.columns):
        return None
    return list(given.columns)


def check_names(given: Any, fitted: list[str], name: str) -> None:
    """Raise where a DataFrame's columns have other names, or another order, than the one that was fitted."""
    names = column_names(given)
    if names is None or names == fitted:
        return
    number, found, expected = next((i, a, b) for i, (a, b) in enumerate(zip(names, fitted, strict=True)) if a != b)
    raise ValueError(
        f"{name} has {found!r} as column {number}, but the model was fitted with {expected!r} there; "
        "expected the columns of model.feature_names, in their order"
    )


def to_array(frame: Any, name: str) -> npt.NDArray[Any]:
    """Return the numbers of a DataFrame, (rows, columns), or of a Series, (rows,); its index is ignored.

    A view where all columns have one NumPy dtype and lie in one block (a frame made from an array, or read at once);
    else a copy, of the dtype that holds all columns' numbers.

    Raises
    ------
    TypeError
        A column holds objects, texts, dates or categories.
    ValueError
        A nullable column has a missing value. NaN in a column of NumPy's floats is no such thing: training finds it.
    """
    table = frame.to_frame() if frame.ndim == 1 else frame
    columns = list(zip(table.columns, table.dtypes, strict=True))
    wrong = [(label, dtype) for label, dtype in columns if not _is_number(dtype)]
    if wrong:
        raise TypeError(_not_numbers(frame, name, wrong))
    for i, (label, dtype) in enumerate(columns):
        if not isinstance(dtype, np.dtype) and not hasattr(dtype, "subtype"):  # a sparse column's gaps are NaN
            _check_missing(table.iloc[:, i], name, "" if frame.ndim == 1 else f", column {label!r}")
    common = np.result_type(np.bool_, *(_numpy_dtype(dtype) for _, dtype in columns))
    values: npt.NDArray[Any] = table.to_numpy(dtype=common)
    return values[:, 0] if frame.ndim == 1 else values


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the NumPy dtype that a nullable, Arrow or sparse column's numbers have."""
    numpy_dtype: np.dtype[Any] = np.dtype(getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype)))
    return numpy_dtype


def _is_number(dtype: Any) -> bool:
    return bool(sys.modules["pandas"].api.types.is_numeric_dtype(dtype)) and _numpy_dtype(dtype).kind in "biuf"


def _not_numbers(frame: Any, name: str, wrong: list[tuple[Any, Any]]) -> str:
    if frame.ndim == 1:
        return (
            f"{name} is a Series of dtype {frame.dtype}; expected numbers or booleans: "
            f"convert it ({name}.astype), or number its classes, pandas.factorize({name})[0]"
        )
    shown = ", ".join(f"{label!r} ({dtype})" for label, dtype in wrong[:MOST_NAMES])
    more = f" and {len(wrong) - MOST_NAMES} more" if len(wrong) > MOST_NAMES else ""
    return (
        f"{name} has columns that are not numbers: {shown}{more}; expected numbers or booleans: "
        f"encode them (pandas.get_dummies), convert them ({name}.astype) or drop them"
    )


def _check_missing(column: Any, name: str, where: str) -> None:
    missing = np.flatnonzero(column.isna().to_numpy())
    if missing.size:
        raise ValueError(
            f"{name} has a missing value (pandas.NA) at row {missing[0]}{where}; "
            f"expected numbers: fill it ({name}.fillna) or leave the row out ({name}.dropna)"
        )
