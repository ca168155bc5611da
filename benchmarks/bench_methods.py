"""The three update methods on one network, 784-128-10: full batch, stochastic, and mini-batches."""

from dataclasses import replace

import numpy as np
import pytest

import thalweg as tw
from thalweg.bench.works import WORKS, make_data

WORK = replace(WORKS[2], rows=4096)  # its network and its kind of data
X, Y = make_data(WORK)


@pytest.mark.benchmark(max_time=0.3, min_rounds=3)
@pytest.mark.parametrize(
    ("batch_size", "lr"),
    [("full", 1e-1), (1, 1e-3), (8, 3e-3), (32, 1e-2), (128, 3e-2), (512, 1e-1)],
    ids=["full_batch", "stochastic", "minibatch8", "minibatch32", "minibatch128", "minibatch512"],
)
def bench_epoch(benchmark, measure, threads, batch_size, lr):
    """Time one epoch of SGD, shuffled, as `fit` does it; correct is a loss that falls from epoch to epoch."""
    benchmark.group = f"784-128-10, batch {batch_size}"
    layers = [tw.Dense(128, activation="relu"), tw.Dense(10)]
    model = tw.Sequential(layers, input_size=784, seed=0)
    trainer = tw.Trainer(model, loss="cross_entropy", optimizer=tw.SGD(lr=lr), num_threads=threads)

    def train(epochs=1):
        return trainer.fit(X, Y, batch_size=batch_size, epochs=epochs, verbose=0).history["loss"]

    losses = train(epochs=3)
    falls = bool(np.all(np.diff(losses) < 0))
    measure(train, correct=falls, flops=WORK.flops_per_sample * len(X), samples=len(X))
    benchmark.extra_info["loss"] = train()[-1]
    assert benchmark.extra_info["loss"] < losses[0]
