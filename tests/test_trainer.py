"""The trainer: own loops, state, files, plans."""

import re

import numpy as np
import pytest

import thalweg as tw


def make(optimizer=None, loss="cross_entropy", **how):
    """A trainer of a small model."""
    model = tw.Sequential([tw.Dense(12, "relu"), tw.Dense(3)], input_size=5, seed=0, dtype="float64")
    return tw.Trainer(model, loss, optimizer or tw.Adam(lr=0.01), **how)


def batch(rng, rows=24):
    """A batch."""
    return rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)


def test_step_returns_the_loss_of_before(rng):
    trainer, (x, y) = make(), batch(rng)
    before = trainer.model.evaluate(x, y, loss="cross_entropy")["loss"]
    assert trainer.step(x, y) == before
    assert trainer.model.evaluate(x, y, loss="cross_entropy")["loss"] < before
    assert trainer.position.step == 1


def test_a_model_knows_the_loss_it_was_trained_with(rng):
    for train in (lambda t, x, y: t.step(x, y), lambda t, x, y: t.fit(x, y)):
        trainer, (x, y) = make(), batch(rng)
        train(trainer, x, y)
        assert trainer.model.predict_proba(x).sum(axis=1) == pytest.approx(1)
        assert "accuracy" in trainer.model.evaluate(x, y)


def test_looking_changes_nothing(rng):
    trainer, (x, y) = make(), batch(rng)
    trainer.step(x, y)
    before, position = trainer.model.get_weights(), vars(trainer.position).copy()
    y_pred = trainer.forward(x)
    trainer.backward(np.ones_like(y_pred), input_gradient=True)
    trainer.gradients(x, y)
    trainer.gradients(x, y, input_gradient=True)
    assert vars(trainer.position) == position
    for a, b in zip(before, trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(y_pred, trainer.model.predict(x))


def test_gradients_are_copies_in_order(rng):
    trainer, (x, y) = make(), batch(rng)
    first = trainer.gradients(x, y)
    kept = [g.copy() for g in first]
    trainer.gradients(-x, y)
    for gradient, copy, parameter in zip(first, kept, trainer.model.parameters, strict=True):
        np.testing.assert_array_equal(gradient, copy)
        assert gradient.shape == parameter.shape


def test_backward_belongs_to_the_last_forward(rng):
    trainer, (x, _) = make(), batch(rng)
    dy = np.ones((24, 3))
    trainer.forward(x)
    first = trainer.backward(dy)
    again = trainer.backward(dy)
    trainer.forward(2 * x)
    other = trainer.backward(dy)
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])
    with pytest.raises(ValueError, match=r"dy has shape \(3, 3\); expected \(24, 3\)"):
        trainer.backward(np.ones((3, 3)))


def test_a_loss_of_ones_own(rng):
    # mean absolute error, which has no kernel yet, against its numerical descent
    trainer, (x, _) = make(tw.SGD(lr=0.05), loss="mse"), batch(rng, 200)
    target = np.abs(x[:, :3])
    errors = []
    for _ in range(200):
        y = trainer.forward(x)
        errors.append(np.abs(y - target).mean())
        trainer.apply(trainer.backward(np.sign(y - target) / y.size))
    assert errors[-1] < 0.7 * errors[0]


