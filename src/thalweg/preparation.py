"""Preparation: from a data set to what a model trains on, and again from a file to what it predicts from.

What was learned on the way is plain data in the model's `metadata`: a model's file is enough to predict with.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import datasets, tables, targets
from thalweg.arrays import Array
from thalweg.datasets import Source
from thalweg.model import Sequential
from thalweg.tables import Table
from thalweg.targets import Target

TEST_FRACTION = 0.2
KEY = "preparation"  # in a model's metadata


@dataclass
class Prepared:
    """Rows to train and to test with, what was learned about them, and a few lines that tell of it."""

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    target: Target
    metadata: dict[str, Any]
    lines: list[str]


def open_source(path: Path | None, target: str | None) -> Source:
    """Read a data set: the digits without a path, else a folder of IDX files, an npz file or a CSV file."""
    kind = "digits" if path is None else datasets.kind_of(path)
    if target is not None and kind != "text":
        raise ValueError(f"--target names a column of a CSV file, but the data are {path or 'the digits'}")
    if path is None:
        return datasets.digits()
    if kind == "text":
        return tables.read_source(path, target)
    if kind == "folder":
        return datasets.read_idx_folder(path)
    if kind == "npz":
        return datasets.read_npz(path)
    raise ValueError(
        f"{path} is one {kind} file; expected a folder of IDX files, an npz file with X and y, or a CSV file"
    )


def prepare(source: Source, loss: str | None = None, fraction: float | None = None) -> Prepared:
    """Hold out rows to test with, unless the source has its own, and turn inputs and targets into numbers."""
    if fraction is not None and source.y_test is not None:
        raise ValueError(f"--test-fraction does not apply: {source.name} has rows to test with")
    x, y, own = _join(source)
    train, test = own or datasets.split(len(y), TEST_FRACTION if fraction is None else fraction)
    x, inputs, note = _encode_inputs(x, train)
    target, y = targets.learn(source.target, y, train, loss)
    held_out = "" if own or not len(test) else ", drawn at random and always the same"
    lines = [
        f"data    {source.name}",
        f"rows    {len(train):,} to train, {len(test):,} to test{held_out}",
        f"inputs  {note}",
        f"target  {target.describe()}",
    ]
    metadata = {KEY: {"inputs": inputs, "target": asdict(target)}}
    return Prepared(x[train], y[train], x[test], y[test], target, metadata, lines)


def _join(source: Source) -> tuple[Any, Array, tuple[Array, Array] | None]:
    """Return all rows, checked, and where the source says so which are to train and which to test with."""
    if isinstance(source.x, dict):
        return source.x, source.y, None
    x, y = datasets.check_rows(source.x, source.y)
    if source.y_test is None:
        return x, y, None
    x_test, y_test = datasets.check_rows(source.x_test, source.y_test, ("X_test", "y_test"))
    if x_test.shape[1] != x.shape[1] or y_test.shape[1:] != y.shape[1:]:
        raise ValueError(f"X and y have shapes {x.shape}, {y.shape}; X_test and y_test {x_test.shape}, {y_test.shape}")
    rows = np.arange(len(x) + len(x_test))
    return np.concatenate([x, x_test]), np.concatenate([y, y_test]), (rows[: len(x)], rows[len(x) :])


def _encode_inputs(x: Any, train: Array) -> tuple[Array, dict[str, Any], str]:
    """Return X, how it was made as plain data, and the same in words."""
    if isinstance(x, dict):
        table = Table.learn(x, train)
        return table.encode(x), table.config(), table.describe()
    divisor = int(x[train].max()) if x.dtype.kind in "iu" else 1
    inputs = {"divisor": max(1, divisor)}
    note = f", divided by {divisor}" if divisor > 1 else ""
    return _scale(x, inputs), inputs, f"{x.shape[1]} numbers{note}"


def _scale(x: Array, inputs: dict[str, Any]) -> Array:
    divisor = inputs.get("divisor", 1)
    return x if divisor == 1 else np.divide(x, divisor, dtype=np.float32)


def read_inputs(model: Sequential, path: Path) -> Array:
    """Read a file to predict from: of the kind, and in the units, of what the model was trained on."""
    inputs = model.metadata.get(KEY, {}).get("inputs", {})
    if "columns" not in inputs:
        x = datasets.read_inputs(path)
        return _scale(x.reshape(len(x), -1) if x.ndim > 2 else x, inputs)
    if datasets.kind_of(path) != "text":
        raise ValueError(f"{path} is no CSV file, and the model was trained on one")
    table = Table.from_config(inputs)
    columns = tables.read_csv(path, table.texts)
    try:
        return table.encode(columns)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def target_of(model: Sequential) -> Target:
    """Return what a model predicts: as it was trained, or for a model from elsewhere numbered classes or numbers."""
    stored = model.metadata.get(KEY, {}).get("target")
    if stored is not None:
        return Target(**stored)
    loss, outputs = model.loss.name if model.loss else "", model.shape.outputs
    classes = max(outputs, 2) if loss == "cross_entropy" or (loss in targets.YES_NO and outputs == 1) else 0
    return Target("y", loss, [str(label) for label in range(classes)], [], [])
