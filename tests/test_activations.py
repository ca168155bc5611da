"""Activations: against the twin, against central differences, against torch; limits, kinks, bits; softmax's backward."""

import json
from pathlib import Path

import numpy as np
import pytest
import reference
from bits import isas_of_same_bits
from close import assert_close, unit

import thalweg as tw
from thalweg.layers import ACTIVATIONS

TORCH = json.loads((Path(__file__).parent / "outside" / "torch_activations_losses.json").read_text())["activations"]
SHAPES = [(1, 1), (2, 3), (5, 15), (3, 16), (7, 17), (4, 31), (9, 64), (1, 130), (600, 5)]

forward, backward = tw.kernels.activation_forward, tw.kernels.activation_backward


def saved(z, y, name):
    """What the backward of an activation takes."""
    return z if name in reference.KEEPS_INPUT else y


def inputs(rng, shape, dtype):
    """Inputs from both sides of every kink and from the tails."""
    return (rng.normal(size=shape) * rng.choice([0.1, 1, 4, 12], size=shape)).astype(dtype)


def test_the_twin_has_them_all():
    assert set(reference.ACTIVATIONS) == set(ACTIVATIONS)
    assert set(tw._native.ACTIVATIONS) == {*ACTIVATIONS, "softmax"}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_forward_and_backward_follow_the_twin(name, shape, isa, dtype, rng):
    z, dy = inputs(rng, shape, dtype), rng.normal(size=shape).astype(dtype)
    value, derivative = reference.ACTIVATIONS[name]
    y = forward(z, name, isa=isa)
    assert y.dtype == dtype
    assert_close(y, value(z.astype(float)), dtype, units=12, scale=1)
    kept = saved(z, y, name)
    assert_close(backward(dy, kept, name, isa=isa), dy * derivative(kept.astype(float)), dtype, 16, np.abs(dy).max())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_is_the_central_difference(name, isa, rng):
    z = rng.normal(size=(40, 23)) * 3
    kinks = np.array(reference.KINKS.get(name, []))
    near = (np.abs(z[..., None] - kinks) < 1e-2).any(axis=-1)
    z = np.where(near, z + 0.05, z)
    h = 2e-4
    f = [forward(z + steps * h, name, isa=isa) for steps in (1, -1, 2, -2)]
    expected = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h)
    got = backward(np.ones_like(z), saved(z, forward(z, name, isa=isa), name), name, isa=isa)
    assert (np.abs(got - expected) <= 1e-7 * np.maximum(np.abs(expected), np.abs(expected).mean())).all()


