"""Checkpoints: a training that is killed at any moment and started again ends with the bits of one that never was.

A file holds the trainer's state and that of the call of ``fit``: epochs done, history, what callbacks remember.
"""

import json
import os
import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg import files
from thalweg.arrays import Array
from thalweg.checks import check_count, check_count_or_none, check_number, check_path
from thalweg.events import Callback, Logs

if TYPE_CHECKING:
    from thalweg.loop import Run

_NAME = re.compile(r"checkpoint-(\d{6,})\.npz")
_PART = re.compile(r"\.checkpoint-\d{6,}\.npz\.\d+\.part")  # what a killed files.write leaves behind


class Checkpoint(Callback):
    """Saves all that an exact resume needs, and resumes.

    Run the same script again after a crash: ``fit(epochs=10)`` that was killed in its fourth epoch goes on from the newest
    whole file and ends after ten epochs in all, with the same bits (weights, history, callbacks, their files) as if it had
    never been killed. When it had finished, it returns at once with the complete `History`. More epochs than before
    may be asked for; a training that was stopped stays stopped.

    Parameters
    ----------
    folder : path-like
        Of this one call of ``fit``: files ``checkpoint-000001.npz`` and so on. Made where missing.
    every_seconds : float, default 60
        Save when the last save, or the beginning, is so long ago. This never changes a bit of the result.
    every_steps : int, optional
        Save after each so many steps, counted over all epochs, instead of by the clock.
    keep : int, default 3
        How many files to keep, the newest.
    resume : bool, default True
        False begins anew. The first save then takes the place of older files: they are removed once it is whole.

    Raises
    ------
    ValueError
        At the beginning of ``fit``: the newest whole file is of another model (or with other layers trainable), loss, optimizer
        (or settings of it), batch size, number of rows, or list of callbacks, or of another call of ``fit``. Nothing has changed.

    Warns
    -----
    RuntimeWarning
        A file is damaged; the next older one is taken.

    Notes
    -----
    A file is written beside, brought to the disk and renamed: it is whole or is not there. ``trainer.load`` reads it,
    too. The last file is saved when training ends.

    Wherever it stands in the list, a checkpoint hears every event after the other callbacks. They take part by
    `Callback.state` and `Callback.restore`. ``on_epoch_begin`` is not called again for an epoch that is resumed in its
    middle; ``on_train_begin`` is, before callbacks are restored.

    Training on batches from an iterable is saved and resumed at the ends of epochs only.

    The seed is the file's, and so are optimizer settings that callbacks have changed. X and y are not kept: they must
    be the same again.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> import thalweg as tw
    >>> folder = tempfile.mkdtemp()
    >>> def train(epochs):
    ...     model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    ...     return model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=tw.SGD(), epochs=epochs,
    ...                      callbacks=[tw.Checkpoint(folder)])
    >>> train(2).epoch, train(2).epoch, train(5).epoch
    ([0, 1], [0, 1], [0, 1, 2, 3, 4])
    """

    comes_last = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every_seconds: float = 60,
        every_steps: int | None = None,
        keep: int = 3,
        resume: bool = True,
    ) -> None:
        self.folder = Path(check_path(folder, "Checkpoint: folder"))
        self.every_seconds = check_number(every_seconds, "Checkpoint: every_seconds", 0)
        self.every_steps = check_count_or_none(every_steps, "Checkpoint: every_steps")
        self.keep = check_count(keep, "Checkpoint: keep")
        self.resume = bool(resume)

    def on_train_begin(self, logs: Logs) -> None:
        """Resume, if there is something to resume."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if _PART.fullmatch(path.name):
                path.unlink(missing_ok=True)
        self._replaced = [] if self.resume else [path for _, path in self._numbered()]
        self._finished_at = self._resume() if self.resume else None
        self._saved = time.monotonic()

    def on_train_batch_end(self, step: int, logs: Logs) -> None:
        """Save, if it is time or the step is due."""
        if self._run().feed.samples is None:
            return  # in the middle of batches from an iterable nobody could go on
        if self.every_steps is not None or self._is_time():
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save, if it is time: validation may have taken long."""
        of_batches = self._run().feed.samples is None
        if (self.every_steps is None and self._is_time()) or (self.every_steps is not None and of_batches):
            self._save()

    def on_train_end(self, logs: Logs) -> None:
        """Save the end."""
        if self.trainer.position.step != self._finished_at:
            self._save(finished=True)

    def _is_time(self) -> bool:
        return time.monotonic() - self._saved >= self.every_seconds

    def _numbered(self) -> list[tuple[int, Path]]:
        """Files by number, the newest last."""
        found = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        return sorted((int(match[1]), path) for match, path in found if match)

    def _save(self, finished: bool = False) -> None:
        before = self._numbered()
        number = before[-1][0] + 1 if before else 1
        path = self.folder / f"checkpoint-{number:06d}.npz"
        files.write(path, "trainer", *_pack(self._run(), finished))
        old = [old for _, old in [*before, (number, path)][: -self.keep]]
        for each in [*old, *self._replaced]:
            each.unlink(missing_ok=True)
        self._replaced = []
        self._saved = time.monotonic()

    def _resume(self) -> int | None:
        """Restore the newest whole file; return the step at which its training had ended, if it had."""
        for _, path in reversed(self._numbered()):
            try:
                config, stored = files.read(path, "trainer")
            except files.Damaged as error:
                warnings.warn(f"{error}; it is skipped", RuntimeWarning, stacklevel=2)
                continue
            try:
                _unpack(self._run(), config, stored, path)
            except ValueError as error:
                raise ValueError(
                    f"Checkpoint: cannot resume from {path}: {error}. Give each fit a folder of its own, or resume=False"
                ) from error
            return self.trainer.position.step if config["run"]["finished"] else None
        return None

    def _run(self) -> "Run":
        run = self.trainer.running
        assert run is not None  # events come from a call of fit
        return run


