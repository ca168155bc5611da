"""Inputs that are mostly zero: what products leave out changes no bit, and hides no infinity."""

import numpy as np
import pytest
from bits import isas_of_same_bits
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw

# rows, inputs, outputs: parts of K that begin at multiples of 16 and not of 64, with ends; chunks of 512 rows; strips;
# and too few of each to look for zeros
SHAPES = [
    (24, 64, 32),
    (23, 64, 40),
    (60, 100, 10),
    (25, 65, 70),
    (47, 100, 64),
    (130, 784, 130),
    (65, 900, 97),
    (33, 1100, 70),
    (300, 130, 97),
    (470, 200, 40),
    (600, 130, 41),
    (1030, 300, 70),
]


def mostly_zero(rng, rows, inputs, dtype):
    """Rows of patches: some inputs zero in all rows, some in a few neighbours, some here and there, some nowhere."""
    x = rng.normal(size=(rows, inputs)) * (rng.random((rows, inputs)) < 0.6)
    x *= np.repeat(rng.random((rows // 7 + 1, inputs)) < 0.5, 7, axis=0)[:rows]
    x *= rng.random(inputs) < 0.7
    x[:, -1] = rng.normal(size=rows)
    x[rows // 2] = rng.normal(size=inputs)
    x[0] = 0
    x[1:, 3] = -0.0
    return x.astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_forward_of_many_rows_is_that_of_each(shape, threads, isa, dtype, rng):
    rows, inputs, outputs = shape
    x, w = mostly_zero(rng, rows, inputs, dtype), rng.normal(size=(inputs, outputs)).astype(dtype)
    b = rng.normal(size=outputs).astype(dtype) if rows % 2 else None  # without one W ends with its last row
    together = tw.kernels.dense_forward(x, w, b, num_threads=threads, isa=isa)
    for r in {0, 1, rows // 2, rows - 1, *rng.integers(0, rows, 8)}:
        np.testing.assert_array_equal(together[r], tw.kernels.dense_forward(x[r : r + 1], w, b, isa=isa)[0])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_gradient_is_that_without_leaving_out(shape, threads, isa, dtype, rng):
    # nothing is left out where the first row holds no zeros; it does not count, since its dy is zero
    rows, inputs, outputs = shape
    x, w = mostly_zero(rng, rows, inputs, dtype), rng.normal(size=(inputs, outputs)).astype(dtype)
    dy = rng.normal(size=(rows, outputs)).astype(dtype)
    dy[0] = 0
    whole = x.copy()
    whole[0] = 1
    found, expected = (tw.kernels.dense_backward(dy, a, w, dy, num_threads=threads, isa=isa) for a in (x, whole))
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def signs(rows, inputs, dtype):
    """Sparse X, each row of which makes -0 of a positive column: before zeros, or in its last input, or in both."""
    x = np.zeros((rows, inputs), dtype)
    x[np.arange(rows), np.arange(rows) // 8 % 3 * (inputs - 1) // 2] = -np.finfo(dtype).tiny
    x[rows // 2 :, inputs - 1] = -np.finfo(dtype).tiny
    return x, np.full((inputs, 40), 0.125, dtype)


def assert_same_bits(a, b):
    """Equal, zeros in their signs, too."""
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


@pytest.mark.parametrize("outputs", [3, 32, 40])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_signs_of_zeros_are_the_same(outputs, threads, isa, dtype):
    # sums are flushed to -0; the zeros after them, which some tiles leave out, would make +0 of that
    x, w = signs(70, 784, dtype)
    w = np.ascontiguousarray(w[:, :outputs])
    together = tw.kernels.dense_forward(x, w, num_threads=threads, isa=isa)
    alone = np.vstack([tw.kernels.dense_forward(row[None], w, isa=isa) for row in x])
    assert_same_bits(together, alone)
    # of the gradient nothing is left out where the first row holds no zeros
    turned, dy = np.ascontiguousarray(x.T), w.copy()
    dy[0] = 0
    whole = turned.copy()
    whole[0] = 1
    found, expected = (tw.kernels.dense_backward(dy, a, np.ones((70, outputs), dtype), dy, num_threads=threads, isa=isa)[1]
                       for a in (turned, whole))  # fmt: skip
    assert_same_bits(found, expected)


@pytest.mark.parametrize("batch", [16, 40, 200])
@pytest.mark.parametrize("units", [3, 36, 48, 150])
def test_training_from_negative_zeros_has_the_same_bits_everywhere(units, batch, dtype):
    # a weight of -0 becomes +0 by a gradient of -0, and stays by one of +0: of few rows, of few columns, of tiles
    x, _ = signs(2 * batch, 130, dtype)
    x[:, 0] = 0
    x[batch - 1 :: batch] = -np.finfo(dtype).tiny
    results = set()
    for isa in isas_of_same_bits():
        for threads, fused in ((1, True), (1, False), (2, True), (3, True), (3, False)):
            model = tw.Sequential([tw.Dense(units)], 130, seed=1, dtype=dtype)
            model.layers[0].weight[...] = -0.0
            trainer = tw.Trainer(model, "cross_entropy", tw.SGD(lr=0.5), fused=fused, num_threads=threads, isa=isa)
            trainer.fit(x, np.arange(2 * batch) % units, batch_size=batch, epochs=1, shuffle=False)
            results.add(bytes(model.block))
    assert len(results) == 1


@given(st.integers(24, 90), st.integers(64, 300), st.integers(1, 90), st.floats(0, 0.4), st.integers(0, 2**32 - 1))
def test_any_shape_and_density(rows, inputs, outputs, density, seed):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(rows, inputs)) * (rng.random((rows, inputs)) < density)).astype(np.float32)
    w, dy = rng.normal(size=(inputs, outputs)).astype(np.float32), rng.normal(size=(rows, outputs)).astype(np.float32)
    y, (_, dw, _) = tw.kernels.dense_forward(x, w), tw.kernels.dense_backward(dy, x, w, dy)
    exact = x.astype(float)
    bound = 1e-6 * (1 + np.abs(exact) @ np.abs(w.astype(float)))
    assert (np.abs(y - exact @ w) <= bound).all()
    assert (np.abs(dw - exact.T @ dy) <= 1e-6 * (1 + np.abs(exact).T @ np.abs(dy.astype(float)))).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (5, 69), (400, 20), (783, 64)])
def test_zero_times_infinity_is_nan(wrong, place, isa, dtype, rng):
    # input `place[0]` is zero in all rows
    i, o = place
    x, w = mostly_zero(rng, 60, 784, dtype), rng.normal(size=(784, 70)).astype(dtype)
    x[:, i] = 0
    w[i, o] = wrong
    y = tw.kernels.dense_forward(x, w, isa=isa)
    assert np.isnan(y[:, o]).all()
    assert np.isfinite(np.delete(y, o, axis=1)).all()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("row", [1, 30, 59, 540])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_gradient_that_is_not_finite_reaches_all_its_weights(threads, wrong, row, isa, dtype, rng):
    x, w = mostly_zero(rng, 600, 300, dtype), rng.normal(size=(300, 70)).astype(dtype)
    dy = rng.normal(size=(600, 70)).astype(dtype)
    x[row] = 0
    dy[row, 66] = wrong
    _, dw, _ = tw.kernels.dense_backward(dy, x, w, dy, num_threads=threads, isa=isa)
    assert np.isnan(dw[:, 66]).all()
    assert np.isfinite(np.delete(dw, 66, axis=1)).all()


def test_rows_that_are_not_finite_are_found(isa):
    x = np.zeros((64, 100), np.float32)
    x[40, 99] = np.nan
    model = tw.Sequential([tw.Dense(70, "relu"), tw.Dense(3)], 100, seed=0)
    with pytest.raises(tw.NonFiniteLoss):
        tw.Trainer(model, "cross_entropy", tw.SGD(lr=0.1), isa=isa).fit(x, np.zeros(64, int), batch_size=32, epochs=1)


@pytest.mark.parametrize("optimizer", [lambda: tw.Adam(lr=1e-2), lambda: tw.SGD(lr=0.1)], ids=["Adam", "SGD"])
@pytest.mark.parametrize("batch", [32, 128, 600])
@pytest.mark.parametrize("units", [20, 200])
def test_training_has_the_same_bits_everywhere(units, batch, optimizer, dtype):
    rng = np.random.default_rng(3)
    x, y = mostly_zero(rng, 1234, 300, dtype), rng.integers(0, 5, 1234)
    results = set()
    for isa in isas_of_same_bits():
        for threads, fused in ((1, True), (2, True), (3, False)):
            model = tw.Sequential([tw.Dense(units, "relu"), tw.Dense(5)], 300, seed=1, dtype=dtype)
            trainer = tw.Trainer(model, "cross_entropy", optimizer(), fused=fused, num_threads=threads, isa=isa)
            trainer.fit(x, y, batch_size=batch, epochs=2)
            results.add(bytes(model.block))
    assert len(results) == 1


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("units", [33, 64, 150])
def test_blocks_of_steps_have_the_same_bits_everywhere(units, batch, dtype):
    rng = np.random.default_rng(4)
    x, y = mostly_zero(rng, 300, 300, dtype), rng.integers(0, 5, 300)
    results, plain = set(), None
    for isa in isas_of_same_bits():
        for threads, exact in ((1, False), (1, True), (2, True), (3, True)):
            model = tw.Sequential([tw.Dense(units, "tanh"), tw.Dense(5)], 300, seed=1, dtype=dtype)
            trainer = tw.Trainer(
                model, "cross_entropy", tw.SGD(lr=0.01), exact_block=exact, num_threads=threads, isa=isa
            )
            trainer.fit(x, y, batch_size=batch, epochs=2)
            if exact:
                results.add(bytes(model.block))
                np.testing.assert_allclose(model.layers[0].weight, plain, rtol=0, atol=1e-4)
            else:
                plain = model.layers[0].weight.copy()
    assert len(results) == 1
