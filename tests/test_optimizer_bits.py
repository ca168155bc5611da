"""Bits, state, files and averages of every elementwise optimizer in training."""

import json

import numpy as np
import pytest
from bits import isas_of_same_bits
from test_optimizers import CASES, NAMES, begin, update

import thalweg as tw


def data(rows=43):
    """Inputs and labels; a last batch of another size for most batch sizes."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(rows, 21)), rng.integers(0, 3, rows)


def make(name, settings, dtype="float32", layer=None, **how):
    """A trainer of a small network with pads, its layers of such settings."""
    layers = [tw.Dense(18, "tanh", **layer or {}), tw.Dense(3, **layer or {})]
    model = tw.Sequential(layers, 21, seed=3, dtype=dtype)
    return tw.Trainer(model, "cross_entropy", getattr(tw, name)(**settings), **how)


def bits(trainer):
    """Bytes of parameters and averages, pads included."""
    averaged = trainer.optimizer.averaged
    return bytes(trainer.model.block) + (bytes(trainer.average_block()) if averaged else b"")


def trained(name, settings, steps=None, batch_size=16, **how):
    """Bits after a training."""
    trainer = make(name, settings, **how)
    trainer.slice_steps = steps
    loss = trainer.fit(*data(), batch_size=batch_size, epochs=2).history["loss"]
    return bits(trainer), loss


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_fused_threads_slices_and_isas_make_no_difference(name, settings, dtype):
    isas = isas_of_same_bits()
    hows = [{"isa": isa, "num_threads": 1} for isa in isas]
    hows += [{"num_threads": 1, "fused": False}, {"num_threads": 3}, {"num_threads": 2, "fused": False, "steps": 2}]
    assert len({str(trained(name, settings, dtype=dtype, **how)) for how in hows}) == 1


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5, 16])  # up to 4 rows, and more: csrc/kernels/few_rows.hpp
@pytest.mark.parametrize("name", NAMES)
def test_regulated_plans_keep_the_bits(name, batch_size):
    # what is around the rule differs between weights and biases
    layer = {"l1": 3e-3, "l2": 1e-2, "no_decay": ("bias",)}
    rules = [{"clip_value": 0.02}, *([] if name == "ScheduleFreeAdamW" else [{"clip_value": 0.02, "average": 0.9}])]
    if name != "Rprop":
        rules = [rule | {"weight_decay": 0.1} for rule in rules]
    for settings in rules:
        hows = [{"num_threads": 1}, {"num_threads": 2, "fused": False}]
        results = [trained(name, settings, layer=layer, batch_size=batch_size, **how) for how in hows]
        assert results[0] == results[1], settings


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_pads_stay_zero_and_state_finite(name, settings):
    trainer = make(name, settings)
    trainer.fit(*data(), batch_size=16, epochs=2)
    blocks = {"w": trainer.model.block, **trainer._slots}
    kept = trainer.model.get_weights()
    for key, block in blocks.items():
        assert np.isfinite(np.frombuffer(block, np.float32)).all(), key
    for view in trainer.model.parameters:
        view[...] = 0
    assert not np.frombuffer(trainer.model.block, np.float32).any()
    trainer.model.set_weights(kept)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_resume_from_a_file(name, settings, tmp_path):
    whole, half, later = (make(name, settings) for _ in range(3))
    whole.fit(*data(), batch_size=16, epochs=4)
    half.fit(*data(), batch_size=16, epochs=2)
    half.save(tmp_path / "half")
    later.load(tmp_path / "half")
    later.fit(*data(), batch_size=16, epochs=2)
    assert later.model.get_weights()[0].tobytes() == whole.model.get_weights()[0].tobytes()
    assert later.position == whole.position


@pytest.mark.parametrize(("name", "settings"), [case for case in CASES if "weight_decay" in case[1]], ids=str)
def test_exemption_from_decay(name, settings):
    exempt, without = (
        make(name, settings, "float64", {"no_decay": ("weight", "bias")}),
        make(name, settings | {"weight_decay": 0.0}, "float64"),
    )
    decayed = make(name, settings, "float64")
    for trainer in (exempt, without, decayed):
        trainer.fit(*data(), batch_size=16, epochs=2)
    for a, b, c in zip(*(t.model.parameters for t in (exempt, without, decayed)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert np.abs(a - c).max() > 1e-8


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_config_goes_through_json(name, settings):
    optimizer = getattr(tw, name)(**settings)
    again = optimizer.with_config(json.loads(json.dumps(optimizer.config())))
    assert repr(again) == repr(optimizer)
    assert again.config() == optimizer.config()


def test_the_average_of_schedule_free_is_what_is_judged_and_left():
    trainer = make("ScheduleFreeAdamW", {"lr": 0.05})
    x, y = data(150)
    history = trainer.fit(x, y, epochs=3, validation_data=(x, y))
    at_y = trainer.model.evaluate(x, y)["loss"]
    with trainer.averaged_weights() as model:
        at_x = model.evaluate(x, y)["loss"]
    assert history.history["val_loss"][-1] == at_x != at_y
    stop = tw.EarlyStopping(patience=10, restore_best_weights=True)
    history = trainer.fit(x, y, epochs=3, validation_data=(x, y), callbacks=[stop])
    assert trainer.model.evaluate(x, y)["loss"] == pytest.approx(min(history.history["val_loss"]), rel=1e-6)
    trainer.fit(x, y, epochs=1, finish_with_average=True)
    assert bytes(trainer.model.block) == bytes(trainer.average_block())


def test_state_begins_as_told():
    trainer = make("Adagrad", {"initial_accumulator_value": 0.25, "lr": 0.0})
    trainer._bind_slots()
    state = np.frombuffer(trainer._slots["sum"], np.float32)
    assert np.unique(state).tolist() == [0.0, 0.25]  # pads are 0
    trainer = make("Rprop", {"lr": tw.schedules.Polynomial(0.125, 10)})
    trainer._bind_slots()
    assert np.frombuffer(trainer._slots["step_size"], np.float32).max() == 0.125


def placed(values, shift):
    """A copy that begins so many elements behind a boundary of 64 bytes, in memory of NaN."""
    memory = np.full(values.size + 64, np.nan, values.dtype)
    at = -memory.ctypes.data % 64 // values.itemsize + shift
    view = memory[at : at + values.size]
    view[...] = values
    return view, memory


@pytest.mark.parametrize("n", [3, 70])  # 70: a first piece, whole vectors, a last piece
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_where_arrays_begin_makes_no_difference(name, settings, n, isa, dtype, rng):
    w, g = rng.normal(size=(2, n)).astype(dtype)
    arrays = {"w": w, "g": g, **begin(name, settings, w)}
    results = set()
    for shift in (0, 1, 4, 15):
        places = {key: placed(array, shift + i % 2) for i, (key, array) in enumerate(arrays.items())}
        state = {key: view for key, (view, _) in places.items()}
        update(name, settings, state.pop("w"), state.pop("g"), state, 1, isa=isa)
        results.add(b"".join(view.tobytes() for view, _ in places.values()))
        assert all(np.isnan(memory).sum() == 64 for _, memory in places.values())
    assert len(results) == 1
