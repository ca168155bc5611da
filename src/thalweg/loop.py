"""Whole trainings: epochs, slices of about 50 ms, validation, callbacks, and what to say when the loss is not finite."""

import copy
import math
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thalweg import _native, feeding, stepping, system
from thalweg.arrays import Array
from thalweg.callbacks import Callback, History, Logs
from thalweg.checks import check_count, check_flag, check_number
from thalweg.events import check_callbacks
from thalweg.exact_block import steps_of_block
from thalweg.guard import DeferredInterrupt
from thalweg.layer import Layer
from thalweg.loss import Loss
from thalweg.optimizer import Optimizer
from thalweg.pacing import Pace
from thalweg.progress import Progress, is_shown
from thalweg.scoring import Metrics, choose

if TYPE_CHECKING:
    from thalweg.trainer import Trainer

DEFAULT_BATCH = 32
RELEASE_SECONDS = 0.05  # a training longer than this gives its threads back at the end

Validation = tuple[Any, Any, Array | None]  # X, y and sample_weight, or batches, None and None


@dataclass
class Settings:
    """How to train, checked."""

    epochs: int
    shown: bool
    callbacks: list[Callback]
    metrics: Metrics | None = None
    exact_block: bool = True


def check_data(
    trainer: "Trainer", x: Any, y: Any, weight: Any, validation: Any, split: float
) -> tuple[feeding.Data, Validation | None]:
    """Check all arrays of a call of fit, without a pass over X; hold out the last rows where wanted."""
    data = feeding.check_data(trainer.model, trainer.loss, x, y, weight)
    if not split or validation is not None:
        return data, check_validation(trainer, validation)
    rows = len(data.x)
    kept = rows - round(rows * split)
    if not 0 < kept < rows:
        raise ValueError(f"validation_split {split} of {rows} rows leaves nothing to train or validate with")
    return data[:kept], data[kept:].parts


def check_validation(trainer: "Trainer", given: Any) -> Validation | None:
    """Check validation data before training begins; of batches the first."""
    model, loss = trainer.model, trainer.loss
    if given is None:
        return None
    if not isinstance(given, tuple):
        feeding.check_again(model, loss, given, "validation_data")
        return given, None, None
    if len(given) not in (2, 3):
        raise ValueError(
            f"validation_data has {len(given)} parts; expected (X, y) or (X, y, sample_weight), or batches of them"
        )
    names = ("validation X", "validation y", "validation sample_weight")
    x, y, *weight = given
    return feeding.check_data(model, loss, x, y, weight[0] if weight else None, names).parts


def make_feed(
    trainer: "Trainer",
    x: Any,
    y: Any,
    weight: Any,
    *,
    batch_size: int | str | None,
    epochs: int,
    steps: int | None,
    validation: Any,
    split: float,
    shuffle: bool,
) -> tuple[feeding.Rows | feeding.Batches, Validation | None]:
    """Check all data of a call of fit: arrays, or without y batches, of which the first is checked."""
    shuffle, split = check_flag(shuffle, "shuffle"), check_number(split, "validation_split", 0, 1)
    if y is not None:
        data, checked = check_data(trainer, x, y, weight, validation, split)
        batch = check_batch_size(batch_size, len(data.x), steps, trainer.optimizer)
        feeding.check_norms(trainer.model, batch)
        accumulate = trainer.optimizer.accumulate
        return feeding.Rows(trainer.model, trainer.loss, data, batch, accumulate, shuffle), checked
    for_arrays = {"batch_size": batch_size is not None, "validation_split": split, "sample_weight": weight is not None}
    wrong = [name for name, is_given in for_arrays.items() if is_given]
    if wrong:
        raise ValueError(
            f"{wrong[0]} goes with arrays, but y is missing, so X is taken for batches: their size is what they come "
            "with, weights are a third part of each, (x, y, sample_weight)"
        )
    if trainer.optimizer.full_batch:
        name = type(trainer.optimizer).__name__
        raise ValueError(
            f"{name} needs all rows in every step, but y is missing, so X is taken for batches: give arrays"
        )
    if trainer.optimizer.accumulate > 1:
        raise ValueError("accumulate goes with arrays, but y is missing, so X is taken for batches: make these larger")
    checked = check_validation(trainer, validation)
    return feeding.Batches(trainer.model, trainer.loss, x, steps, epochs), checked


