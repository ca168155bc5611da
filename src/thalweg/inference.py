"""Predictions and evaluations, a block of rows at a time."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg import _native, arrays, system
from thalweg.arrays import Array
from thalweg.custom import CustomLoss
from thalweg.layer import Layer
from thalweg.loss import Loss
from thalweg.programs import Job, Runner, Shape, bind, make_plan, output_name

if TYPE_CHECKING:
    from thalweg.feeding import Data
    from thalweg.model import Sequential
    from thalweg.network import Forwards

BLOCK = 1024  # rows at a time: activations stay in cache, and the first block does not wait for the last
KEPT = 16  # kinds of predictions whose programs a model keeps


def _make_runner(
    model: "Sequential", shape: Shape, job: Job, machine: system.Machine, loss: Loss | None = None
) -> Runner:
    plan = make_plan(shape, job, machine)
    return bind(plan, shape, loss, model.block, statistics=model.statistics_block)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the last prediction was made with: the next one of its kind takes it at once, unless something has changed."""

    then: str
    layer_changes: int
    system_changes: int
    until: float  # the machine is looked at again now and then
    shape: Shape
    forward: _native.Forward


def predict(model: "Sequential", x: Any, then: str, num_threads: int | None) -> Array:
    """Check inputs, and run the model forward, and then one more activation, unless that is ""."""
    last = model.last_prediction
    if (
        last is None
        or num_threads is not None
        or last.then != then
        or last.layer_changes != Layer.changes
        or last.system_changes != system.changes
        or last.until < time.monotonic()
    ):
        last = _prepare(model, then, num_threads)
    shape = last.shape
    if shape.standardize:
        model.check_learned()
    # others than arrays of NumPy may describe their memory in words that the door does not know
    source = _native.hold_rows(x, shape.inputs) if type(x) is np.ndarray else None
    if source is None:
        if hasattr(x, "__next__"):
            return _predict_batches(model, x, then, num_threads)
        source = _native.Source(model.check_inputs(x))
    rows = source.rows
    outputs = np.empty((rows, shape.outputs), shape.dtype)
    done = 0
    while done < rows:
        done += last.forward.run(source, done, outputs)
    return outputs


def _predict_batches(model: "Sequential", batches: Iterable[Any], then: str, num_threads: int | None) -> Array:
    checked = (model.check_inputs(x, f"x of batch {number}") for number, x in enumerate(batches))
    outputs = [predict(model, x, then, num_threads) for x in checked]
    if not outputs:
        raise ValueError("X gave no batch: it is empty, or an iterator that has given all it had")
    return np.concatenate(outputs)


def _prepare(model: "Sequential", then: str, num_threads: int | None) -> Prediction:
    """Look at model and machine; remember what was found, unless it is for a number of threads of this one call."""
    as_of = Layer.changes, system.changes  # a change from here on is seen next time
    until = time.monotonic() + system.LOOK_AGAIN_SECONDS
    shape, forwards = model.shaped()
    key = then, system.machine(num_threads, probe=False)
    forward = forwards.get(key) or _keep_forward(model, shape, forwards, *key)
    prediction = Prediction(then, *as_of, until, shape, forward)
    if num_threads is None:
        model.last_prediction = prediction
    return prediction


def _keep_forward(
    model: "Sequential", of_model: Shape, forwards: "Forwards", then: str, machine: system.Machine
) -> _native.Forward:
    """Make and keep the programs that run the model forward; where there are too many kinds, all others are forgotten."""
    block, statistics = model.block, model.statistics_block
    shape = of_model.then(then) if then else of_model

    def make(rows: int, in_place: bool) -> _native.View:
        plan = make_plan(shape, Job(rows, in_place=in_place), machine)
        program = bind(plan, shape, None, block, statistics=statistics).program
        view = program.buffer(output_name(program.plan.layers))
        assert view is not None
        return view

    if len(forwards) == KEPT:
        forwards.clear()
    forward = forwards[then, machine] = _native.Forward(make, shape.code, BLOCK)
    return forward


def evaluate(
    model: "Sequential", loss: Loss, x: Array, y: Array, kind: str, weight: Array | None, num_threads: int | None
) -> tuple[float, Array]:
    """Return the mean loss over all rows, and the outputs."""
    model.check_learned()
    if isinstance(loss, CustomLoss):
        outputs = predict(model, x, "", num_threads)
        return loss.call(outputs, y)[0], outputs
    shape, machine = model.shape, system.machine(num_threads, probe=False)
    source, *targets = _native.Source(x), arrays.source(y), arrays.source(weight)
    in_place = source.is_readable_in_place(shape.code)
    outputs = np.empty((len(x), shape.outputs), shape.dtype)
    loss_sum = weight_sum = 0.0
    for first in range(0, len(x), BLOCK):
        rows = min(BLOCK, len(x) - first)
        job = Job(rows, loss.name, kind, loss.smoothing, weight is not None, in_place=in_place)
        idle, runner = model.pool.take((shape, job, machine, loss))
        runner = runner or _make_runner(model, shape, job, machine, loss)
        runner.run(x=source, y=targets[0], weight=targets[1], first=first)
        outputs[first : first + rows] = runner.output
        tally = runner.tally
        if not np.isfinite(tally.loss):
            check_labels(y, kind, np.arange(first, first + rows), shape.outputs)
        loss_sum += tally.loss * tally.weight
        weight_sum += tally.weight
        idle.append(runner)
    return loss_sum / weight_sum if weight_sum else 0.0, outputs


def evaluate_batches(
    model: "Sequential", loss: Loss, batches: "Iterable[Data]", num_threads: int | None
) -> tuple[float, Array, Array, Array | None]:
    """Return the mean loss over all rows of some batches; and targets, outputs and weights of all."""
    means, targets, outputs, weights = [], [], [], []
    weighted = False
    for batch in batches:
        mean, output = evaluate(model, loss, batch.x, batch.y, batch.kind, batch.weight, num_threads)
        means.append(mean)
        targets.append(batch.y.copy())  # a generator may fill the same arrays again
        outputs.append(output)
        weights.append(np.ones(len(batch.x)) if batch.weight is None else batch.weight.copy())
        weighted |= batch.weight is not None
    shares = np.array([weight.sum(dtype=np.float64) for weight in weights])
    mean = float(np.dot(means, shares) / shares.sum()) if shares.any() else 0.0
    return mean, np.concatenate(targets), np.concatenate(outputs), np.concatenate(weights) if weighted else None


def check_labels(y: Array, kind: str, rows: Array, classes: int, name: str = "y") -> None:
    """Raise if one of these rows' labels is out of range."""
    if kind != "labels":
        return
    labels = y[rows]
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise ValueError(
            f"{name}[{rows[wrong[0]]}] is {labels[wrong[0]]}; expected integer labels from 0 to {classes - 1}, "
            f"since the model has {classes} outputs"
        )
