"""The kernels on their own, on NumPy arrays: programs of one or two steps through the same door as training.

All compute in the dtype of their first array of parameters or outputs (float32 or float64; lists are float64) and take
``num_threads`` (exactly so many; default: what `set_num_threads` says, or what is worth it) and ``isa`` (one of
``tw.info()["isas"]``). Results do not depend on the number of threads.
"""

import numpy as np
import numpy.typing as npt

from thalweg import _native, adaptive_kernels, arrays, loss_kernels, oneshot, update_kernels
from thalweg.adaptive_kernels import *
from thalweg.arrays import Array
from thalweg.layers import ACTIVATIONS
from thalweg.loss_kernels import *
from thalweg.programs import Job, parameter_bytes, parameter_views
from thalweg.update_kernels import *

__all__ = ["activation_backward", "activation_forward", "dense_backward", "dense_forward"]
__all__ += adaptive_kernels.__all__ + loss_kernels.__all__ + update_kernels.__all__


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
        One of those that `Dense` takes.

    Returns
    -------
    array of shape (rows, outputs), of w's dtype

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.kernels.dense_forward([[1.0, 2.0]], [[1.0, 0.0], [0.0, -1.0]], [0.5, 0.5], "relu").tolist()
    [[1.5, 0.0]]
    """
    layer, x, block = oneshot.prepare_dense(x, w, b, activation)
    runner = oneshot.make_runner(layer, Job(len(x), in_place=True), num_threads, isa, block)
    runner.run(x=arrays.source(x), until="forwarded")
    return runner.output.copy()


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
        The layer's output, from `dense_forward`; for "gelu", "gelu_tanh", "silu", "mish" and "hard_swish" the input of
        its activation, x w + b.
    activation : str

    Examples
    --------
    >>> import thalweg as tw
    >>> dx, dw, db = tw.kernels.dense_backward([[1.0]], [[2.0, 3.0]], [[4.0], [5.0]], [[23.0]])
    >>> dx.tolist(), dw.tolist(), db.tolist()
    ([[4.0, 5.0]], [[2.0], [3.0]], [1.0])
    """
    layer, x, block = oneshot.prepare_dense(x, w, np.zeros(np.shape(w)[-1]) if np.ndim(w) else None, activation)
    gradients = _native.Block(parameter_bytes(layer))
    job = Job(len(x), backward=True, input_gradient=True, in_place=True)
    runner = oneshot.make_runner(layer, job, num_threads, isa, block, gradients)
    for view, given, name in ((runner.saved, y, "y"), (runner.output_gradient, dy, "dy")):
        oneshot.fill(view, given, name)
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
    x, shape = oneshot.prepare_elementwise(x, activation, (*ACTIVATIONS, "softmax"), "x")
    runner = oneshot.make_runner(shape, Job(len(x)), num_threads, isa)
    runner.run(x=arrays.source(x), until="forwarded")
    return runner.output.copy()


def activation_backward(
    dy: npt.ArrayLike,
    y: npt.ArrayLike,
    activation: str,
    *,
    num_threads: int | None = None,
    isa: str | None = None,
) -> Array:
    """Return the gradient of an activation's input, dy * activation'(input).

    Parameters
    ----------
    dy : array of shape (rows, columns)
        Gradient of the activation's output.
    y : array of shape (rows, columns)
        The activation's output, from `activation_forward`; for "gelu", "gelu_tanh", "silu", "mish" and "hard_swish",
        whose derivative is not written in terms of it, the activation's *input*.
    activation : str
        For "softmax" the gradient of each row is y (dy - sum of dy y).

    Notes
    -----
    At a kink it is what torch says: 0 for relu, relu6, hard_tanh and hard_sigmoid, the slope 0.01 for leaky_relu.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.kernels.activation_backward([[1.0, 1.0]], [[0.5, 0.0]], "sigmoid").tolist()
    [[0.25, 0.0]]
    """
    y, shape = oneshot.prepare_elementwise(y, activation, (*ACTIVATIONS, "softmax"), "y")
    runner = oneshot.make_runner(shape, Job(len(y), backward=True, input_gradient=True), num_threads, isa)
    for view, given, name in (
        (runner.view("x"), y, "y"),
        (runner.output, y, "y"),
        (runner.output_gradient, dy, "dy"),
    ):
        oneshot.fill(view, given, name)
    runner.run(since="measured", until="differentiated")
    return runner.view("dx").copy()
