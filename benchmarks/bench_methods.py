"""Training, by epochs: the three update methods on one network, shuffled, and all works of ``thalweg bench`` with few rows."""

from dataclasses import replace

import numpy as np
import pytest

import thalweg as tw
from thalweg.bench import figures, twin
from thalweg.bench.contestants.thalweg_ import Thalweg
from thalweg.bench.works import WORKS, make_data, mean_loss

WORK = replace(WORKS[2], rows=4096)  # its network and its kind of data
X, Y = make_data(WORK)

pytestmark = pytest.mark.benchmark(max_time=0.3, min_rounds=3)


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


def with_few_rows(work):
    """Return a work with a full batch of 1024, or two batches and at least 256 rows."""
    rows = 1024 if work.full else max(2 * work.batch, 256)
    return replace(work, rows=rows, batch=rows if work.full else work.batch)


@pytest.mark.usefixtures("process_threads")
@pytest.mark.parametrize("work", [*map(with_few_rows, WORKS)], ids=lambda work: work.name.replace(", ", "_"))
def bench_work(benchmark, measure, work):
    """Time one epoch, not shuffled; correct is the float64 twin's loss after the first one."""
    benchmark.group = f"{work.number}. {work.name}"
    contestant = Thalweg(work)
    contestant.reset()
    contestant.train(1)
    apart = abs(mean_loss(work, contestant.weights()) / twin.loss_after_one_epoch(work) - 1)
    correct = apart <= figures.TOLERANCE
    flops = work.flops_per_sample * work.rows
    measure(lambda: contestant.train(1), correct=correct, flops=flops, samples=work.rows)
