"""Every kernel of `tw.kernels` on arrays of float32, against its float64 twin of the tests before it is timed.

A call checks its arguments, plans, and copies weights and results: that is part of the time. Flops are counted by the
formulas, a division, root, exponential or normal distribution as one. A public kernel that no table knows is an error.
"""

import numpy as np
import pytest
import reference

import thalweg as tw
from exact import close, draw
from thalweg import layers

ROWS, UNITS = 256, 1024  # of elementwise kernels and losses
PARAMETERS = 1_000_000
SHAPES = [(32, 784, 128), (256, 784, 128), (512, 512, 512)]  # rows, inputs, outputs

ACTIVATIONS = {  # flops forward and back
    "identity": (0, 0), "relu": (1, 1), "leaky_relu": (2, 2), "relu6": (2, 3), "elu": (3, 3), "selu": (4, 4),
    "softplus": (5, 3), "tanh": (4, 3), "hard_tanh": (2, 3), "sigmoid": (3, 3), "hard_sigmoid": (4, 3), "gelu": (2, 7),
    "gelu_tanh": (8, 14), "silu": (4, 7), "mish": (6, 12), "hard_swish": (5, 5), "softmax": (4, 4),
}  # fmt: skip
LOSSES = {  # by kernel: kind of targets, classes, flops
    "mse": [("values", UNITS, 4)],
    "mae": [("values", UNITS, 4)],
    "huber": [("values", UNITS, 7)],
    "quantile": [("values", UNITS, 5)],
    "poisson": [("counts", UNITS, 5)],
    "softmax_cross_entropy": [("labels", 10, 6), ("labels", UNITS, 6), ("shares", UNITS, 8)],
    "binary_cross_entropy": [("shares", UNITS, 10)],
    "hinge": [("yes_no", UNITS, 4)],
    "squared_hinge": [("yes_no", UNITS, 6)],
}
UPDATES = {  # by kernel: optimizer, settings, flops
    "sgd_update": [("SGD", {}, 4), ("SGD", {"momentum": 0.9}, 6)],
    "adam_update": [("Adam", {}, 14), ("Adam", {"amsgrad": True}, 15)],
    "adamw_update": [("AdamW", {"weight_decay": 0.5}, 14)],
    "adamax_update": [("Adamax", {}, 10)],
    "nadam_update": [("NAdam", {}, 16)],
    "radam_update": [("RAdam", {}, 14)],
    "rmsprop_update": [("RMSprop", {}, 10), ("RMSprop", {"centered": True, "momentum": 0.9}, 16)],
    "adagrad_update": [("Adagrad", {}, 8)],
    "adadelta_update": [("Adadelta", {}, 16)],
    "rprop_update": [("Rprop", {}, 7)],
    "lion_update": [("Lion", {}, 10)],
    "schedule_free_adamw_update": [("ScheduleFreeAdamW", {}, 17)],
}

LAYERS = ("activation_backward", "activation_forward", "dense_backward", "dense_forward")
OTHERS = [kernel for kernel in tw.kernels.__all__ if kernel not in LAYERS]

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=3)
generator = np.random.default_rng(40)


def cases(table, kernels):
    """Go through the kernels of a kind and their entries in a table."""
    return [pytest.param(kernel, *case, id=name_case(kernel, case)) for kernel in kernels for case in table[kernel]]


def name_case(kernel, case):
    """Return "softmax_cross_entropy labels 10" or "sgd_update momentum"."""
    words = case[1] if isinstance(case[1], dict) else case[:2]
    return " ".join([kernel, *map(str, words)])


@pytest.mark.parametrize("activation", ["identity", "relu"])
@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def bench_dense_forward(benchmark, measure, threads, rows, inputs, outputs, activation):
    """Time one layer's outputs."""
    benchmark.group = f"dense_forward {rows}x{inputs}x{outputs}"
    x, w, b = draw(rows, inputs), draw(inputs, outputs), draw(outputs)

    def call():
        return tw.kernels.dense_forward(x, w, b, activation, num_threads=threads)

    correct = close([(call(), reference.dense_forward(x, w, b, activation))])
    measure(call, correct=correct, flops=2 * x.size * outputs)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SHAPES)
def bench_dense_backward(benchmark, measure, threads, rows, inputs, outputs):
    """Time one layer's three gradients."""
    benchmark.group = f"dense_backward {rows}x{inputs}x{outputs}"
    x, w, y, dy = draw(rows, inputs), draw(inputs, outputs), draw(rows, outputs), draw(rows, outputs)

    def call():
        return tw.kernels.dense_backward(dy, x, w, y, "relu", num_threads=threads)

    correct = close(zip(call(), reference.dense_backward(dy, x, w, y, "relu"), strict=True))
    measure(call, correct=correct, flops=4 * x.size * outputs)