@pytest.mark.parametrize("name", list(TORCH["of"]))
def test_torch(name, isa):
    z, outside = np.array([TORCH["z"]]), TORCH["of"][name]
    y = forward(z, name, isa=isa)
    tail = z < -5  # where torch's own 1 + tanh and 1 + erf have lost digits
    np.testing.assert_allclose(y[~tail], np.array([outside["y"]])[~tail], rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(y[tail], np.array([outside["y"]])[tail], rtol=1e-12, atol=2e-15)
    dz = backward(np.ones_like(z), saved(z, y, name), name, isa=isa)
    rtol = 3.1e-8 if name == "hard_sigmoid" else 1e-12  # torch's sixth is that of float32
    np.testing.assert_allclose(dz, [outside["dz"]], rtol=rtol, atol=5e-15)


@pytest.mark.parametrize("name", list(TORCH["kinks"]))
def test_kinks_are_torchs(name, isa, dtype):
    z = np.array([TORCH["kinks"][name]["z"]], dtype)
    dz = backward(np.ones_like(z), saved(z, forward(z, name, isa=isa), name), name, isa=isa)
    np.testing.assert_allclose(dz, [TORCH["kinks"][name]["dz"]], rtol=1e-6 if dtype == np.float32 else 1e-15)


LIMITS = {  # at -infinity, +infinity: value, derivative
    "identity": (-np.inf, np.inf, 1, 1),
    "relu": (0, np.inf, 0, 1),
    "tanh": (-1, 1, 0, 0),
    "sigmoid": (0, 1, 0, 0),
    "leaky_relu": (-np.inf, np.inf, 0.01, 1),
    "relu6": (0, 6, 0, 0),
    "elu": (-1, np.inf, 0, 1),
    "selu": (-1.7580993408473768599, np.inf, 0, 1.0507009873554804934),
    "softplus": (0, np.inf, 0, 1),
    "hard_tanh": (-1, 1, 0, 0),
    "hard_sigmoid": (0, 1, 0, 0),
    "gelu": (0, np.inf, 0, 1),
    "gelu_tanh": (0, np.inf, 0, 1),
    "silu": (0, np.inf, 0, 1),
    "mish": (0, np.inf, 0, 1),
    "hard_swish": (0, np.inf, 0, 1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_limits(name, isa, dtype):
    low, high, slope_low, slope_high = LIMITS[name]
    z = np.array([[-np.inf, np.inf, np.nan, -1e30, 1e30, -1e4, 1e4]], dtype)
    y = forward(z, name, isa=isa)
    np.testing.assert_array_equal(y[0, :3], np.array([low, high, np.nan], dtype))
    assert np.isfinite(y[0, 3:]).all()
    for i, limit in ((3, low), (4, high), (5, low), (6, high)):  # far out the function is its limit, or a line
        if np.isfinite(limit):
            assert y[0, i] == dtype.type(limit)
        else:
            slope = slope_low if limit < 0 else slope_high
            assert y[0, i] == pytest.approx(slope * float(z[0, i]), rel=1e-6)
    slopes = backward(np.ones_like(z), saved(z, y, name), name, isa=isa)
    expected = np.array([slope_low, slope_high, 0, *[slope_low, slope_high] * 2])
    np.testing.assert_allclose(np.delete(slopes[0], 2), np.delete(expected, 2), rtol=1e-6, atol=2 * unit(dtype))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_all_isas_with_fma_and_all_threads_give_the_same_bits(name, dtype, rng):
    z, dy = inputs(rng, (37, 53), dtype), rng.normal(size=(37, 53)).astype(dtype)
    results = set()
    for isa in tw.info()["isas"]:
        for threads in (1, 2, 3) if isa != "scalar" else ():
            y = forward(z, name, isa=isa, num_threads=threads)
            dz = backward(dy, saved(z, y, name), name, isa=isa, num_threads=threads)
            results.add(y.tobytes() + dz.tobytes())
    assert len(results) == 1


# ---- softmax's backward ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2, 7, 15, 16, 17, 33, 64, 257])
def test_softmax_backward_follows_the_twin(columns, isa, dtype, rng):
    z, dy = rng.normal(size=(19, columns)).astype(dtype) * 3, rng.normal(size=(19, columns)).astype(dtype)
    y = forward(z, "softmax", isa=isa)
    dz = backward(dy, y, "softmax", isa=isa)
    assert dz.dtype == dtype
    assert_close(dz, reference.softmax_backward(dy, y), dtype, units=16 + columns, scale=np.abs(dy).max())
    assert np.abs(dz.sum(axis=1)).max() <= 64 * unit(dtype)  # adding to all logits changes nothing


def test_softmax_backward_is_the_central_difference(isa, rng):
    z, dy, h = rng.normal(size=(6, 21)), rng.normal(size=(6, 21)), 2e-4
    dz = backward(dy, forward(z, "softmax", isa=isa), "softmax", isa=isa)
    for column in range(21):
        step = np.zeros_like(z)
        step[:, column] = h
        f = [(dy * forward(z + steps * step, "softmax", isa=isa)).sum(axis=1) for steps in (1, -1, 2, -2)]
        expected = (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h)
        assert (np.abs(dz[:, column] - expected) <= 1e-7 * np.maximum(np.abs(expected), np.abs(dz).mean())).all()


def test_softmax_backward_is_torchs(isa, dtype):
    outside = TORCH["softmax"]
    y = forward(np.array(outside["z"], dtype), "softmax", isa=isa)
    np.testing.assert_allclose(y, outside["y"], rtol=1e-6 if dtype == np.float32 else 1e-14)
    dz = backward(np.array(outside["dy"], dtype), y, "softmax", isa=isa)
    np.testing.assert_allclose(dz, outside["dz"], rtol=2e-6 if dtype == np.float32 else 1e-13, atol=unit(dtype))


def test_softmax_backward_has_the_same_bits_everywhere(dtype, rng):
    z, dy = rng.normal(size=(37, 53)).astype(dtype), rng.normal(size=(37, 53)).astype(dtype)
    results = set()
    for isa in isas_of_same_bits():
        for threads in (1, 2, 5):
            y = forward(z, "softmax", isa=isa)
            results.add(backward(dy, y, "softmax", isa=isa, num_threads=threads).tobytes())
    assert len(results) == 1


# ---- errors planted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "identity"])
@pytest.mark.parametrize("factor", [1.001, 1 - 1e-6])
def test_a_wrong_derivative_or_value_is_noticed(name, factor, rng):
    z, dy = inputs(rng, (33, 20), float), rng.normal(size=(33, 20))
    value, derivative = reference.ACTIVATIONS[name]
    y = forward(z, name)
    kept = saved(z, y, name)
    with pytest.raises(AssertionError):
        assert_close(y, factor * value(z), float, units=12, scale=1)
    with pytest.raises(AssertionError):
        assert_close(backward(dy, kept, name), factor * dy * derivative(kept), float, 16, np.abs(dy).max())


@pytest.mark.parametrize("name", reference.KEEPS_INPUT)
def test_the_output_in_place_of_the_input_is_noticed(name, rng):
    z = inputs(rng, (33, 20), float)
    wrong = backward(np.ones_like(z), forward(z, name), name)
    with pytest.raises(AssertionError):
        assert_close(wrong, reference.ACTIVATIONS[name][1](z), float, units=16, scale=1)


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match=r"unknown activation 'swish'; there are: identity, relu, .*, softmax"):
        forward(np.ones((1, 1)), "swish")
    with pytest.raises(ValueError, match=r"dy has shape \(2, 1\); expected \(1, 1\)"):
        backward(np.ones((2, 1)), np.ones((1, 1)), "softmax")
