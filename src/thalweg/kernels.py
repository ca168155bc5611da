"""The kernels on their own, on NumPy arrays: programs of one or two steps through the same door as training.

All compute in the dtype of their first array of parameters or outputs (float32 or float64; lists are float64) and take
``num_threads`` (exactly so many; default: what `set_num_threads` says, or what is worth it) and ``isa`` (one of
``tw.info()["isas"]``). Results do not depend on the number of threads.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import _native, arrays, losses, system
from thalweg.arrays import Array
from thalweg.inference import check_labels
from thalweg.layers import ACTIVATIONS
from thalweg.optimizers import SGD, Adam, AdamW, Optimizer
from thalweg.programs import Job, Runner, Shape, make_plan, parameter_bytes, parameter_views


def dense_forward(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    activation: str = "identity",
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> Array:
    """Return activation(x w + b).

    Parameters
    ----------
    x : array of shape (rows, inputs)
    w : array of shape (inputs, outputs)
    b : array of shape (outputs,), optional
    activation : str
        "identity", "relu", "tanh" or "sigmoid".

    Returns
    -------
    array of shape (rows, outputs), of w's dtype

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.kernels.dense_forward([[1.0, 2.0]], [[1.0, 0.0], [0.0, -1.0]], [0.5, 0.5], "relu").tolist()
    [[1.5, 0.0]]
    """
    layer, x, block = _dense(x, w, b, activation)
    runner = _runner(layer, Job(len(x), in_place=True), num_threads, isa, block)
    runner.run(x=arrays.source(x), until="forwarded")
    return runner.view("y1").copy()


def dense_backward(
    dy: npt.ArrayLike,
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    y: npt.ArrayLike,
    activation: str = "identity",
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients (dx, dw, db) of a dense layer.

    With dz = dy * activation'(y): dx = dz w^T, dw = x^T dz, db = sum of dz over the rows.

    Parameters
    ----------
    dy : array of shape (rows, outputs)
        Gradient of the layer's output.
    x : array of shape (rows, inputs)
    w : array of shape (inputs, outputs)
    y : array of shape (rows, outputs)
        The layer's output, from `dense_forward`.
    activation : str

    Examples
    --------
    >>> import thalweg as tw
    >>> dx, dw, db = tw.kernels.dense_backward([[1.0]], [[2.0, 3.0]], [[4.0], [5.0]], [[23.0]])
    >>> dx.tolist(), dw.tolist(), db.tolist()
    ([[4.0, 5.0]], [[2.0], [3.0]], [1.0])
    """
    layer, x, block = _dense(x, w, np.zeros(np.shape(w)[-1]) if np.ndim(w) else None, activation)
    gradients = _native.Block(parameter_bytes(layer))
    job = Job(len(x), backward=True, input_gradient=True, in_place=True)
    runner = _runner(layer, job, num_threads, isa, block, gradients)
    for buffer, given, name in (("y1", y, "y"), ("dy1", dy, "dy")):
        _fill(runner.view(buffer), given, name)
    runner.run(x=arrays.source(x), since="measured", until="differentiated")
    dw, db = parameter_views(gradients, layer)
    return runner.view("dx").copy(), dw.copy(), db.copy()


def activation_forward(
    x: npt.ArrayLike, activation: str, *, num_threads: int | None = None, isa: str | None = None
) -> Array:
    """Return activation(x) for an array of shape (rows, columns); "softmax" goes over each row.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.kernels.activation_forward([[-1.0, 0.0, 3.0]], "relu").tolist()
    [[0.0, 0.0, 3.0]]
    """
    x, shape = _elementwise(x, activation, (*ACTIVATIONS, "softmax"), "x")
    runner = _runner(shape, Job(len(x)), num_threads, isa)
    runner.run(x=arrays.source(x), until="forwarded")
    return runner.view("y1").copy()


