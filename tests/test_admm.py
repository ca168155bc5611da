"""ADMM: convex problems against their closed forms and against scikit-learn and SciPy; deep_prior against its oracle."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_prox import CONVEX

import thalweg as tw
from thalweg import admm, prox
from thalweg.splitting import Splitting

OUTSIDE = json.loads((Path(__file__).parent / "outside" / "admm.json").read_text())
X, Y = (np.array(OUTSIDE[name]) for name in "xy")
ONE = Y[:, 0]


def adam(operator, inner=10, rho=1.0, factor=0.97, **settings):
    """The settings of most tests: the learning rate falls with every iteration."""
    lr = tw.schedules.Step(0.05, step_size=inner, gamma=factor)
    settings = {"eps_abs": 0, "eps_rel": 0} | settings
    return tw.ADMMAdam(lr, rho, prox=operator, inner_steps=inner, **settings)


def least_squares(y):
    """The gradient of ||X w - y||^2 / (2 rows)."""
    return lambda w: X.T @ (X @ w - y) / len(X)


# ---- closed forms, and other people's programs ----------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 1.6])
@pytest.mark.parametrize("operator", CONVEX, ids=repr)
def test_the_nearest_point_is_prox(operator, alpha, rng):
    a = rng.normal(size=(6, 5))
    found = admm.solve(lambda w: w - a, np.zeros((6, 5)), adam(operator, 20, over_relaxation=alpha), 400)
    np.testing.assert_allclose(found.x, operator(a), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.w, operator(a), rtol=0, atol=1e-9)


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("rho", [0.3, 4.0])
def test_the_answer_does_not_depend_on_rho(rho, amsgrad, rng):
    a = rng.normal(size=8)
    found = admm.solve(lambda w: w - a, np.zeros(8), adam(prox.L1(0.5), 30, rho, 0.95, amsgrad=amsgrad), 250)
    np.testing.assert_allclose(found.x, prox.L1(0.5)(a), rtol=0, atol=1e-8)


OPERATORS = {
    "L1": prox.L1(0.1),
    "L2": prox.L2(0.3),
    "ElasticNet": prox.ElasticNet(0.05, 0.15),
    "NonNegative": prox.NonNegative(),
    "Box": prox.Box(-1, 2),
    "GroupLasso": prox.GroupLasso(0.4),
}


@pytest.mark.parametrize("name", list(OPERATORS))
def test_regressions_against_scikit_learn_and_scipy(name):
    expected = np.array(OUTSIDE[name])
    y = Y if expected.ndim == 2 else ONE
    found = admm.solve(least_squares(y), np.zeros(expected.shape), adam(OPERATORS[name], 20), 400)
    np.testing.assert_allclose(found.x, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.x != 0, expected != 0)  # the same support, and zeros that are zeros


def unsquared(split, gradients):
    """A planted error, found in public code: the gradient of rho / 2 ||w - z + u||, which is not squared."""
    split._begin()
    pull = split.w[0] - split.z[0] + split.u[0]
    gradients[0] += split.notes["rho"] / 2 * pull / max(np.linalg.norm(pull), 1e-12)


def decoupled(split, gradients):
    """Another: the pull moves w beside Adam."""
    split._begin()
    split.w[0] -= 0.01 * split.notes["rho"] * (split.w[0] - split.z[0] + split.u[0])


@pytest.mark.parametrize("error", [unsquared, decoupled])
def test_planted_errors_are_noticed(error, monkeypatch):
    monkeypatch.setattr(Splitting, "pull", error)
    found = admm.solve(least_squares(ONE), np.zeros(12), adam(prox.L1(0.1), 20), 400)
    assert np.abs(found.x - OUTSIDE["L1"]).max() > 1e-3


@pytest.mark.parametrize("rho", [1e-3, 1e-2, 1e-1, 1, 10, 100])
def test_residual_balancing_and_stopping(rho):
    optimizer = adam(prox.L1(0.1), 20, rho, 0.98, adapt_rho=True, eps_abs=1e-6, eps_rel=1e-6)
    found = admm.solve(least_squares(ONE), np.zeros(12), optimizer, 800)
    np.testing.assert_allclose(found.x, OUTSIDE["L1"], rtol=0, atol=1e-4)
    assert found.converged
    assert found.iterations < 100
    assert 0.1 < found.rho < 10
    fixed = adam(prox.L1(0.1), 20, rho, 0.98, eps_abs=1e-6, eps_rel=1e-6)
    if rho in (1e-3, 100):  # what balancing is for
        assert np.abs(admm.solve(least_squares(ONE), np.zeros(12), fixed, 100).x - OUTSIDE["L1"]).max() > 1e-3


def test_one_iteration_by_hand():
    """W = 3, z = 1, u = 0.5, rho = 2, L1(1), alpha = 1.5: w_hat = 4, v = 4.5, z = 4, u = 0.5, r = 1, s = 6."""
    w, z, u = np.array([3.0]), np.array([1.0]), np.array([0.5])
    optimizer = tw.ADMMAdam(1e-3, 2.0, prox=prox.L1(1.0), over_relaxation=1.5, inner_steps=1)
    notes = {"rho": 2.0, "given_rho": 2.0, "inner": 0, "iterations": 0, "changes": 0}
    split = Splitting(optimizer, [optimizer.prox], [w], [z], [u], notes)
    gradient = np.array([10.0])
    split.pull([gradient])
    assert gradient == [15.0]  # 10 + 2 (3 - 1 + 0.5)
    split.advance()
    assert (z, u, notes["primal_residual"], notes["dual_residual"]) == ([4.0], [0.5], 1.0, 6.0)
    optimizer.rho = 8.0  # the multiplier rho u stays
    split.pull([gradient])
    assert (u, notes["rho"]) == ([0.125], 8.0)
    assert gradient == [15.0 + 8 * (3 - 4 + 0.125)]


def test_boyds_criteria_by_hand():
    """R = 1 and s = 6 against sqrt(1) eps_abs + eps_rel max(3, 4) and + eps_rel 2 0.5."""
    for eps_abs, eps_rel, expected in [(5.9, 0.1, True), (5.8, 0.1, False), (0.1, 0.24, False), (6.0, 0, True)]:
        optimizer = tw.ADMMAdam(1e-3, 2.0, prox=prox.L1(1.0), eps_abs=eps_abs, eps_rel=eps_rel)
        notes = {"rho": 2.0, "iterations": 0, "changes": 0}
        arrays = ([np.array([value])] for value in (3.0, 4.0, 0.5))
        split = Splitting(optimizer, [optimizer.prox], *arrays, notes)
        split._judge(1.0, 6.0, 3.0, 4.0, 0.5)
        assert notes["converged"] is expected, (eps_abs, eps_rel)


@pytest.mark.parametrize(("primal", "dual", "rho"), [(11, 1, 4.0), (1, 11, 1.0), (9, 1, 2.0), (1, 9, 2.0)])
def test_balancing_by_hand(primal, dual, rho):
    optimizer = tw.ADMMAdam(1e-3, 2.0, prox=prox.L1(1.0), adapt_rho=True, eps_abs=0, eps_rel=0)
    notes, u = {"rho": 2.0, "iterations": 0, "changes": 0}, np.array([0.5])
    split = Splitting(optimizer, [optimizer.prox], [np.ones(1)], [np.ones(1)], [u], notes)
    split._judge(primal, dual, 1.0, 1.0, 0.5)
    assert notes["rho"] == rho
    assert rho * u[0] == 1.0  # the multiplier itself has not changed
    notes |= {"rho": 2.0, "changes": 50}
    split._judge(primal, dual, 1.0, 1.0, 0.5)
    assert notes["rho"] == 2.0  # stands still in the end


def test_top_k_of_a_trained_point(rng):
    """From the trained point and with rho >= the curvature ADMM keeps the best support, and finds its optimum."""
    a = rng.normal(size=20)
    found = admm.solve(lambda w: w - a, a, adam(prox.TopK(5), 20, 1.0), 400)
    np.testing.assert_allclose(found.x, prox.TopK(5)(a), rtol=0, atol=1e-10)
    found = admm.solve(lambda w: w - a, a, adam(prox.Levels([-1, 0, 1]), 20, 1.0), 400)
    np.testing.assert_array_equal(found.x, prox.Levels([-1, 0, 1])(a))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gradient": 3}, "gradient must be a function of w, got 3"),
        ({"optimizer": tw.Adam()}, r"optimizer must be a tw.ADMMAdam with one prox, got Adam\(lr=0.001\)"),
        (
            {"optimizer": tw.ADMMAdam(prox=prox.L1(1), clip_norm=1)},
            "clip_value, clip_norm and accumulate serve training",
        ),
        ({"w0": []}, "w0 holds no numbers"),
        ({"w0": [np.nan]}, "w0 holds NaN"),
        ({"w0": [1.0], "optimizer": tw.ADMMAdam(prox=prox.TopK(3))}, "w0 has 1 entries, of which TopK cannot keep k=3"),
        ({"max_iterations": 0}, "solve: max_iterations must be a positive integer, got 0"),
        ({"gradient": lambda w: 1.0}, r"gradient returned an array of shape \(\); expected the shape of x, \(2,\)"),
        ({"gradient": lambda w: w * np.nan}, "gradient returned NaN or infinity"),
    ],
)
def test_wrong_problems(change, message):
    right = {"gradient": lambda w: w, "w0": np.ones(2), "optimizer": tw.ADMMAdam(prox=prox.L1(1))}
    with pytest.raises((ValueError, TypeError), match=message):
        admm.solve(**right | change)


# ---- deep_prior -----------------------------------------------------------------------------------------------------


def oracle(observed, operators, prior, rank, lam):
    """The closed form, row by row: (E'A'A E + lam / 2 I) s = E'A'y + lam / 2 E'x."""
    basis = np.eye(prior.shape[1]) if rank is None else np.linalg.eigh(prior.T @ prior)[1][:, -rank:]
    restored = []
    for y, a, x in zip(observed, operators, prior, strict=True):
        ae = a @ basis
        left = ae.T @ ae + lam / 2 * np.eye(basis.shape[1])
        restored.append(basis @ np.linalg.solve(left, ae.T @ y + lam / 2 * basis.T @ x))
    return np.array(restored)


