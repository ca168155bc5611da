"""The core's own mathematics: error in ulp, special values, the same bits on every ISA with FMA.

docs/numerics.md states the bounds; benchmarks/ulp.py measures them over every float32.
"""

import numpy as np
import pytest
import reference
from bits import isas_of_same_bits

import thalweg as tw

BOUNDS = {  # in ulp: float32, float64
    "tanh": (2.6, 2.6),
    "sigmoid": (2.5, 2.5),
    "elu": (1.2, 1.2),
    "selu": (1.8, 1.7),
    "softplus": (1.8, 1.8),
    "gelu": (5.1, 5.1),
    "gelu_tanh": (2.6, 2.6),
    "silu": (3.4, 3.4),
    "mish": (4.9, 4.9),
    "hard_sigmoid": (1.4, 1.4),
    "hard_swish": (2.6, 2.6),
}


def every_so_many_floats(stride):
    """Finite, normal float32 over the whole range, every stride-th bit pattern."""
    x = np.arange(0, 2**32, stride, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return x[np.isfinite(x) & (np.abs(x) >= np.finfo(np.float32).tiny)]


def many_doubles(rng, n=200_000):
    """Float64 of every size that matters, of both signs."""
    spread = np.ldexp(rng.uniform(1, 2, n), rng.integers(-60, 10, n))
    return np.concatenate([spread, -spread, rng.uniform(-40, 40, n), rng.uniform(-1, 1, n)])


def in_rows(x, columns=64):
    """As many whole rows as x fills."""
    return x[: len(x) // columns * columns].reshape(-1, columns)


def ulps(name, x, got, exact):
    """|got - exact| in units in the last place of exact, where exact and its factors are normal numbers.

    gelu_tanh's exponent 2u carries a rounding error, which exp magnifies: not counted, 3 |2u| below zero.
    """
    spacing = np.spacing(np.abs(exact).astype(got.dtype)).astype(exact.dtype)
    tiny = np.finfo(got.dtype).tiny * (np.maximum(np.abs(x), 1) if name in reference.KEEPS_INPUT else 1)
    error = np.abs(got - exact) / spacing
    if name == "gelu_tanh":
        error = error - 3 * np.maximum(0, -reference.twice_u(np.maximum(x.astype(float), -30))[0])
    return np.where(np.abs(exact) >= tiny, error, 0)


@pytest.mark.parametrize("name", list(BOUNDS))
def test_error_in_float32_is_within_the_stated_bound(name, isa):
    x = in_rows(every_so_many_floats(4099))
    x = x[np.abs(x).max(axis=1) < 1e4]  # beyond, all are constants or lines; the formulas of the twin overflow
    exact = reference.ACTIVATIONS[name][0](x.astype(np.float64))
    assert ulps(name, x, tw.kernels.activation_forward(x, name, isa=isa), exact).max() <= BOUNDS[name][0]


@pytest.mark.parametrize("name", list(BOUNDS))
def test_error_in_float64_is_within_the_stated_bound(name, isa, rng):
    if np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("no wider float on this platform to compare with")
    x = in_rows(many_doubles(rng, 20_000 if name == "gelu" else 200_000))
    exact = reference.ACTIVATIONS[name][0](x.astype(np.longdouble))
    assert ulps(name, x, tw.kernels.activation_forward(x, name, isa=isa), exact).max() <= BOUNDS[name][1]


@pytest.mark.parametrize("planted", [1e-6, -1e-6])
def test_an_error_of_a_millionth_is_noticed(planted):
    x = in_rows(every_so_many_floats(40_099))
    x = x[np.abs(x).max(axis=1) < 80]
    for name, (bound, _) in BOUNDS.items():
        exact = reference.ACTIVATIONS[name][0](x.astype(np.float64))
        wrong = tw.kernels.activation_forward(x, name) * np.float32(1 + planted)
        assert ulps(name, x, wrong, exact).max() > bound


def test_the_twins_normal_distribution_is_right(rng):
    # erfc of Python's own library, at arguments whose square root of two is exact enough in 80 bits
    from math import erfc, sqrt

    x = np.concatenate([rng.uniform(-6, 6, 200), [0.0, -2.0, 2.0, -1.9999, -37.0]])
    expected = [erfc(-z / sqrt(2)) / 2 for z in x]
    np.testing.assert_allclose(reference.normal_distribution(x), expected, rtol=2e-13)
    wide = reference.normal_distribution(np.array([-20.0, -3.0, 1.0], np.longdouble))  # 25 digits by mpmath
    known = ["2.753624118606233694921806e-89", "0.001349898031630094526651815", "0.8413447460685429485852325"]
    np.testing.assert_allclose((wide - np.array([np.longdouble(k) for k in known])) / wide, 0, atol=2e-18)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "identity"])
def test_special_values(name, isa, dtype):
    x = np.array([[0.0, np.inf, -np.inf, np.nan, 1e30, -1e30]], dtype)
    expected = {
        "identity": x,
        "relu": [[0, np.inf, 0, np.nan, 1e30, 0]],
        "tanh": [[0, 1, -1, np.nan, 1, -1]],
        "sigmoid": [[0.5, 1, 0, np.nan, 1, 0]],
    }[name]
    got = tw.kernels.activation_forward(x, name, isa=isa)
    np.testing.assert_array_equal(got, np.array(expected, dtype))


def test_tanh_is_odd_and_exact_near_zero(isa, dtype):
    x = np.array([[1e-30, -1e-30, 1e-8, 0.3]], dtype)
    up, down = (tw.kernels.activation_forward(sign * x, "tanh", isa=isa) for sign in (1, -1))
    np.testing.assert_array_equal(up, -down)
    np.testing.assert_array_equal(up[:, :3], x[:, :3])


def test_softplus_inside_the_loss_keeps_small_values(isa):
    # log1p(exp(-36.8)) is 1.04e-16: a naive log(1 + exp) would give 1.1e-16 or 0 (reading of BCE at -36.8, target 0)
    loss, _ = tw.kernels.binary_cross_entropy([[-36.8]], [0], isa=isa)
    assert loss == pytest.approx(1.0422811690e-16, rel=1e-9)


def test_confident_predictions_have_a_loss(isa):
    # log1p(exp(-20)) in float32, where 1 + exp(-20) is 1
    loss, gradient = tw.kernels.softmax_cross_entropy(np.array([[0, -20]], np.float32), [0], isa=isa)
    assert loss == pytest.approx(2.0611536e-9, rel=1e-6)
    np.testing.assert_allclose(gradient, [[-2.0611536e-9, 2.0611536e-9]], rtol=1e-6)


def test_softmax_of_large_logits(isa):
    for classes in (3, 40):  # both forms of the kernel
        z = np.full((2, classes), -1e30)
        z[:, :3] = [[1e4, 1e4 - 1, 0]]
        loss, _ = tw.kernels.softmax_cross_entropy(z, [0, 1], isa=isa)
        assert loss == pytest.approx((0.313261687518223 + 1.313261687518223) / 2, rel=1e-12)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softmax"])
def test_all_isas_with_fma_give_the_same_bits(name, dtype, rng):
    isas = isas_of_same_bits()
    x = rng.normal(size=(37, 53)).astype(dtype) * 8
    results = [tw.kernels.activation_forward(x, name, isa=isa).tobytes() for isa in isas]
    assert len(set(results)) == 1
