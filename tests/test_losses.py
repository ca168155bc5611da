"""The formulas of losses: against the twin, central differences, torch and scikit-learn; extremes, bits."""

import json
from pathlib import Path

import numpy as np
import pytest
import reference
from bits import isas_of_same_bits
from close import assert_close
from test_gradients import central_differences

import thalweg as tw

OUTSIDE = json.loads((Path(__file__).parent / "outside" / "torch_activations_losses.json").read_text())["losses"]
KERNELS = {name: getattr(tw.kernels, name) for name in reference.LOSSES if name != "cross_entropy"}
KERNELS["cross_entropy"] = tw.kernels.softmax_cross_entropy

# loss, its setting, kinds of targets
CASES = [
    ("mse", None, "values"),
    ("mae", None, "values"),
    ("huber", {"delta": 1.0}, "values"),
    ("huber", {"delta": 0.3}, "values"),
    ("huber", {"delta": "each"}, "values"),
    ("quantile", {"q": 0.5}, "values"),
    ("quantile", {"q": 0.9}, "values"),
    ("quantile", {"q": "each"}, "values"),
    ("poisson", None, "counts"),
    ("hinge", None, "yes_no"),
    ("hinge", None, "signs"),
    ("squared_hinge", None, "yes_no"),
    ("squared_hinge", None, "signs"),
    ("binary_cross_entropy", None, "shares"),
    ("binary_cross_entropy", {"pos_weight": 3.5}, "yes_no"),
    ("binary_cross_entropy", {"pos_weight": "each"}, "shares"),
    ("cross_entropy", None, "labels"),
    ("cross_entropy", {"label_smoothing": 0.1}, "labels"),
    ("cross_entropy", {"label_smoothing": 0.1}, "probabilities"),
    ("cross_entropy", {"label_smoothing": 0.9}, "one_hot"),
]


def targets_of(rng, kind, rows, columns):
    """Random targets of a kind."""
    yes = rng.random((rows, columns)) < 0.4
    share = rng.random((rows, columns))
    return {
        "values": lambda: rng.normal(size=(rows, columns)) * 2,
        "counts": lambda: rng.poisson(2.0, (rows, columns)).astype(float),
        "yes_no": lambda: yes.astype(float),
        "signs": lambda: np.where(yes, 1.0, -1.0),
        "shares": lambda: share,
        "labels": lambda: rng.integers(0, columns, rows),
        "one_hot": lambda: np.eye(columns)[rng.integers(0, columns, rows)],
        "probabilities": lambda: share / share.sum(axis=1, keepdims=True),
    }[kind]()


def settings_of(rng, setting, columns):
    """Settings for so many columns: "each" stands for one number a column."""
    if setting is None:
        return {}, ()
    ((name, value),) = setting.items()
    if value == "each":
        value = tuple(rng.uniform(0.1, 0.9, columns).astype(np.float32).tolist())
    return {name: value}, (value,)


# ---- formulas -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [1, 2, 10, 15, 16, 17, 33, 130])
@pytest.mark.parametrize(("loss", "setting", "kind"), CASES, ids=str)
def test_loss_and_gradient_follow_the_twin(loss, setting, kind, columns, isa, dtype, rng):
    columns = max(columns, 2) if loss == "cross_entropy" else columns
    settings, p = settings_of(rng, setting, columns)
    for rows in (1, 17, 530) if columns < 100 else (7,):
        y = rng.normal(size=(rows, columns)).astype(dtype) * 2
        t = targets_of(rng, kind, rows, columns)
        t = t if kind == "labels" else t.astype(dtype)
        for weight in (None, rng.random(rows).astype(dtype)):
            value, gradient = KERNELS[loss](y, t, weight, **settings, isa=isa)
            exact, exact_gradient = reference.LOSSES[loss](y, t, weight, *p)
            assert gradient.dtype == dtype
            assert_close(value, exact, dtype, units=16 + 2 * np.sqrt(rows))
            assert_close(gradient, exact_gradient, dtype, units=64)


