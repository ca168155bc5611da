"""Every kernel against its float64 twin: ISA x dtype x awkward shapes, any number of threads."""

import numpy as np
import pytest
import reference
from close import assert_close, assert_product
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw

# rows, inputs, outputs: ones, primes, tile +- 1 (6 rows; 16, 32, 48, 64 columns), dot chunk +- 1, block sizes + 1
SHAPES = [
    (1, 1, 1),
    (1, 784, 10),
    (2, 3, 5),
    (5, 7, 63),
    (6, 16, 64),
    (7, 17, 65),
    (13, 127, 129),
    (15, 130, 31),
    (16, 31, 128),
    (17, 257, 16),
    (47, 48, 49),
    (21, 15, 1),
    (33, 17, 2),
    (64, 1, 97),
    (64, 100, 4),
    (600, 129, 3),
    (65, 96, 1),
    (251, 33, 15),
    (513, 19, 47),
    (1030, 5, 17),
]
WIDE = [(9, 1100, 70), (33, 70, 1100)]  # K beyond the block of the products


def layer(rng, rows, inputs, outputs, dtype):
    """Random x, w, b and dy of a layer."""
    shapes = [(rows, inputs), (inputs, outputs), (outputs,), (rows, outputs)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("shape", SHAPES + WIDE, ids=str)
def test_forward_is_the_product(shape, isa, dtype, rng):
    x, w, b, _ = layer(rng, *shape, dtype)
    got = tw.kernels.dense_forward(x, w, isa=isa)
    assert got.dtype == dtype
    assert_product(got, x, w, dtype)
    with_bias = tw.kernels.dense_forward(x, w, b, isa=isa)
    np.testing.assert_array_equal(with_bias, got + b)  # the bias is added last


@pytest.mark.parametrize("activation", list(reference.ACTIVATIONS))
def test_forward_applies_the_activation(activation, isa, dtype, rng):
    x, w, b, _ = layer(rng, 33, 20, 70, dtype)
    z = tw.kernels.dense_forward(x, w, b, isa=isa)
    y = tw.kernels.dense_forward(x, w, b, activation, isa=isa)
    np.testing.assert_array_equal(y, tw.kernels.activation_forward(z, activation, isa=isa))
    assert_close(y, reference.ACTIVATIONS[activation][0](z.astype(float)), dtype, units=12)


@pytest.mark.parametrize("shape", SHAPES + WIDE, ids=str)
def test_backward_is_three_products(shape, isa, dtype, rng):
    x, w, _, dy = layer(rng, *shape, dtype)
    dx, dw, db = tw.kernels.dense_backward(dy, x, w, dy, isa=isa)
    assert_product(dx, dy, w.T, dtype)
    assert_product(dw, x.T, dy, dtype)
    assert_product(db[None], np.ones((1, len(dy))), dy, dtype)


@pytest.mark.parametrize("activation", reference.DENSE)
@pytest.mark.parametrize("rows", [3, 40])
def test_backward_goes_through_the_activation(activation, rows, isa, dtype, rng):
    x, w, b, dy = layer(rng, rows, 21, 34, dtype)
    y = tw.kernels.dense_forward(x, w, b, activation, isa=isa)
    dz = tw.kernels.activation_backward(dy, y, activation, isa=isa)
    exact = dy.astype(float) * reference.ACTIVATIONS[activation][1](y.astype(float))
    assert_close(dz, exact, dtype, units=24)
    for got, expected in zip(
        tw.kernels.dense_backward(dy, x, w, y, activation, isa=isa),
        tw.kernels.dense_backward(dz, x, w, y, isa=isa),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


@given(
    st.integers(1, 70),
    st.integers(1, 140),
    st.integers(1, 140),
    st.integers(0, 2**32),
    st.sampled_from(tw.info()["isas"]),
    st.integers(1, 4),
)
def test_any_shape(rows, inputs, outputs, seed, isa, threads):
    x, w, _, dy = layer(np.random.default_rng(seed), rows, inputs, outputs, np.float32)
    assert_product(tw.kernels.dense_forward(x, w, isa=isa, num_threads=threads), x, w, np.float32)
    dx, dw, _ = tw.kernels.dense_backward(dy, x, w, dy, isa=isa, num_threads=threads)
    assert_product(dx, dy, w.T, np.float32)
    assert_product(dw, x.T, dy, np.float32)


# ---- losses (their formulas: tests/test_losses.py) ---------------------------------------------------------------------------------------------------------


def test_integer_and_one_hot_targets_agree(isa, rng):
    y, labels = rng.normal(size=(40, 10)), rng.integers(0, 10, 40)
    by_label = tw.kernels.softmax_cross_entropy(y, labels, isa=isa)
    by_row = tw.kernels.softmax_cross_entropy(y, np.eye(10, dtype=np.uint8)[labels], isa=isa)
    assert by_label[0] == pytest.approx(by_row[0], rel=1e-14)
    np.testing.assert_allclose(by_label[1], by_row[1], rtol=1e-12, atol=1e-16)


@given(st.integers(2, 40), st.integers(1, 40), st.floats(0.01, 500), st.integers(0, 2**32))
def test_cross_entropy_gradient_sums_to_zero_in_each_row(classes, rows, size, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(rows, classes)) * size
    value, gradient = tw.kernels.softmax_cross_entropy(y, rng.integers(0, classes, rows))
    assert value >= 0
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-14)


def test_known_losses():
    # optax's own tests, read in its repository
    assert tw.kernels.softmax_cross_entropy([[10.0, 1.0, -2.0]], [1])[0] == pytest.approx(9.00013, abs=1e-5)
    assert tw.kernels.softmax_cross_entropy([[1.0, 4.0, 0.2]], [0])[0] == pytest.approx(3.0696733, abs=1e-6)


def test_zero_weights_count_for_nothing(isa, rng):
    y, t = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    weight = np.r_[np.ones(12), np.zeros(8)]
    some, all_of_some = tw.kernels.mse(y, t, weight, isa=isa), tw.kernels.mse(y[:12], t[:12], isa=isa)
    assert some[0] == pytest.approx(all_of_some[0], rel=1e-14)
    np.testing.assert_array_equal(some[1][12:], 0)


# ---- updates --------------------------------------------------------------------------------------------------------

SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-6}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-4, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "betas": (0.0, 0.0)}),
    ("Adam", {"lr": 0.01, "amsgrad": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.3}),
]


