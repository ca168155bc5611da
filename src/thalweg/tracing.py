"""Traces of networks: one batch forward and back through a graph, layer by layer, for `Sequential.trace`.

Products and sums are the graph's own; activations, losses and the masks of dropout come from the kernels of training, so
that a trace shows what training does. All in float64.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg import _native, arrays, kernels, losses, oneshot
from thalweg.arrays import Array
from thalweg.blocks import Residual
from thalweg.custom import CustomLoss, LossFunction, resolve
from thalweg.errors import NonFiniteLoss
from thalweg.gradient_check import double
from thalweg.graph import Loss, Variable, as_variable, make_node
from thalweg.graph_text import shown
from thalweg.layer import Layer
from thalweg.layers import Activation, Dense, Dropout
from thalweg.model import Sequential
from thalweg.norms import BatchNorm, LayerNorm, Normalize
from thalweg.programs import Job, LayerSpec, Shape

_MOST = 12  # entries of an array that are printed


@dataclass(frozen=True)
class LayerTrace:
    """What one layer did with a batch.

    Attributes
    ----------
    name : str
        Where it is in the model: "layers[0]".
    title : str
        What it is: "Dense(relu)".
    received, put_out : Variable
        `.value` is what came in and went out; `.gradient` that of the loss, over all paths. What the layer got back is
        ``put_out.gradient``.
    parameters : dict of Variable
        By name: "weight", "bias".
    before_activation : Variable or None
        x W + b of a dense layer with an activation.
    """

    name: str
    title: str
    received: Variable
    put_out: Variable
    parameters: dict[str, Variable]
    before_activation: Variable | None = None

    def forward(self) -> Iterator[tuple[str, Any]]:
        """Go through what is known after the forward pass, with a word for each."""
        yield "received", self.received.value
        for name, parameter in self.parameters.items():
            yield name, parameter.value
        if self.before_activation is not None:
            yield "before activation", self.before_activation.value
        yield "put out", self.put_out.value

    def backward(self) -> Iterator[tuple[str, Any]]:
        """Go through the gradients, from the output down."""
        yield "got back", self.put_out.gradient
        if self.before_activation is not None:
            yield "before activation", self.before_activation.gradient
        for name, parameter in self.parameters.items():
            yield f"of {name}", parameter.gradient


@dataclass(frozen=True)
class Trace:
    """One batch through a network and back; printed, every step of it.

    Attributes
    ----------
    layers : tuple of LayerTrace
        In the order of the forward pass; the layers of a `Residual` before itself.
    x, output, loss : Variable
        The batch, what the model put out, and the loss, whose ``graph``, ``to_dot`` and ``plot`` show the whole.
    """

    layers: tuple[LayerTrace, ...]
    x: Variable
    output: Variable
    loss: Variable

    def gradients(self) -> list[Array]:
        """Return the gradients of all parameters, in the order of ``model.parameters``, frozen ones too."""
        return [parameter.gradient for layer in self.layers for parameter in layer.parameters.values()]

    def graph(self) -> str:
        """Return the table of all nodes: see `thalweg.graph.Variable.graph`."""
        return self.loss.graph()

    def to_dot(self) -> str:
        """Return the graph in Graphviz's language."""
        return self.loss.to_dot()

    def plot(self, **settings: Any) -> Any:
        """Draw the graph and return the figure. Needs matplotlib."""
        return self.loss.plot(**settings)

    def __str__(self) -> str:
        """Return the forward pass from the input to the loss, then the gradients from the loss to the input."""
        lines = ["forward"]
        for layer in self.layers:
            lines += [f"  {layer.name}  {layer.title}", *_lines(layer.forward())]
        lines += [
            f"  loss  {self.loss.value:.6g}",
            "backward",
            "  output",
            *_lines([("got back", self.output.gradient)]),
        ]
        for layer in reversed(self.layers):
            lines += [f"  {layer.name}  {layer.title}", *_lines(layer.backward())]
        return "\n".join([*lines, "  input", *_lines([("got back", self.x.gradient)])])


def _lines(pairs: Any) -> list[str]:
    return [f"    {word:<18} {shown(value, _MOST)}" for word, value in pairs]


def trace(
    model: Sequential, x: Any, y: Any, loss: "str | losses.Loss | LossFunction", sample_weight: Any = None
) -> Trace:
    """Send a batch through a model and back: see `Sequential.trace`."""
    judged = resolve(loss)
    judged.check_model(model.shape.outputs, model.last_activation)
    model.check_learned()
    given = np.asarray(model.check_inputs(x, "x"), np.float64)
    target, _ = judged.check_targets(y, len(given), model.shape.outputs)
    weight = arrays.check_weight(sample_weight, len(given), given.dtype)
    if weight is not None and isinstance(judged, CustomLoss):
        raise ValueError(f"sample_weight: {judged.name} weighs rows itself; a loss of thalweg.losses takes weights")
    walk = _Walk(double(model))
    start = Variable(given, "x")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is said below
        output = walk.through(walk.model.layers, start)
        node = _judge(judged, output, target, weight)
    if not np.isfinite(node.value).all():
        rows = np.arange(len(given))
        cause = arrays.find_fault(given, "x", rows) or arrays.find_fault(target, "y", rows) or "x and y are finite"
        raise NonFiniteLoss(f"loss is {node.value}: {cause}", 0, 0)
    node.backward()
    return Trace(tuple(walk.layers), start, output, node)


