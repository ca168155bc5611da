"""Tables: CSV files read with pandas, and how their columns become numbers.

A column of numbers is standardised, its missing values filled with the median. Any other column is one-hot encoded, the
missing value being a category of its own. What was learned about columns while training is plain data, for the model's
file.
"""

import importlib
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.arrays import Array
from thalweg.datasets import Source, read_bytes

MOST_CATEGORIES = 50  # of a column; the less frequent ones are not told apart

Columns = dict[str, Array]  # numbers, NaN where one is missing; or texts, "" where one is missing


def _pandas() -> Any:
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise ImportError(
            "a CSV file is read with pandas, which is not installed: pip install 'thalweg[data]'"
        ) from error


def read_csv(path: Path, texts: Collection[str] = ()) -> Columns:
    """Read the columns of a CSV file: separated by commas, semicolons or tabs, with a line of names, gzip or not.

    Columns named in `texts` are texts whatever they hold, others if they hold anything but numbers.
    """
    try:
        content = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no CSV file in UTF-8") from error
    frame = _parse(path, content, texts)
    infer = _pandas().api.types.infer_dtype
    booleans = [name for name in frame.columns if infer(frame[name]) == "boolean"]
    if booleans:
        frame = _parse(path, content, [*texts, *booleans])
    return {str(name): _plain(frame[name]) for name in frame.columns}


def _parse(path: Path, content: str, texts: Collection[str]) -> Any:
    """Return a data frame."""
    pandas = _pandas()
    names = content.lstrip().partition("\n")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)
            frame = pandas.read_csv(
                StringIO(content),
                sep=max(",;\t", key=names.count),
                dtype=dict.fromkeys(texts, str),
                na_values=["?"],
                skipinitialspace=True,
                index_col=False,
                low_memory=False,
            )
    except pandas.errors.ParserWarning as error:
        raise ValueError(f"{path}: its lines have more fields than the first line has names") from error
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    if not len(frame):
        raise ValueError(f"{path} has no rows below its line of names")
    return frame


def _plain(series: Any) -> Array:
    """Return a column as an array of numbers, or of texts."""
    if series.dtype.kind in "iuf":
        return np.asarray(series.to_numpy())
    return np.asarray(series.fillna("").to_numpy(dtype=object))


def _as_numbers(texts: Array) -> Array:
    """Return texts as numbers, integers if all are; NaN for what is no number."""
    values = np.asarray(_pandas().to_numeric(texts, errors="coerce"))
    return values if values.dtype.kind in "if" else values.astype(np.float64)


def read_source(path: Path, target: str | None) -> Source:
    """Read a CSV file to train with; rows without a target are left out."""
    columns = read_csv(path, () if target is None else (target,))
    if target is None or target not in columns:
        problem = "--target is missing: which column to predict" if target is None else f"there is no column {target!r}"
        raise ValueError(f"{path}: {problem}; its columns are {_listed(columns)}")
    texts = columns.pop(target)
    present = texts != ""
    if not columns or not present.any():
        raise ValueError(f"{path}: there is no {'column besides' if not columns else 'value in'} {target!r}")
    numbers = _as_numbers(texts[present])
    y = texts[present] if np.isnan(numbers).any() else numbers
    left_out = len(texts) - len(y)
    note = f"; left out without {target}: {left_out:,}" if left_out else ""
    return Source(f"{path}, CSV{note}", take(columns, present), y, target=target)


def take(columns: Columns, rows: Array) -> Columns:
    """Return some rows of a table."""
    return {name: column[rows] for name, column in columns.items()}


def _listed(names: Collection[str], most: int = 20) -> str:
    shown = list(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: what fills its gaps, and its mean and standard deviation while training."""

    name: str
    median: float
    mean: float
    std: float

    @classmethod
    def learn(cls, name: str, values: Array) -> "NumberColumn | None":
        """Learn from the rows to train on; None if all are missing, or all equal."""
        if np.isinf(values).any():
            raise ValueError(f"column {name!r} has an infinite number")
        missing = np.isnan(values)
        if missing.all():
            return None
        median = float(np.median(values[~missing]))
        filled = np.where(missing, median, values)
        std = float(filled.std())
        return cls(name, median, float(filled.mean()), std) if std > 0 else None

    def encode(self, values: Array) -> Array:
        """Return the column standardised."""
        numbers = _as_numbers(values) if values.dtype.kind == "O" else values
        missing = values == "" if values.dtype.kind == "O" else np.isnan(values)
        wrong = np.flatnonzero(~(np.isfinite(numbers) | missing))
        if wrong.size:
            raise ValueError(
                f"column {self.name!r} has {values[wrong[0]]} in data row {wrong[0] + 1}; expected a number"
            )
        return ((np.where(missing, self.median, numbers) - self.mean) / self.std)[:, None]


@dataclass(frozen=True)
class TextColumn:
    """A column of texts, one of `categories` each; any other text is encoded as zeros."""

    name: str
    categories: list[str]

    @classmethod
    def learn(cls, name: str, texts: Array) -> "TextColumn | None":
        """Learn from the rows to train on; None if all are equal."""
        counts = Counter(sorted(texts)).most_common(MOST_CATEGORIES)
        return cls(name, sorted(text for text, _ in counts)) if len(counts) > 1 else None

    def encode(self, texts: Array) -> Array:
        """Return one column of 0 and 1 for each category."""
        number = {category: i for i, category in enumerate(self.categories)}
        codes = np.array([number.get(text, -1) for text in texts])
        encoded: Array = codes[:, None] == np.arange(len(number))
        return encoded


def _learn_column(name: str, values: Array) -> NumberColumn | TextColumn | None:
    return TextColumn.learn(name, values) if values.dtype.kind == "O" else NumberColumn.learn(name, values)


@dataclass(frozen=True)
class Table:
    """What was learned about the columns of a table."""

    columns: list[NumberColumn | TextColumn]

    @classmethod
    def learn(cls, given: Columns, rows: Array) -> "Table":
        """Learn from the rows to train on. Columns that say nothing are left out."""
        learned = [_learn_column(name, values[rows]) for name, values in given.items()]
        columns = [column for column in learned if column is not None]
        if not columns:
            raise ValueError("no column has two different values in the rows to train on")
        return cls(columns)

    def encode(self, given: Columns) -> Array:
        """Return X, float32, for a table with these columns and perhaps others."""
        missing = [column.name for column in self.columns if column.name not in given]
        if missing:
            raise ValueError(f"there is no column {_listed(missing)}; the model needs those that it was trained with")
        return np.hstack([column.encode(given[column.name]) for column in self.columns]).astype(np.float32)

    @property
    def texts(self) -> list[str]:
        """Names of the columns of text."""
        return [column.name for column in self.columns if isinstance(column, TextColumn)]

    def describe(self) -> str:
        """Say how many columns there are of each kind, and which are taken as text."""
        texts = self.texts
        numbers = len(self.columns) - len(texts)
        parts = [f"{numbers} of numbers, standardised"] if numbers else []
        parts += [f"{len(texts)} of text, one-hot ({_listed(texts)})"] if texts else []
        return "; ".join(parts)

    def config(self) -> dict[str, Any]:
        """Return what was learned as plain data."""
        return {"columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Table":
        """Make a table's description again from plain data."""
        kinds = [TextColumn if "categories" in column else NumberColumn for column in config["columns"]]
        return cls([kind(**column) for kind, column in zip(kinds, config["columns"], strict=True)])
