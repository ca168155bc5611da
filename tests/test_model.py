"""The model: what it learns, what it remembers, what it shows."""

import copy
import os
import pickle

import numpy as np
import pytest

import thalweg as tw
from thalweg import inference, system


def blobs(rng, rows=600, classes=3):
    """Classes that a network separates with ease."""
    y = rng.integers(0, classes, rows)
    return rng.normal(size=(rows, 2)) * 0.4 + np.array([[0, 0], [3, 0], [0, 3]])[y], y


def classifier(seed=0, dtype="float32"):
    """A small classifier."""
    return tw.Sequential([tw.Dense(16, activation="relu"), tw.Dense(3)], input_size=2, seed=seed, dtype=dtype)


# ---- learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 2), (32, 20), ("full", 300)])
def test_it_learns_classes_with_each_update_method(batch_size, epochs, dtype, rng):
    x, y = blobs(rng)
    model = classifier(dtype=dtype)
    optimizer = tw.SGD(lr=0.02) if batch_size == 1 else tw.SGD(lr=0.2, momentum=0.9)
    history = model.fit(
        x[:500], y[:500], loss="cross_entropy", optimizer=optimizer, batch_size=batch_size, epochs=epochs
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    scores = model.evaluate(x[500:], y[500:])
    assert scores["accuracy"] >= 0.97
    assert (model.predict(x[500:]).argmax(axis=1) == y[500:]).mean() == pytest.approx(scores["accuracy"])


def test_it_learns_a_function(rng, dtype):
    x = rng.uniform(-2, 2, (800, 1))
    y = np.sin(2 * x[:, 0])
    model = tw.Sequential([tw.Dense(32, "tanh"), tw.Dense(32, "tanh"), tw.Dense(1)], 1, seed=0, dtype=dtype)
    model.fit(x, y, loss="mse", optimizer=tw.Adam(lr=0.01), batch_size=32, epochs=60)
    scores = model.evaluate(x, y)
    assert scores["r2"] > 0.99
    assert scores["mae"] < 0.1


def test_it_learns_several_labels_at_once(rng):
    x = rng.normal(size=(800, 3))
    y = x > 0
    model = tw.Sequential([tw.Dense(16, "tanh"), tw.Dense(3)], 3, seed=0)
    model.fit(x, y, loss="binary_cross_entropy", optimizer=tw.Adam(lr=0.02), epochs=30)
    assert model.evaluate(x, y)["accuracy"] > 0.97
    probabilities = model.predict_proba(x)
    assert ((probabilities > 0.5) == (model.predict(x) > 0)).all()


def test_the_loss_of_an_epoch_is_the_weighted_mean_of_its_steps(rng):
    x, y = blobs(rng, rows=70)
    model = classifier(dtype="float64")
    weight = rng.random(70)
    history = model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.0), batch_size=32, sample_weight=weight)
    whole = model.evaluate(x, y, sample_weight=weight)["loss"]  # the weights do not move: lr is 0
    assert history.history["loss"] == [pytest.approx(whole, rel=1e-12)]
    assert history.params == {"epochs": 1, "batch_size": 32, "steps": 3, "samples": 70}


def test_weights_of_rows_count(rng):
    # a weight of 2 is a row twice
    x, y = blobs(rng, rows=40)
    twice = np.r_[np.arange(40), np.arange(10)]
    weight = np.r_[np.full(10, 2), np.ones(30)]
    results = []
    for data in ((x, y, weight), (x[twice], y[twice], None)):
        model = classifier(dtype="float64")
        model.fit(
            *data[:2],
            loss="cross_entropy",
            optimizer=tw.SGD(lr=0.1),
            batch_size="full",
            sample_weight=data[2],
            epochs=5,
        )
        results.append(model.predict(x))
    np.testing.assert_allclose(*results, rtol=1e-11)


def test_a_batch_of_zero_weights_makes_no_update(rng):
    x, y = blobs(rng, rows=40)
    model = classifier()
    before = model.get_weights()
    history = model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), sample_weight=np.zeros(40))
    assert history.history["loss"] == [0.0]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- fit ------------------------------------------------------------------------------------------------------------


