"""From a model and a job to plans and programs; the programs of predictions are kept and used again."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from thalweg import _native, system
from thalweg.arrays import Array
from thalweg.loss import Loss


class LayerSpec(NamedTuple):
    """A layer in the words of csrc/program/spec.hpp. Value 0 is x, value l + 1 what layer l puts out."""

    kind: str
    units: int
    input: int
    other: int = -1
    activation: str = "identity"
    bias: bool = False
    frozen: bool = False
    number: float = 0.0
    momentum: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    decay_weight: bool = True
    decay_bias: bool = True

    @property
    def regulated(self) -> bool:
        """Whether gradients are more than the loss's."""
        return self.l1 > 0 or self.l2 > 0 or not (self.decay_weight and self.decay_bias)


@dataclass(frozen=True)
class Shape:
    """What the core needs to know of a model: dtype code, inputs, layers, whether inputs are standardised."""

    code: str
    inputs: int
    layers: tuple[LayerSpec, ...]
    standardize: bool = False
    dtype: np.dtype[Any] = field(init=False, compare=False)
    outputs: int = field(init=False, compare=False)  # of the last layer
    regulated: bool = field(init=False, compare=False)  # gradients are more than the loss's

    def __post_init__(self) -> None:
        """Work out once what is asked for often: a shape is part of the key of every program."""
        object.__setattr__(self, "_hash", hash((self.code, self.inputs, self.layers, self.standardize)))
        object.__setattr__(self, "dtype", np.dtype(self.code))
        object.__setattr__(self, "outputs", self.layers[-1].units if self.layers else self.inputs)
        object.__setattr__(self, "regulated", any(layer.regulated for layer in self.layers))

    def __hash__(self) -> int:
        """Return the hash."""
        return self._hash  # type: ignore[attr-defined,no-any-return]

    @property
    def last(self) -> int:
        """The value that the model puts out."""
        return len(self.layers)

    def then(self, activation: str) -> "Shape":
        """Return this shape with one more activation behind it."""
        layer = LayerSpec("activation", self.outputs, self.last, activation=activation)
        return replace(self, layers=(*self.layers, layer))


class Job(NamedTuple):
    """What a program is for, in the words of csrc/program/spec.hpp."""

    batch: int
    loss: str = ""
    targets: str = ""
    smoothing: float = 0.0
    weighted: bool = False
    rule: str = ""
    regulated: bool = False
    averaged: bool = False
    backward: bool = False
    fused: bool = False
    input_gradient: bool = False
    in_place: bool = False
    block: int = 1
    many_steps: bool = False


@lru_cache(maxsize=64)
def make_plan(shape: Shape, job: Job, machine: system.Machine, isa: str | None = None, flat: int = 0) -> _native.Plan:
    """Have the core plan a job, or give the same plan again. `flat`: of an update alone, the number of elements."""
    return _native.Plan(shape, isa=isa or system.ISA, flat=flat, **job._asdict(), **machine._asdict())


def parameter_rows(block: _native.Block, shape: Shape) -> list[Array]:
    """Return the rows of each layer in a block laid out as parameters are: its weights, then its bias."""
    flat = np.frombuffer(memoryview(block), shape.dtype)
    layout = _native.parameter_layout(shape)
    return [
        flat[offset : offset + (inputs + bias) * ld].reshape(inputs + bias, ld)
        for offset, inputs, _, ld, bias, _ in layout
    ]


def parameter_views(block: _native.Block, shape: Shape) -> list[Array]:
    """Return views of a block laid out as parameters are: layer by layer weight, then bias, without pads."""
    views = []
    for rows, (_, inputs, units, _, bias, layer) in zip(
        parameter_rows(block, shape), _native.parameter_layout(shape), strict=True
    ):
        weight = rows[:inputs, :units]
        views.append(weight if shape.layers[layer].kind == "dense" else weight[0])
        if bias:
            views.append(rows[-1, :units])
    return views


def frozen_parameters(shape: Shape) -> list[bool]:
    """Return for each view that `parameter_views` gives whether it belongs to a frozen layer."""
    layout = _native.parameter_layout(shape)
    return [shape.layers[layer].frozen for *_, bias, layer in layout for _ in range(1 + bias)]


def parameter_penalties(shape: Shape) -> list[float]:
    """Return for each view that `parameter_views` gives its l2 penalty; biases have none."""
    layout = _native.parameter_layout(shape)
    return [l2 for *_, bias, layer in layout for l2 in (shape.layers[layer].l2, 0.0)[: 1 + bias]]


def dense_weights(shape: Shape) -> list[bool]:
    """Return for each view that `parameter_views` gives whether it is the weight of a dense layer."""
    kinds = [(shape.layers[layer].kind == "dense", bias) for *_, bias, layer in _native.parameter_layout(shape)]
    return [part for is_dense, bias in kinds for part in ((is_dense, False) if bias else (is_dense,))]


@lru_cache(maxsize=64)
def parameter_bytes(shape: Shape) -> int:
    """Return the size of a block for the parameters of a model."""
    layout = _native.parameter_layout(shape)
    if not layout:
        return 0
    offset, inputs, _, ld, bias, _ = layout[-1]
    return int((offset + (inputs + bias) * ld) * shape.dtype.itemsize)


