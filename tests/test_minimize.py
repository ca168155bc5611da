"""Minimising functions: known minima with every optimizer, steps of the twin, stops, bounds, errors."""

from dataclasses import dataclass

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize as scipy_minimize

import thalweg as tw

OPTIMIZERS = [tw.SGD(lr=0.05), tw.SGD(lr=0.02, momentum=0.9, nesterov=True), tw.Adam(lr=0.1), tw.Adam(lr=0.1, amsgrad=True),
              tw.AdamW(lr=0.1, weight_decay=0)]  # fmt: skip


def bowl(v):
    """Minimum 1 at (2, -1, 0.5)."""
    return (v[0] - 2) ** 2 + 3 * (v[1] + 1) ** 2 + 5 * (v[2] - 0.5) ** 2 + 1


def bowl_slope(v):
    return np.array([2 * (v[0] - 2), 6 * (v[1] + 1), 10 * (v[2] - 0.5)])


def numpy_bowl(v):
    """The same in a way that no Variable takes."""
    return float(np.sum(np.array([1.0, 3.0, 5.0]) * np.square(np.asarray(v) - [2, -1, 0.5]))) + 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize(
    ("f", "gradient", "derivative"),
    [(bowl, None, "graph"), (bowl, bowl_slope, "given"), (numpy_bowl, None, "central differences")],
)
def test_every_optimizer_finds_the_minimum(optimizer, f, gradient, derivative):
    result = tw.minimize(f, [0, 0, 0], gradient, optimizer, max_steps=5000, tolerance=1e-7)
    assert result.success and result.status == 0 and result.derivative == derivative
    np.testing.assert_allclose(result.x, [2, -1, 0.5], atol=1e-6)
    assert abs(result.fun - 1) < 1e-12 and np.abs(result.jac).max() <= 1e-7
    assert result.path.shape == (result.nit + 1, 3) and result.path[0].tolist() == [0, 0, 0]
    reached = scipy_minimize(numpy_bowl, [0, 0, 0])
    np.testing.assert_allclose(result.x, reached.x, atol=1e-5)
    assert set(reached) - {"hess_inv"} <= set(vars(result))


@pytest.mark.parametrize(
    ("optimizer", "twin", "settings"),
    [
        (tw.SGD(lr=0.01), reference.sgd, {"lr": 0.01}),
        (
            tw.SGD(lr=0.01, momentum=0.9, weight_decay=0.1),
            reference.sgd,
            {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1},
        ),
        (tw.Adam(lr=0.1), reference.adam, {"lr": 0.1}),
        (tw.AdamW(lr=0.1, amsgrad=True), reference.adamw, {"lr": 0.1, "amsgrad": True}),
    ],
    ids=repr,
)
def test_the_path_is_the_twins(optimizer, twin, settings):
    result = tw.minimize(bowl, np.array([[[3.0]], [[1.0]], [[-1.0]]]), None, optimizer, max_steps=200, tolerance=0)
    w, state, path = np.array([3.0, 1, -1]), {}, [np.array([3.0, 1, -1])]
    for t in range(1, 201):
        w = twin(w, bowl_slope(w), state, t, **settings)
        path.append(w)
    assert result.path.shape == (201, 3, 1, 1) and result.nit == 200 and result.status == 1
    np.testing.assert_allclose(result.path.reshape(201, 3), path, rtol=1e-11, atol=1e-13)


def test_all_three_ways_give_the_gradients_of_the_lessons():
    def cubic(v):
        return 2 * v[0] ** 2 + 6 * v[1] ** 2 + 7 * v[2] ** 3

    cases = [(cubic, lambda v: np.array([4 * v[0], 12 * v[1], 21 * v[2] ** 2]), [1, 1, 1], [4, 12, 21]),
             (lambda x: 5 * x**2, lambda x: 10 * x, 1, 10)]  # fmt: skip
    for f, gradient, x0, expected in cases:
        with_numbers = lambda v, f=f: f(np.asarray(v, float))
        for function, slope, way in (
            (f, None, "graph"),
            (f, gradient, "given"),
            (with_numbers, None, "central differences"),
        ):
            result = tw.minimize(function, x0, slope, max_steps=0)
            assert result.derivative == way and result.status == 1 and result.nit == 0
            np.testing.assert_allclose(result.jac, expected, rtol=1e-9)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_random_quadratics(n, seed):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(n, n)))
    a = q @ np.diag(rng.uniform(0.5, 4, n)) @ q.T
    b = rng.normal(size=n)
    result = tw.minimize(lambda v: v @ (a @ v) / 2 - b @ v, rng.normal(size=n), None, tw.SGD(lr=0.2), tolerance=1e-9)
    assert result.success
    np.testing.assert_allclose(result.x, np.linalg.solve(a, b), atol=1e-8)


