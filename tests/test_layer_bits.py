"""One seed, the same bits, for layers and step control too: threads, slices, fusion, ISA, resume."""

import numpy as np
import pytest
from bits import isas_of_same_bits

import thalweg as tw


def everything():
    """A network of every layer that there is."""
    return [
        tw.Normalize(),
        tw.Dense(64, "relu", l1=1e-5, l2=1e-4, no_decay=["bias"]),
        tw.BatchNorm(),
        tw.Activation("tanh"),
        tw.Residual([tw.LayerNorm(), tw.Dense(96, "gelu"), tw.Dropout(0.3), tw.Dense(64)]),
        tw.Dropout(0.1),
        tw.Residual([tw.Dense(64, "tanh", bias=False), tw.BatchNorm(momentum=0.3)]),
        tw.Dense(33, "softmax"),
        tw.Dense(5),
    ]


def input_first():
    """A network whose input is read by layers without a product."""
    return [tw.Dropout(0.2), tw.Residual([tw.Dense(40, "relu"), tw.Dense(20)]), tw.LayerNorm(), tw.Dense(5)]


OPTIMIZERS = {
    "Adam": lambda: tw.Adam(lr=1e-2),
    "SGD, regulated": lambda: tw.SGD(lr=0.05, momentum=0.9, clip_value=0.01, weight_decay=1e-3, average=0.9),
    "norm": lambda: tw.AdamW(lr=1e-2, clip_norm=0.1),
    "accumulated": lambda: tw.SGD(lr=0.1, accumulate=3),
}
CASES = [(everything, name, batch) for name in OPTIMIZERS for batch in (32, 600)] + [(input_first, "Adam", 9)]


def data():
    """Rows that fill neither batches nor chunks."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(1234, 20)), rng.integers(0, 5, 1234)


def trainer_of(layers, optimizer, dtype="float32", threads=1, fused=True, slice_steps=None, isa=None):
    """A trainer."""
    model = tw.Sequential(layers(), 20, seed=3, dtype=dtype)
    trainer = tw.Trainer(model, "cross_entropy", OPTIMIZERS[optimizer](), fused=fused, num_threads=threads, isa=isa)
    trainer.slice_steps = slice_steps
    return trainer


def state(trainer, history):
    """All that training leaves behind, as bytes."""
    views = [*trainer.model.parameters, *trainer.model.statistics]
    found = [view.tobytes() for view in views] + [str(history.history["loss"]).encode()]
    if trainer.optimizer.average is not None:
        with trainer.averaged_weights() as model:
            found += [view.tobytes() for view in model.parameters]
    return b"".join(found)


def trained(case, **settings):
    """The state after two epochs."""
    layers, optimizer, batch = case
    trainer = trainer_of(layers, optimizer, **settings)
    return state(trainer, trainer.fit(*data(), batch_size=batch, epochs=2))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0].__name__}-{case[1]}-{case[2]}")
def test_threads_fusion_and_slices(case, dtype):
    ways = [
        {"threads": 1},
        {"threads": 2, "slice_steps": 1},
        {"threads": 3, "slice_steps": 7, "fused": False},
        {"threads": 4},
    ]
    assert len({trained(case, dtype=dtype, **way) for way in ways}) == 1


@pytest.mark.parametrize("case", CASES[::3], ids=lambda case: f"{case[0].__name__}-{case[1]}-{case[2]}")
def test_isas_with_fma(case, dtype):
    isas = isas_of_same_bits()
    assert len({trained(case, dtype=dtype, isa=isa) for isa in isas}) == 1


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_resume(optimizer, tmp_path):
    x, y = data()
    whole = trainer_of(everything, optimizer)
    first = whole.fit(x, y, epochs=2, batch_size=50)
    whole.save(tmp_path / "half.npz")
    end = state(whole, whole.fit(x, y, epochs=2, batch_size=50))
    other = trainer_of(everything, optimizer)
    other.load(tmp_path / "half.npz")
    assert end == state(other, other.fit(x, y, epochs=2, batch_size=50))
    assert first.epoch == [0, 1]


@pytest.mark.parametrize("layers", [everything, input_first])
def test_gradients_and_apply_are_a_step(layers, dtype):
    x, y = (part[:50] for part in data())
    found = set()
    for by_hand in (False, True):
        trainer = trainer_of(layers, "Adam", dtype)
        trainer.model.learn_inputs(x)
        for _ in range(3):
            trainer.apply(trainer.gradients(x, y)) if by_hand else trainer.step(x, y)
        found.add(b"".join(view.tobytes() for view in (*trainer.model.parameters, *trainer.model.statistics)))
    assert len(found) == 1


def test_predictions_do_not_depend_on_threads_or_neighbours(dtype):
    trainer = trainer_of(everything, "Adam", dtype)
    x, y = data()
    trainer.fit(x, y, batch_size=64)
    together = trainer.model.predict(x[:70], num_threads=1)
    np.testing.assert_array_equal(trainer.model.predict(x[:70], num_threads=3), together)
    np.testing.assert_array_equal(trainer.model.predict(x[11:12]), together[11:12])


def test_what_is_off_costs_nothing(capsys):
    # a plain network's plan has the steps that it always had
    model = tw.Sequential([tw.Dense(128, "relu"), tw.Dense(10)], 784, seed=0)
    tw.Trainer(model, "cross_entropy", tw.Adam(), num_threads=1).describe(32)
    lines = capsys.readouterr().out.split("output <- inputs\n")[1].splitlines()
    steps = [line[8:24].strip() for line in lines if not line.startswith(("--", "barriers", "bytes"))]
    assert steps == ["gather", "forward", "forward", "gather labels", "loss", "input grad", "commit"] + 2 * [
        "weight grad"
    ]