@pytest.mark.parametrize(("loss", "setting", "kind"), CASES, ids=str)
@pytest.mark.parametrize("columns", [3, 18])
def test_the_gradient_is_the_central_difference(loss, setting, kind, columns, rng):
    settings, p = settings_of(rng, setting, columns)
    y, t, weight = rng.normal(size=(4, columns)), targets_of(rng, kind, 4, columns), rng.random(4)
    if kind in ("values", "yes_no", "signs"):  # away from the kinks
        distance = y - t if kind == "values" else 1 - np.where(t > 0, 1, -1) * y
        delta = np.array(p[0]) if loss == "huber" else 0.0
        near = (np.abs(distance) < 2e-3) | (np.abs(np.abs(distance) - delta) < 2e-3)
        y = np.where(near, y + 0.01, y)
    _, gradient = KERNELS[loss](y, t, weight, **settings)
    expected = central_differences(lambda: KERNELS[loss](y, t, weight, **settings)[0], y)
    assert (np.abs(gradient - expected) <= 1e-7 * np.maximum(np.abs(expected), np.abs(expected).mean())).all()


@pytest.mark.parametrize("case", OUTSIDE["cases"], ids=lambda case: f"{case['by']} {case['loss']} {case['settings']}")
def test_outside(case, isa, dtype):
    y, t = np.array(OUTSIDE["y"], dtype), np.array(OUTSIDE["targets"][case["target"]])
    if "column" in case:
        y, t = y[:, [case["column"]]], t[:, [case["column"]]]
    value, gradient = KERNELS[case["loss"]](y, t, **case["settings"], isa=isa)
    rtol = 1e-6 if dtype == np.float32 else 1e-13
    assert value == pytest.approx(case["value"], rel=rtol)
    if "dy" in case:
        np.testing.assert_allclose(gradient, case["dy"], rtol=10 * rtol, atol=rtol)


@pytest.mark.parametrize(("loss", "setting", "kind"), CASES, ids=str)
def test_the_same_bits_with_any_threads_and_isa_with_fma(loss, setting, kind, dtype, rng):
    results = set()
    settings, _ = settings_of(rng, setting, 19)
    y, t = rng.normal(size=(1030, 19)).astype(dtype), targets_of(rng, kind, 1030, 19)
    for isa in isas_of_same_bits():
        for threads in (1, 2, 3):
            value, gradient = KERNELS[loss](y, t, **settings, isa=isa, num_threads=threads)
            results.add((value, gradient.tobytes()))
    assert len(results) == 1


def test_kinks(isa, dtype):
    zero = np.zeros((1, 1), dtype)
    assert tw.kernels.mae(zero, [0.0], isa=isa)[1] == 0
    assert tw.kernels.quantile(zero, [0.0], q=0.9, isa=isa)[1] == 0
    assert tw.kernels.hinge(zero + 1, [1], isa=isa)[1] == 0
    assert tw.kernels.hinge(zero - 1, [0], isa=isa)[1] == 0


@pytest.mark.parametrize("planted", [1.001, 1 - 1e-5])
@pytest.mark.parametrize(("loss", "setting", "kind"), CASES, ids=str)
def test_an_error_planted_in_the_twin_is_noticed(loss, setting, kind, planted, rng):
    settings, p = settings_of(rng, setting, 5)
    y, t = rng.normal(size=(30, 5)), targets_of(rng, kind, 30, 5)
    value, gradient = KERNELS[loss](y, t, **settings)
    exact, exact_gradient = reference.LOSSES[loss](y, t, None, *p)
    with pytest.raises(AssertionError):
        assert_close(value, planted * exact, float, units=64)
    with pytest.raises(AssertionError):
        assert_close(gradient, planted * exact_gradient, float, units=64)


@pytest.mark.parametrize(
    ("loss", "setting", "kind"), [case for case in CASES if case[1] and "each" in case[1].values()], ids=str
)
def test_a_number_of_the_wrong_column_is_noticed(loss, setting, kind, rng):
    settings, p = settings_of(rng, setting, 5)
    y, t = rng.normal(size=(30, 5)), targets_of(rng, kind, 30, 5)
    _, gradient = KERNELS[loss](y, t, **settings)
    _, exact = reference.LOSSES[loss](y, t, None, p[0][1:] + p[0][:1])
    with pytest.raises(AssertionError):
        assert_close(gradient, exact, float, units=64)


# ---- extreme values -------------------------------------------------------------------------------------------------

