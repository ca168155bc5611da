"""Small calls, where what surrounds the arithmetic is the time: `predict`, and `fit` before its first step."""

import numpy as np
import pytest

import thalweg as tw
from exact import close
from thalweg.bench.works import WORKS, first_weights, forward, make_data

WORK = WORKS[2]  # 784-128-10
X, Y = make_data(WORK)

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=5)


def make_model():
    """Return its network with its first weights."""
    model = tw.Sequential([tw.Dense(128, activation="relu"), tw.Dense(10)], input_size=784, seed=0)
    model.set_weights(first_weights(WORK))
    return model


@pytest.mark.usefixtures("process_threads")
@pytest.mark.parametrize("rows", [1, 10_000])
def bench_predict(benchmark, measure, rows):
    """Time `predict`; correct are NumPy's outputs."""
    benchmark.group = f"predict, {rows:,} rows of 784-128-10"
    model, x = make_model(), X[:rows]
    exact = forward(WORK, first_weights(WORK), x.astype(np.float64))[-1]
    measure(
        lambda: model.predict(x),
        correct=close([(model.predict(x), exact)]),
        flops=2 * rows * (784 * 128 + 128 * 10),
        samples=rows,
    )


def bench_fit_call(benchmark, measure, threads):
    """Time a call of `fit` that has one step to make, of one row: nearly all of it is the call."""
    benchmark.group = "fit, one row of 784-128-10"
    model = make_model()
    trainer = tw.Trainer(model, loss="cross_entropy", optimizer=tw.SGD(lr=1e-6), num_threads=threads)
    x, y = X[:1], Y[:1]

    def fit():
        trainer.fit(x, y, batch_size=1, verbose=0)

    before = trainer.position.step
    fit()
    measure(fit, correct=trainer.position.step == before + 1, flops=WORK.flops_per_sample, samples=1)