@pytest.mark.parametrize("activation", [*layers.ACTIVATIONS, "softmax"])
def bench_activation_forward(benchmark, measure, threads, activation):
    """Time an activation of its own."""
    benchmark.group = f"activation_forward {ROWS}x{UNITS}"
    x = draw(ROWS, UNITS)

    def call():
        return tw.kernels.activation_forward(x, activation, num_threads=threads)

    correct = close([(call(), forward(activation)(x.astype(np.float64)))])
    measure(call, correct=correct, flops=ACTIVATIONS[activation][0] * x.size, data=2 * x.nbytes)


@pytest.mark.parametrize("activation", [*layers.ACTIVATIONS, "softmax"])
def bench_activation_backward(benchmark, measure, threads, activation):
    """Time an activation's gradient."""
    benchmark.group = f"activation_backward {ROWS}x{UNITS}"
    x, dy = draw(ROWS, UNITS), draw(ROWS, UNITS)
    kept = x if activation in reference.KEEPS_INPUT else forward(activation)(x).astype(np.float32)

    def call():
        return tw.kernels.activation_backward(dy, kept, activation, num_threads=threads)

    if activation == "softmax":
        exact = reference.softmax_backward(dy, kept)
    else:
        exact = dy * reference.ACTIVATIONS[activation][1](kept.astype(np.float64))
    flops = ACTIVATIONS[activation][1] * x.size
    measure(call, correct=close([(call(), exact)]), flops=flops, data=3 * x.nbytes)


def forward(activation):
    """Return the twin of an activation."""
    return reference.softmax if activation == "softmax" else reference.ACTIVATIONS[activation][0]


def draw_targets(kind, classes):
    """Draw targets of a kind for all rows."""
    return {
        "values": lambda: draw(ROWS, classes),
        "counts": lambda: generator.poisson(2.0, (ROWS, classes)),
        "yes_no": lambda: generator.integers(0, 2, (ROWS, classes)),
        "labels": lambda: generator.integers(0, classes, ROWS),
        "shares": lambda: reference.softmax(draw(ROWS, classes)),
    }[kind]()


@pytest.mark.parametrize(
    ("kernel", "targets", "classes", "flops"),
    cases(LOSSES, [kernel for kernel in OTHERS if not kernel.endswith("_update")]),
)
def bench_loss(benchmark, measure, threads, kernel, targets, classes, flops):
    """Time a loss with its gradient."""
    benchmark.group = f"losses {ROWS}x{classes}"
    y, target = draw(ROWS, classes), draw_targets(targets, classes)

    def call():
        return getattr(tw.kernels, kernel)(y, target, num_threads=threads)

    exact = reference.LOSSES[kernel.removeprefix("softmax_")](y, target)
    correct = close(zip(call(), exact, strict=True))
    measure(call, correct=correct, flops=flops * y.size, data=2 * y.nbytes + target.nbytes)


@pytest.mark.parametrize(
    ("kernel", "name", "settings", "flops"), cases(UPDATES, [kernel for kernel in OTHERS if kernel.endswith("_update")])
)
def bench_update(benchmark, measure, threads, kernel, name, settings, flops):
    """Time an optimizer's update of a million parameters, in place."""
    benchmark.group = f"updates of {PARAMETERS:,}"
    optimizer = getattr(tw, name)(**settings)
    w, g = draw(PARAMETERS), draw(PARAMETERS)
    state = {key: begin(optimizer, key, w) for key in optimizer.state_names}
    given = {key: value for key, value in settings.items() if key != "amsgrad"}  # that is said by v_max
    exact_state = {}
    exact = reference.OPTIMIZERS[name](w.astype(np.float64), g.astype(np.float64), exact_state, 1, **settings)

    def call():
        getattr(tw.kernels, kernel)(w, g, **state, step=1, num_threads=threads, **given)

    call()
    pairs = [(array, exact_state["b" if name == "SGD" else key]) for key, array in state.items()]
    data = (3 + 2 * len(state)) * w.nbytes
    measure(call, correct=close([(w, exact), *pairs]), flops=flops * PARAMETERS, data=data)


def begin(optimizer, key, w):
    """Return the state that the first update begins with."""
    value = optimizer.beginnings().get(key, 0.0)
    return w.copy() if value is None else np.full_like(w, value)
