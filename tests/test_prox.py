"""Proximal operators: each is the minimum that it says it is."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import thalweg as tw
from thalweg import prox

CONVEX = [
    prox.L1(0.3),
    prox.L2(0.5),
    prox.ElasticNet(0.3, 0.5),
    prox.GroupLasso(0.5),
    prox.GroupLasso(0.5, "columns"),
    prox.Box(-0.5, 0.7),
    prox.NonNegative(),
    prox.LowRank(lam=0.4),
]
SETS = [prox.TopK(5), prox.TopK(0.25), prox.LowRank(2), prox.Levels([-1, 0, 0.5, 2])]
ALL = CONVEX + SETS

matrices = hnp.arrays(np.float64, (4, 3), elements=st.floats(-3, 3, allow_subnormal=False))
steps = st.floats(0.1, 5)


def objective(operator, z, v, step):
    """g(z) + 1 / (2 step) ||z - v||^2."""
    return operator.value(z) + ((z - v) ** 2).sum() / (2 * step)


def check_minimum(operator, v, step, rng):
    """Compare with points nearby and far away, brought into the set where there is one."""
    z = operator(v, step)
    best = objective(operator, z, v, step)
    for size in (1e-3, 1e-1, 1, 3):
        other = z + size * rng.normal(size=z.shape)
        if operator in SETS or isinstance(operator, (prox.Box, prox.NonNegative)):
            other = operator(other)  # some point of the set
        assert objective(operator, other, v, step) >= best - 1e-9 * (1 + abs(best)), (operator, v, step)


@pytest.mark.parametrize("operator", ALL, ids=repr)
@given(v=matrices, step=steps)
def test_nothing_is_better(operator, v, step):
    check_minimum(operator, v, step, np.random.default_rng(0))


@pytest.mark.parametrize("operator", CONVEX, ids=repr)
@given(a=matrices, b=matrices, step=steps)
def test_convex_operators_are_firmly_non_expansive(operator, a, b, step):
    moved = operator(a, step) - operator(b, step)
    assert (moved**2).sum() <= (moved * (a - b)).sum() + 1e-9


@pytest.mark.parametrize("operator", [*SETS, prox.Box(-0.5, 0.7), prox.NonNegative()], ids=repr)
@given(v=matrices)
def test_projections_stay_where_they_are(operator, v):
    z = operator(v)
    np.testing.assert_allclose(operator(z, 7.0), z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(operator(v, 7.0), z, rtol=0, atol=0)


class Careless(prox.L1):
    """A planted error: the step is left out."""

    def point(self, v, step):
        return super().point(v, 1.0)


class Shrunk(prox.GroupLasso):
    """A planted error: a factor of 1.1 on the threshold."""

    def point(self, v, step):
        return super().point(v, 1.1 * step)


@pytest.mark.parametrize("operator", [Careless(0.3), Shrunk(0.5)])
def test_planted_errors_are_noticed(operator):
    rng = np.random.default_rng(1)
    with pytest.raises(AssertionError):
        for _ in range(50):
            z = operator(v := rng.normal(size=(4, 3)), 3.0)
            nearby = z + 1e-3 * np.sign(v - z)
            best = min(objective(operator, other, v, 3.0) for other in (nearby, z - 1e-3 * np.sign(v - z), z * 1.01))
            assert objective(operator, z, v, 3.0) <= best + 1e-9


@given(v=hnp.arrays(np.float64, 7, elements=st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, 0.5])), k=st.integers(1, 7))
def test_top_k_is_the_nearest_of_all_supports(v, k):
    z = prox.TopK(k)(v)
    assert np.count_nonzero(z) == min(k, np.count_nonzero(v))
    best = min(sum(v[i] ** 2 for i in range(7) if i not in kept) for kept in combinations(range(7), k))
    assert ((z - v) ** 2).sum() == pytest.approx(best)


def test_of_equal_sizes_exactly_k_are_kept_the_first():
    v = np.array([1.0, -1.0, 1.0, 1.0, 2.0])
    assert prox.TopK(3)(v).tolist() == [1, -1, 0, 0, 2]
    assert np.count_nonzero(prox.TopK(17)(np.ones((10, 10)))) == 17


def test_low_rank_against_numpy(rng):
    v = rng.normal(size=(6, 4))
    s = np.linalg.svd(v, compute_uv=False)
    z = prox.LowRank(2)(v)
    np.testing.assert_allclose(np.linalg.svd(z, compute_uv=False), [*s[:2], 0, 0], atol=1e-14)
    np.testing.assert_allclose(((z - v) ** 2).sum(), (s[2:] ** 2).sum())  # Eckart and Young
    shrunk = np.linalg.svd(prox.LowRank(lam=0.3)(v, 2.0), compute_uv=False)
    np.testing.assert_allclose(shrunk, np.maximum(s - 0.6, 0), atol=1e-14)


def test_levels_take_the_nearest_and_of_two_the_lower():
    operator = prox.Levels([1, -1, 0])
    assert operator.levels == (-1.0, 0.0, 1.0)
    assert operator([-7, -0.5, 0.49, 0.5, 0.51, 7]).tolist() == [-1, -1, 0, 0, 1, 1]


def test_groups_are_rows_or_columns():
    v = np.array([[3.0, 0.1], [4.0, 0.1]])
    np.testing.assert_allclose(prox.GroupLasso(1.0, "columns")(v), [[2.4, 0], [3.2, 0]], rtol=1e-14)
    assert prox.GroupLasso(9.0)(v).any() == False
    assert prox.GroupLasso(1.0)(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("operator", ALL, ids=repr)
def test_dtype_stays_and_nothing_is_changed(operator, dtype, rng):
    v = rng.normal(size=(4, 3)).astype(dtype)
    before = v.copy()
    z = operator(v)
    assert z.dtype == dtype
    assert not np.shares_memory(z, v)
    np.testing.assert_array_equal(v, before)
    np.testing.assert_allclose(z, operator(v.astype(float)), atol=1e-6)


@pytest.mark.parametrize("operator", ALL, ids=repr)
def test_descriptions_give_the_same_operator(operator):
    assert prox.from_config(operator.config(), []) == operator
    assert eval(repr(operator), vars(prox)) == operator


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: prox.L1(-1), "L1: lam must be a finite number >= 0, got -1"),
        (lambda: prox.L2("a"), "L2: lam must be a finite number >= 0, got 'a'"),
        (lambda: prox.ElasticNet(1, np.nan), "ElasticNet: l2 must be a finite number >= 0, got nan"),
        (lambda: prox.GroupLasso(1, "units"), "GroupLasso: axis must be 'rows' or 'columns', got 'units'"),
        (lambda: prox.Box(1, 0), "Box: low must be <= high, .* got 1.0 and 0.0"),
        (lambda: prox.Box(None, 0), "Box: low must be a finite number, got None"),
        (lambda: prox.TopK(0), "TopK: k must be a positive integer, or a share between 0 and 1, got 0"),
        (lambda: prox.TopK(1.5), "TopK: k must be a positive integer, or a share between 0 and 1, got 1.5"),
        (lambda: prox.TopK(True), "TopK: k must be a positive integer"),
        (lambda: prox.LowRank(), "LowRank: give rank or lam, one of them, got None and None"),
        (lambda: prox.LowRank(0), "LowRank: rank must be a positive integer, got 0"),
        (lambda: prox.Levels([]), "Levels: levels must be finite numbers, at least one"),
        (lambda: prox.Levels([0, np.inf]), "Levels: levels must be finite numbers"),
        (lambda: prox.L1(1)([np.nan]), "L1: v holds NaN or infinity"),
        (lambda: prox.L1(1)([1.0], 0), "L1: step must be a finite number > 0, got 0"),
        (lambda: prox.TopK(5)([1.0]), "TopK: v has 1 entries, of which TopK cannot keep k=5: k must be at most that"),
        (lambda: prox.LowRank(3)(np.ones((2, 5))), r"v has shape \(2, 5\); LowRank's rank must be at most 2, got 3"),
        (lambda: prox.GroupLasso(1)([1.0]), r"GroupLasso: v has shape \(1,\); GroupLasso takes a matrix"),
        (lambda: prox.from_config({"type": "Mine"}, []), "the prox Mine is none of thalweg's"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_no_array():
    with pytest.raises(TypeError, match="v has dtype"):
        tw.prox.L1(1)(["a"])