def test_fit_goes_on_with_the_same_optimizer(rng):
    x, y = blobs(rng)
    together, apart = classifier(), classifier()
    adam = tw.Adam(lr=0.01)
    for _ in range(3):
        history = apart.fit(x, y, loss="cross_entropy", optimizer=adam)
    whole = together.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(lr=0.01), epochs=3)
    assert history.epoch == [2]
    assert whole.epoch == [0, 1, 2]
    np.testing.assert_array_equal(together.predict(x), apart.predict(x))
    again = apart.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(lr=0.01))  # another object: anew
    assert again.epoch == [0]


def test_a_setting_may_change_between_calls(rng):
    x, y = blobs(rng)
    model, sgd = classifier(), tw.SGD(lr=0.1)
    model.fit(x, y, loss="cross_entropy", optimizer=sgd)
    sgd.lr = 0.0
    before = model.predict(x)
    model.fit(x, y, loss="cross_entropy", optimizer=sgd)
    np.testing.assert_array_equal(model.predict(x), before)
    sgd.lr = -1
    with pytest.raises(ValueError, match="lr must be a finite number >= 0 or a schedule, got -1"):
        model.fit(x, y, loss="cross_entropy", optimizer=sgd)
    sgd.lr, sgd.momentum = 0.1, 0.9
    assert model.fit(x, y, loss="cross_entropy", optimizer=sgd).epoch == [2]


def test_a_batch_larger_than_the_data_is_all_of_it(rng):
    x, y = blobs(rng, rows=20)
    a, b = classifier(), classifier()
    history = a.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.1), batch_size=1000, epochs=3)
    b.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.1), batch_size="full", epochs=3)
    assert history.params["batch_size"] == 20
    np.testing.assert_array_equal(a.predict(x), b.predict(x))


def test_shuffling_follows_the_seed(rng):
    x, y = blobs(rng)

    def weights(**how):
        model = classifier()
        model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.1), epochs=2, **how)
        return model.predict(x).tobytes()

    assert weights() == weights() == weights(seed=0)
    assert len({weights(), weights(seed=1), weights(shuffle=False)}) == 3


def test_validation(rng):
    x, y = blobs(rng)
    a, b = classifier(), classifier()
    held = a.fit(
        x[:500], y[:500], loss="cross_entropy", optimizer=tw.Adam(), epochs=2, validation_data=(x[500:], y[500:])
    )
    split = b.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), epochs=2, validation_split=100 / 600)
    assert held.history == split.history
    assert list(held.history) == ["loss", "val_loss", "val_accuracy"]
    assert held.history["val_loss"][-1] == a.evaluate(x[500:], y[500:])["loss"]


class Recorder(tw.Callback):
    """Notes events, and uses the model as a callback may."""

    def __init__(self):
        self.events = []

    def on_train_begin(self, logs):
        self.events.append("begin")

    def on_epoch_begin(self, epoch, logs):
        self.events.append(("epoch", epoch))

    def on_epoch_end(self, epoch, logs):
        self.events.append(sorted(logs))
        self.model.predict(np.zeros((2, 2)))
        self.model.evaluate(np.zeros((2, 2)), [0, 1])
        self.model.set_weights(self.model.get_weights())
        self.trainer.stop_training = epoch == 1

    def on_train_end(self, logs):
        self.events.append("end")


def test_callbacks(rng, tmp_path):
    x, y = blobs(rng)
    recorder = Recorder()
    model = classifier()
    model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), epochs=9, callbacks=[recorder])
    assert recorder.events == ["begin", ("epoch", 0), ["loss"], ("epoch", 1), ["loss"], "end"]


def test_progress_is_quiet_unless_asked_for(rng, capsys):
    x, y = blobs(rng)
    classifier().fit(x, y, loss="cross_entropy", optimizer=tw.Adam())
    assert capsys.readouterr() == ("", "")
    classifier().fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), epochs=2, verbose=1)
    shown = capsys.readouterr().err
    assert "epoch 2/2" in shown
    assert "loss=" in shown
    assert "samples/s" in shown