def activation_backward(
    dy: npt.ArrayLike,
    y: npt.ArrayLike,
    activation: str,
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> Array:
    """Return dy * activation'(y), the derivative written in terms of the activation's output y. relu'(0) is 0.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.kernels.activation_backward([[1.0, 1.0]], [[0.5, 0.0]], "sigmoid").tolist()
    [[0.25, 0.0]]
    """
    y, shape = _elementwise(y, activation, ACTIVATIONS, "y")
    runner = _runner(shape, Job(len(y), backward=True), num_threads, isa)
    _fill(runner.view("y1"), y, "y")
    _fill(runner.view("dy1"), dy, "dy")
    runner.run(since="measured", until="differentiated")
    return runner.view("dy1").copy()


def mse(
    y: npt.ArrayLike,
    target: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> tuple[float, Array]:
    """Return the mean squared error of outputs y, and its gradient: see `losses.MSE`.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, dy = tw.kernels.mse([[3.0], [0.0]], [1.0, 0.0])
    >>> loss, dy.tolist()
    (2.0, [[2.0], [0.0]])
    """
    return _loss(losses.MSE(), y, target, sample_weight, num_threads, isa)


def softmax_cross_entropy(
    y: npt.ArrayLike,
    target: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> tuple[float, Array]:
    """Return the cross entropy of the softmax of logits y, and its gradient: see `losses.CrossEntropy`.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, dy = tw.kernels.softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(loss, 6), dy.tolist()
    (0.693147, [[0.5, -0.5]])
    """
    return _loss(losses.CrossEntropy(), y, target, sample_weight, num_threads, isa)


def binary_cross_entropy(
    y: npt.ArrayLike,
    target: npt.ArrayLike,
    sample_weight: npt.ArrayLike | None = None,
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> tuple[float, Array]:
    """Return the binary cross entropy of the sigmoid of logits y, and its gradient: see `losses.BinaryCrossEntropy`.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, dy = tw.kernels.binary_cross_entropy([[1000.0]], [1])
    >>> loss, dy.tolist()
    (0.0, [[0.0]])
    """
    return _loss(losses.BinaryCrossEntropy(), y, target, sample_weight, num_threads, isa)


def sgd_update(
    w: Array,
    g: Array,
    momentum_buffer: Array | None = None,
    *,
    step: int = 1,
    num_threads: int | None = None,
    isa: str | None = None,
    **settings: Any,
) -> None:
    """Update w, and the momentum buffer, in place: see `SGD`, whose settings are taken by keyword.

    Parameters
    ----------
    w, g, momentum_buffer : array
        C-contiguous, of one shape and of one dtype, float32 or float64; nothing is copied. The buffer goes with
        ``momentum`` and begins as zeros.
    step : int
        1 for the first update of these arrays, which dampening does not touch.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> w = np.ones(3)
    >>> tw.kernels.sgd_update(w, np.full(3, 2.0), lr=0.25)
    >>> w.tolist()
    [0.5, 0.5, 0.5]
    """
    state = {} if momentum_buffer is None else {"momentum_buffer": momentum_buffer}
    _update(SGD(**settings), w, g, state, step, num_threads, isa)


def adam_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    *,
    step: int,
    num_threads: int | None = None,
    isa: str | None = None,
    **settings: Any,
) -> None:
    """Update w, m and v in place: see `Adam`, whose settings are taken by keyword. With v_max it is AMSGrad.

    Parameters
    ----------
    w, g, m, v, v_max : array
        C-contiguous, of one shape and of one dtype, float32 or float64; nothing is copied. State begins as zeros.
    step : int
        1 for the first update of these arrays.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> w, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    >>> tw.kernels.adam_update(w, np.array([3.0, -3.0]), m, v, step=1, lr=0.5)
    >>> w.round(6).tolist()
    [0.5, 1.5]
    """
    _update(Adam(amsgrad=v_max is not None, **settings), w, g, _moments(m, v, v_max), step, num_threads, isa)


def adamw_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array | None = None,
    *,
    step: int,
    num_threads: int | None = None,
    isa: str | None = None,
    **settings: Any,
) -> None:
    """Update w, m and v in place as `adam_update` does, with decoupled weight decay: see `AdamW`."""
    _update(AdamW(amsgrad=v_max is not None, **settings), w, g, _moments(m, v, v_max), step, num_threads, isa)


# ---- how they run ---------------------------------------------------------------------------------------------------


def _runner(
    shape: Shape,
    job: Job,
    num_threads: int | None,
    isa: str | None,
    parameters: Any = None,
    gradients: Any = None,
    slots: tuple[Any, ...] = (),
    flat: int = 0,
) -> Runner:
    if isa is not None and isa not in system.SUPPORTED_ISAS:
        raise ValueError(f"unknown or unsupported isa {isa!r}; there are: {', '.join(system.SUPPORTED_ISAS)}")
    plan = make_plan(shape, job, system.machine(num_threads, probe=False), isa, flat)
    return Runner(_native.Program(plan, parameters, gradients, slots))


def _floats(array: npt.ArrayLike, name: str, ndim: int = 2) -> Array:
    """Return an array to compute in: float32 stays, everything else becomes float64."""
    array = arrays.as_real(array, name)
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {ndim} axes, none of them empty")
    return np.asarray(array, np.float32 if array.dtype == np.float32 else np.float64)


def _dense(
    x: npt.ArrayLike, w: npt.ArrayLike, b: npt.ArrayLike | None, activation: str
) -> tuple[Shape, Array, _native.Block]:
    """Check a layer's arrays; return its shape, x to be read in place, and a block with w and b."""
    _check_activation(activation, ACTIVATIONS)
    w = _floats(w, "w")
    inputs, outputs = w.shape
    x = np.ascontiguousarray(arrays.check_inputs(x, inputs, f"w of shape {w.shape}", "x"), w.dtype)
    layer = Shape(w.dtype.char, inputs, ((True, outputs, activation, b is not None),))
    block = _native.Block(parameter_bytes(layer))
    weight, *bias = parameter_views(block, layer)
    weight[...] = w
    if b is not None:
        _fill(bias[0], b, "b")
    return layer, x, block


def _fill(view: Array, given: npt.ArrayLike, name: str) -> None:
    array = arrays.as_real(given, name)
    if array.shape != view.shape:
        raise ValueError(f"{name} has shape {array.shape}; expected {view.shape}")
    view[...] = array


def _check_activation(activation: str, known: tuple[str, ...]) -> None:
    if activation not in known:
        raise ValueError(f"unknown activation {activation!r}; there are: {', '.join(known)}")


def _elementwise(x: npt.ArrayLike, activation: str, known: tuple[str, ...], name: str) -> tuple[Array, Shape]:
    _check_activation(activation, known)
    x = _floats(x, name)
    return x, Shape(x.dtype.char, x.shape[1], ()).then(activation)


def _loss(
    loss: losses.Loss,
    y: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    num_threads: int | None,
    isa: str | None,
) -> tuple[float, Array]:
    y = _floats(y, "y")
    t, kind = loss.check_targets(target, len(y), y.shape[1], "target")
    weights = arrays.check_weight(weight, len(y))
    job = Job(len(y), loss.name, kind, weights is not None)
    runner = _runner(Shape(y.dtype.char, y.shape[1], ()), job, num_threads, isa)
    runner.run(x=arrays.source(y), y=arrays.source(t), weight=arrays.source(weights))
    if not np.isfinite(runner.losses[0]):
        check_labels(t, kind, np.arange(len(y)), y.shape[1], "target")
    return float(runner.losses[0]), runner.view("dx").copy()


def _moments(m: Array, v: Array, v_max: Array | None) -> dict[str, Array]:
    return {"m": m, "v": v} | ({} if v_max is None else {"v_max": v_max})


def _update(
    optimizer: Optimizer,
    w: Array,
    g: Array,
    state: dict[str, Array],
    step: int,
    num_threads: int | None,
    isa: str | None,
) -> None:
    if tuple(state) != optimizer.state_names:
        raise ValueError(f"{optimizer!r} keeps {optimizer.state_names or 'no state'}, got {tuple(state) or 'none'}")
    if isinstance(step, bool) or not hasattr(step, "__index__") or int(step) < 1:
        raise ValueError(f"step must be a positive integer, got {step!r}")
    for name, array in {"w": w, "g": g, **state}.items():
        _check_in_place(name, array, w, writable=name != "g")
    if w.size == 0:
        return
    job = Job(1, rule=optimizer.rule, backward=True)
    shape = Shape(w.dtype.char, 1, ())
    runner = _runner(shape, job, num_threads, isa, w, g, tuple(state.values()), w.size)
    runner.run(scalars=optimizer.scalars(np.array([int(step) - 1])))


def _check_in_place(name: str, array: Array, w: Array, writable: bool) -> None:
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        raise TypeError(
            f"{name} must be a NumPy array of float32 or float64, got {getattr(array, 'dtype', type(array))}"
        )
    if array.dtype != w.dtype or array.shape != w.shape:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; expected {w.dtype} of shape {w.shape} as w")
    if not array.flags.c_contiguous or not array.flags.aligned or (writable and not array.flags.writeable):
        raise ValueError(f"{name} must be C-contiguous{' and writable' if writable else ''}: it is used in place")
