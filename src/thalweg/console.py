"""What the commands of the command line share: options read and refused in words, places to write to, columns of text."""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(message)


def option(convert: Callable[[str], Any], expected: str) -> Callable[[str], Any]:
    """Return a converter for argparse that says what was expected."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}") from None

    return read


def number_within(low: float, high: float, kind: Callable[[str], Any] = int) -> Callable[[str], Any]:
    """Return a converter to numbers that are at least low and below high."""

    def convert(text: str) -> Any:
        value = kind(text)
        if not low <= value < high:
            raise ValueError
        return value

    return convert


def positive(text: str) -> float:
    """Convert to a number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def check_place(path: Path | None, name: str) -> None:
    """Find out before any work whether there is a place to write the file of an option to."""
    if path is None:
        return
    folder = path.absolute().parent
    if path.is_dir():
        raise ValueError(f"{name}: {path} is a folder")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "cannot be written to" if folder.is_dir() else "does not exist"
        raise ValueError(f"{name}: the folder {path.parent} {problem}")


def columns(rows: Sequence[Sequence[str]], left: int = 1, indent: str = "") -> str:
    """Return rows as lines with columns under each other: so many are set to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [text.ljust(width) if i < left else text.rjust(width)
                 for i, (text, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)
