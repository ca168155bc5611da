"""Data sets from files: the digits that come with the package, MNIST's IDX format, and NumPy's npz and npy.

What a file holds is found out from its first bytes, not from its name. A wrong file raises ValueError in one line.
"""

import gzip
import importlib.resources
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg import arrays
from thalweg.arrays import Array

TEST_SEED = 0  # the rows held out are the same in every run

_IDX_PARTS = ("train-images", "train-labels", "t10k-images", "t10k-labels")


@dataclass
class Source:
    """What a data set holds, as it was found: `x` is an array, or a dict of a table's columns.

    `x_test` and `y_test` are None where the data set has no test part of its own. `y` is called `target`.
    """

    name: str
    x: Any
    y: Array
    x_test: Any = None
    y_test: Array | None = None
    target: str = "y"


def digits() -> Source:
    """Return the digits that come with the package: pixels from 0 to 16, shape (1797, 64), and labels.

    Examples
    --------
    >>> digits().x.shape
    (1797, 64)
    """
    resource = importlib.resources.files("thalweg") / "data" / "digits.npz"
    with resource.open("rb") as file, np.load(file) as stored:
        name = "UCI handwritten digits, 8x8 (Alpaydin and Kaynak 1998, CC BY 4.0)"
        return Source(name, stored["X"], stored["y"], target="digit")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, unpacked if it is gzip."""
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: the gzip file is cut short or damaged") from error


def kind_of(path: Path) -> str:
    """Tell what a path is: "folder", "npz", "npy", "idx" or "text"."""
    if path.is_dir():
        return "folder"
    with open(path, "rb") as file:
        start = file.read(256)
    if start.startswith(b"\x1f\x8b"):
        start = read_bytes(path)[:256]
    for magic, kind in ((b"PK\3\4", "npz"), (b"\x93NUMPY", "npy"), (b"\0\0", "idx")):
        if start.startswith(magic):
            return kind
    if b"\0" in start:
        raise ValueError(f"{path} is no CSV, npz, npy or IDX file")
    return "text"


def read_idx(path: Path, dimensions: int) -> Array:
    """Read an IDX file of unsigned bytes: 3 dimensions are images, 1 is labels."""
    content = read_bytes(path)
    magic = bytes((0, 0, 8, dimensions))
    if content[:4] != magic:
        expected = f"{magic.hex(' ')}: {'images' if dimensions == 3 else 'labels'} of unsigned bytes"
        raise ValueError(f"{path} begins with {content[:4].hex(' ') or 'nothing'}; expected {expected}")
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(f"{path} is cut short: it ends within its header")
    shape = [int(size) for size in np.frombuffer(content, ">u4", dimensions, 4)]
    size = int(np.prod(shape, dtype=object))
    if len(content) != header + size:
        sizes = "x".join(map(str, shape))
        raise ValueError(f"{path} has {len(content) - header:,} bytes of data; its header says {sizes} = {size:,}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_idx_folder(folder: Path) -> Source:
    """Read MNIST, or a data set with its four file names: images and labels to train and to test."""
    train_x, train_y, test_x, test_y = (_read_idx_part(folder, part) for part in _IDX_PARTS)
    return Source(f"{folder}, IDX", train_x, train_y, test_x, test_y, "label")


def _read_idx_part(folder: Path, part: str) -> Array:
    dimensions = 3 if part.endswith("images") else 1
    for separator in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{part}{separator}idx{dimensions}-ubyte{suffix}"
            if path.is_file():
                return read_idx(path, dimensions)
    raise ValueError(f"{folder} has no file {part}-idx{dimensions}-ubyte (or .gz), as a folder of MNIST has")


def read_npz(path: Path) -> Source:
    """Read X and y, and X_test and y_test if they are there."""
    stored = read_arrays(path, ("X", "y", "X_test", "y_test"))
    for name in ("X", "y"):
        if name not in stored:
            raise ValueError(f"{path} has no array {name!r}; expected X and y, and if you like X_test and y_test")
    if ("X_test" in stored) != ("y_test" in stored):
        raise ValueError(f"{path} has one of X_test and y_test; expected both or neither")
    return Source(f"{path}, npz", stored["X"], stored["y"], stored.get("X_test"), stored.get("y_test"))


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, Array]:
    """Return those of the named arrays that an npz file has."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: _read_array(path, file, name) for name in names if name in file.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ValueError(f"{path} is cut short or damaged: it is no npz file") from error


def _read_array(path: Path, file: Mapping[str, Any], name: str) -> Array:
    try:
        return np.asarray(file[name])
    except ValueError as error:
        problem = "holds Python objects; save it as numbers or text" if "Object" in str(error) else "cannot be read"
        raise ValueError(f"{path}: the array {name!r} {problem}") from error


def read_inputs(path: Path) -> Array:
    """Read inputs to predict from: an npz file with X, an npy file, or IDX images."""
    kind = kind_of(path)
    if kind == "idx":
        return read_idx(path, 3)
    if kind == "npz":
        stored = read_arrays(path, ("X",))
        if "X" not in stored:
            raise ValueError(f"{path} has no array 'X'")
        return stored["X"]
    if kind == "npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is no npy file of numbers, or is cut short") from error
    found = "a folder" if kind == "folder" else "text"
    raise ValueError(f"{path} is {found}; this model takes an npz file with X, an npy file or IDX images")


def check_rows(x: Array, y: Array, names: tuple[str, str] = ("X", "y")) -> tuple[Array, Array]:
    """Return x as (rows, columns), images flattened, and y; both checked."""
    x = arrays.as_real(x, names[0])
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"{names[0]} has shape {x.shape}; expected (rows, columns), none of them 0")
    if y.ndim == 0 or len(y) != len(x):
        raise ValueError(f"{names[0]} has {len(x)} rows, {names[1]} has {len(y) if y.ndim else 'none'}")
    x = x.reshape(len(x), -1)
    for array, name in ((x, names[0]), (y, names[1])):
        fault = arrays.find_fault(array, name, range(len(x)))
        if fault:
            raise ValueError(f"{fault}; expected finite numbers")
    return x, y


def split(rows: int, fraction: float) -> tuple[Array, Array]:
    """Return the rows to train on and those held out, drawn at random but always the same, in their order.

    Examples
    --------
    >>> train, test = split(10, 0.2)
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (8, 2, True)
    """
    held = max(1, round(rows * fraction)) if fraction else 0
    if held >= rows:
        raise ValueError(f"there are too few rows to hold out {fraction:g} of them for testing: {rows}")
    order = np.random.default_rng(TEST_SEED).permutation(rows)
    return np.sort(order[held:]), np.sort(order[:held])