def statistics_views(block: _native.Block, shape: Shape) -> list[Array]:
    """Return views of a block of statistics: of each pair the means, then the variances (of inputs: the factors)."""
    flat = np.frombuffer(memoryview(block), np.float64)
    pairs = [(flat[at : at + n], flat[at + ld : at + ld + n]) for at, n, ld, _ in _native.statistics_layout(shape)]
    return [view for pair in pairs for view in pair]


def statistics_bytes(shape: Shape) -> int:
    """Return the size of a block for the statistics of a model."""
    layout = _native.statistics_layout(shape)
    return 8 * (layout[-1][0] + 2 * layout[-1][2]) if layout else 0


def loss_block(loss: Loss, shape: Shape) -> _native.Block | None:
    """Return the loss's number of each output in the model's dtype, padded as a row is, or None."""
    numbers = loss.numbers(shape.outputs)
    if numbers is None:
        return None
    padded = -(-shape.outputs // _native.PADDING) * _native.PADDING
    block = _native.Block(padded * shape.dtype.itemsize)
    np.frombuffer(memoryview(block), shape.dtype)[: shape.outputs] = numbers
    return block


def bind(
    plan: _native.Plan,
    shape: Shape,
    loss: Loss | None = None,
    parameters: Any = None,
    gradients: Any = None,
    slots: Sequence[Any] = (),
    statistics: Any = None,
) -> "Runner":
    """Give a plan its memory: blocks that outlive the program, and the loss's numbers."""
    numbers = None if loss is None else loss_block(loss, shape)
    return Runner(_native.Program(plan, parameters, gradients, slots, statistics, numbers))


def output_name(layers: int) -> str:
    """Return the name of the buffer of what a model of so many layers puts out."""
    return f"y{layers}" if layers else "x"


class Tally:
    """What steps came to, in the words of csrc/program/program.hpp: sums over whole steps, and the last one.

    One row of `numbers` a pass; what is said here without naming one is of the first.
    """

    def __init__(self, loss_sum: float = 0.0, weight_sum: float = 0.0, passes: int = 1) -> None:
        self.numbers = np.zeros((passes, 4))
        self.numbers[0, :2] = loss_sum, weight_sum

    def sums_of(self, number: int) -> tuple[float, float]:
        """Return a pass's sums: of each step's loss times its weight, and of weights, added one after the other."""
        loss_sum, weight_sum = self.numbers[number, :2].tolist()
        return loss_sum, weight_sum

    @property
    def losses(self) -> list[float]:
        """Each pass's last loss."""
        return self.numbers[:, 2].tolist()  # type: ignore[no-any-return]

    @property
    def sums(self) -> tuple[float, float]:
        """The sums."""
        return self.sums_of(0)

    @property
    def loss(self) -> float:
        """The last step's loss, also of one that failed."""
        return float(self.numbers[0, 2])

    @property
    def weight(self) -> float:
        """The last step's weight."""
        return float(self.numbers[0, 3])

    def count(self, loss: float, weight: float) -> None:
        """Add a step, as the core does."""
        loss_sum, weight_sum = self.sums
        self.numbers[0, 2:] = loss, weight
        if np.isfinite(loss):
            self.numbers[0, :2] = loss_sum + loss * weight, weight_sum + weight


class Runner:
    """A program with room for what its runs give back, and views of the buffers that Python looks at."""

    def __init__(self, program: _native.Program) -> None:
        self.program = program
        self.tally = Tally()
        self._views: dict[str, Array] = {}

    def view(self, buffer: str) -> Array:
        """Return a buffer of the arena, (rows, columns); what it holds lasts until the next run."""
        if buffer not in self._views:
            self._views[buffer] = np.asarray(self.program.buffer(buffer))
        return self._views[buffer]

    @cached_property
    def output(self) -> Array:
        """The view of what the model puts out."""
        return self.view(output_name(self.program.plan.layers))

    @cached_property
    def saved(self) -> Array:
        """The view of what the derivative of the last activation is written in terms of: output or input."""
        kept = f"z{self.program.plan.layers}"
        return self.output if self.program.buffer(kept) is None else self.view(kept)

    @cached_property
    def output_gradient(self) -> Array:
        """The view of its gradient."""
        last = self.program.plan.layers
        return self.view(f"dy{last}" if last else "dx")

    def run(self, **arguments: Any) -> tuple[int, str]:
        """Run one step, its loss and weight into `tally`."""
        return self.program.run(tally=self.tally.numbers, **arguments)


@dataclass
class Pool:
    """Idle programs by what they are for. Threads take and give back, so that several may predict at once."""

    kept: int = 16
    _idle: dict[tuple[Any, ...], list[Runner]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, key: tuple[Any, ...]) -> tuple[list[Runner], Runner | None]:
        """Take an idle runner, if there is one; return where to append it afterwards, and the runner.

        Where there are too many kinds, the one used longest ago is forgotten.
        """
        with self._lock:
            runners = self._idle[key] = self._idle.pop(key, [])
            if len(self._idle) > self.kept:
                del self._idle[next(iter(self._idle))]
            return runners, runners.pop() if runners else None