def test_a_step_that_fails_changes_nothing(rng):
    trainer, (x, y) = make(), batch(rng)
    trainer.step(x, y)
    before = trainer.model.get_weights()
    with pytest.raises(tw.NonFiniteLoss, match="X is nan at row 3, column 0"):
        trainer.step(np.where(np.arange(24)[:, None] == 3, np.nan, x), y)
    with pytest.raises(ValueError, match=r"y\[0\] is 5"):
        trainer.step(x, np.full(24, 5))
    with pytest.raises(tw.NonFiniteLoss):
        trainer.gradients(x * np.inf, y)
    assert trainer.position.step == 1
    for a, b in zip(before, trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS = [
    lambda: tw.SGD(lr=0.1),
    lambda: tw.SGD(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.01),
    lambda: tw.Adam(lr=0.02, betas=(0.8, 0.99)),
    lambda: tw.AdamW(lr=0.02, amsgrad=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_save_and_load_resume_to_the_bit(optimizer, rng, tmp_path):
    x, y = batch(rng, 100)
    whole, half, later = make(optimizer()), make(optimizer()), make(optimizer())
    whole.fit(x, y, batch_size=16, epochs=5, seed=4)
    half.fit(x, y, batch_size=16, epochs=2, seed=4)
    half.step(x, y)
    whole_twin = make(optimizer())
    whole_twin.fit(x, y, batch_size=16, epochs=2, seed=4)
    whole_twin.step(x, y)
    half.save(tmp_path / "state")
    later.load(tmp_path / "state")
    for trainer in (later, whole_twin):
        trainer.fit(x, y, batch_size=16, epochs=3)
    assert later.position == whole_twin.position
    for a, b in zip(later.model.parameters, whole_twin.model.parameters, strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_restores_settings_and_refuses_others(rng, tmp_path):
    x, y = batch(rng)
    trainer = make(tw.SGD(lr=0.1, momentum=0.5))
    trainer.step(x, y)
    trainer.optimizer.lr = 0.025
    trainer.save(tmp_path / "t")
    other = make(tw.SGD(lr=9.0))
    other.load(tmp_path / "t")
    assert other.optimizer.config() == trainer.optimizer.config()
    before = other.model.get_weights()
    trainer.model.save(tmp_path / "m")
    refused = {
        "trained with optimizer SGD, this trainer has Adam": make(tw.Adam()),
        "trained with loss cross_entropy, this trainer has mse": make(tw.SGD(), loss="mse"),
        "the file's model is another: layers.0., Dense: units is 12 in the file, 3 here": tw.Trainer(
            tw.Sequential([tw.Dense(3)], 5, seed=0, dtype="float64"), "cross_entropy", tw.SGD()
        ),
    }
    for message, wrong in refused.items():
        with pytest.raises(ValueError, match=message):
            wrong.load(tmp_path / "t")
    (tmp_path / "text").write_text("no file of ours")
    np.savez(tmp_path / "n.npz", a=np.ones(2))
    for name in ("m", "text", "n.npz"):
        with pytest.raises(ValueError, match="is no thalweg trainer file"):
            other.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        other.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is no thalweg model file"):
        tw.load(tmp_path / "t")
    for a, b in zip(before, other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_load_leaves_trainable_as_it_is(rng, tmp_path):
    def build():
        layers = [tw.BatchNorm(), tw.Dense(4, "relu"), tw.Residual([tw.Dense(4)]), tw.Dense(3)]
        return tw.Trainer(tw.Sequential(layers, 5, seed=0), "cross_entropy", tw.Adam())

    x, y = batch(rng)
    frozen, trainer = build(), build()
    for layer in (frozen.model.layers[0], frozen.model.layers[2].layers[0], trainer.model.layers[1]):
        layer.trainable = False
    frozen.step(x, y)
    frozen.save(tmp_path / "t")
    trainer.load(tmp_path / "t")
    assert [layer.trainable for layer in trainer.model.layers] == [True, False, True, True]
    for a, b in zip(frozen.model.get_weights(), trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    before = trainer.model.get_weights()
    trainer.step(x, y)
    changed = [not np.array_equal(a, b) for a, b in zip(before, trainer.model.get_weights(), strict=True)]
    assert changed == [True, True, False, False, True, True, True, True]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([tw.Dense(3)], "layers[0] is Normalize in the file, Dense here"),
        ([tw.Normalize(0, 1)], "layers[0], Normalize: mean is off in the file, 0.0 here"),
        ([tw.Normalize(), tw.Dense(4, l2=0.5)], "layers[1], Dense: l2 is off in the file, 0.5 here"),
        ([tw.Normalize(), tw.Dense(4, "tanh")], "layers[1], Dense: activation is 'identity' in the file, 'tanh' here"),
        ([tw.Normalize(), tw.Dense(4), tw.Residual([tw.Dense(4), tw.Dense(4, bias=False)])],
         "layers[2].layers[1], Dense: bias is True in the file, False here"),
        ([tw.Normalize(), tw.Dense(4), tw.Residual([tw.Dense(4)])],
         "there are 2 layers[2].layers in the file, 1 here"),
        ([tw.Normalize(), tw.Dense(4)], "there are 3 layers in the file, 2 here"),
        ([tw.Normalize([0.1] * 5, [0.2] * 5)], "mean is off in the file, [0.1, 0.1, 0.1, 0.1, 0.1] here"),
        ([tw.Normalize([1 / 3] * 5, [0.2] * 5)], "mean is off in the file, [0.3333333333333333, 0.33333333333333... here"),
    ],
)  # fmt: skip
def test_load_names_the_first_difference(layers, message, tmp_path):
    kept = [tw.Normalize(), tw.Dense(4), tw.Residual([tw.Dense(4), tw.Dense(4)])]
    tw.Trainer(tw.Sequential(kept, 5, seed=0), "mse", tw.SGD()).save(tmp_path / "t")
    trainer = tw.Trainer(tw.Sequential(layers, 5, seed=0), "mse", tw.SGD())
    with pytest.raises(ValueError, match=f"^the file's model is another: .*{re.escape(message)}$"):
        trainer.load(tmp_path / "t")


def test_a_newer_format_is_refused(tmp_path, monkeypatch):
    from thalweg import files

    monkeypatch.setattr(files, "FORMAT", 2)
    make().model.save(tmp_path / "m")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 2; this version of thalweg reads format 1"):
        tw.load(tmp_path / "m")


# ---- plans ----------------------------------------------------------------------------------------------------------

GOLDEN = """\
schedule: columns, 2 threads, fused, own columns
before  step            owner          Mflop    output <- inputs
        gather          every thread     0.251  x (32, 784)
        forward         units 1          6.423  y1 (32, 128), fault (32,) <- x (32, 784), w1 (785, 128)
barrier forward         rows             0.082  y2 (32, 10) <- y1 (32, 128), w2 (129, 16)
-- forwarded
        gather labels   rows             0.000  labels (32,)
        loss            rows             0.010  dy2 (32, 10), loss (32,) <- y2 (32, 10), labels (32,), fault (32,)
-- measured
barrier input grad      units 1          0.082  dy1 (32, 128) apart <- dy2 (32, 10), w2 (129, 16), y1 (32, 128)
        commit          every thread     0.000  loss (32,)
        weight grad     units 1          0.082  w2 (129, 16) <- y1 (32, 128), dy2 (32, 10)
        weight grad     units 1          6.423  w1 (785, 128) <- x (32, 784), dy1 (32, 128) apart
barriers a step: 2
"""


def test_the_plan_of_a_small_network_has_two_barriers(capsys):
    model = tw.Sequential([tw.Dense(128, "relu"), tw.Dense(10)], 784, seed=0)
    tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=2).describe()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not is_of_this_machine(line)] == GOLDEN.splitlines()


def is_of_this_machine(line):
    """Prices and bytes."""
    return line == "considered:" or (line.startswith("  ") and " us = compute " in line) or line.startswith("bytes: ")


def test_one_thread_has_no_barriers(capsys):
    make(num_threads=1).describe()
    assert "barriers a step: 0" in capsys.readouterr().out


def test_unfused_plans_keep_gradients(capsys):
    make(num_threads=2, fused=False).describe()
    shown = capsys.readouterr().out
    assert "dw1" in shown
    assert "-- differentiated" in shown
    assert "-- committed" in shown
    make(num_threads=2).describe()
    assert "dw1" not in capsys.readouterr().out