def masked(rng, rows=40, columns=12):
    """Data of low rank, of which half is observed and one row not at all, and a rough prior."""
    truth = rng.normal(size=(rows, 4)) @ rng.normal(size=(4, columns))
    mask = rng.random((rows, columns)) < 0.5
    mask[3], mask[4] = False, True
    return truth, mask, truth + 0.2 * rng.normal(size=truth.shape)


@pytest.mark.parametrize("rank", [None, 1, 4, 12])
@pytest.mark.parametrize(("lam", "mu"), [(0.01, 1e-3), (0.5, 0.5), (3.0, 10.0), (1e-4, None), (100.0, None)])
def test_deep_prior_agrees_with_its_oracle(rank, lam, mu, rng):
    truth, mask, prior = masked(rng)
    observed = np.where(mask, truth, np.nan)
    found = admm.deep_prior(observed, mask, prior, rank, lam, mu)
    expected = oracle(np.where(mask, truth, 0), [np.diag(row.astype(float)) for row in mask], prior, rank, lam)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("rank", [None, 3])
def test_deep_prior_with_an_operator(rank, rng):
    a, x = rng.normal(size=(5, 12)), rng.normal(size=(30, 12))
    found = admm.deep_prior(x @ a.T, a, x + 0.1, rank)
    np.testing.assert_allclose(found, oracle(x @ a.T, [a] * 30, x + 0.1, rank, 0.01), rtol=0, atol=1e-8)


