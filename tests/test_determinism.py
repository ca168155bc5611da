"""One seed, the same bits: threads, slices, fusion, ISA, run, process, resume."""

import os
import subprocess
import sys

import numpy as np
import pytest
from bits import isas_of_same_bits

import thalweg as tw

LAYERS = {"small": (37, [64, 10]), "deep": (20, [96, 40, 33, 7]), "linear": (17, [3]), "one": (9, [32, 1])}
SETTINGS = [
    # net, loss, optimizer, batch
    ("small", "cross_entropy", "Adam", 32),
    ("small", "cross_entropy", "SGD", 1),
    ("small", "binary_cross_entropy", "AdamW", "full"),
    ("deep", "mse", "SGD", 70),
    ("deep", "cross_entropy", "AMSGrad", 9),
    ("linear", "cross_entropy", "SGD", 16),
    ("one", "mse", "Adam", 64),
]


def optimizer_of(name):
    """A fresh optimizer."""
    return {
        "SGD": tw.SGD(lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4),
        "Adam": tw.Adam(lr=1e-2),
        "AdamW": tw.AdamW(lr=1e-2),
        "AMSGrad": tw.Adam(lr=1e-2, amsgrad=True),
    }[name]


def data_of(net, loss, dtype, rows=1234):
    """Random data: rows fill neither batches nor chunks of 512."""
    inputs, units = LAYERS[net]
    rng = np.random.default_rng(7)
    x = rng.normal(size=(rows, inputs)).astype(dtype)
    y = rng.integers(0, units[-1], rows) if loss == "cross_entropy" else rng.random((rows, units[-1]))
    return x, y


def trained(net, loss, optimizer, batch, dtype="float32", threads=1, fused=True, slice_steps=None, isa=None, epochs=2):
    """Bits of all weights and losses after a training."""
    inputs, units = LAYERS[net]
    layers = [*(tw.Dense(n, "tanh") for n in units[:-1]), tw.Dense(units[-1])]
    model = tw.Sequential(layers, inputs, seed=3, dtype=dtype)
    trainer = tw.Trainer(model, loss=loss, optimizer=optimizer_of(optimizer), fused=fused, num_threads=threads, isa=isa)
    trainer.slice_steps = slice_steps
    x, y = data_of(net, loss, dtype)
    history = trainer.fit(x, y, batch_size=batch, epochs=epochs)
    outputs = model.predict(x[:9])
    return b"".join(p.tobytes() for p in model.get_weights()), history.history["loss"], outputs.tobytes()


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_threads(setting, dtype):
    assert len({str(trained(*setting, dtype, threads=threads)) for threads in (1, 2, 3, 4)}) == 1


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_fused_and_unfused(setting, threads):
    assert trained(*setting, threads=threads) == trained(*setting, threads=threads, fused=False)


# each way to update from few rows, and the sizes at which the next one begins
@pytest.mark.parametrize("inputs", [1, 5, 6, 8, 15, 29])
@pytest.mark.parametrize(
    ("units", "batch", "optimizer"),
    [
        (7, 4, tw.Adam(lr=1e-2)),
        (80, 4, tw.Adam(lr=1e-2)),
        (7, 128, tw.Adam(lr=1e-2)),
        (7, 129, tw.Adam(lr=1e-2)),
        (256, 32, tw.Adam(lr=1e-2)),
        (256, 33, tw.Adam(lr=1e-2)),
        (257, 5, tw.SGD(lr=0.05, momentum=0.9)),
        (257, 16, tw.SGD(lr=0.05)),
        (257, 17, tw.SGD(lr=0.05)),
        (257, 256, tw.SGD(lr=0.05)),  # in the tiles of gemm.hpp, which end here with AVX2
        (257, 257, tw.SGD(lr=0.05)),
        (257, 512, tw.SGD(lr=0.05)),  # one chunk of rows
        (257, 513, tw.SGD(lr=0.05)),
    ],
    ids=str,
)
def test_updates_from_few_rows(inputs, units, batch, optimizer, dtype):
    rng = np.random.default_rng(11)
    rows = batch + max(1, 130 - batch)  # at least one whole batch, and a tail
    x, y = rng.normal(size=(rows, inputs)).astype(dtype), rng.normal(size=(rows, units)).astype(dtype)
    results = set()
    for isa in isas_of_same_bits():
        for threads, fused in ((1, True), (2, True), (1, False)):
            model = tw.Sequential([tw.Dense(units)], inputs, seed=3, dtype=dtype)
            trainer = tw.Trainer(model, "mse", optimizer, fused=fused, num_threads=threads, isa=isa)
            trainer.fit(x, y, batch_size=batch, epochs=2)
            results.add(bytes(model.block))
    assert len(results) == 1


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_slices(setting):
    assert len({str(trained(*setting, threads=2, slice_steps=n)) for n in (1, 7, 10**6)}) == 1


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_isas_with_fma(setting, dtype):
    isas = isas_of_same_bits()
    assert len({str(trained(*setting, dtype, isa=isa)[:2]) for isa in isas}) == 1


