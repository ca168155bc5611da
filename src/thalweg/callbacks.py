"""Callbacks: what happens between epochs and between steps. Names, defaults and meanings are Keras's."""

import csv
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.checkpoint import Checkpoint
from thalweg.checks import check_path
from thalweg.events import Callback, Logs, State
from thalweg.monitors import EarlyStopping, ModelCheckpoint
from thalweg.rates import LearningRateScheduler, ReduceLROnPlateau

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "State",
]


class History(Callback):
    """What ``fit`` returns: the logs of every epoch.

    Attributes
    ----------
    history : dict of list of float
        "loss": mean of the losses of the epoch's steps, each before its update and weighted by its rows; with
        validation data "val_loss" and "val_" + metric, after the epoch; with `ADMMAdam` its residuals and rho; and what
        callbacks added to the logs.
    epoch : list of int
        Number of each epoch, from 0, counted over all calls of ``fit`` that went on with one training.
    params : dict
        What ``fit`` was called with: epochs, batch_size, steps an epoch, samples.
    seconds : list of float
        Wall-clock seconds of each epoch's steps, without validation; of short epochs between which nobody looks (no
        shuffling, validation or callbacks) the mean of those that ran together. NaN for what was trained before a resume: a clock
        has no part in an exact one.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.seconds: list[float] = []
        self.params = params

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Append the logs."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def state(self) -> State:
        """Return the epochs so far."""
        return {"history": self.history, "epoch": self.epoch}

    def restore(self, state: State) -> None:
        """Take back the epochs so far."""
        self.history, self.epoch = state["history"], state["epoch"]
        self.seconds = [math.nan] * len(self.epoch)

    def plot(
        self, names: str | Sequence[str] | None = None, *, log: bool = False, ax: "Axes | None" = None
    ) -> "Figure":
        """Draw losses and metrics over the epochs and return the figure: see `thalweg.plot.history`.

        Needs matplotlib: ``pip install 'thalweg[plot]'``.
        """
        from thalweg import plot

        return plot.history(self, names, log=log, ax=ax)

    def __repr__(self) -> str:
        """Tell epochs and last values."""
        last = ", ".join(f"{name}={values[-1]:.6g}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs{': ' + last if last else ''})"


class LambdaCallback(Callback):
    """A callback made of functions.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end : callable, optional
        Called with (epoch, logs).
    on_train_begin, on_train_end, on_test_begin, on_test_end : callable, optional
        Called with (logs).
    on_train_batch_end : callable, optional
        Called with (step, logs) after each `every_steps` steps.
    every_steps : int or None, default 1

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> tell = tw.LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, sorted(logs)))
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> _ = model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=tw.SGD(), callbacks=[tell])
    0 ['loss']
    """

    def __init__(
        self,
        on_epoch_begin: Callable[[int, Logs], Any] | None = None,
        on_epoch_end: Callable[[int, Logs], Any] | None = None,
        on_train_begin: Callable[[Logs], Any] | None = None,
        on_train_end: Callable[[Logs], Any] | None = None,
        on_train_batch_end: Callable[[int, Logs], Any] | None = None,
        on_test_begin: Callable[[Logs], Any] | None = None,
        on_test_end: Callable[[Logs], Any] | None = None,
        every_steps: int | None = 1,
    ) -> None:
        given = {name: value for name, value in locals().items() if name.startswith("on_") and value is not None}
        for name, function in given.items():
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function, got {function!r}")
            setattr(self, name, function)
        self.every_steps = every_steps


class CSVLogger(Callback):
    """Writes the logs of every epoch to a CSV file: a column "epoch", from 0, and one for each name.

    After an exact resume (see `Checkpoint`) the file continues as if it had never been interrupted: rows that a killed
    training wrote after its last checkpoint are taken back.

    Parameters
    ----------
    path : path-like
        Begun anew with the first epoch of a ``fit``, unless `append`.
    separator : str, default ","
    append : bool, default False
        Add rows to a file that is there, which must have the same columns.

    Examples
    --------
    >>> import numpy as np, tempfile, pathlib
    >>> import thalweg as tw
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "log.csv"
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> _ = model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=tw.SGD(), callbacks=[tw.CSVLogger(path)])
    >>> path.read_text().splitlines()[0]
    'epoch,loss'
    """

    def __init__(self, path: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"CSVLogger: separator must be one character, got {separator!r}")
        self.path = Path(check_path(path, "CSVLogger: path"))
        self.separator = separator
        self.append = bool(append)
        self._size: int | None = None  # of the file after the last row; None: it is to begin anew

    def on_train_begin(self, logs: Logs) -> None:
        """Forget the last ``fit``."""
        self._size = (self.path.stat().st_size if self.path.exists() else 0) if self.append else None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write a row, and a header before the first."""
        row = {"epoch": epoch, **logs}
        fresh = self._size is None
        columns = [] if fresh else self._columns()
        names = columns or ["epoch", *sorted(logs)]
        if set(names) != set(row):
            raise ValueError(f"CSVLogger: {self.path} has columns {', '.join(names)}; the logs have {', '.join(row)}")
        with open(self.path, "w" if fresh else "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, delimiter=self.separator, lineterminator="\n")
            if not columns:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            self._size = os.fstat(file.fileno()).st_size

    def _columns(self) -> list[str]:
        """Columns of the file that is there."""
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                return next(csv.reader(file, delimiter=self.separator), [])
        except FileNotFoundError:
            return []

    def state(self) -> State:
        """Return the size of the file, where the next row goes."""
        return {"size": self._size}

    def restore(self, state: State) -> None:
        """Take back rows that were written later."""
        self._size = state["size"]
        if self._size is not None and self.path.exists() and self.path.stat().st_size > self._size:
            os.truncate(self.path, self._size)
