"""The trainer: own training loops, and whole trainings."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from thalweg import _native, arrays, asked, feeding, frames, loop, stepping
from thalweg.arrays import Array
from thalweg.callbacks import Callback, History
from thalweg.checks import check_count
from thalweg.custom import CustomLoss
from thalweg.errors import NonFiniteLoss
from thalweg.exact_block import steps_of_block
from thalweg.guard import DeferredInterrupt
from thalweg.inference import check_labels
from thalweg.network import check_seed
from thalweg.programs import Runner, frozen_parameters
from thalweg.scoring import Metrics
from thalweg.training import Training
from thalweg.weighting import ClassWeight

Mark = Literal["committed", "recorded"]


class Trainer(Training):
    """Trains a model; for own training loops, and behind `Sequential.fit`.

    Parameters
    ----------
    model : Sequential
    loss : str, Loss or callable
    optimizer : Optimizer
    fused : bool, default True
        Update weights inside the product that makes their gradient, so that no gradient is kept. False keeps them;
        the results are the same bits, but for exact blocks, which only fused training makes.
    exact_block : bool, default True
        In `fit` by plain SGD with at most 8 rows a step, update the first layer once for some 32 rows, in matrix products
        that come to the same up to rounding: see docs/numerics.md. False, like `step`, updates it in every step.
    num_threads : int, optional
        Exactly so many, instead of what `set_num_threads` says.
    isa : str, optional
        One of ``tw.info()["isas"]``, instead of the one chosen at import.

    Attributes
    ----------
    position : Position
        Epoch, step in the epoch and step over all epochs.
    stop_training : bool
        Set by a callback, ends training: see `Callback`.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> trainer = tw.Trainer(model, loss="mse", optimizer=tw.SGD(lr=0.1))
    >>> x, y = np.eye(2), np.array([1.0, -1.0])
    >>> first = trainer.step(x, y)
    >>> gradients = trainer.gradients(x, y)
    >>> trainer.apply(gradients)  # the same as another trainer.step(x, y)
    >>> trainer.step(x, y) < first
    True
    """

    # ---- own loops ------------------------------------------------------------------------------------------------

    def _check(self, x: Any, y: Any, weight: Any) -> feeding.Data:
        self.model.check_learned()
        return feeding.check_data(self.model, self.loss, x, y, weight, ("x", "y", "sample_weight"))

    def _run(self, runner: Runner, data: feeding.Data | None, **arguments: Any) -> None:
        """Run one step of a program; raise NonFiniteLoss or ValueError in the words of the data."""
        if data is not None:
            arguments |= data.sources
        scalars = self.scalars(runner, np.array([self.position.step]))
        _, status = runner.run(scalars=scalars, seed=self.seed, step=self.position.step, **arguments)
        if status == "not_finite" and data is not None:
            raise self.explain(runner.tally.loss, data, np.arange(len(data.x)))

    def explain(self, loss: float, data: feeding.Data, rows: Array) -> NonFiniteLoss:
        """Return the error for a loss that is not finite, or raise that of a label out of range. `rows`: of the batch."""
        check_labels(data.y, data.kind, rows, self.model.shape.outputs)
        where = f"in epoch {self.position.epoch}, step {self.position.step_in_epoch}"
        cause = arrays.find_fault(data.x, "X", rows) or arrays.find_fault(data.y, "y", rows)
        advice = cause or "X and y of that batch are finite: a smaller learning rate may help"
        return NonFiniteLoss(f"loss is {loss} {where}: {advice}", self.position.epoch, self.position.step_in_epoch)

    def step(self, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
        """Make one update with a batch, and return the loss of before it.

        Raises
        ------
        NonFiniteLoss
            The loss is not finite; nothing has changed.
        """
        self.model.guard.check("step")
        self.check_outside("step")
        data = self._check(x, y, sample_weight)
        machine = self._machine or self.machine()
        self.model.loss, self._last = self.loss, None
        rows = len(data.x)
        piece = feeding.Piece(data, rows, 1, part=-(-rows // self.optimizer.accumulate))
        with DeferredInterrupt() as interrupt:
            outcome = stepping.run(self, piece, machine, interrupt)
            self.position.step += outcome.done
            outcome.raise_error()
        if outcome.status == "not_finite":
            raise self.explain(outcome.tally.loss, data, np.arange(rows))
        return outcome.tally.loss

    def _unfused(self, rows: int, kind: str, weighted: bool, x: _native.Source) -> Runner:
        in_place = x.is_readable_in_place(self.model.shape.code)
        job = self.job(rows, kind, weighted, False, in_place=in_place, input_gradient=True)
        return self.runner(job, self._machine or self.machine())

    def forward(self, x: npt.ArrayLike) -> Array:
        """Return the outputs for a batch, as training sees them, for a `backward` to follow."""
        self.model.guard.check("forward")
        self.model.check_learned()
        x = self.model.check_inputs(x, "x")
        source = _native.Source(x)
        runner = self._unfused(len(x), "values", False, source)
        self._run(runner, None, x=source, until="forwarded")
        self._last = runner, x, self._settings()
        return runner.output.copy()

    def backward(self, dy: npt.ArrayLike, input_gradient: bool = False) -> "list[Array] | tuple[list[Array], Array]":
        """Return the gradients of all parameters for the last `forward`, given that of the outputs.

        Parameters
        ----------
        dy : array of shape (rows, outputs)
            dL/d(output), after the last activation, for the L that is wanted.
        input_gradient : bool
            Return the pair (gradients, dL/dx).

        Returns
        -------
        list of array
            In the order of ``model.parameters``; copies. Weights and counters have not changed.
        """
        self.model.guard.check("backward")
        if self._last is None:
            raise RuntimeError("backward: call forward(x) first")
        runner, x, _ = self._last
        given = arrays.as_real(dy, "dy")
        view = runner.output_gradient
        if given.shape != view.shape:
            raise ValueError(f"dy has shape {given.shape}; expected {view.shape}")
        view[...] = given
        self._run(runner, None, x=arrays.source(x), since="measured", until="differentiated")
        return self._gradient_copies(runner, input_gradient)

    def gradients(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        input_gradient: bool = False,
    ) -> "list[Array] | tuple[list[Array], Array]":
        """Return the gradients of the loss for a batch, in the order of ``model.parameters``; copies.

        With ``input_gradient=True`` the pair (gradients, dL/dx). Weights and counters have not changed.
        """
        self.model.guard.check("gradients")
        data = self._check(x, y, sample_weight)
        runner = self._unfused(len(data.x), data.kind, data.weight is not None, data.sources["x"])
        if isinstance(self.loss, CustomLoss):
            source = data.sources["x"]
            loss = stepping.own_loss(self.loss, runner, source, data.y, seed=self.seed, step=self.position.step)
            if not np.isfinite(loss):
                raise self.explain(loss, data, np.arange(len(data.x)))
        else:
            self._run(runner, data, until="committed")
        self._last = runner, data.x, self._settings()
        return self._gradient_copies(runner, input_gradient)

    def _gradient_copies(self, runner: Runner, input_gradient: bool) -> "list[Array] | tuple[list[Array], Array]":
        frozen = frozen_parameters(self.model.shape)
        views = zip(self.gradient_views(), frozen, strict=True)
        copies = [np.zeros_like(view) if still else np.array(view, order="C") for view, still in views]
        if not input_gradient:
            return copies
        factors = self.model.statistics[1] if self.model.shape.standardize else 1  # dx is that of standardised inputs
        return copies, (runner.view("dx") * factors).astype(self.model.dtype)

    def gradient_elements(self) -> Array:
        """Return the storage of all gradients, pads included, as one view."""
        assert self._gradients is not None
        return np.frombuffer(memoryview(self._gradients), self.model.dtype)

    def apply(self, gradients: Sequence[npt.ArrayLike]) -> None:
        """Update the weights with gradients, in the order of ``model.parameters``, and advance by one step.

        ``apply(gradients(x, y))`` gives the bits of ``step(x, y)``.
        """
        self.model.guard.check("apply")
        self.check_outside("apply")
        if self.optimizer.full_batch:
            raise ValueError(
                f"apply: {type(self.optimizer).__name__} needs the loss at several points: use step or fit"
            )
        given = [arrays.as_real(gradient, f"gradients[{i}]") for i, gradient in enumerate(gradients)]
        arrays.check_shapes(given, self.model.parameters, "gradients")
        runner, since = self._runner_to_apply()
        with DeferredInterrupt():
            for view, gradient in zip(self.gradient_views(), given, strict=True):
                view[...] = gradient
            self.update(runner, since, self.position.step)
            self.position.step += 1

    def _settings(self) -> tuple[Any, ...]:
        """Return what decides how a plan updates."""
        optimizer = self.optimizer
        return self.model.shape, optimizer.rule, optimizer.regulates, optimizer.averaged

    def _runner_to_apply(self) -> tuple[Runner, Mark]:
        """Return a program that updates, and from where: the last forward's takes its batch into running statistics."""
        last, self._last = self._last, None
        self._bind_slots()
        if last and last[0] in self._runners.values():
            if last[2] == self._settings():
                return last[0], "committed"
            if last[2][0] == self.model.shape:
                last[0].run(since="committed", until="recorded")
        job = self.job(1, "values", False, False, input_gradient=True)
        return self.runner(job, self._machine or self.machine()), "recorded"

    def update(self, runner: Runner, since: Mark, step: int) -> None:
        """Update the weights with the stored gradients, as global step number `step`."""
        self.optimizer.before_update(self)
        scale = self._clip_scale(runner, step - self.position.step)
        runner.run(since=since, scalars=self.scalars(runner, np.array([step]), scale))
        self.optimizer.after_update(self)

    def _clip_scale(self, runner: Runner, ahead: int) -> float:
        """Return what the stored gradients are to be multiplied by, so that their norm is at most clip_norm.

        `ahead`: how many steps after the trainer's position, for the error.
        """
        if self.optimizer.clip_norm is None:
            return 1.0
        norm = float(np.sqrt(runner.program.gradient_squares()))
        if np.isfinite(norm):
            return min(1.0, self.optimizer.clip_norm / norm) if norm else 1.0
        epoch, step = self.position.epoch, self.position.step_in_epoch + ahead
        raise NonFiniteLoss(
            f"the norm of the gradient is {norm} in epoch {epoch}, step {step}: a smaller learning rate may help",
            epoch,
            step,
        )

    # ---- whole trainings ------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        batch_size: int | str | None = None,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: ClassWeight | None = None,
        metrics: Metrics | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        verbose: str | int = "auto",
        num_threads: int | None = None,
        finish_with_average: bool = False,
        exact_block: bool | None = None,
        started: "Callable[[Trainer], None] | None" = None,
    ) -> History:
        """Train for some more epochs; arguments as in `Sequential.fit`."""
        seed = self.seed if seed is None else check_seed(seed)
        exact_block = self.exact_block if exact_block is None else exact_block
        settings = asked.check_settings(self.loss, epochs, verbose, callbacks, metrics, exact_block)
        self._check_optimizer(finish_with_average)
        machine = self.machine(num_threads)
        feed, validation = asked.make_feed(
            self, X, y, sample_weight, batch_size=batch_size, epochs=settings.epochs, steps=steps_per_epoch,
            validation=validation_data, split=validation_split, shuffle=shuffle,
        )  # fmt: skip
        feed.weigh(class_weight)
        with self.model.guard.held("fit"):
            feed.learn_inputs()
            self._take_over(X, seed)
            if started is not None:
                started(self)
            history = loop.Run(self, feed, validation, settings, machine).train()
            self._finish(finish_with_average)
        return history

    def _take_over(self, X: Any, seed: int) -> None:
        self.seed = seed
        self.model.loss, self._last = self.loss, None
        self.model.feature_names = frames.column_names(X) or self.model.feature_names

    def _check_optimizer(self, finish_with_average: bool) -> None:
        self.check_outside("fit")
        self.check_optimizer()
        if callable(self.optimizer.lr):
            self.optimizer.rates(self.position.step)  # so that a schedule that fails at once changes nothing
        self._check_averages("finish_with_average", finish_with_average)

    def _finish(self, with_average: bool) -> None:
        if with_average:
            self._bind_slots()
            memoryview(self.model.block)[:] = memoryview(self.average_block())

    def describe(self, batch_size: int = 32) -> None:
        """Print the plan by which `fit` trains: schedules considered, steps, shapes, owners, barriers, bytes.

        Where `fit` makes steps in blocks, it shows what runs once a block, and what runs for each step.
        """
        rows = check_count(batch_size, "batch_size")
        kind = "labels" if self.loss.name == "cross_entropy" else "values"
        block = steps_of_block(self, rows, False) if self.exact_block else 1
        job = self.job(rows, kind, False, self.fused and not self.stepwise, block=block, many_steps=True)
        runner = self.runner(job, self.machine())
        print(runner.program.plan.describe(), end="")
