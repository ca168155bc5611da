"""Gradients by differences: of functions, of networks, and a report that notices what is wrong."""

import numpy as np
import pytest
from test_gradients import LOSSES, batch, network

import thalweg as tw
from thalweg.gradient_check import parameter_names
from thalweg.trainer import Trainer

KINKED = ("relu", "leaky_relu", "relu6", "elu", "selu", "hard_tanh", "hard_sigmoid", "hard_swish")

# ---- functions ------------------------------------------------------------------------------------------------------


def test_known_gradients():
    f = tw.numerical_gradient(lambda v: 2 * v[0] ** 2 + 6 * v[1] ** 2 + 7 * v[2] ** 3, [1, 1, 1])
    np.testing.assert_allclose(f, [4, 12, 21], rtol=1e-9)
    slope = tw.numerical_gradient(lambda x: 5 * x**2, 1)
    assert isinstance(slope, float) and abs(slope - 10) < 1e-9

    # Squire and Trapp's function, whose derivative at 1.5 is known to 15 digits
    def squire(x):
        return np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)

    assert abs(tw.numerical_gradient(squire, 1.5) - 4.05342789389862) < 1e-9
    assert abs(tw.numerical_gradient(squire, 1.5, h=1e-10) - 4.05342789389862) > 1e-8  # smaller is worse


def test_any_shape_and_large_numbers(rng):
    x = rng.normal(size=(2, 3, 4)) * 10.0 ** rng.integers(-3, 6, (2, 3, 4))
    before = x.copy()
    np.testing.assert_allclose(tw.numerical_gradient(lambda v: (v**2).sum() / 2, x[:, :1]), x[:, :1], rtol=1e-3, atol=1)
    each = np.array([tw.numerical_gradient(lambda v: v**2 / 2, value) for value in x.flat])
    np.testing.assert_allclose(each, x.ravel(), rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(x, before)


def test_float32_takes_the_step_of_its_own_epsilon():
    seen = []
    slope = tw.numerical_gradient(lambda x: seen.append(x) or np.exp(x), np.float32(1))
    assert seen[0].dtype == np.float32 and 3e-3 < float(seen[0]) - 1 < 8e-3
    assert abs(slope - np.e) < 3e-4
    assert abs(tw.numerical_gradient(np.exp, np.float32(1), h=1e-6) - np.e) > 1e-2  # what the small step would give
    with pytest.raises(ValueError, match=r"h = 1e-09 is too small"):
        tw.numerical_gradient(np.exp, np.float32(1), h=1e-9)


def test_a_function_may_change_its_point_and_return_a_node():
    def f(v):
        v *= 2
        return v.sum()

    np.testing.assert_allclose(tw.numerical_gradient(f, np.ones(3)), [2, 2, 2], rtol=1e-9)
    assert abs(tw.numerical_gradient(lambda x: tw.graph.exp(x), 0.0) - 1) < 1e-9


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((lambda x: x, [1, 2]), ValueError, r"f returned an array of shape \(2,\)"),
        ((lambda x: "much", 1.0), TypeError, "f returned 'much'"),
        ((lambda x: None, 1.0), TypeError, "f returned None"),
        ((lambda x: x, [1, np.nan]), ValueError, r"x\[1\] is nan"),
        ((lambda x: x, "one"), FileNotFoundError, "x"),
        ((3, 1.0), TypeError, "f must be a function, got 3"),
        ((lambda x: x, 1.0, 0), ValueError, "h must be a finite number > 0, got 0"),
    ],
)
def test_errors_of_numerical_gradient(arguments, error, words):
    with pytest.raises(error, match=words):
        tw.numerical_gradient(*arguments)


# ---- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("activation", ["tanh", "gelu", *KINKED])
def test_the_native_gradients_pass(activation, loss, rng):
    model = network(activation, "identity", 3, seed=5, dtype="float32")
    x, y = batch(rng, loss, rows=12)
    before = model.get_weights()
    report = tw.check_gradients(model, x, y, loss)
    assert report.passed and report.max_rel < 1e-6, str(report)
    assert sum(check.checked + check.kinks for check in report.parameters) == sum(p.size for p in model.parameters)
    for parameter, kept in zip(model.parameters, before, strict=True):
        np.testing.assert_array_equal(parameter, kept)


def everything():
    """A model with a layer of every kind."""
    block = tw.Residual([tw.Dense(6, "tanh", l2=0.1), tw.LayerNorm(), tw.Dropout(0.3), tw.Dense(5)])
    return [
        tw.Normalize(),
        tw.Dense(5, "relu"),
        tw.BatchNorm(),
        tw.Activation("silu"),
        tw.Dropout(0.4),
        block,
        tw.Dense(3),
    ]