FAR = [  # loss, output, target, settings: value, gradient
    ("mae", 1e4, 0, {}, 1e4, 1),
    ("mae", -1e30, 1e30, {}, 2e30, -1),
    ("huber", 1e30, 0, {"delta": 2.0}, 2e30, 2),
    ("huber", -1e4, 0, {"delta": 1e5}, 5e7, -1e4),
    ("quantile", 1e30, 0, {"q": 0.25}, 0.75e30, 0.75),
    ("quantile", -1e30, 0, {"q": 0.25}, 0.25e30, -0.25),
    ("poisson", -1e4, 3, {}, 3e4, -3),
    ("hinge", -1e30, 1, {}, 1e30, -1),
    ("hinge", 1e30, 1, {}, 0, 0),
    ("squared_hinge", 1e4, 0, {}, 10001.0**2, 20002),
    ("binary_cross_entropy", 1e4, 0, {"pos_weight": 5.0}, 1e4, 1),
    ("binary_cross_entropy", -1e4, 1, {"pos_weight": 5.0}, 5e4, -5),
    ("binary_cross_entropy", 1e4, 1, {"pos_weight": 5.0}, 0, 0),
    ("binary_cross_entropy", -1e4, 0, {"pos_weight": 5.0}, 0, 0),
    ("binary_cross_entropy", 1e30, 0.5, {}, 0.5e30, 0.5),
    ("binary_cross_entropy", 20.0, 1, {}, 2.061153620314381e-09, -2.0611536181902037e-09),
    ("binary_cross_entropy", -20.0, 0, {"pos_weight": 7.0}, 2.061153620314381e-09, 2.0611536181902037e-09),
    ("binary_cross_entropy", 20.0, 1, {"pos_weight": 7.0}, 7 * 2.061153620314381e-09, -7 * 2.0611536181902037e-09),
]


@pytest.mark.parametrize(("loss", "y", "t", "settings", "value", "slope"), FAR, ids=str)
def test_extremes(loss, y, t, settings, value, slope, isa, dtype):
    got, gradient = KERNELS[loss](np.array([[y]], dtype), [t], **settings, isa=isa)
    rel = 1e-6 if dtype == np.float32 else 1e-14
    assert got == pytest.approx(value, rel=rel, abs=0)
    assert gradient[0, 0] == pytest.approx(slope, rel=rel, abs=0)


@pytest.mark.parametrize("loss", list(KERNELS))
@pytest.mark.parametrize("columns", [3, 20])
def test_nan_passes(loss, columns, isa, dtype):
    t = np.zeros((2, columns))
    for y_fault, t_fault in ((np.nan, 0), (0, np.nan)):
        y, target = np.ones((2, columns), dtype), t.copy()
        y[1, 1] += y_fault
        target[1, 1] += t_fault
        assert np.isnan(KERNELS[loss](y, target, isa=isa)[0])


@pytest.mark.parametrize("classes", [3, 40])
def test_smoothed_cross_entropy_of_large_logits(classes, isa):
    z = np.full((1, classes), -1e4)
    z[0, 0] = 1e4
    loss, gradient = tw.kernels.softmax_cross_entropy(z, [0], label_smoothing=0.3, isa=isa)
    assert loss == pytest.approx(0.3 * (classes - 1) / classes * 2e4, rel=1e-12)
    np.testing.assert_allclose(gradient[0, 1:], -0.3 / classes, rtol=1e-12)
    assert np.isnan(tw.kernels.softmax_cross_entropy(z, np.where(z > 0, np.nan, 0), label_smoothing=0.3, isa=isa)[0])


def test_label_out_of_range_is_named_with_smoothing(isa):
    for classes in (3, 40):
        with pytest.raises(ValueError, match=r"target\[1\] is 40; expected integer labels from 0 to"):
            tw.kernels.softmax_cross_entropy(np.zeros((2, classes)), [0, 40], label_smoothing=0.1, isa=isa)


@pytest.mark.parametrize("classes", range(2, 17))
def test_a_row_alone_has_the_bits_that_it_has_among_others(classes, isa, dtype, rng):
    y = rng.normal(size=(32, classes)).astype(dtype)
    y[1] = y[1, 0]  # all are the largest
    y[2, classes // 2 :] = y[2].max()
    labels = rng.integers(0, classes, 32)
    for row, number in ((3, np.inf), (4, -np.inf), (5, np.nan), (6, -0.0)):
        y[row, labels[row]] = number
    _, together = tw.kernels.softmax_cross_entropy(y, labels, isa=isa)
    for row in range(32):
        _, alone = tw.kernels.softmax_cross_entropy(y[row : row + 1], labels[row : row + 1], isa=isa)
        np.testing.assert_array_equal(alone[0], 32 * together[row])
        assert np.signbit(alone[0]).tolist() == np.signbit(together[row]).tolist() or np.isnan(alone).any()