def _remembering(run: "Run") -> list[tuple[str, Callback]]:
    """Return the callbacks that have a state, and their names."""
    return [(type(each).__name__, each) for each in run.callbacks if type(each).state is not Callback.state]


def _settings(run: "Run") -> dict[str, Any]:
    """Return what of the data, the order of rows and the way of small steps a file must have in common."""
    params, exact_block = run.history.params, run.settings.exact_block and run.trainer.fused
    of_data = {"batch_size": params["batch_size"], "samples": params["samples"], "shuffle": run.feed.shuffle}
    return of_data | {"exact_block": exact_block}


def _pack(run: "Run", finished: bool) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the state of a training within a call of fit: plain data, and arrays by name."""
    config, stored = run.trainer.state()
    states = [(name, callback.state()) for name, callback in _remembering(run)]
    config["run"] = {
        "began": run.began,
        "settings": _settings(run),
        "done": run.done,
        "logs": run.logs,
        "finished": finished,
        "stopped": run.trainer.stop_training,
        "callbacks": [[name, files.detach(state, stored, f"state() of {name}")] for name, state in states],
    }
    return config, stored


def _unpack(run: "Run", config: dict[str, Any], stored: Mapping[str, Array], path: Path) -> None:
    """Put a call of fit, its trainer and its callbacks where `_pack` found them."""
    if "run" not in config:
        raise ValueError("it was written by Trainer.save, not by a Checkpoint")
    kept = config["run"]
    run.trainer.check_same(config, flags=True)
    _check_same(run, kept)
    run.trainer.restore(config, stored, path)
    run.done, run.logs = kept["done"], kept["logs"]
    run.trainer.stop_training = kept["stopped"]
    run.in_epoch = run.trainer.position.step_in_epoch > 0
    for (_, callback), (_, state) in zip(_remembering(run), kept["callbacks"], strict=True):
        callback.restore(files.attach(state, stored))
    run.tell_resumed()


def _check_same(run: "Run", kept: dict[str, Any]) -> None:
    """Raise ValueError if a file is of another call of fit."""
    for name, value in _settings(run).items():
        _compare(name, kept["settings"][name], value)
    step, mine = kept["began"]["step"], run.began["step"]
    if step != mine:
        raise ValueError(
            f"it is of a fit that began at step {step}, this one begins at step {mine}: "
            "to resume it make model and optimizer anew, as the script did"
        )
    for name, value in run.began["optimizer"].items():
        _compare(f"optimizer {name}", kept["began"]["optimizer"].get(name), value)
    _compare("callbacks", [name for name, _ in kept["callbacks"]], [name for name, _ in _remembering(run)])


def _compare(name: str, theirs: Any, mine: Any) -> None:
    if json.dumps(theirs, sort_keys=True) != json.dumps(mine, sort_keys=True):
        raise ValueError(f"it was trained with {name} {theirs}, this training has {mine}")
