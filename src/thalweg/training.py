"""A training: a model, a loss, an optimizer, all that changes while they train, and the programs that change it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from thalweg import _native, arrays, files, loop, losses, system
from thalweg.arrays import Array
from thalweg.blocks import find_difference
from thalweg.custom import CustomLoss, LossFunction, kept_loss, resolve
from thalweg.guard import DeferredInterrupt
from thalweg.layer import Layer
from thalweg.lbfgs import Memory
from thalweg.model import Sequential
from thalweg.optimizer import WEIGHTS, Optimizer
from thalweg.programs import Job, Runner, Shape, bind, frozen_parameters, make_plan, parameter_bytes, parameter_views
from thalweg.scalars import Scalars


@dataclass
class Position:
    """Where a training stands: all that an exact resume needs besides weights and state."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0  # over all epochs
    loss_sum: float = 0.0  # of the epoch's steps so far, each times its weight
    weight_sum: float = 0.0
    rows: int = 0  # of the data that the epoch began with, and its batch: with others it begins anew
    batch: int = 0

    def restart_epoch(self, rows: int, batch: int) -> None:
        """Stand before the first step of the epoch, with data of so many rows."""
        self.rows, self.batch = rows, batch
        self.step_in_epoch, self.loss_sum, self.weight_sum = 0, 0.0, 0.0

    def advance(self, steps: int, sums: tuple[float, float]) -> None:
        """Stand so many steps further in the epoch, with the sums of losses and weights up to there."""
        self.step += steps
        self.step_in_epoch += steps
        self.loss_sum, self.weight_sum = sums


