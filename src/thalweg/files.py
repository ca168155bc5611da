"""Model and trainer files: NumPy's npz with one JSON text inside. Written beside and renamed: whole or not at all."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.arrays import Array

FORMAT = 1


def write(path: str | os.PathLike[str], kind: str, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a file of a kind ("model" or "trainer"): its description and its arrays."""
    path = Path(path)
    text = json.dumps({"thalweg": kind, "format": FORMAT, **config})
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            np.savez(file, allow_pickle=False, config=np.array(text), **dict(arrays))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read a file of a kind; ValueError says what it is instead."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(str(arrays.pop("config")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{path} is no thalweg {kind} file") from error
    if not isinstance(config, dict) or config.get("thalweg") != kind:
        raise ValueError(f"{path} is no thalweg {kind} file")
    if config["format"] != FORMAT:
        raise ValueError(f"{path} has format {config['format']}; this version of thalweg reads format {FORMAT}")
    return config, arrays