def test_a_number_stays_a_number():
    seen = []
    result = tw.minimize(lambda x: 5 * x**2 - 20 * x, 0, lambda x: seen.append(x) or 10 * x - 20, tw.SGD(lr=0.05))
    assert isinstance(result.x, float) and isinstance(result.jac, float) and result.path.shape == (result.nit + 1,)
    assert all(isinstance(x, float) for x in seen) and len(seen) == result.njev == result.nit + 1
    assert result.nfev == result.nit + 1
    assert "success: True" in repr(result) and "path: array (" in repr(result)


def test_the_default_is_plain_descent():
    result = tw.minimize(lambda x: x**2, 1.0, max_steps=3)
    np.testing.assert_allclose(result.path, 0.98 ** np.arange(4), rtol=1e-14)


def test_clipping_is_that_of_training():
    steep = tw.minimize(
        lambda v: (v**2).sum() * 50, [3.0, 4.0], None, tw.SGD(lr=0.1, clip_norm=1), max_steps=1, tolerance=0
    )
    np.testing.assert_allclose(steep.path[1], [3 - 0.06, 4 - 0.08], rtol=1e-14)
    steep = tw.minimize(
        lambda v: (v**2).sum() * 50, [3.0, -4.0], None, tw.SGD(lr=0.1, clip_value=1), max_steps=1, tolerance=0
    )
    np.testing.assert_allclose(steep.path[1], [2.9, -3.9], rtol=1e-14)


def test_schedules_and_a_fresh_state_for_each_call():
    optimizer = tw.Adam(lr=tw.schedules.Step(0.5, step_size=10))
    first, second = (tw.minimize(bowl, [0, 0, 0], None, optimizer, max_steps=30, tolerance=0) for _ in range(2))
    np.testing.assert_array_equal(first.path, second.path)
    steps = np.abs(np.diff(first.path[:, 0]))
    np.testing.assert_allclose(steps[0], 0.5, rtol=1e-6)
    assert steps[11:].max() < 0.1


@dataclass(eq=False, repr=False)
class FromThere(tw.SGD):
    """Descent with momentum whose buffer begins as a number, or as the weights."""

    begins: float | None = None

    def beginnings(self):
        return {"momentum_buffer": self.begins}


@pytest.mark.parametrize(("begins", "buffer"), [(None, 3.0), (0.5, 0.5)])
def test_state_begins_as_the_optimizer_says(begins, buffer):
    result = tw.minimize(lambda x: x**2, 3.0, None, FromThere(lr=0.1, momentum=0.5, begins=begins), max_steps=1)
    np.testing.assert_allclose(result.path[1], 3 - 0.1 * (0.5 * buffer + 6), rtol=1e-14)


# ---- stops ----------------------------------------------------------------------------------------------------------


def test_max_steps_and_the_best_point():
    result = tw.minimize(lambda x: x**2, 1.0, None, tw.SGD(lr=0.99), max_steps=5, tolerance=0)
    assert (result.status, result.success, result.nit) == (1, False, 5) and "max_steps = 5" in result.message
    # heavy momentum runs through the minimum and out again: the best point lies on the way
    result = tw.minimize(lambda x: x**2, 1.0, None, tw.SGD(lr=0.05, momentum=0.95), max_steps=12, tolerance=0)
    assert abs(result.x) == np.abs(result.path).min() < abs(result.path[-1])
    assert result.fun == result.x**2 and result.jac == 2 * result.x


def test_no_progress():
    result = tw.minimize(lambda x: x**2, 1.0, None, tw.SGD(lr=1.0))  # from 1 to -1 and back, for ever
    assert result.status == 2 and not result.success and result.nit == 100 and "no progress" in result.message
    assert tw.minimize(lambda x: x**2, 1.0, None, tw.SGD(lr=1.0), max_steps=300, tolerance=0).nit == 300


def test_divergence_ends_without_a_warning():
    result = tw.minimize(lambda x: x**4, 2.0, None, tw.SGD(lr=1.0))
    assert result.status == 3 and not result.success and "finite" in result.message and result.x == 2.0
    import math

    result = tw.minimize(
        lambda x: math.exp(abs(x)), 2.0, lambda x: math.exp(abs(x)) * (1 if x > 0 else -1), tw.SGD(lr=9)
    )
    assert result.status == 3 and np.isfinite(result.fun)