def test_a_mask_is_an_operator(rng):
    truth, _, prior = masked(rng)
    kept = np.arange(12) < 7
    operator = np.eye(12)[kept]
    mask = np.broadcast_to(kept, truth.shape)
    by_mask, by_operator = admm.deep_prior(truth, mask, prior, 4), admm.deep_prior(truth[:, kept], operator, prior, 4)
    np.testing.assert_allclose(by_mask, by_operator, rtol=0, atol=1e-10)


def test_rows_do_not_know_of_one_another_but_for_the_basis(rng, monkeypatch):
    truth, mask, prior = masked(rng)
    whole = admm.deep_prior(truth, mask, prior, 4)
    monkeypatch.setattr(admm, "_ROWS", 7)
    np.testing.assert_allclose(admm.deep_prior(truth, mask, prior, 4), whole, rtol=0, atol=1e-12)


def test_what_was_not_observed_is_the_prior_and_what_was_counts(rng):
    truth, mask, prior = masked(rng)
    found = admm.deep_prior(truth, mask, prior)
    np.testing.assert_allclose(found[~mask], prior[~mask], rtol=0, atol=1e-8)
    assert np.abs(found - truth)[mask].max() < 0.02 * np.abs(prior - truth)[mask].max()
    of_rank = admm.deep_prior(truth, mask, prior, 4)
    assert ((of_rank - truth)[~mask] ** 2).mean() < 0.7 * ((prior - truth)[~mask] ** 2).mean()