def check_batch_size(batch_size: int | str | None, rows: int, steps: int | None, optimizer: Optimizer) -> int:
    """Return the rows of a step; `steps`, an epoch's, goes with batches only."""
    if steps is not None:
        raise ValueError(
            f"steps_per_epoch goes with batches, without y; with arrays an epoch is all rows, got {steps!r}"
        )
    if batch_size is None:
        batch_size = "full" if optimizer.full_batch else DEFAULT_BATCH
    if isinstance(batch_size, str) and batch_size == "full":
        return rows
    size = check_count(batch_size, "batch_size", other=" or 'full'")
    if optimizer.full_batch and size < rows:
        raise ValueError(
            f"{type(optimizer).__name__} needs all {rows} rows in every step: batch_size must be 'full', "
            f"got {batch_size!r}"
        )
    return min(size, rows)


def check_settings(
    loss: Loss,
    epochs: int,
    verbose: str | int,
    callbacks: Callback | Iterable[Callback] | None,
    metrics: Metrics | None,
    exact_block: bool = True,
) -> Settings:
    """Check all other arguments of a call of fit."""
    more, checked = check_count(epochs, "epochs", 0), check_callbacks(callbacks)
    choose(metrics, loss)  # raises before anything has changed
    return Settings(more, is_shown(verbose), checked, metrics, check_flag(exact_block, "exact_block"))