@pytest.mark.parametrize("way", ["true", "raise"])
def test_a_callback_stops(way):
    seen = []

    def callback(x):
        seen.append(x)
        x += 100  # a copy
        if len(seen) == 3:
            if way == "raise":
                raise StopIteration
            return True
        return None

    result = tw.minimize(bowl, np.zeros(3), callback=callback)
    assert result.status == 4 and result.nit == 3 and len(seen) == 3 and "callback" in result.message


# ---- bounds ---------------------------------------------------------------------------------------------------------


def test_bounds_project_and_let_it_converge_there():
    result = tw.minimize(bowl, [5.0, 5, 5], None, tw.SGD(lr=0.05), bounds=([2.5, -np.inf, 0], [9, 9, 0.25]))
    np.testing.assert_allclose(result.x, [2.5, -1, 0.25], atol=1e-6)
    assert result.success and result.path[0].tolist() == [5, 5, 0.25]
    reached = scipy_minimize(numpy_bowl, [5, 5, 0], bounds=[(2.5, 9), (None, 9), (0, 0.25)])
    np.testing.assert_allclose(result.x, reached.x, atol=1e-5)
    assert ((result.path >= [2.5, -np.inf, 0]) & (result.path <= [9, 9, 0.25])).all()
    assert tw.minimize(lambda x: x, 3.0, None, tw.SGD(lr=0.5), bounds=(1, None)).x == 1
    # f is only asked within: it takes a Variable at the projected x0, where its logarithm is one
    log = tw.minimize(lambda x: (tw.graph.log(x) - 1) ** 2, -5.0, None, tw.SGD(lr=0.5), bounds=(0.5, None))
    assert log.derivative == "graph" and abs(log.x - np.e) < 1e-5


# ---- one variable ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("x0", [-40.0, 0.0, 2.9, 3.0, 1e4])
@pytest.mark.parametrize("growth", [1.0, 2.0])
def test_minimize_scalar_brackets_the_minimum(x0, growth):
    result = tw.minimize_scalar(lambda x: (x - 3) ** 2 + 1, x0, growth=growth, step=5.0, max_steps=3000)
    assert result.success and abs(result.x - 3) < 1e-8 and isinstance(result.x, float)
    assert result.path[0] == x0


def test_minimize_scalar_of_other_functions():
    from scipy.optimize import minimize_scalar

    for f, way in (
        (lambda x: tw.graph.cos(x) + x**2 / 50, "graph"),
        (lambda x: np.cos(x) + x**2 / 50, "central differences"),
    ):
        ours = tw.minimize_scalar(f, 2.0, growth=1)
        theirs = minimize_scalar(lambda x: np.cos(x) + x**2 / 50, bracket=(2, 4))
        assert ours.derivative == way and abs(ours.x - theirs.x) < 1e-7
    kink = tw.minimize_scalar(abs, -7.3)
    assert kink.success and abs(kink.x) < 1e-12  # changes its sign without a zero
    given = tw.minimize_scalar(lambda x: x**4, 1.0, lambda x: 4 * x**3)
    assert given.derivative == "given" and abs(given.x) < 2e-3 and given.njev == given.nit + 1


def test_minimize_scalar_stops():
    edge = tw.minimize_scalar(lambda x: x, 5.0, bounds=(1, 9))
    assert edge.x == 1 and edge.success
    falling = tw.minimize_scalar(lambda x: -(x**3), 1.0)
    assert falling.status == 3 and not falling.success
    assert tw.minimize_scalar(lambda x: x**2, 50.0, growth=1, max_steps=4).status == 1
    assert tw.minimize_scalar(lambda x: x**2, 50.0, callback=lambda x: True).status == 4
    assert tw.minimize_scalar(lambda x: x**2, 1.0, tolerance=0, step=0.3).x < 1e-14


# ---- L-BFGS's place -------------------------------------------------------------------------------------------------


def test_lbfgs_evaluates_each_point_once_and_its_path_is_of_the_accepted_ones():
    points = []
    result = tw.minimize(lambda v: points.append(v.tobytes()) or bowl(v), [0, 0, 0], bowl_slope, tw.LBFGS())
    assert result.success and len(set(points)) == len(points) == result.nfev
    np.testing.assert_allclose(result.x, [2, -1, 0.5], atol=1e-6)
    values = [bowl(point) for point in result.path]
    assert values == sorted(values, reverse=True)
    few = tw.minimize(bowl, [0, 0, 0], None, tw.LBFGS(), max_steps=2, callback=lambda x: False)
    assert few.status == 1 and few.path.shape == (3, 3)
    assert tw.minimize(bowl, [0, 0, 0], None, tw.LBFGS(), callback=lambda x: True).status == 4
    with pytest.raises(ValueError, match="no bounds"):
        tw.minimize(bowl, [0, 0, 0], None, tw.LBFGS(), bounds=(0, 1))


