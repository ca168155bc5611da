"""The kernels of layers and losses on arrays of float32, against plain NumPy in float64 before they are timed.

A call checks its arguments, plans, and copies weights and results: that is part of the time. Flops are counted by the
formulas, a division, root or exponential as one.
"""

import numpy as np
import pytest

import thalweg as tw
from exact import close, draw

ROWS, UNITS = 256, 1024  # of elementwise kernels and losses
ACTIVATIONS = {  # forward, derivative by the output y, flops of each
    "identity": (lambda x: x, lambda y: np.ones_like(y), 0, 0),
    "relu": (lambda x: np.maximum(x, 0), lambda y: (y > 0) * 1.0, 1, 1),
    "tanh": (np.tanh, lambda y: 1 - y * y, 4, 3),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y), 3, 3),
}

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=3)
generator = np.random.default_rng(40)


def softmax(x):
    """Take the softmax over rows."""
    shares = np.exp(x - x.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("activation", ["identity", "relu"])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(32, 784, 128), (256, 784, 128), (512, 512, 512)])
def bench_dense_forward(benchmark, measure, threads, rows, inputs, outputs, activation):
    """Time one layer's outputs."""
    benchmark.group = f"dense_forward {rows}x{inputs}x{outputs}"
    x, w, b = draw(rows, inputs), draw(inputs, outputs), draw(outputs)
    exact = ACTIVATIONS[activation][0](x.astype(np.float64) @ w + b)

    def call():
        return tw.kernels.dense_forward(x, w, b, activation, num_threads=threads)

    measure(call, correct=close([(call(), exact)]), flops=2 * x.size * outputs)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(32, 784, 128), (256, 784, 128), (512, 512, 512)])
def bench_dense_backward(benchmark, measure, threads, rows, inputs, outputs):
    """Time one layer's three gradients."""
    benchmark.group = f"dense_backward {rows}x{inputs}x{outputs}"
    x, w, y, dy = draw(rows, inputs), draw(inputs, outputs), draw(rows, outputs), draw(rows, outputs)
    dz = (dy * (y > 0)).astype(np.float64)

    def call():
        return tw.kernels.dense_backward(dy, x, w, y, "relu", num_threads=threads)

    correct = close(zip(call(), (dz @ w.T, x.T @ dz, dz.sum(axis=0)), strict=True))
    measure(call, correct=correct, flops=4 * x.size * outputs)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "softmax"])
def bench_activation_forward(benchmark, measure, threads, activation):
    """Time an activation of its own."""
    benchmark.group = f"activation_forward {ROWS}x{UNITS}"
    x = draw(ROWS, UNITS)
    formula, _, flops, _ = ACTIVATIONS.get(activation, (softmax, None, 4, None))

    def call():
        return tw.kernels.activation_forward(x, activation, num_threads=threads)

    correct = close([(call(), formula(x.astype(np.float64)))])
    measure(call, correct=correct, flops=flops * x.size, data=2 * x.nbytes)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def bench_activation_backward(benchmark, measure, threads, activation):
    """Time an activation's gradient."""
    benchmark.group = f"activation_backward {ROWS}x{UNITS}"
    formula, derivative, _, flops = ACTIVATIONS[activation]
    y, dy = formula(draw(ROWS, UNITS)), draw(ROWS, UNITS)

    def call():
        return tw.kernels.activation_backward(dy, y, activation, num_threads=threads)

    correct = close([(call(), dy * derivative(y.astype(np.float64)))])
    measure(call, correct=correct, flops=flops * y.size, data=3 * y.nbytes)


def exact_mse(y, target):
    """Return loss and gradient."""
    return np.mean((y - target) ** 2), 2 * (y - target) / y.size


def exact_cross_entropy(y, target):
    """Return loss and gradient, of labels or probabilities."""
    target = np.eye(y.shape[1])[target] if target.ndim == 1 else target
    shares = softmax(y)
    return -np.sum(target * np.log(shares)) / len(y), (shares * target.sum(axis=1, keepdims=True) - target) / len(y)


def exact_binary_cross_entropy(y, target):
    """Return loss and gradient."""
    loss = np.maximum(y, 0) - y * target + np.log1p(np.exp(-np.abs(y)))
    return loss.mean(), (1 / (1 + np.exp(-y)) - target) / y.size


@pytest.mark.parametrize(
    ("kernel", "exact", "targets", "classes", "flops"),
    [
        pytest.param("mse", exact_mse, "values", UNITS, 4, id="mse"),
        pytest.param("softmax_cross_entropy", exact_cross_entropy, "labels", 10, 6, id="labels-10"),
        pytest.param("softmax_cross_entropy", exact_cross_entropy, "labels", UNITS, 6, id="labels-1024"),
        pytest.param("softmax_cross_entropy", exact_cross_entropy, "shares", UNITS, 8, id="shares-1024"),
        pytest.param("binary_cross_entropy", exact_binary_cross_entropy, "shares", UNITS, 10, id="binary"),
    ],
)
def bench_loss(benchmark, measure, threads, kernel, exact, targets, classes, flops):
    """Time a loss with its gradient."""
    benchmark.group = f"losses {ROWS}x{classes}"
    y = draw(ROWS, classes)
    target = {
        "values": lambda: draw(ROWS, classes),
        "labels": lambda: generator.integers(0, classes, ROWS),
        "shares": lambda: softmax(draw(ROWS, classes)),
    }[targets]()

    def call():
        return getattr(tw.kernels, kernel)(y, target, num_threads=threads)

    correct = close(zip(call(), exact(y.astype(np.float64), target), strict=True))
    measure(call, correct=correct, flops=flops * y.size, data=2 * y.nbytes + target.nbytes)