class Run:
    """One call of fit."""

    def __init__(
        self,
        trainer: "Trainer",
        feed: feeding.Rows | feeding.Batches,
        validation: Validation | None,
        settings: Settings,
        machine: system.Machine,
    ) -> None:
        self.trainer, self.feed, self.validation = trainer, feed, validation
        self.settings, self.machine = settings, machine
        params = {"epochs": settings.epochs, "batch_size": feed.batch, "steps": feed.steps, "samples": feed.samples}
        self.history = History(params)
        callbacks = [*settings.callbacks, self.history]  # last, to keep what the others add to the logs
        self.callbacks = sorted(callbacks, key=lambda callback: callback.comes_last)
        self.listeners: list[Any] = [callback for callback in self.callbacks if hasattr(callback, "on_train_batch_end")]
        self.progress = Progress(settings.shown, feed.samples and settings.epochs * feed.samples, settings.epochs)
        self.pace = Pace(machine, trainer.slice_steps)
        self.done = 0  # whole epochs of this call
        self.logs: Logs = {}  # of the last of them
        self.in_epoch = False  # a resumed epoch has begun already
        self._block: tuple[tuple[Any, ...], int] = (), 1  # settings, and how many steps share an update with these
        self._first_step, self._first_settings = trainer.position.step, dict(vars(trainer.optimizer))

    @cached_property
    def began(self) -> dict[str, Any]:
        """From where, and with which settings, this call of fit began; a checkpoint's own when it was resumed."""
        optimizer = copy.copy(self.trainer.optimizer)
        vars(optimizer).update(self._first_settings)
        return {"step": self._first_step, "optimizer": optimizer.config()}

    def train(self) -> History:
        """Train all epochs."""
        trainer = self.trainer
        trainer.stop_training, trainer.running = False, self
        try:
            self._train_epochs()
            self._tell("on_train_end", self.logs)
        finally:
            trainer.running = None
        return self.history

    def _train_epochs(self) -> None:
        began = time.perf_counter()
        try:
            for callback in self.callbacks:
                callback.model, callback.trainer = self.trainer.model, self.trainer
            self._tell("on_train_begin", {})
            while self.done < self.settings.epochs and not self.trainer.stop_training:
                self._epoch()
        finally:
            self.progress.close()
            if time.perf_counter() - began > RELEASE_SECONDS:
                _native.release_threads()

    def _tell(self, event: str, *what: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(*what)

    def _epoch(self) -> None:
        """Train an epoch, or the rest of one; leave in its middle if a callback wishes so."""
        position = self.trainer.position
        self.feed.begin(position, self.trainer.seed)
        epoch = position.epoch
        if not self.in_epoch:
            self._tell("on_epoch_begin", epoch, {})
        began = math.nan if self.in_epoch else time.perf_counter()  # the clock of a resumed epoch stood elsewhere
        self.in_epoch = False
        while True:
            machine, most = self.pace.next()
            piece = self.feed.take(position, self._before_events(most), self._steps_of_block())
            if piece is None:
                break
            self._slice(piece, machine)
            if self.trainer.stop_training and position.step_in_epoch != self.feed.steps:
                return
        self.history.seconds.append(time.perf_counter() - began)
        logs = {"loss": self._mean_loss()} | self.trainer.optimizer.end_epoch(self.trainer)
        position.epoch, position.step_in_epoch = epoch + 1, 0
        logs |= self._validate()
        self.done, self.logs = self.done + 1, logs
        self._tell("on_epoch_end", epoch, logs)
        self.progress.end_epoch(self.done, logs)

    def tell_resumed(self) -> None:
        """Have the progress bar begin where a resumed training stands."""
        rows = self.feed.samples or 0
        done = self.trainer.position.step_in_epoch * (self.feed.rows or 0)
        self.progress.advance(self.done * rows + done, self._mean_loss())

    def _mean_loss(self) -> float:
        """Return the epoch's mean loss so far."""
        position = self.trainer.position
        return position.loss_sum / position.weight_sum if position.weight_sum else 0.0

    def _validate(self) -> Logs:
        if self.validation is None:
            return {}
        x, y, weight = self.validation
        self._tell("on_test_begin", {})
        threads = self.machine.threads if self.machine.exactly else None
        settings: dict[str, Any] = {"metrics": self.settings.metrics, "loss": self.trainer.loss, "num_threads": threads}
        with self.trainer.averaged_weights() if self.trainer.optimizer.averaged else nullcontext():
            scores = self.trainer.model.evaluate(x, y, sample_weight=weight, **settings)
        self._tell("on_test_end", dict(scores))
        return {f"val_{name}": value for name, value in scores.items()}

    def _steps_of_block(self) -> int:
        """Return how many steps update the first layer together."""
        if not self.settings.exact_block:
            return 1
        now = self.trainer.optimizer, Optimizer.changes, Layer.changes, self.trainer.fused
        if self._block[0] != now:
            self._block = now, steps_of_block(self.trainer, self.feed.rows, self.feed.weighted)
        return self._block[1]

    def _slice(self, piece: feeding.Piece, machine: system.Machine) -> None:
        """Run some steps of equal batches; then bring the counters up to date."""
        trainer, before = self.trainer, self.trainer.position.step
        began = time.perf_counter()
        with DeferredInterrupt() as interrupt:
            outcome = stepping.run(trainer, piece, machine, interrupt)
            trainer.position.advance(outcome.done, outcome.tally.sums)
            outcome.raise_error()
        if self.feed.rows in (piece.rows, None):  # a smaller last step says nothing of how long the others take
            self.pace.note(outcome.done, time.perf_counter() - began, outcome.threads)
        self.progress.advance(outcome.done * piece.rows, self._mean_loss())
        if outcome.status == "not_finite":
            raise trainer.explain(outcome.tally.loss, piece.data, piece.numbers(outcome.done))
        self._tell_steps(before)

    def _before_events(self, most: int) -> int:
        """Return how many steps, no more than that, end where a callback wants to hear of it."""
        step = self.trainer.position.step
        every = [listener.every_steps for listener in self.listeners if listener.every_steps is not None]
        return int(min([most, *(n - step % n for n in every)]))

    def _tell_steps(self, before: int) -> None:
        """Call ``on_train_batch_end`` of those who have waited for a step after `before`."""
        step = self.trainer.position.step
        for listener in self.listeners:
            every = listener.every_steps
            if every is None or step // every > before // every:
                listener.on_train_batch_end(step, {"loss": self._mean_loss()})