def test_lbfgs_searches_lines_with_its_rate_and_says_why_it_ends():
    def valley(v):
        return (1 - v[0]) ** 2 + 100 * (v[1] - v[0] ** 2) ** 2

    first, half = (tw.minimize(valley, [-1.2, 1.0], None, tw.LBFGS(lr=lr), max_steps=1) for lr in (1.0, 0.5))
    assert np.abs(first.path[1] - first.path[0]).sum() != np.abs(half.path[1] - half.path[0]).sum()
    assert first.status == 1 and first.message == "max_steps = 1 steps were made"
    assert tw.minimize(valley, [-1.2, 1.0], None, tw.LBFGS(), max_steps=0).message == "max_steps = 0 steps were made"
    stuck = tw.minimize(np.abs, 0.25, np.sign, tw.LBFGS(), tolerance=1e-9)
    assert stuck.status == 2 and "no lower point" in stuck.message


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tw.minimize(lambda v: v, [1, 2]), ValueError, r"f returned an array of shape \(2,\)"),
        (lambda: tw.minimize(lambda v: np.abs(v), [1, 2]), ValueError, r"f returned an array of shape \(2,\)"),
        (lambda: tw.minimize(lambda v: "low", 1.0), TypeError, "f returned 'low'"),
        (lambda: tw.minimize(bowl, [1, np.nan, 1]), ValueError, r"x0\[1\] is nan"),
        (lambda: tw.minimize(lambda x: x * np.nan, 1.0), ValueError, "f is nan at x0"),
        (lambda: tw.minimize(lambda x: x**0.5, 0.0, lambda x: np.inf), ValueError, "the gradient is inf at x0"),
        (lambda: tw.minimize(lambda x: x, 1.0, lambda x: "up"), TypeError, "gradient returned 'up'"),
        (
            lambda: tw.minimize(bowl, [1, 2, 3], lambda v: v[:2]),
            ValueError,
            r"gradient returned an array of shape \(2,\)",
        ),
        (lambda: tw.minimize(lambda v: ((v - np.ones(2)) ** 2).sum(), [1, 2, 3]), ValueError, "could not be broadcast"),
        (lambda: tw.minimize(bowl, np.zeros((0, 3))), ValueError, r"x0 has shape \(0, 3\)"),
        (lambda: tw.minimize("x**2", 1.0), TypeError, "f must be a function, got 'x\\*\\*2'"),
        (lambda: tw.minimize(bowl, [1, 2, 3], 5), TypeError, "gradient must be a function, got 5"),
        (lambda: tw.minimize(bowl, [1, 2, 3], None, "adam"), TypeError, "optimizer must be an optimizer"),
        (lambda: tw.minimize(bowl, [1, 2, 3], None, tw.SGD(lr=0)), ValueError, "learning rate must be > 0"),
        (lambda: tw.minimize(bowl, [1, 2, 3], None, tw.SGD(lr=-1)), ValueError, "lr must be a finite number >= 0"),
        (lambda: tw.minimize(bowl, [1, 2, 3], None, tw.SGD(accumulate=2)), ValueError, "accumulate is for training"),
        (lambda: tw.minimize(bowl, [1, 2, 3], max_steps=-1), ValueError, "max_steps must be an integer >= 0, got -1"),
        (lambda: tw.minimize(bowl, [1, 2, 3], tolerance=-1), ValueError, "tolerance must be a finite number >= 0"),
        (lambda: tw.minimize(bowl, [1, 2, 3], bounds=(2, 1)), ValueError, "low 2 is above high 1"),
        (lambda: tw.minimize(bowl, [1, 2, 3], bounds=([1, 2], 3)), ValueError, "low must be a number or an array"),
        (lambda: tw.minimize(bowl, [1, 2, 3], bounds=3), ValueError, "a pair"),
        (lambda: tw.minimize(bowl, [1, 2, 3], callback=3), TypeError, "callback must be a function"),
        (lambda: tw.minimize_scalar(lambda x: x**2, [1, 2]), ValueError, r"x0 has shape \(2,\)"),
        (lambda: tw.minimize_scalar(lambda x: x**2, 1.0, step=0), ValueError, "step must be a finite number > 0"),
        (
            lambda: tw.minimize_scalar(lambda x: x**2, 1.0, growth=0.5),
            ValueError,
            "growth must be a finite number >= 1",
        ),
    ],
)
def test_errors_say_what_was_given(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_an_optimizer_with_constraints_is_refused():
    with pytest.raises(ValueError, match=r"see tw.admm.solve; got ADMMAdam"):
        tw.minimize(lambda x: x**2, 1.0, None, tw.ADMMAdam(prox=tw.prox.L1(1.0)))