def test_wide_layers_and_long_batches(isa, dtype):
    # K beyond the depth of a product (800, 256 on AVX2), several chunks of 512 rows, 3 threads that do not divide anything
    results = set()
    for threads, fused in ((1, True), (2, True), (3, False), (4, True)):
        model = tw.Sequential([tw.Dense(70, "relu"), tw.Dense(1030, "relu"), tw.Dense(18)], 1100, seed=1, dtype=dtype)
        trainer = tw.Trainer(model, "cross_entropy", tw.SGD(lr=0.1), fused=fused, num_threads=threads, isa=isa)
        rng = np.random.default_rng(0)
        trainer.fit(rng.normal(size=(1300, 1100)), rng.integers(0, 18, 1300), batch_size=650, epochs=1)
        results.add(b"".join(p.tobytes() for p in model.get_weights()))
    assert len(results) == 1


def test_sample_weights(dtype):
    x, y = data_of("small", "cross_entropy", dtype)
    weight = np.random.default_rng(1).random(len(x))
    weight[:200] = 0
    results = set()
    for threads, fused, steps in ((1, True, None), (2, True, 3), (3, False, 5), (4, True, 1)):
        model = tw.Sequential([tw.Dense(64, "relu"), tw.Dense(10)], 37, seed=3, dtype=dtype)
        trainer = tw.Trainer(model, "cross_entropy", tw.Adam(), fused=fused, num_threads=threads)
        trainer.slice_steps = steps
        trainer.fit(x, y, sample_weight=weight, shuffle=False, epochs=1, batch_size=50)  # whole batches weigh nothing
        results.add(b"".join(p.tobytes() for p in model.get_weights()))
    assert len(results) == 1


def test_gradients_and_apply_are_a_step(dtype):
    for net, loss, optimizer, batch in SETTINGS:
        inputs, units = LAYERS[net]
        x, y = data_of(net, loss, dtype, 100 if batch == "full" else batch)
        results = []
        for by_hand in (False, True):
            model = tw.Sequential([tw.Dense(n, "relu") for n in units], inputs, seed=3, dtype=dtype)
            trainer = tw.Trainer(model, loss=loss, optimizer=optimizer_of(optimizer))
            for _ in range(3):
                trainer.apply(trainer.gradients(x, y)) if by_hand else trainer.step(x, y)
            assert trainer.position.step == 3
            results.append(b"".join(p.tobytes() for p in model.get_weights()))
        assert results[0] == results[1]


def test_a_prediction_does_not_depend_on_its_neighbours(isa, dtype):
    model = tw.Sequential([tw.Dense(130, "tanh"), tw.Dense(1)], 1100, seed=0, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(40, 1100)).astype(dtype)
    together = model.predict(x)
    for first, rows in ((0, 1), (7, 3), (11, 16), (20, 20)):
        np.testing.assert_array_equal(
            model.predict(x[first : first + rows], num_threads=2), together[first : first + rows]
        )


def test_layout_and_dtype_of_the_data_do_not_matter():
    x = np.random.default_rng(0).integers(-5, 5, (300, 12)).astype(np.float64)
    y = np.random.default_rng(1).integers(0, 3, 300)
    forms = [
        x, x.astype(np.float32), np.asfortranarray(x), x.astype(np.int8), x.astype(np.int64),
        np.repeat(x, 2, axis=1)[:, ::2], x[::-1][::-1], np.repeat(x, 3, axis=0)[::3],
    ]  # fmt: skip
    results = set()
    for form in forms:
        for batch in (32, "full"):
            model = tw.Sequential([tw.Dense(16, "relu"), tw.Dense(3)], 12, seed=0)
            model.fit(form, y, loss="cross_entropy", optimizer=tw.Adam(), batch_size=batch, epochs=2)
            results.add((batch, model.predict(form).tobytes()))
    assert len(results) == 2


RESUME = """
import sys
import numpy as np
import thalweg as tw
rng = np.random.default_rng(0)
x, y = rng.normal(size=(500, 20)), rng.integers(0, 4, 500)
model = tw.Sequential([tw.Dense(32, "relu"), tw.Dense(4)], 20, seed=9)
trainer = tw.Trainer(model, "cross_entropy", tw.Adam(lr=0.01, amsgrad=True))
if sys.argv[1] == "second":
    trainer.load(sys.argv[2])
epochs = {"whole": 6, "first": 3, "second": 3}[sys.argv[1]]
history = trainer.fit(x, y, batch_size=48, epochs=epochs)
if sys.argv[1] == "first":
    trainer.save(sys.argv[2])
print(history.epoch, history.history["loss"][-1], [p.tobytes().hex()[:64] for p in model.get_weights()], trainer.position)
"""


def test_resume_in_a_new_process(tmp_path):
    def run(part):
        command = [sys.executable, "-c", RESUME, part, str(tmp_path / "half.npz")]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout

    whole, first, second = run("whole"), run("first"), run("second")
    assert first.startswith("[0, 1, 2]")
    assert second.replace("[3, 4, 5]", "") == whole.replace("[0, 1, 2, 3, 4, 5]", "")
    assert run("whole") == whole
