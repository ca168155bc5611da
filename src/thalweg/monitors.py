"""Callbacks that watch one of the logs. Counting, signs and order of events are Keras's."""

import math
import os
from contextlib import nullcontext
from pathlib import Path

from thalweg.arrays import Array
from thalweg.checks import check_count, check_count_or_none, check_number, check_path
from thalweg.events import Callback, Logs, State

# Last words of names, of which more or less is better: "val_accuracy", "top_5_accuracy", "roc_auc".
_MORE = ("accuracy", "acc", "auc", "r2", "f1", "precision", "recall", "score", "corrcoef", "kappa")
_LESS = ("loss", "mae", "mse", "rmse", "mape", "msle", "error", "deviance", "entropy", "perplexity")


class Monitor(Callback):
    """What callbacks share that watch one of the logs: which, and what counts as better."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        owner = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{owner}: monitor must be a name of the logs such as 'val_loss', got {monitor!r}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{owner}: mode must be 'auto', 'min' or 'max', got {mode!r}")
        self.monitor = monitor
        self.mode = mode if mode != "auto" else self._guess_mode()
        self.min_delta = abs(check_number(min_delta, f"{owner}: min_delta"))
        self.best: float | None = None

    def _guess_mode(self) -> str:
        last = self.monitor.lower().rpartition("_")[2]
        if last not in _MORE + _LESS:
            raise ValueError(
                f"{type(self).__name__}: whether more or less of {self.monitor!r} is better is not known by its name; "
                "give mode='max' or mode='min'"
            )
        return "max" if last in _MORE else "min"

    def current(self, logs: Logs) -> float:
        """Return the number watched."""
        if self.monitor not in logs:
            hint = "; val_ names need validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise ValueError(
                f"{type(self).__name__}: no {self.monitor!r} among the logs, which have {', '.join(logs)}{hint}"
            )
        return float(logs[self.monitor])

    def is_better(self, current: float, than: float | None) -> bool:
        """Whether a number is an improvement, by more than min_delta. NaN never is."""
        if than is None:
            return not math.isnan(current)
        return current < than - self.min_delta if self.mode == "min" else current > than + self.min_delta


class EarlyStopping(Monitor):
    """Ends training when a number has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name of the logs; one that is not among them is a ValueError after the first epoch.
    patience : int, default 0
        After so many epochs in a row without improvement training ends.
    min_delta : float, default 0
        A change of no more than this is no improvement; nor is NaN, not even in the first epoch.
    mode : {"auto", "min", "max"}
        Whether less or more is better; "auto" knows it by the name: less of losses and errors, more of accuracy, auc,
        r2, f1, precision, recall and scores.
    baseline : float, optional
        Improvements count only once they are better than this too.
    restore_best_weights : bool, default False
        When training ends, in time or by the last epoch, set the weights of the best epoch. An epoch that was best but not
        better than the baseline counts, as in Keras.
    start_from_epoch : int, default 0
        Epochs before this one are not looked at.
    verbose : 0 or 1
        1 prints when training is ended.

    Attributes
    ----------
    best : float or None
    best_epoch, stopped_epoch, wait : int
        stopped_epoch is 0 if training was not ended.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> stop = tw.EarlyStopping(monitor="loss", min_delta=100, patience=2)
    >>> history = model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=tw.SGD(), epochs=50, callbacks=[stop])
    >>> history.epoch, stop.stopped_epoch
    ([0, 1, 2], 2)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        verbose: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_count(patience, "EarlyStopping: patience", 0)
        self.start_from_epoch = check_count(start_from_epoch, "EarlyStopping: start_from_epoch", 0)
        self.baseline = None if baseline is None else check_number(baseline, "EarlyStopping: baseline")
        self.restore_best_weights = bool(restore_best_weights)
        self.verbose = verbose
        self._reset()

    def _reset(self) -> None:
        self.best, self.wait, self.best_epoch, self.stopped_epoch = None, 0, 0, 0
        self._best_weights: list[Array] | None = None

    def on_train_begin(self, logs: Logs) -> None:
        """Forget the last ``fit``."""
        self._reset()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Count, and end training."""
        current = self.current(logs)
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self._best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self.is_better(current, self.best):
            self.best = current
            self._keep(epoch)
            if self.baseline is None or self.is_better(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:  # the first epoch never ends training, as in Keras
            self.stopped_epoch = epoch
            self.trainer.stop_training = True
            if self.verbose:
                print(f"epoch {epoch}: {self.monitor} has not improved since epoch {self.best_epoch}, training ends")

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self._best_weights = self.trainer.judged_weights()

    def on_train_end(self, logs: Logs) -> None:
        """Set the best weights."""
        if self._best_weights is not None:
            self.trainer.put_weights(self._best_weights)

    def state(self) -> State:
        """Return counters and the best weights."""
        counters = {"best": self.best, "wait": self.wait, "best_epoch": self.best_epoch, "stopped": self.stopped_epoch}
        return counters | {"weights": self._best_weights}

    def restore(self, state: State) -> None:
        """Take them back."""
        self.best, self.wait, self.best_epoch = state["best"], state["wait"], state["best_epoch"]
        self.stopped_epoch, self._best_weights = state["stopped"], state["weights"]


class ModelCheckpoint(Monitor):
    """Saves the model, as ``model.save`` does, after each epoch or after so many steps.

    To go on with a training that was killed, use `Checkpoint`.

    Parameters
    ----------
    path : path-like
        May name logs in braces: ``"{epoch:02d}-{val_loss:.3f}.npz"``; ``{epoch}`` counts from 1, as in Keras, ``{step}``
        is the number of steps made. Folders are made where missing.
    monitor : str, default "val_loss"
    save_best_only : bool, default False
        Save when `monitor` is better than ever before in this ``fit``, and only then. With an optimizer that keeps an
        average of the weights this is what is saved, since validation judges it; otherwise those that training is at.
    mode : {"auto", "min", "max"}
        As in `EarlyStopping`.
    every_steps : int, optional
        Save after each so many steps, counted over all epochs, instead of after each epoch. The logs have "loss" alone.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> import thalweg as tw
    >>> folder = tempfile.mkdtemp()
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> keep = tw.ModelCheckpoint(os.path.join(folder, "{epoch:02d}.npz"))
    >>> _ = model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=tw.SGD(), epochs=2, callbacks=[keep])
    >>> sorted(os.listdir(folder))
    ['01.npz', '02.npz']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        every_steps: int | None = None,
    ) -> None:
        super().__init__(monitor, mode if save_best_only or mode != "auto" else "min", 0.0)
        self.path = check_path(path, "ModelCheckpoint: path")
        self.save_best_only = bool(save_best_only)
        self.every_steps = check_count_or_none(every_steps, "ModelCheckpoint: every_steps")

    def on_train_begin(self, logs: Logs) -> None:
        """Forget the last ``fit``."""
        self.best = None

    def on_train_batch_end(self, step: int, logs: Logs) -> None:
        """Save, if by steps."""
        if self.every_steps is not None:
            self._save(self.trainer.position.epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save, if by epochs."""
        if self.every_steps is None:
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: Logs) -> None:
        try:
            path = Path(self.path.format(**{**logs, "epoch": epoch + 1, "step": self.trainer.position.step}))
        except LookupError as error:
            raise ValueError(
                f"ModelCheckpoint: {self.path} names {error}; there are epoch, step and the logs: {', '.join(logs)}"
            ) from None
        if self.save_best_only:
            current = self.current(logs)
            if not self.is_better(current, self.best):
                return
            self.best = current
        path.parent.mkdir(parents=True, exist_ok=True)
        judged = self.save_best_only and self.trainer.optimizer.averaged
        with self.trainer.averaged_weights() if judged else nullcontext():
            self.model.save(path)

    def state(self) -> State:
        """Return the best so far."""
        return {"best": self.best}

    def restore(self, state: State) -> None:
        """Take it back."""
        self.best = state["best"]
