"""Every elementwise optimizer against its twin, its scalars and its errors; bits and state: tests/test_optimizer_bits.py."""

import re

import numpy as np
import pytest
import reference

import thalweg as tw
from thalweg.optimizer import WEIGHTS

# name, settings: each default, then everything switched on
CASES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}),
    ("Adam", {"weight_decay": 1e-2}),
    ("AdamW", {"amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"weight_decay": 1e-2, "momentum": 0.9}),
    ("RMSprop", {"weight_decay": 1e-2, "centered": True}),
    ("RMSprop", {"weight_decay": 1e-2, "centered": True, "momentum": 0.5, "alpha": 0.9, "eps": 1e-4}),
    ("Adagrad", {}),
    ("Adagrad", {"weight_decay": 1e-2, "lr_decay": 1e-2, "initial_accumulator_value": 0.1, "eps": 1e-5}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-4, "weight_decay": 1e-2}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 1e-2}),
    ("NAdam", {}),
    ("NAdam", {"betas": (0.8, 0.9), "weight_decay": 1e-2, "momentum_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"betas": (0.0, 0.9), "weight_decay": 1e-2}),
    ("RAdam", {}),
    ("RAdam", {"betas": (0.8, 0.95), "weight_decay": 1e-2, "decoupled_weight_decay": True}),
    ("RAdam", {"betas": (0.8, 0.6), "weight_decay": 1e-2}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.5), "step_sizes": (1e-3, 0.5)}),
    ("Lion", {}),
    ("Lion", {"lr": 1e-2, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("ScheduleFreeAdamW", {}),
    ("ScheduleFreeAdamW", {"weight_decay": 1e-2, "warmup_steps": 20, "r": 0.5, "weight_lr_power": 1.0}),
]  # fmt: skip
NAMES = list(dict.fromkeys(name for name, _ in CASES))
KERNELS = {"ScheduleFreeAdamW": "schedule_free_adamw"}


def kernel_of(name):
    """The kernel of an optimizer."""
    return getattr(tw.kernels, f"{KERNELS.get(name, name.lower())}_update")


def begin(name, settings, w):
    """The state that an update begins with, by name."""
    optimizer = getattr(tw, name)(**settings)
    beginnings = optimizer.beginnings()
    values = {key: beginnings.get(key, 0.0) for key in optimizer.state_names}
    return {key: w.copy() if value is WEIGHTS else np.full_like(w, value) for key, value in values.items()}


def update(name, settings, w, g, state, step, **how):
    """Update in place by the kernel."""
    flags = {"amsgrad"} if name in ("Adam", "AdamW") else set()
    kernel_of(name)(w, g, **state, step=step, **{k: v for k, v in settings.items() if k not in flags}, **how)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_a_thousand_steps_follow_the_twin(name, settings, isa, rng):
    w = rng.normal(size=19)
    state, exact, exact_state = begin(name, settings, w), w.copy(), {}
    target = rng.normal(size=19)
    for step in range(1, 1001):
        g = w - target + 0.3 * rng.normal(size=19)
        update(name, settings, w, g, state, step, isa=isa)
        exact = reference.OPTIMIZERS[name](exact, g, exact_state, step, **settings)
    np.testing.assert_allclose(w, exact, rtol=1e-10)


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_float32_follows_the_twin_step_by_step(name, settings, isa, rng):
    # the twin begins every step with the state of the core
    w = rng.normal(size=83).astype(np.float32)
    state, exact_state = begin(name, settings, w), {}
    for step in range(1, 31):
        g = (w - 0.3 + rng.normal(size=83)).astype(np.float32)
        exact_state |= {twin_key(name, key): value.astype(float) for key, value in state.items()}
        before, known = w.astype(float), {key: np.copy(value) for key, value in exact_state.items()}
        update(name, settings, w, g, state, step, isa=isa)
        exact = reference.OPTIMIZERS[name](before, g.astype(float), exact_state, step, **settings)
        near = near_a_jump(name, settings, known, before, g, step)
        # 1e-5 of the step's size covers v - a^2 of the centered form, whose digits cancel
        bound = 2e-6 * np.abs(before) + 2e-5 * np.abs(exact - before) + 1e-12
        assert (np.abs(w - exact) <= bound)[~near].all()


def twin_key(name, key):
    """What the twin calls a part of the state."""
    return "b" if name == "SGD" else key


def near_a_jump(name, settings, state, w, g, step):
    """Where rounding may turn a sign."""
    if name != "Lion":
        return np.zeros(len(w), bool)
    beta = settings.get("betas", (0.9, 0.99))[0]
    parts = (1 - beta) * g, beta * state["m"]
    return np.abs(sum(parts)) < 1e-6 * sum(map(np.abs, parts))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("RMSprop", {"alpha": 0.9901}), ("Adagrad", {"lr_decay": 1e-6}), ("Adadelta", {"eps": 1.01e-6}),
        ("Adamax", {"betas": (0.9, 0.9991)}), ("NAdam", {"momentum_decay": 0.0041}), ("RAdam", {"eps": 1e-7}),
        ("Rprop", {"etas": (0.5, 1.21)}), ("Lion", {"weight_decay": 0.0011}),
        ("ScheduleFreeAdamW", {"weight_lr_power": 2.0, "r": 1e-4}),
    ],
)  # fmt: skip
def test_a_planted_error_is_noticed(name, wrong, rng):
    w = rng.normal(size=19)
    state, exact, exact_state = begin(name, {}, w), w.copy(), {}
    for step in range(1, 31):
        g = rng.normal(size=19)
        update(name, {}, w, g, state, step)
        exact = reference.OPTIMIZERS[name](exact, g, exact_state, step, **wrong)
    assert not np.allclose(w, exact, rtol=1e-10, atol=0)


