"""Optimizers alone: updates of arrays in place, against plain NumPy in float64 before they are timed.

A million parameters fit in a cache, ten million do not: there the bytes of parameters, gradients and state are the limit.
A call checks its arguments and plans: that is part of the time. Flops are counted by the formulas, a division or root as
one.
"""

import numpy as np
import pytest

import thalweg as tw
from exact import close, draw

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=3)


def exact_sgd(w, g, buffer=None):
    """Make the first update of SGD with lr 0.01, and momentum 0.9 where there is a buffer."""
    if buffer is not None:
        buffer[...] = 0.9 * buffer + g
    w -= 0.01 * (g if buffer is None else buffer)


def exact_adam(w, g, m, v, v_max=None, decay=0.0):
    """Make the first update of Adam with lr 0.01, or of AMSGrad or AdamW."""
    m += 0.1 * (g - m)
    v += 0.001 * (g * g - v)
    if v_max is not None:
        np.maximum(v_max, v, out=v_max)
    root = np.sqrt((v if v_max is None else v_max) / (1 - 0.999)) + 1e-8
    w *= 1 - 0.01 * decay
    w -= 0.01 / (1 - 0.9) * m / root


@pytest.mark.parametrize("parameters", [1_000_000, 10_000_000], ids=["1M", "10M"])
@pytest.mark.parametrize(
    ("kernel", "slots", "settings", "exact", "flops"),
    [
        pytest.param("sgd_update", 0, {}, exact_sgd, 4, id="sgd"),
        pytest.param("sgd_update", 1, {"momentum": 0.9}, exact_sgd, 6, id="momentum"),
        pytest.param("adam_update", 2, {"step": 1}, exact_adam, 14, id="adam"),
        pytest.param("adam_update", 3, {"step": 1}, exact_adam, 15, id="amsgrad"),
        pytest.param(
            "adamw_update", 2, {"step": 1, "weight_decay": 0.5}, lambda *a: exact_adam(*a, decay=0.5), 14, id="adamw"
        ),
    ],
)
def bench_update(benchmark, measure, threads, parameters, kernel, slots, settings, exact, flops):
    """Time an optimizer's update of all parameters, in place."""
    benchmark.group = f"updates of {parameters:,}"
    arrays = [draw(parameters), draw(parameters), *(np.zeros(parameters, np.float32) for _ in range(slots))]
    expected = [array.astype(np.float64) for array in arrays]

    def call():
        getattr(tw.kernels, kernel)(*arrays, lr=0.01, num_threads=threads, **settings)

    call()
    exact(*expected)
    correct = close(zip(arrays, expected, strict=True))
    measure(call, correct=correct, flops=flops * parameters, data=(3 + 2 * slots) * arrays[0].nbytes)
