"""Steps: in the core alone, or with Python between a step's gradient and its update.

Python steps in for losses of the user's own, for clipping by the norm of all gradients, where several batches make one
step, and for optimizers that have a word of their own between gradient and update. Either way a step that fails leaves no trace.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg import system
from thalweg.arrays import Array
from thalweg.custom import CustomLoss
from thalweg.feeding import Piece
from thalweg.guard import DeferredInterrupt
from thalweg.pacing import MANY_STEPS
from thalweg.programs import Runner, Tally

if TYPE_CHECKING:
    from thalweg.trainer import Trainer


@dataclass
class Outcome:
    """Whole steps done, how it ended, the sums of their losses and weights, the last loss (also of a step that failed), threads."""

    done: int
    status: str
    tally: Tally
    threads: int
    error: BaseException | None = None  # raised in Python in the middle of the step after those

    def raise_error(self) -> None:
        """Raise what a step raised, once the steps before it have been counted."""
        if self.error is not None:
            raise self.error


def run(trainer: "Trainer", piece: Piece, machine: system.Machine, interrupt: DeferredInterrupt) -> Outcome:
    """Run the steps of a piece."""
    if trainer.stepwise:
        return _one_by_one(trainer, piece, machine, interrupt)
    data, position = piece.data, trainer.position
    in_place = piece.order is None and data.sources["x"].is_readable_in_place(trainer.model.shape.code)
    more = {"in_place": in_place, "block": piece.block, "many_steps": piece.steps * piece.passes >= MANY_STEPS}
    job = trainer.job(piece.rows, data.kind, data.weight is not None, trainer.fused, **more)
    runner = trainer.runner(job, machine)
    tally = Tally(position.loss_sum, position.weight_sum, piece.passes)
    steps = piece.steps * piece.passes
    scalars = trainer.kept_scalars.take(trainer.optimizer, runner.program.plan.regulated, position.step, steps)
    runner.program.asked = interrupt.was_noted
    done, status = runner.program.run(
        order=piece.order, first=piece.first, steps=piece.steps, passes=piece.passes, scalars=scalars, tally=tally.numbers,
        seed=trainer.seed, step=position.step, **data.sources,
    )  # fmt: skip
    return Outcome(done, status, tally, runner.program.plan.threads)


def _one_by_one(trainer: "Trainer", piece: Piece, machine: system.Machine, interrupt: DeferredInterrupt) -> Outcome:
    tally = Tally(trainer.position.loss_sum, trainer.position.weight_sum)
    kind = _kind_of_step(trainer)
    for number in range(piece.steps):
        step = kind(trainer, piece, number, machine, interrupt)
        statistics = [view.copy() for view in trainer.model.statistics]
        try:
            status = step.run()
        except BaseException as error:  # noqa: BLE001 - raised again once the steps before are counted
            step.undo(statistics)
            return Outcome(number, "raised", tally, step.threads, error)
        if status != "stopped":
            tally.count(step.loss, step.weight)
        if status != "done":
            step.undo(statistics)
            return Outcome(number, status, tally, step.threads)
    return Outcome(piece.steps, "done", tally, step.threads)


def _kind_of_step(trainer: "Trainer") -> "type[Step]":
    if not trainer.optimizer.full_batch:
        return Step
    from thalweg.quasi_newton import FullBatchStep  # stands on this module

    return FullBatchStep


class Step:
    """One step whose gradient passes through Python. Loss and gradient are means over all rows of its batches."""

    def __init__(
        self,
        trainer: "Trainer",
        piece: Piece,
        number: int,
        machine: system.Machine,
        interrupt: DeferredInterrupt,
    ) -> None:
        self.trainer, self.piece, self.machine, self.interrupt = trainer, piece, machine, interrupt
        self.number = trainer.position.step + number
        self.first = piece.first + number * piece.rows
        self.part = min(piece.part or piece.rows, piece.rows)
        self.loss = self.weight = 0.0
        self.threads = 1
        self._sum: Array | None = None
        self._runner: Runner | None = None

    def _parts(self) -> Iterator[tuple[int, int]]:
        for before in range(0, self.piece.rows, self.part):
            yield before, min(self.part, self.piece.rows - before)

    def run(self) -> str:
        """Make the gradient and the update; return how it ended."""
        status = self._differentiate()
        if status == "done" and self.weight:
            assert self._runner is not None  # of the last batch
            self._update(self._runner)
        return status

    def _differentiate(self) -> str:
        """Make the gradient of all batches, their mean loss and weight; return how it ended."""
        total = 0.0
        for before, rows in self._parts():
            self._runner, loss, weight = self._part(before, rows)
            if self.interrupt.was_noted():
                return "stopped"
            if not np.isfinite(loss):
                self.loss = loss
                return "not_finite"
            total += loss * weight
            self.weight += weight
            if weight:
                self._add(self._runner, weight)
        if self.weight:
            self.loss = total / self.weight
        return "done"

    def undo(self, statistics: list[Array]) -> None:
        """Put running statistics back."""
        for view, values in zip(self.trainer.model.statistics, statistics, strict=True):
            view[...] = values

    def _part(self, before: int, rows: int) -> tuple[Runner, float, float]:
        """Make the gradient of one batch; return its program, loss and weight."""
        trainer, data = self.trainer, self.piece.data
        in_place = self.piece.order is None and data.sources["x"].is_readable_in_place(trainer.model.shape.code)
        job = trainer.job(rows, data.kind, data.weight is not None, False, in_place=in_place)
        runner = trainer.runner(job, self.machine)
        runner.program.asked, self.threads = self.interrupt.was_noted, runner.program.plan.threads
        arguments: dict[str, Any] = {
            "order": self.piece.order,
            "first": self.first + before,
            "rows_before": before,
            "seed": trainer.seed,
            "step": self.number,
        }
        if isinstance(trainer.loss, CustomLoss):
            y = data.y[self.piece.numbers(self.number - trainer.position.step)[before : before + rows]]
            return runner, own_loss(trainer.loss, runner, data.sources["x"], y, **arguments), float(rows)
        runner.run(until="committed", **arguments, **data.sources)
        return runner, runner.tally.loss, runner.tally.weight

    def _add(self, runner: Runner, weight: float) -> None:
        """Add a batch's gradient, and take its statistics into the running ones."""
        if self.part == self.piece.rows:
            return
        runner.run(since="committed", until="recorded")
        gradient = self.trainer.gradient_elements()
        gradient *= gradient.dtype.type(weight)
        if self._sum is None:
            self._sum = gradient.copy()
        else:
            self._sum += gradient

    def _update(self, runner: Runner) -> None:
        """Update with the gradient of all batches."""
        if self._sum is not None:
            gradient = self.trainer.gradient_elements()
            np.divide(self._sum, gradient.dtype.type(self.weight), out=gradient)
        self.trainer.update(runner, "committed" if self._sum is None else "recorded", self.number)


def own_loss(loss: CustomLoss, runner: Runner, x: Any, y: Array, **arguments: Any) -> float:
    """Run forward, ask the user's loss, run back; return the loss."""
    runner.run(x=x, until="forwarded", **arguments)
    value, gradient = loss.call(runner.output.copy(), y)
    if np.isfinite(value):
        runner.output_gradient[...] = gradient
        runner.run(x=x, since="measured", until="committed", **arguments)
    return value
