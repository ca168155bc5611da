"""Programs of one or two steps on a user's arrays: how `thalweg.kernels` runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import _native, arrays, losses, system
from thalweg.arrays import Array
from thalweg.checks import check_count
from thalweg.inference import check_labels
from thalweg.layers import ACTIVATIONS
from thalweg.optimizer import Optimizer
from thalweg.programs import Job, LayerSpec, Runner, Shape, bind, make_plan, parameter_bytes, parameter_views


def make_runner(
    shape: Shape,
    job: Job,
    num_threads: int | None,
    isa: str | None,
    parameters: Any = None,
    gradients: Any = None,
    slots: tuple[Any, ...] = (),
    flat: int = 0,
    loss: losses.Loss | None = None,
) -> Runner:
    """Plan a job and give it memory; an unknown ISA is an error in the user's words."""
    if isa is not None and isa not in system.SUPPORTED_ISAS:
        raise ValueError(f"unknown or unsupported isa {isa!r}; there are: {', '.join(system.SUPPORTED_ISAS)}")
    plan = make_plan(shape, job, system.machine(num_threads, probe=False), isa, flat)
    return bind(plan, shape, loss, parameters, gradients, slots)


def floats(array: npt.ArrayLike, name: str, ndim: int = 2) -> Array:
    """Return an array to compute in: float32 stays, everything else becomes float64."""
    array = arrays.as_real(array, name)
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {ndim} axes, none of them empty")
    return np.asarray(array, np.float32 if array.dtype == np.float32 else np.float64)


def prepare_dense(
    x: npt.ArrayLike, w: npt.ArrayLike, b: npt.ArrayLike | None, activation: str
) -> tuple[Shape, Array, _native.Block]:
    """Check a layer's arrays; return its shape, x to be read in place, and a block with w and b."""
    _check_activation(activation, ACTIVATIONS)
    w = floats(w, "w")
    inputs, outputs = w.shape
    x = np.ascontiguousarray(arrays.check_inputs(x, inputs, f"w of shape {w.shape}", "x"), w.dtype)
    layer = Shape(w.dtype.char, inputs, (LayerSpec("dense", outputs, 0, activation=activation, bias=b is not None),))
    block = _native.Block(parameter_bytes(layer))
    weight, *bias = parameter_views(block, layer)
    weight[...] = w
    if b is not None:
        fill(bias[0], b, "b")
    return layer, x, block


def fill(view: Array, given: npt.ArrayLike, name: str) -> None:
    """Copy a user's array into a view of the same shape."""
    array = arrays.as_real(given, name)
    if array.shape != view.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {view.shape}")
    view[...] = array


def _check_activation(activation: str, known: tuple[str, ...]) -> None:
    if activation not in known:
        raise ValueError(f"unknown activation {activation!r}; there are: {', '.join(known)}")


def prepare_elementwise(x: npt.ArrayLike, activation: str, known: tuple[str, ...], name: str) -> tuple[Array, Shape]:
    """Check the array of an activation; return it, and the shape of a job with the activation alone."""
    _check_activation(activation, known)
    x = floats(x, name)
    return x, Shape(x.dtype.char, x.shape[1], ()).then(activation)


def run_loss(
    loss: losses.Loss,
    y: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    num_threads: int | None,
    isa: str | None,
) -> tuple[float, Array]:
    """Return a loss and the gradient of the outputs y."""
    y = floats(y, "y")
    loss.check_model(y.shape[1], "identity")
    t, kind = loss.check_targets(target, len(y), y.shape[1], "target")
    weights = arrays.check_weight(weight, len(y), y.dtype)
    job = Job(len(y), loss.name, kind, loss.smoothing, weights is not None)
    runner = make_runner(Shape(y.dtype.char, y.shape[1], ()), job, num_threads, isa, loss=loss)
    runner.run(x=arrays.source(y), y=arrays.source(t), weight=arrays.source(weights))
    if not np.isfinite(runner.tally.loss):
        check_labels(t, kind, np.arange(len(y)), y.shape[1], "target")
    return runner.tally.loss, runner.view("dx").copy()


def given(**state: Array | None) -> dict[str, Array]:
    """Return the arrays that were given, by name."""
    return {name: array for name, array in state.items() if array is not None}


def run_update(
    optimizer: Optimizer,
    w: Array,
    g: Array,
    state: dict[str, Array],
    step: int,
    num_threads: int | None,
    isa: str | None,
) -> None:
    """Update w and the state in place, once."""
    if tuple(state) != optimizer.state_names:
        raise ValueError(f"{optimizer!r} keeps {optimizer.state_names or 'no state'}, got {tuple(state) or 'none'}")
    step = check_count(step, "step")
    for name, array in {"w": w, "g": g, **state}.items():
        _check_in_place(name, array, w, writable=name != "g")
    if w.size == 0:
        return
    updater(optimizer, w, g, tuple(state.values()), num_threads, isa)(optimizer.scalars(np.array([step - 1])))


def updater(
    optimizer: Optimizer,
    w: Array,
    g: Array,
    state: tuple[Array, ...] | None = None,
    num_threads: int | None = None,
    isa: str | None = None,
) -> Callable[[Array], None]:
    """Return a function of a step's scalars that updates w and the state in place with what then is in g.

    State that is not given begins as the optimizer says: as zeros, a number, or the weights (None).
    """
    begins = optimizer.beginnings()
    slots = state or tuple(np.array(w) for _ in optimizer.state_names)
    for name, slot in zip(optimizer.state_names, slots if state is None else (), strict=False):
        slot[...] = w if (value := begins.get(name, 0.0)) is None else value
    job = Job(1, rule=optimizer.rule, backward=True)
    runner = make_runner(Shape(w.dtype.char, 1, ()), job, num_threads, isa, w, g, slots, w.size)

    def update(scalars: Array) -> None:
        runner.run(scalars=scalars.reshape(1, -1))

    return update


def _check_in_place(name: str, array: Array, w: Array, writable: bool) -> None:
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        raise TypeError(
            f"{name} must be a NumPy array of float32 or float64, got {getattr(array, 'dtype', type(array))}"
        )
    if array.dtype != w.dtype or array.shape != w.shape:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; expected {w.dtype} of shape {w.shape} as w")
    if not array.flags.c_contiguous or not array.flags.aligned or (writable and not array.flags.writeable):
        raise ValueError(f"{name} must be C-contiguous{' and writable' if writable else ''}: it is used in place")