# ---- what it remembers ----------------------------------------------------------------------------------------------


def test_save_and_load(rng, tmp_path, dtype):
    x, y = blobs(rng)
    model = classifier(dtype=dtype)
    model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam())
    path = tmp_path / "model.npz"
    model.save(path)
    loaded = tw.load(path)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    np.testing.assert_array_equal(loaded.predict_proba(x), model.predict_proba(x))
    assert loaded.evaluate(x, y) == model.evaluate(x, y)
    assert repr(loaded) == repr(model)
    assert os.listdir(tmp_path) == ["model.npz"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    classifier(seed=1).save(path)
    old = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        classifier(seed=2).save(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["model.npz"]


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_independent(how, rng):
    x, y = blobs(rng)
    model = classifier()
    model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam())
    other = how(model)
    before = model.predict(x)
    np.testing.assert_array_equal(other.predict_proba(x), model.predict_proba(x))
    other.layers[0].weight[...] = 0
    np.testing.assert_array_equal(model.predict(x), before)
    other.fit(x, y, loss="cross_entropy", optimizer=tw.Adam())


def test_weights_are_views_of_one_block():
    model = classifier()
    weight = model.layers[0].weight
    assert weight is model.parameters[0]
    assert weight.shape == (2, 16)
    x = np.array([[1.0, 2.0]])
    before = model.predict(x)
    weight *= 2
    model.layers[1].bias[...] = 1
    assert not np.array_equal(model.predict(x), before)
    copied = model.get_weights()
    copied[0][...] = 7
    assert (weight != 7).all()


def test_layers_given_are_copied():
    dense = tw.Dense(4)
    a, b = tw.Sequential([dense], 3, seed=0), tw.Sequential([dense, dense], 4, seed=0)
    a.layers[0].weight[...] = 0
    assert b.layers[0].weight is not b.layers[1].weight
    assert (b.layers[0].weight != 0).any()
    with pytest.raises(AttributeError, match="belongs to no model"):
        dense.weight  # noqa: B018 - the access is the test


def test_views_outlive_the_model():
    weight = classifier().layers[0].weight
    bias = classifier().layers[1].bias
    np.testing.assert_array_equal(bias, 0)
    assert np.isfinite(weight).all()


def test_summary(capsys):
    tw.Sequential([tw.Dense(128, "relu"), tw.Dense(10, bias=False)], 784, seed=0).summary()
    shown = capsys.readouterr().out
    assert "100,480" in shown
    assert "101,760" in shown


# ---- how weights begin ----------------------------------------------------------------------------------------------

VARIANCES = {"glorot": 2 / (300 + 200), "he": 2 / 300, "lecun": 1 / 300}


@pytest.mark.parametrize("shape", ["uniform", "normal"])
@pytest.mark.parametrize("scheme", list(VARIANCES))
def test_initializers_have_their_variance(scheme, shape):
    model = tw.Sequential([tw.Dense(200, initializer=f"{scheme}_{shape}")], 300, seed=0, dtype="float64")
    w = model.layers[0].weight
    n = w.size
    assert abs(w.mean()) < 5 * np.sqrt(VARIANCES[scheme] / n)
    assert w.var() == pytest.approx(VARIANCES[scheme], rel=5 * np.sqrt(2 / n))
    if shape == "uniform":
        assert np.abs(w).max() <= np.sqrt(3 * VARIANCES[scheme])
    np.testing.assert_array_equal(model.layers[0].bias, 0)


def test_the_default_initializer_suits_the_activation():
    assert tw.Dense(3, "relu").initializer == "he_uniform"
    assert {tw.Dense(3, name).initializer for name in ("identity", "tanh", "sigmoid")} == {"glorot_uniform"}


def test_seeds_draw_the_weights():
    assert (
        classifier(seed=1).predict(np.ones((1, 2))).tobytes() == classifier(seed=1).predict(np.ones((1, 2))).tobytes()
    )
    assert classifier(seed=1).seed == 1
    assert classifier(seed=None).seed != classifier(seed=None).seed
    two = tw.Sequential([tw.Dense(4), tw.Dense(4)], 4, seed=0)
    assert not np.array_equal(two.layers[0].weight, two.layers[1].weight)


# ---- what is kept between calls ---------------------------------------------------------------------------------------


def test_a_prediction_follows_the_settings_of_layers(rng):
    model, x = classifier(), rng.normal(size=(5, 2))
    before = model.predict(x)
    model.layers[0].activation = "tanh"
    twin = tw.Sequential([tw.Dense(16, activation="tanh"), tw.Dense(3)], input_size=2)
    twin.set_weights(model.get_weights())
    assert (model.predict(x) == twin.predict(x)).all()
    model.layers[0].activation = "relu"
    assert (model.predict(x) == before).all()


def test_a_prediction_looks_at_the_machine_when_something_has_changed(monkeypatch, rng):
    model, x, looks, clock, look = classifier(), rng.normal(size=(5, 2)), [], [1000.0], system.machine

    def machine(num_threads, probe):
        looks.append(num_threads)
        return look(num_threads, probe)

    monkeypatch.setattr(system, "_seen", {})
    monkeypatch.setattr(system, "machine", machine)
    monkeypatch.setattr(system.time, "monotonic", lambda: clock[0])
    model.loss = tw.losses.resolve("cross_entropy")
    changes = [
        lambda: None,
        lambda: tw.set_num_threads(1),
        lambda: clock.append(clock.pop() + 1.5),
        system._forget,  # what a child of this process does first
        lambda: setattr(model.layers[0], "activation", "tanh"),
        lambda: model.predict_proba(x),
    ]
    for change in changes:
        change()
        del looks[:]
        for _ in range(3):
            model.predict(x)
        assert looks == [None]
    last = model.last_prediction
    for num_threads in (2, 1, 2):  # of one call
        model.predict(x, num_threads=num_threads)
        assert model.last_prediction is last
    assert looks == [None, 2, 1, 2]


def test_a_program_made_for_settings_of_before_is_not_kept(monkeypatch, rng):
    model, x = classifier(), rng.normal(size=(5, 2))
    made = inference._native.Forward

    def change_meanwhile(*arguments):  # as another thread may, between a prediction's look at the shape and its keeping
        monkeypatch.setattr(inference._native, "Forward", made)
        model.layers[0].activation = "tanh"
        model.predict(x)
        return made(*arguments)

    monkeypatch.setattr(inference._native, "Forward", change_meanwhile)
    model.predict(x)
    twin = tw.Sequential([tw.Dense(16, activation="tanh"), tw.Dense(3)], input_size=2)
    twin.set_weights(model.get_weights())
    assert (model.predict(x) == twin.predict(x)).all()


def test_settings_of_an_optimizer_are_checked_again_when_they_change(rng):
    x, y = blobs(rng, 64)
    trainer = tw.Trainer(classifier(), "cross_entropy", tw.AdamW(clip_value=1.0))
    trainer.fit(x, y, epochs=1, verbose=0)
    changes = tw.optimizer.Optimizer.changes
    trainer.fit(x, y, epochs=1, verbose=0)
    assert tw.optimizer.Optimizer.changes == changes  # training itself changes none
    trainer.optimizer.eps = -1.0
    with pytest.raises(ValueError, match="eps"):
        trainer.fit(x, y, epochs=1, verbose=0)
    trainer.optimizer.eps = 1e-8
    trainer.fit(x, y, epochs=1, verbose=0)


def test_settings_that_are_loaded_are_checked_like_others(rng, tmp_path):
    x, y = blobs(rng, 64)
    trainer = tw.Trainer(classifier(), "cross_entropy", tw.Adam(lr=0.5))
    trainer.fit(x, y, epochs=1, verbose=0)
    trainer.save(tmp_path / "trainer.npz")
    other = tw.Trainer(classifier(), "cross_entropy", tw.Adam(lr=0.1))
    other.fit(x, y, epochs=1, verbose=0)
    changes = tw.optimizer.Optimizer.changes
    other.load(tmp_path / "trainer.npz")
    assert other.optimizer.lr == 0.5
    assert tw.optimizer.Optimizer.changes > changes