class Training:
    """What a `Trainer` holds, binds and keeps in files; how it steps is the trainer's part."""

    def __init__(
        self,
        model: Sequential,
        loss: "str | losses.Loss | LossFunction",
        optimizer: Optimizer,
        fused: bool = True,
        exact_block: bool = True,
        num_threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        if not isinstance(model, Sequential):
            raise TypeError(f"model must be a model such as tw.Sequential([tw.Dense(10)], 784), got {model!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an optimizer such as tw.Adam(lr=1e-3), got {optimizer!r}")
        if isa is not None and isa not in system.SUPPORTED_ISAS:
            raise ValueError(f"unknown or unsupported isa {isa!r}; there are: {', '.join(system.SUPPORTED_ISAS)}")
        self.model = model
        self.loss = resolve(loss)
        self.loss.check_model(model.shape.outputs, model.last_activation)
        optimizer.check_model(model)
        self.optimizer = optimizer
        self.fused = bool(fused)
        self.exact_block = bool(exact_block)
        self.num_threads = system.check_num_threads(num_threads)
        self.isa, self.seed = isa, model.seed
        self.position = Position()
        self.stop_training = False
        self.running: loop.Run | None = None  # the call of fit in progress
        self.slice_steps: int | None = None  # steps between two looks at the clock; None: about 50 ms of them
        self.memory = Memory()  # of LBFGS
        self.notes: dict[str, Any] = {}  # what the optimizer remembers besides its state: plain data
        self.kept_scalars = Scalars()
        self._slots: dict[str, _native.Block] = {}
        self._gradients: _native.Block | None = None
        self._runners: dict[tuple[Any, ...], Runner] = {}
        self._last: tuple[Runner, Array, tuple[Any, ...]] | None = None  # of the last forward, and its settings
        self._weights_seen = model.times_set
        self._holds_average = False  # the model, inside averaged_weights
        self._machine: system.Machine | None = None
        self._checked: tuple[Any, ...] = ()  # what the optimizer was when it was found to suit

    # ---- programs -------------------------------------------------------------------------------------------------

    def _new_block(self) -> _native.Block:
        return _native.Block(parameter_bytes(self.model.shape))

    def _bind_slots(self) -> list[_native.Block]:
        """Return the state that programs take, of the optimizer as it is set now; state of names that it lost is dropped."""
        self.check_optimizer()
        names, new = self.optimizer.slot_names, []
        if tuple(self._slots) != names:
            new = [name for name in names if name not in self._slots]
            if set(self.optimizer.python_state_names) & set(new):
                self.notes = {}
            self._slots = {name: self._slots.get(name) or self._new_block() for name in names}
            self._runners.clear()
        beginnings = self.optimizer.beginnings()
        for name in names:
            if name in new or (self._begins_anew() and beginnings.get(name, 0.0) is WEIGHTS):
                self._begin_slot(self._slots[name], beginnings.get(name, 0.0))
        self._weights_seen = self.model.times_set
        of_python = self.optimizer.python_state_names
        return [block for name, block in self._slots.items() if name not in of_python]

    def slot_views(self, name: str) -> list[Array]:
        """Return views of a slot of the optimizer's state, in the order of ``model.parameters``."""
        return parameter_views(self._slots[name], self.model.shape)

    def gradient_views(self) -> list[Array]:
        """Return views of the stored gradients, in the order of ``model.parameters``."""
        assert self._gradients is not None
        return parameter_views(self._gradients, self.model.shape)

    def _begins_anew(self) -> bool:
        """Whether averages begin again: before the first update, and when all weights were set."""
        return self.position.step == 0 or self._weights_seen != self.model.times_set

    def _average_frozen(self, shape: Shape) -> None:
        """Let averages of weights that are frozen now, and so no longer followed, be those weights."""
        beginnings = self.optimizer.beginnings()
        for name in [name for name in self._slots if beginnings.get(name, 0.0) is WEIGHTS]:
            views = zip(parameter_views(self._slots[name], shape), self.model.parameters, strict=True)
            for (view, weight), frozen in zip(views, frozen_parameters(shape), strict=True):
                if frozen:
                    view[...] = weight

    def check_optimizer(self) -> None:
        """Raise ValueError for settings that make no sense, or layers that the optimizer cannot train."""
        now = self.optimizer, Optimizer.changes, Layer.changes
        if self._checked != now:
            self.optimizer.check()
            self.optimizer.check_model(self.model)
            self._checked = now

    def _begin_slot(self, block: _native.Block, beginning: float | None) -> None:
        """Fill new state with a number, or with the weights."""
        if beginning is WEIGHTS:
            memoryview(block)[:] = memoryview(self.model.block)
        elif beginning:
            for view in parameter_views(block, self.model.shape):
                view[...] = beginning

    def runner(self, job: Job, machine: system.Machine) -> Runner:
        """Return the program of a job, made when first asked for."""
        slots = self._bind_slots()
        shape = self.model.shape
        if self.optimizer.regulates or shape.regulated:
            job = job._replace(regulated=True, averaged=self.optimizer.average is not None)
        key = (shape, job, machine)
        runner = self._runners.get(key)
        if runner is None:
            plan = make_plan(shape, job, machine, self.isa)
            if job.many_steps and not plan.own_columns:  # many steps are as a few are
                runner = self._runners[key] = self.runner(job._replace(many_steps=False), machine)
                return runner
            norms = any(layer.kind in ("layer_norm", "batch_norm") for layer in shape.layers)
            if (norms or not plan.fused) and self._gradients is None:
                self._gradients = self._new_block()
            if len(self._runners) >= 16:
                del self._runners[next(iter(self._runners))]
            self._average_frozen(shape)
            blocks = (self.model.block, self._gradients, slots, self.model.statistics_block)
            runner = self._runners[key] = bind(plan, shape, self.loss, *blocks)
        return runner

    def scalars(self, runner: Runner, steps: Array, scale: float = 1.0) -> Array:
        """Return the scalars that a program takes for some global steps."""
        if runner.program.plan.regulated:
            return self.optimizer.regulated_scalars(steps, scale)
        return self.optimizer.scalars(steps)

    def job(self, batch: int, kind: str, weighted: bool, fused: bool, **more: Any) -> Job:
        """Describe a training step."""
        name, kind = ("", "") if isinstance(self.loss, CustomLoss) else (self.loss.name, kind)
        return Job(
            batch,
            name,
            kind,
            self.loss.smoothing,
            weighted,
            rule=self.optimizer.rule,
            backward=True,
            fused=fused,
            **more,
        )

    @property
    def stepwise(self) -> bool:
        """Whether a step passes through Python between gradient and update."""
        return self.optimizer.stepwise or isinstance(self.loss, CustomLoss)

    def machine(self, num_threads: int | None = None) -> system.Machine:
        """Find out what plans may use, as of the last second."""
        self._machine = system.machine(self.num_threads if num_threads is None else num_threads)
        return self._machine

    # ---- averages of weights ----------------------------------------------------------------------------------

    def _check_averages(self, what: str, wanted: bool = True) -> None:
        if wanted and self.optimizer.averaged is None:
            raise ValueError(f"{what}: the optimizer keeps no average of the weights; give it one: average=0.999")

    def average_block(self) -> _native.Block:
        """Return the slot that holds averaged weights."""
        name = self.optimizer.averaged
        assert name is not None  # checked before
        return self._slots[name]

    @contextmanager
    def averaged_weights(self) -> Iterator[Sequential]:
        """Inside, the model's weights are their average, moving or x of `ScheduleFreeAdamW`; outside, again those that training goes on with.

        Examples
        --------
        >>> import numpy as np
        >>> import thalweg as tw
        >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
        >>> trainer = tw.Trainer(model, loss="mse", optimizer=tw.SGD(lr=0.1, average=0.9))
        >>> _ = trainer.step(np.ones((4, 2)), np.ones(4))
        >>> with trainer.averaged_weights():
        ...     averaged = model.predict(np.ones((1, 2)))
        """
        self.model.guard.check("averaged_weights")
        self._check_averages("averaged_weights")
        if self._holds_average:
            yield self.model
            return
        self._bind_slots()
        average = self.average_block()
        self._swap(average, True)
        try:
            yield self.model
        finally:
            self._swap(average, False)

    def _swap(self, block: _native.Block, holds_average: bool) -> None:
        weights, average = memoryview(self.model.block), memoryview(block)
        with DeferredInterrupt():
            kept = bytes(weights)
            weights[:] = average
            average[:] = kept
            self._holds_average = holds_average

    def check_outside(self, what: str) -> None:
        """Raise inside `averaged_weights`, where the model does not hold the weights that training goes on with."""
        if self._holds_average:
            raise RuntimeError(f"{what}: the model holds averaged weights; leave `with averaged_weights()` first")

    def judged_weights(self) -> list[Array]:
        """Return copies of what validation judges: parameters, or their averages where those are kept, and statistics."""
        with self.averaged_weights() if self.optimizer.averaged else nullcontext():
            return [*self.model.get_weights(), *(view.copy() for view in self.model.statistics)]

    def put_weights(self, weights: Sequence[Array]) -> None:
        """Set parameters and statistics, as `judged_weights` returned them."""
        views = [*self.model.parameters, *self.model.statistics]
        arrays.check_shapes(weights, views, "weights")
        for view, values in zip(views, weights, strict=True):
            view[...] = values
        self.model.times_set += 1

    # ---- files ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return all that an exact resume needs: a description as plain data, and arrays by name, not copied."""
        config = {
            "model": self.model.config(),
            "loss": self.loss.config(),
            "optimizer": self.optimizer.config(),
            "seed": self.seed,
            "position": asdict(self.position),
            "notes": dict(self.notes),
        }
        stored = self.model.arrays()
        for name in self._slots:
            stored |= {f"{name}{i}": view for i, view in enumerate(self.slot_views(name))}
        return config, stored | self.memory.arrays()

    def restore(self, config: dict[str, Any], stored: Mapping[str, Array], source: object = "the state") -> None:
        """Take back what `state` returned, into this trainer, its model and its optimizer, of the same kind.

        Raises
        ------
        ValueError
            The state is of another model, loss or optimizer. Nothing has changed.
        """
        self.check_same(config)
        restored = self.optimizer.with_config(config["optimizer"])
        count = len(self.model.parameters)
        names = [name for name in restored.slot_names if f"{name}0" in stored]
        states = {name: files.take(stored, name, count, source) for name in names}
        statistics = files.take(stored, "s", len(self.model.statistics), source)
        self.model.set_weights(files.take(stored, "p", count, source))
        for view, values in zip(self.model.statistics, statistics, strict=True):
            view[...] = values
        for name, value in vars(restored).items():
            setattr(self.optimizer, name, value)
        self._slots = {}
        self._bind_slots()
        for name, state in states.items():
            for view, value in zip(self.slot_views(name), state, strict=True):
                view[...] = value
        self.memory = Memory.of(stored)
        self.model.feature_names = config["model"].get("feature_names")
        self.seed = config["seed"]
        self.position = Position(**config["position"])
        self._weights_seen = self.model.times_set
        self.notes = dict(config.get("notes", {}))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that an exact resume needs: weights, optimizer settings and state, counters, seed.

        Written beside and renamed: the file is whole or is not there.
        """
        self.model.guard.check("save")
        self.check_outside("save")
        files.write(path, "trainer", *self.state())

    def load(self, path: str | os.PathLike[str]) -> None:
        """Read what `save` or a `Checkpoint` wrote into this trainer, its model and its optimizer, of the same kind.

        Which layers are `trainable` stays as this model has it.

        Raises
        ------
        ValueError
            The file is no trainer's, or of another model, loss or optimizer. Nothing has changed.
        """
        self.model.guard.check("load")
        self.check_outside("load")
        self.restore(*files.read(path, "trainer"), source=path)

    def check_same(self, config: dict[str, Any], flags: bool = False) -> None:
        """Raise ValueError unless a state is of the same kind of model (`flags`: trainable too), loss and optimizer."""
        mine, theirs = self.model.config(), config["model"]
        for part in ("input_size", "dtype"):
            if mine[part] != theirs[part]:
                raise ValueError(f"the file's model has {part} {theirs[part]}, this one {mine[part]}")
        difference = find_difference(theirs["layers"], mine["layers"], flags)
        if difference:
            raise ValueError(f"the file's model is another: {difference}")
        loss, optimizer = kept_loss(config["loss"]), type(self.optimizer).__name__
        if str(loss) != str(self.loss):
            raise ValueError(f"the file was trained with loss {loss}, this trainer has {self.loss}")
        if optimizer != config["optimizer"]["type"]:
            raise ValueError(
                f"the file was trained with optimizer {config['optimizer']['type']}, this trainer has {optimizer}"
            )
