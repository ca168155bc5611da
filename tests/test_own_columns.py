"""Columns in each thread's own memory, those of the first layer for the length of a slice: the same bits, and nothing is lost."""

import numpy as np
import pytest
from bits import everything

import thalweg as tw

ROWS, INPUTS, UNITS = 210, 301, 144  # 9 x 16 columns: no even parts for 2 or 4 threads
OPTIMIZERS = {
    "sgd": lambda: tw.SGD(lr=0.05),
    "momentum": lambda: tw.SGD(lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda: tw.Adam(lr=1e-3, clip_value=0.5, average=0.9),
    "rprop": lambda: tw.Rprop(lr=1e-3),
}


def data():
    generator = np.random.default_rng(4)
    return generator.normal(size=(ROWS, INPUTS)), generator.integers(0, 5, ROWS)


def trained(optimizer, threads, *, dtype="float32", units=UNITS, batch=3, slice_steps=None, bad_row=None):
    x, y = data()
    if bad_row is not None:
        x[bad_row, 0] = np.nan
    model = tw.Sequential([tw.Dense(units, "tanh"), tw.Dense(33, "relu"), tw.Dense(5)], INPUTS, dtype=dtype, seed=1)
    trainer = tw.Trainer(model, "cross_entropy", OPTIMIZERS[optimizer]())
    trainer.slice_steps = slice_steps
    fit = {"batch_size": batch, "epochs": 3, "shuffle": bad_row is None, "verbose": 0, "num_threads": threads}
    if bad_row is None:
        trainer.fit(x, y, **fit)
    else:
        with pytest.raises(tw.NonFiniteLoss):
            trainer.fit(x, y, **fit)
    return trainer


def own(trainer):
    return ["own columns" in runner.program.plan.describe() for runner in trainer._runners.values()]


def same(a, b):
    return all(np.array_equal(one, other) for one, other in zip(everything(a), everything(b), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_and_state_keep_their_bits(optimizer, dtype):
    one = trained(optimizer, 1, dtype=dtype)
    assert not any(own(one))
    for threads in (2, 3, 4):
        many = trained(optimizer, threads, dtype=dtype, slice_steps=64)
        assert any(own(many))
        assert same(one, many)


NETWORKS = {  # layers, and what lies apart of the first
    "product": (lambda: [tw.Dense(UNITS, "gelu"), tw.Dense(33, "relu"), tw.Dense(5)], {"dy1"}),
    "elementwise": (
        lambda: [tw.Dense(UNITS, "gelu"), tw.Dropout(0.3), tw.Activation("hard_swish"), tw.Dense(5)],
        {"y1", "z1", "dy1"},
    ),
    "norm": (
        lambda: [tw.Dense(UNITS, "gelu"), tw.BatchNorm(), tw.Activation("gelu"), tw.Dense(5)],
        {"y1", "z1", "dy1"},
    ),
    "residual": (
        lambda: [tw.Dense(UNITS, "gelu"), tw.Residual([tw.Activation("tanh")]), tw.Dense(5)],
        {"y1", "z1", "dy1"},
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch", [3, 21])
def test_what_lies_apart_keeps_its_bits(batch, network, optimizer, dtype):
    """Gradients, and values that only elementwise layers and norms read, of 144 units: 64 or 80, 48, 32 or 48 a thread.

    Three rows a step with SGD are steps of a block, which one thread may make, of batch norm's all threads.
    """
    x, y = data()
    layers, apart = NETWORKS[network]
    weights = []
    for threads in (1, 2, 3, 4):
        model = tw.Sequential(layers(), INPUTS, dtype=dtype, seed=1)
        trainer = tw.Trainer(model, "cross_entropy", OPTIMIZERS[optimizer](), num_threads=threads)
        trainer.fit(x, y, batch_size=batch, epochs=2, verbose=0)
        plans = [runner.program.plan.describe() for runner in trainer._runners.values()]
        for name in ("y1", "z1", "dy1"):
            lies_apart = threads > 1 and name in apart
            assert batch < 21 or all((f" {name} ({batch}, {UNITS}) apart" in plan) == lies_apart for plan in plans)
        weights.append(model.get_weights())
    for other in weights[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(weights[0], other, strict=True))


def test_there_is_no_view_of_what_lies_apart():
    programs = [runner.program for runner in trained("adam", 2)._runners.values()]
    for program in programs:
        with pytest.raises(ValueError, match="dy1 lies apart, in as many places as there are threads"):
            program.buffer("dy1")
        assert program.buffer("y1") is not None
        assert program.buffer("no such buffer") is None


def test_slices_with_and_without_take_turns():
    """67 steps of an epoch's 70 find their columns in memory of the threads, the rest does not."""
    trainer = trained("adam", 2, slice_steps=67)
    assert sorted(own(trainer)) == [False, True]
    assert same(trained("adam", 1), trainer)


def test_threads_that_own_nothing():
    trainer = trained("sgd", 4, units=48)
    assert any(own(trainer))
    assert same(trained("sgd", 1, units=48), trainer)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_that_fails_leaves_the_steps_before_it(optimizer):
    one, two = (trained(optimizer, threads, slice_steps=70, bad_row=3 * 66 + 1) for threads in (1, 2))
    assert one.position.step == two.position.step == 66
    assert any(own(two))
    assert same(one, two)


def test_single_steps_do_not_move_columns():
    x, y = data()
    trainer = trained("adam", 2, slice_steps=64)
    trainer._runners.clear()
    trainer.step(x[:3], y[:3])
    assert own(trainer) == [False]