def _judge(loss: losses.Loss, output: Variable, y: Array, weight: Array | None) -> Variable:
    """Return the node of the loss: an expression's own graph, or one node of a loss that gives its gradient."""
    if isinstance(loss, CustomLoss):
        if isinstance(loss.function, Loss):
            return loss.function.node(output, y)
        value, gradient = loss.call(output.value.copy(), y)
    else:
        value, gradient = oneshot.run_loss(loss, output.value, y, weight, 1, None)
    node = make_node(value, loss.name, (output,), lambda dy: (dy * gradient,))
    node.name = "loss"
    return node


class _Walk:
    """The way forward through layers: each leaves a trace, and stands at its place in the core's list of layers."""

    def __init__(self, model: Sequential) -> None:
        self.model = model
        self.layers: list[LayerTrace] = []
        self.specs: list[LayerSpec] = []

    def through(self, layers: Sequence[Layer], x: Variable, prefix: str = "") -> Variable:
        """Send x through layers, one after another."""
        for number, layer in enumerate(layers):
            x = self._layer(layer, x, f"{prefix}layers[{number}]")
        return x

    def _layer(self, layer: Layer, x: Variable, name: str) -> Variable:
        parameters = {own: Variable(view, f"{name}.{own}") for own, view in layer.own_parameters()}
        before = None
        if isinstance(layer, Residual):
            y, parameters = x + self.through(layer.layers, x, f"{name}."), {}
            self.specs.append(LayerSpec("add", x.shape[1], 0, 0))
        elif isinstance(layer, Dense):
            before = _named(_affine(x, parameters), f"{name}.z")
            y = _activate(before, layer.activation)
        else:
            y = self._plain(layer, x, parameters)
        if not isinstance(layer, Residual):
            layer.lower(self.specs, 0, x.shape[1])
        title = "Residual" if isinstance(layer, Residual) else layer.title()
        before = None if before is y else before
        self.layers.append(LayerTrace(name, title, x, y if y is x else _named(y, name), parameters, before))
        return y

    def _plain(self, layer: Layer, x: Variable, parameters: dict[str, Variable]) -> Variable:
        """Apply a layer that keeps the number of columns."""
        if isinstance(layer, Activation):
            return _activate(x, layer.activation)
        if isinstance(layer, Dropout):
            return x * _mask(self.specs, layer, x.shape, self.model.seed)
        if isinstance(layer, Normalize):
            return (x - layer.mean) / layer.std
        if isinstance(layer, BatchNorm) and not layer.trainable:
            hat = (x - layer.mean) / np.sqrt(layer.variance + layer.eps)
        elif isinstance(layer, (BatchNorm, LayerNorm)):
            hat = _standardise(x, layer.eps, 0 if isinstance(layer, BatchNorm) else 1)
        else:
            raise TypeError(f"trace: no such layer: {layer!r}")
        return hat * parameters["weight"] + parameters["bias"]


def _named(node: Variable, name: str) -> Variable:
    node.name = name
    return node


def _affine(x: Variable, parameters: dict[str, Variable]) -> Variable:
    product = x @ parameters["weight"]
    return product + parameters["bias"] if "bias" in parameters else product


def _activate(z: Variable, activation: str) -> Variable:
    if activation == "identity":
        return z
    y = kernels.activation_forward(z.value, activation, num_threads=1)
    kept = z.value if activation in _native.KEEPS_INPUT else y

    def backward(dy: Array) -> tuple[Array]:
        return (kernels.activation_backward(dy, kept, activation, num_threads=1),)

    return make_node(y, activation, (z,), backward)


def _standardise(x: Variable, eps: float, axis: int) -> Variable:
    """Return (x - mean) / sqrt(variance + eps) along an axis; mean and variance pass gradients on as well."""
    centred = x.value - x.value.mean(axis, keepdims=True)
    scale = 1 / np.sqrt((centred**2).mean(axis, keepdims=True) + eps)
    hat = centred * scale

    def backward(dy: Array) -> tuple[Array]:
        return (scale * (dy - dy.mean(axis, keepdims=True) - hat * (dy * hat).mean(axis, keepdims=True)),)

    return make_node(hat, "standardise", (x,), backward)


def _mask(before: list[LayerSpec], layer: Dropout, shape: tuple[int, ...], seed: int) -> Variable:
    """Return what the core multiplies by in step 0: it drops of ones, at the same place in a list of layers."""
    rows, width = shape
    specs = [LayerSpec("activation", width, place) for place in range(len(before))]
    layer.lower(specs, len(before), width)
    job = Job(rows, backward=True, input_gradient=True)
    runner = oneshot.make_runner(Shape("d", width, tuple(specs)), job, 1, None)
    runner.run(x=arrays.source(np.ones(shape)), until="forwarded", seed=seed, step=0)
    return as_variable(runner.output)