def update(optimizer, settings, w, g, state, step, **how):
    """One call of the kernel of an optimizer; state is a list of arrays."""
    if optimizer == "SGD":
        buffers = state[:1] if settings.get("momentum") else []
        return tw.kernels.sgd_update(w, g, *buffers, step=step, **settings, **how)
    settings = dict(settings)
    moments = state[: 3 if settings.pop("amsgrad", False) else 2]
    kernel = tw.kernels.adam_update if optimizer == "Adam" else tw.kernels.adamw_update
    return kernel(w, g, *moments, step=step, **settings, **how)


@pytest.mark.parametrize(("optimizer", "settings"), SETTINGS, ids=str)
@pytest.mark.parametrize("n", [1, 15, 17, 1000])
def test_updates_follow_their_twin(optimizer, settings, n, isa, dtype, rng):
    w, state = rng.normal(size=n).astype(dtype), [np.zeros(n, dtype) for _ in range(3)]
    exact, exact_state = w.astype(float), {}
    for step in range(1, 11):
        g = rng.normal(size=n).astype(dtype)
        update(optimizer, settings, w, g, state, step, isa=isa)
        exact = reference.OPTIMIZERS[optimizer](exact, g.astype(float), exact_state, step, **settings)
    np.testing.assert_allclose(
        w, exact, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6 if dtype == np.float32 else 1e-14
    )


def test_updates_work_on_the_callers_arrays_with_any_threads(isa, rng):
    w = rng.normal(size=(1001, 67)).astype(np.float32)
    g = rng.normal(size=w.shape).astype(np.float32)
    g.flags.writeable = False
    results = []
    for threads in (1, 2, 3, 4):
        mine, state = w.copy(), [np.zeros_like(w), np.zeros_like(w)]
        update("Adam", {"lr": 0.1}, mine, g, state, 1, num_threads=threads, isa=isa)
        results.append((mine.tobytes(), state[0].tobytes(), state[1].tobytes()))
    assert len(set(results)) == 1
    assert not np.array_equal(mine, w)


def test_an_array_that_begins_anywhere(isa):
    # user memory is aligned to its element only
    for shift in range(1, 5):
        memory = np.arange(100, dtype=np.float32)
        w, g = memory[shift : shift + 90], np.ones(93, np.float32)[3:]
        expected = np.r_[memory[:shift], memory[shift : shift + 90] - 0.5, memory[shift + 90 :]]
        tw.kernels.sgd_update(w, g, lr=0.5, isa=isa)
        np.testing.assert_array_equal(memory, expected)