def test_the_papers_51_iterations_end_near_the_answer(rng):
    truth, mask, prior = masked(rng)
    far, near = (np.abs(admm.deep_prior(truth, mask, prior, 4, iterations=n) -
                        admm.deep_prior(truth, mask, prior, 4, iterations=2000)).max() for n in (51, 300))  # fmt: skip
    assert 1e-8 < far < 1e-2
    assert near < 1e-9


def test_planted_error_d_not_scaled(rng):
    """A public port subtracts d instead of mu / (lam + mu) d: it converges to another point."""
    truth, mask, prior = masked(rng)
    lam, mu, wanted = 0.01, 1e-3, prior
    s, d = np.zeros_like(prior), np.zeros_like(prior)
    for _ in range(2000):
        z = lam / (lam + mu) * wanted + mu / (lam + mu) * s - d
        s = (np.where(mask, truth, 0) + mu / 2 * (z + d)) / (mask + mu / 2)
        d += z - s
    expected = oracle(np.where(mask, truth, 0), [np.diag(row.astype(float)) for row in mask], prior, None, lam)
    assert np.abs(s - expected).max() > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"observed": np.ones((4, 2))},
            r"observed has shape \(4, 2\); expected \(4, 3\) for a prior of shape \(4, 3\)",
        ),
        ({"observed": np.ones(4)}, r"observed has shape \(4,\); expected two axes"),
        ({"mask_or_operator": np.ones((4, 2), bool)}, r"is a mask of shape \(4, 2\); expected \(4, 3\)"),
        ({"mask_or_operator": np.ones((3, 2))}, "mask_or_operator has 2 columns, prior has 3"),
        ({"prior": np.full((4, 3), np.nan)}, "prior holds NaN or infinity"),
        ({"observed": np.full((4, 3), np.nan)}, "observed holds NaN or infinity"),
        ({"rank": 4}, "deep_prior: rank must be at most the 3 columns of prior, got 4"),
        ({"rank": 0}, "deep_prior: rank must be a positive integer, got 0"),
        ({"lam": 0}, "deep_prior: lam must be a finite number > 0, got 0"),
        ({"mu": -1}, "deep_prior: mu must be a finite number > 0, got -1"),
        ({"iterations": 0}, "deep_prior: iterations must be a positive integer, got 0"),
    ],
)
def test_wrong_observations(change, message):
    right = {"observed": np.ones((4, 3)), "mask_or_operator": np.ones((4, 3), bool), "prior": np.ones((4, 3))}
    with pytest.raises(ValueError, match=message):
        admm.deep_prior(**right | change)