# ---- what is particular to one -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [False, True])
@pytest.mark.parametrize("more", [{}, {"warmup_steps": 7, "r": 1.0}])
def test_shares_of_schedule_free_do_not_depend_on_slices(schedule, more, monkeypatch):
    monkeypatch.setattr("thalweg.schedule_free._PIECE", 13)
    lr = tw.schedules.Step(0.1, step_size=20) * tw.schedules.Polynomial(0.0, 5, end_lr=1.0) if schedule else 0.1
    whole = tw.ScheduleFreeAdamW(lr=lr, **more).scalars(np.arange(100))
    piecewise, alone = tw.ScheduleFreeAdamW(lr=lr, **more), tw.ScheduleFreeAdamW(lr=lr, **more)
    for steps in (range(10), range(10, 11), range(10, 11), range(11, 90), range(90, 100), range(5, 50), range(60, 70)):
        np.testing.assert_array_equal(piecewise.scalars(np.array(steps)), whole[list(steps)])
    np.testing.assert_array_equal(alone.scalars(np.arange(73, 80)), whole[73:80])
    np.testing.assert_array_equal(alone.without_decay().scalars(np.arange(80, 90)), whole[80:90])


@pytest.mark.parametrize("name", NAMES)
def test_scalars_do_not_depend_on_slices(name):
    optimizer = getattr(tw, name)()
    whole = optimizer.scalars(np.arange(2000))
    for first, last in ((0, 1), (5, 9), (355, 380), (1000, 2000)):
        np.testing.assert_array_equal(optimizer.scalars(np.arange(first, last)), whole[first:last])


def test_rprop_sees_signs_whose_product_is_too_small(isa):
    w, prev, size = np.zeros(2, np.float32), np.full(2, 1e-30, np.float32), np.full(2, 0.5, np.float32)
    tw.kernels.rprop_update(w, np.array([1e-30, -1e-30], np.float32), prev, size, isa=isa)
    np.testing.assert_array_equal(size, np.array([0.6, 0.25], np.float32))
    np.testing.assert_array_equal(w, np.array([-0.6, 0], np.float32))


def test_centered_rmsprop_survives_rounding(isa):
    # v - a^2 of a constant gradient is nothing but rounding
    w, v, a = np.zeros(64, np.float32), np.zeros(64, np.float32), np.zeros(64, np.float32)
    g = np.linspace(0.1, 3, 64).astype(np.float32)
    for _ in range(300):
        tw.kernels.rmsprop_update(w, g, v, a, lr=1e-9, alpha=0.5, centered=True, isa=isa)
    assert np.isfinite(w).all()


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_not_hidden(name, isa):
    w = np.ones(5)
    state = begin(name, {}, w)
    update(name, {}, w, np.full(5, np.nan), state, 1, isa=isa)
    assert np.isnan(w).all()


WRONG = {
    "lr": (lambda: tw.RMSprop(lr=-1e-3), "RMSprop: lr must be a finite number >= 0 or a schedule, got -0.001"),
    "alpha": (lambda: tw.RMSprop(alpha=1.0), "RMSprop: alpha must be a number from 0 to below 1, got 1.0"),
    "eps": (lambda: tw.RMSprop(eps=0), "RMSprop: eps must be a finite number > 0, got 0"),
    "momentum": (lambda: tw.RMSprop(momentum=-1), "RMSprop: momentum must be a finite number >= 0, got -1"),
    "accumulator": (
        lambda: tw.Adagrad(initial_accumulator_value=-1),
        "Adagrad: initial_accumulator_value must be a finite number >= 0, got -1",
    ),
    "lr_decay": (lambda: tw.Adagrad(lr_decay="x"), "Adagrad: lr_decay must be a finite number >= 0, got 'x'"),
    "rho": (lambda: tw.Adadelta(rho=-0.1), "Adadelta: rho must be a number from 0 to below 1, got -0.1"),
    "betas": (lambda: tw.Adamax(betas=0.9), "Adamax: betas must be two numbers in [0, 1), got 0.9"),
    "flag": (lambda: tw.Adam(amsgrad="no"), "Adam: amsgrad must be True or False, got 'no'"),
    "nadam": (lambda: tw.NAdam(momentum_decay=-1), "NAdam: momentum_decay must be a finite number >= 0, got -1"),
    "radam": (lambda: tw.RAdam(weight_decay=np.inf), "RAdam: weight_decay must be a finite number >= 0, got inf"),
    "etas": (lambda: tw.Rprop(etas=(1.2, 0.5)), "Rprop: etas must be two numbers, the first between 0 and 1"),
    "step sizes": (lambda: tw.Rprop(step_sizes=(1, 0.5)), "Rprop: step_sizes must be two finite numbers above 0"),
    "lion": (lambda: tw.Lion(betas=(0.9, 1)), "Lion: betas must be two numbers in [0, 1), got (0.9, 1)"),
    "warmup": (
        lambda: tw.ScheduleFreeAdamW(warmup_steps=1.5),
        "ScheduleFreeAdamW: warmup_steps must be an integer >= 0, got 1.5",
    ),
    "average": (
        lambda: tw.ScheduleFreeAdamW(average=0.9),
        "ScheduleFreeAdamW: average must be None: x is the average, got 0.9",
    ),
    "state": (
        lambda: tw.kernels.rmsprop_update(np.ones(2), np.ones(2), np.zeros(2), centered=True),
        "keeps ('square_avg', 'grad_avg'), got ('square_avg',)",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_wrong_settings(name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
