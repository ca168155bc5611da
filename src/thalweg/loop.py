"""Whole trainings: epochs, slices of about 50 ms, validation, callbacks, and what to say when the loss is not finite."""

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thalweg import _native, feeding, stepping, system
from thalweg.asked import Settings, Validation
from thalweg.callbacks import History, Logs
from thalweg.exact_block import steps_of_block
from thalweg.guard import DeferredInterrupt
from thalweg.layer import Layer
from thalweg.optimizer import Optimizer
from thalweg.pacing import Pace
from thalweg.progress import Progress

if TYPE_CHECKING:
    from thalweg.trainer import Trainer

RELEASE_SECONDS = 0.05  # a training longer than this gives its threads back at the end


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
        machine, most = self.pace.next()
        passes = self._passes(most)
        if passes > 1:
            self._train_passes(passes, machine)
            return
        if not self.in_epoch:
            self._tell("on_epoch_begin", position.epoch, {})
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
        self._end_epoch(time.perf_counter() - began)

    def _end_epoch(self, seconds: float) -> None:
        position, epoch = self.trainer.position, self.trainer.position.epoch
        self.history.seconds.append(seconds)
        logs = {"loss": self._mean_loss()} | self.trainer.optimizer.end_epoch(self.trainer)
        position.epoch, position.step_in_epoch = epoch + 1, 0
        logs |= self._validate()
        self.done, self.logs = self.done + 1, logs
        self._tell("on_epoch_end", epoch, logs)
        self.progress.end_epoch(self.done, logs)

    def _passes(self, most: int) -> int:
        """Return how many epochs a slice of so many steps takes: of more than one at a time nobody is told before all are over."""
        feed, trainer = self.feed, self.trainer
        told = len(self.callbacks) > 1 or self.validation is not None
        looks = trainer.stepwise or type(trainer.optimizer).end_epoch is not Optimizer.end_epoch
        begun = self.in_epoch or trainer.position.step_in_epoch > 0
        if told or looks or begun or not isinstance(feed, feeding.Rows) or feed.order is not None or feed.tail:
            return 1
        return min(self.settings.epochs - self.done, most // feed.steps)

    def _train_passes(self, passes: int, machine: system.Machine) -> None:
        """Train several epochs in one slice: of few steps each, a way back to Python after each would take as long as these."""
        trainer, feed, position = self.trainer, self.feed, self.trainer.position
        assert isinstance(feed, feeding.Rows)
        piece = replace(feed.all_steps(self._steps_of_block()), passes=passes)
        began = time.perf_counter()
        with DeferredInterrupt() as interrupt:
            outcome = stepping.run(trainer, piece, machine, interrupt)
            seconds = time.perf_counter() - began
            whole, rest = divmod(outcome.done, feed.steps)
            for number in range(whole):
                feed.begin(position, trainer.seed)
                position.advance(feed.steps, outcome.tally.sums_of(number))
                self.progress.advance(feed.samples, self._mean_loss())
                self._end_epoch(seconds / passes)
            if whole < passes:
                feed.begin(position, trainer.seed)
                position.advance(rest, outcome.tally.sums_of(whole))
        self.pace.note(outcome.done, seconds, outcome.threads)
        if outcome.status == "not_finite":
            raise trainer.explain(outcome.tally.losses[whole], piece.data, piece.numbers(rest))

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