def test_every_kind_of_layer(rng):
    model = tw.Sequential(everything(), 4, seed=2)
    x, y = rng.normal(size=(24, 4)), rng.integers(0, 3, 24)
    model.layers[0].learn(x)
    report = tw.check_gradients(model, x, y, "cross_entropy", sample_weight=rng.random(24))
    assert report.passed, str(report)
    names = [check.name for check in report.parameters]
    assert names[:2] == ["layers[1].weight", "layers[1].bias"] and "layers[5].layers[1].weight" in names
    assert names == list(parameter_names(model.layers)) and len(names) == len(model.parameters)


def test_frozen_layers_are_left_out(rng):
    model = tw.Sequential([tw.Dense(5, "tanh"), tw.BatchNorm(), tw.Dense(2)], 4, seed=0)
    model.layers[0].trainable = model.layers[1].trainable = False
    report = tw.check_gradients(model, rng.normal(size=(6, 4)), rng.normal(size=(6, 2)), "mse")
    assert [check.name for check in report.parameters] == ["layers[2].weight", "layers[2].bias"] and report.passed


@pytest.mark.parametrize("plant", ["factor", "swap", "nan"])
def test_a_planted_error_is_found(plant, rng, monkeypatch):
    model = network("tanh", "identity", 3, seed=5)
    right = Trainer.gradients

    def wrong(self, *arguments):
        gradients = right(self, *arguments)
        if plant == "factor":
            gradients[2] *= 1.001
        elif plant == "swap":
            gradients[2][0, 0], gradients[2][1, 1] = gradients[2][1, 1], gradients[2][0, 0]
        else:
            gradients[2][3, 3] = np.nan
        return gradients

    monkeypatch.setattr(Trainer, "gradients", wrong)
    report = tw.check_gradients(model, *batch(rng, "mse"), "mse")
    assert not report.passed
    assert [check.name for check in report.parameters if check.max_rel > report.tolerance] == ["layers[1].weight"]
    assert "NOT every entry" in str(report) and "layers[1].weight[" in str(report)
    if plant == "nan":
        assert report.parameters[2].worst == (3, 3)


def test_a_wrong_loss_of_ones_own_is_found(rng):
    model = network("tanh", "identity", 3, seed=5)
    x, y = batch(rng, "mse")

    def squares(factor):
        return lambda p, t: (((p - t) ** 2).mean(), factor * (p - t) / p.size)

    assert tw.check_gradients(model, x, y, squares(2)).passed
    assert not tw.check_gradients(model, x, y, squares(1)).passed
    assert tw.check_gradients(model, x, y, tw.graph.Loss(lambda p, t: ((p - t) ** 2).mean())).passed


def test_kinks_are_counted_not_compared(rng):
    model = tw.Sequential([tw.Dense(5, "relu"), tw.Dense(2)], 4, seed=0)
    model.layers[0].weight[...] = 0  # every unit stands at its kink
    report = tw.check_gradients(model, rng.normal(size=(6, 4)), rng.normal(size=(6, 2)), "mse")
    assert [check.kinks for check in report.parameters] == [20, 5, 0, 0] and report.passed
    assert report.parameters[0].worst is None and report.parameters[0].checked == 0


def test_a_sample_of_the_entries(rng):
    model = tw.Sequential([tw.Dense(50, "tanh"), tw.Dense(2)], 30, seed=0)
    x, y = rng.normal(size=(6, 30)), rng.normal(size=(6, 2))
    report = tw.check_gradients(model, x, y, "mse", entries=7)
    assert [check.checked for check in report.parameters] == [7, 7, 7, 2] and report.passed
    assert tw.check_gradients(model, x, y, "mse", entries=None).parameters[0].checked == 1500
    assert tw.check_gradients(model, x, y, "mse", entries=7) == report


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": 3}, TypeError, "model must be a model"),
        ({"y": np.ones(5)}, ValueError, "y has"),
        ({"loss": "mean"}, ValueError, "mean"),
        ({"entries": 0}, ValueError, "entries must be a positive integer or None, got 0"),
        ({"tolerance": 0}, ValueError, "tolerance must be a finite number > 0, got 0"),
        ({"X": np.full((6, 4), np.nan)}, tw.NonFiniteLoss, "X is nan"),
    ],
)
def test_errors_of_check_gradients(change, error, words, rng):
    model = tw.Sequential([tw.Dense(2)], 4, seed=0)
    arguments = {"model": model, "X": rng.normal(size=(6, 4)), "y": rng.normal(size=(6, 2)), "loss": "mse"} | change
    with pytest.raises(error, match=words):
        tw.check_gradients(**arguments)
