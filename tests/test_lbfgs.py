"""L-BFGS: as many evaluations as SciPy's, the same answer in training, its memory in files, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from thalweg.lbfgs import Memory, lbfgs
from thalweg.line_search import Point, Trial, strong_wolfe

TORCH = json.loads((Path(__file__).parent / "outside" / "torch_optim_baseline.json").read_text())


def rosenbrock(x):
    """Rosenbrock's function of any number of variables, and its gradient."""
    a, b = 1 - x[:-1], x[1:] - x[:-1] ** 2
    g = np.zeros_like(x)
    g[:-1] = -2 * a - 400 * x[:-1] * b
    g[1:] += 200 * b
    return (a * a + 100 * b * b).sum(), g


def quadratic(n, seed, turned=False):
    """A convex quadratic of condition 1e4, and where to begin."""
    rng = np.random.default_rng(seed)
    curvature, target = np.geomspace(1, 1e4, n), rng.normal(size=n)
    turn = np.linalg.qr(rng.normal(size=(n, n)))[0] if turned else np.eye(n)

    def evaluate(x):
        r = turn.T @ (x - target)
        return 0.5 * (curvature * r) @ r, turn @ (curvature * r)

    return evaluate, np.zeros(n)


PROBLEMS = {f"quadratic {n}, {seed}": quadratic(n, seed) for n in (10, 50) for seed in range(3)}
PROBLEMS |= {f"turned quadratic {n}": quadratic(n, 5, True) for n in (10, 50)}
PROBLEMS |= {f"Rosenbrock {n}": (rosenbrock, np.tile([-1.2, 1.0], n // 2)) for n in (2, 4, 20)}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_scipy_needs_as_many_evaluations(name):
    optimize = pytest.importorskip("scipy.optimize")
    evaluate, x0 = PROBLEMS[name]
    found = lbfgs(evaluate, x0, max_steps=5000, tolerance=1e-8 / np.sqrt(len(x0)))
    assert found.reason == "gradient"
    assert np.linalg.norm(found.g) <= 1e-8
    calls = []

    def watched(x):
        f, g = evaluate(x)
        calls.append(np.linalg.norm(g))
        return f, g

    options = {"maxcor": 10, "gtol": 1e-8 / np.sqrt(len(x0)), "ftol": 0, "maxiter": 5000, "maxfun": 50000}
    optimize.minimize(watched, x0, jac=True, method="L-BFGS-B", options=options)
    # SciPy may stop short of it where f no longer tells two points apart
    theirs = next((i + 1 for i, norm in enumerate(calls) if norm <= 1e-8), np.inf)
    assert found.evaluations <= 1.5 * theirs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_kept(dtype):
    found = lbfgs(lambda x: (float(((x - 3) ** 2).sum()), 2 * (x - 3)), np.zeros(4, dtype), tolerance=1e-5)
    assert found.x.dtype == found.g.dtype == dtype
    np.testing.assert_allclose(found.x, 3, rtol=1e-5)


@given(st.integers(1, 12), st.integers(0, 2**32), st.floats(1e-3, 1e3))
def test_any_convex_quadratic(n, seed, scale):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    a, b = scale * (a @ a.T + np.eye(n)), scale * rng.normal(size=n)
    found = lbfgs(lambda x: (0.5 * x @ a @ x - b @ x, a @ x - b), rng.normal(size=n), tolerance=1e-6 * scale)
    np.testing.assert_allclose(found.x, np.linalg.solve(a, b), rtol=1e-4, atol=1e-4)


def test_the_two_loops_are_the_inverse_of_the_updates(rng):
    # BFGS updates of gamma I, written out as matrices
    n, memory = 6, Memory(4)
    curvature = np.diag(rng.uniform(1, 5, n))
    for _ in range(7):
        s = rng.normal(size=n)
        memory.add(s, curvature @ s)
    s, y = memory.pairs[-1]
    inverse = np.eye(n) * (s @ y) / (y @ y)
    for s, y in memory.pairs:
        left = np.eye(n) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    g = rng.normal(size=n)
    assert len(memory.pairs) == 4
    np.testing.assert_allclose(memory.direction(g), -inverse @ g, rtol=1e-12)
    memory.add(s, -s)  # no positive curvature: not remembered
    assert len(memory.pairs) == 4


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(
    ("f", "df"),
    [
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),  # More and Thuente's first
        (lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4, lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3),
        (lambda t: np.inf if t > 2 else (t - 1.5) ** 2, lambda t: 2 * (t - 1.5)),
    ],
)
def test_the_line_search_ends_at_a_strong_wolfe_point(f, df, first):
    def at(t):
        return Trial(t, f(t), df(t), Point(np.array([t]), f(t), np.array([df(t)])))

    found = strong_wolfe(at, at(0.0), first, 40)
    assert found.f <= f(0) + 1e-4 * found.t * df(0)
    assert abs(found.slope) <= 0.9 * abs(df(0))


def test_why_it_stops():
    def bowl(x):
        return float(x @ x), 2 * x

    x0 = np.array([3.0, 4.0])
    assert lbfgs(bowl, x0, max_steps=0).reason == "max_steps"
    assert lbfgs(bowl, np.zeros(2)).reason == "gradient"
    assert lbfgs(rosenbrock, x0, max_evaluations=7).reason == "max_evaluations"
    assert lbfgs(rosenbrock, x0, max_evaluations=7).evaluations <= 7
    assert lbfgs(rosenbrock, x0, callback=lambda x, f, g: f < 100).reason == "callback"
    assert lbfgs(rosenbrock, x0, change=1.0).reason == "no_progress"
    assert lbfgs(lambda x: (np.nan, x), x0).reason == "not_finite"
    assert lbfgs(lambda x: (float(np.abs(x).sum()), -np.sign(x)), x0).reason == "no_progress"  # a wrong gradient
    wall = lbfgs(lambda x: (x[0] - np.log(x[0]) if x[0] > 0 else np.nan, 1 - 1 / x), np.array([100.0]), tolerance=1e-9)
    np.testing.assert_allclose(wall.x, 1, rtol=1e-8)


# ---- training -------------------------------------------------------------------------------------------------------


def data(rows=200):
    """Inputs and labels."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(rows, 5))
    return x, (x @ rng.normal(size=(5, 3))).argmax(axis=1)


def make(dtype="float64", layers=None, loss="cross_entropy", **settings):
    """A trainer of a small network."""
    model = tw.Sequential(layers or [tw.Dense(12, "tanh"), tw.Dense(3)], 5, seed=1, dtype=dtype)
    return tw.Trainer(model, loss, tw.LBFGS(**settings))


def bits(trainer):
    """All parameters as bytes."""
    return b"".join(p.tobytes() for p in trainer.model.get_weights())


def test_torchs_constant_closure():
    # PyTorch's own test of L-BFGS: with a closure that does not depend on the weights they never move
    rows = TORCH["init"]
    model = tw.Sequential([tw.Dense(3, "sigmoid"), tw.Dense(1, "sigmoid")], 2, seed=0, dtype="float64")
    model.layers[0].bias[...] = rows["b1"]
    before = model.get_weights()
    model.fit(np.array(TORCH["input"]), np.ones(3), loss=lambda p, y: (1.0, 0 * p), optimizer=tw.LBFGS(), epochs=3)
    for a, b in zip(before, model.parameters, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("l2", [0.0, 1e-2])
def test_least_squares(l2, dtype, rng):
    x, y = rng.normal(size=(100, 5)), rng.normal(size=(100, 2))
    trainer = make(dtype, [tw.Dense(2, bias=False, l2=l2)], "mse", max_iter=100, tolerance_change=0.0)
    trainer.fit(x, y, epochs=2, batch_size="full")
    # the mean over two outputs halves the loss, and so doubles the share of l2
    exact = np.linalg.solve(x.T @ x / 100 + 2 * l2 * np.eye(5), x.T @ y / 100)
    tolerance = 1e-6 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(trainer.model.layers[0].weight, exact, rtol=tolerance, atol=tolerance)


def test_training_gets_far(dtype):
    x, y = data()
    trainer = make(dtype)
    history = trainer.fit(x, y, epochs=10, validation_data=(x, y)).history
    assert history["loss"][0] > 0.5
    assert history["val_loss"][-1] < 1e-3
    assert trainer.position.step == 10


def test_threads_and_accumulation():
    x, y = data()
    results = []
    for threads in (1, 2, 3):
        trainer = make()
        trainer.num_threads = threads
        trainer.fit(x, y, epochs=3)
        results.append(bits(trainer))
    assert len(set(results)) == 1
    parts = make(accumulate=3)
    parts.fit(x, y, epochs=1)
    whole = make()
    whole.fit(x, y, epochs=1)
    np.testing.assert_allclose(parts.model.parameters[0], whole.model.parameters[0], rtol=1e-4)


def test_resume_from_a_file(dtype, tmp_path):
    x, y = data()
    whole, half, later = (make(dtype, max_iter=4) for _ in range(3))
    whole.fit(x, y, epochs=6)
    half.fit(x, y, epochs=3)
    half.save(tmp_path / "half")
    later.load(tmp_path / "half")
    later.fit(x, y, epochs=3)
    assert bits(later) == bits(whole)
    assert len(later.memory.pairs) > 4


def test_frozen_layers_and_statistics():
    x, y = data()
    layers = [tw.Dense(12, "tanh"), tw.BatchNorm(momentum=0.5), tw.Dense(3)]
    trainer = make(layers=layers)
    trainer.model.layers[0].trainable = False
    before = trainer.model.get_weights()
    h = np.tanh(x @ before[0] + before[1])
    trainer.fit(x, y, epochs=1)
    np.testing.assert_array_equal(trainer.model.parameters[0], before[0])
    assert np.abs(trainer.model.parameters[-1] - before[-1]).max() > 1e-3
    np.testing.assert_allclose(trainer.model.layers[1].mean, 0.5 * h.mean(axis=0), rtol=1e-9)  # once a step


def test_a_step_that_fails_changes_nothing():
    x, y = data()
    trainer = make()
    trainer.fit(x, y, epochs=1)
    before, pairs = bits(trainer), list(trainer.memory.pairs)
    with pytest.raises(tw.NonFiniteLoss, match="X is nan at row 7, column 0"):
        trainer.step(np.where(np.arange(200)[:, None] == 7, np.nan, x), y)
    calls = []

    def fails(p, t):
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("mine")
        return float((p**2).mean()), 2 * p / p.size

    own = make(loss=fails)
    begun = bits(own)
    with pytest.raises(KeyError, match="mine"):
        own.fit(x, y)
    assert bits(own) == begun
    assert (bits(trainer), list(trainer.memory.pairs) == pairs, trainer.position.step) == (before, True, 1)


def test_a_batch_that_weighs_nothing_changes_nothing():
    x, y = data()
    trainer = make()
    before = bits(trainer)
    trainer.fit(x, y, sample_weight=np.zeros(200))
    assert bits(trainer) == before


WRONG = {
    "mini-batch": (
        lambda t: t.fit(*data(), batch_size=32),
        "LBFGS needs all 200 rows in every step: batch_size must be 'full', got 32",
    ),
    "batches": (lambda t: t.fit([data()]), "LBFGS needs all rows in every step, but y is missing"),
    "apply": (lambda t: t.apply(t.gradients(*data())), "apply: LBFGS needs the loss at several points"),
    "l1": (lambda t: make(layers=[tw.Dense(3, l1=1e-3)]).fit(*data()), "a layer has an l1 penalty"),
    "lr": (lambda t: tw.LBFGS(lr=0), "LBFGS: lr must be a finite number > 0 or a schedule, got 0"),
    "history": (lambda t: tw.LBFGS(history_size=0), "LBFGS: history_size must be a positive integer, got 0"),
    "max_eval": (lambda t: tw.LBFGS(max_eval=1.5), "LBFGS: max_eval must be a positive integer or None, got 1.5"),
    "tolerance": (lambda t: tw.LBFGS(tolerance_grad=-1), "LBFGS: tolerance_grad must be a finite number >= 0, got -1"),
    "clip": (lambda t: tw.LBFGS(clip_norm=1.0), "LBFGS: clip_norm must be None"),
    "average": (lambda t: tw.LBFGS(average=0.9), "LBFGS: average must be None"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_what_it_refuses(name):
    call, message = WRONG[name]
    trainer = make()
    before = bits(trainer)
    with pytest.raises(ValueError, match=message):
        call(trainer)
    assert bits(trainer) == before
