"""What users hand over: every array is read right or refused in their words, and nothing is lost on bad input."""

import numpy as np
import pytest

import thalweg as tw


def model_of(units=3, seed=0, dtype="float32"):
    """A small model."""
    return tw.Sequential([tw.Dense(8, "relu"), tw.Dense(units)], input_size=4, seed=seed, dtype=dtype)


def data(rng, rows=50):
    """X and labels."""
    return rng.normal(size=(rows, 4)), rng.integers(0, 3, rows)


# ---- arrays that are read -------------------------------------------------------------------------------------------

TYPES = ["float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]


@pytest.mark.parametrize("name", TYPES)
def test_every_real_dtype_is_read(name, dtype, rng):
    x = rng.integers(0, 2 if name == "bool" else 100, (60, 4)).astype(name)
    model = model_of(dtype=dtype)
    np.testing.assert_array_equal(model.predict(x), model.predict(x.astype(np.float64)))


@pytest.mark.parametrize("name", [name for name in TYPES if "float" not in name])
def test_labels_of_every_integer_dtype(name, rng):
    x, y = data(rng)
    y = y % 2 if name == "bool" else y
    a, b = model_of(), model_of()
    a.fit(x, y.astype(name), loss="cross_entropy", optimizer=tw.SGD(lr=0.1))
    b.fit(x, y.tolist(), loss="cross_entropy", optimizer=tw.SGD(lr=0.1))
    np.testing.assert_array_equal(a.predict(x), b.predict(x))


def unaligned(x):
    """The same values, one byte off."""
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    memory[:] = np.frombuffer(x.tobytes(), np.uint8)
    return memory.view(x.dtype).reshape(x.shape)


FORMS = {
    "C order": lambda x: x,
    "F order": np.asfortranarray,
    "strided": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "one row for all": lambda x: np.broadcast_to(x[:1], x.shape),
    "unaligned": unaligned,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("batch", [1, 7, "full"])
def test_every_layout_is_read(form, batch, dtype, rng):
    x, y = data(rng)
    x = x.astype(dtype)
    given = FORMS[form](x)
    plain = np.array(given, dtype, order="C")
    weight = rng.random(50)
    results = []
    for array in (given, plain):
        model = model_of(dtype=dtype)
        model.fit(array, y, loss="cross_entropy", optimizer=tw.Adam(), batch_size=batch, sample_weight=weight)
        results.append(model.predict(array))
    np.testing.assert_array_equal(*results)


def test_read_only_and_memory_mapped(tmp_path, rng):
    x, y = data(rng)
    path = tmp_path / "x.npy"
    np.save(path, x.astype(np.float32))
    mapped = np.load(path, mmap_mode="r")
    model, other = model_of(), model_of()
    model.fit(mapped, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.1))
    frozen = x.astype(np.float32)
    frozen.flags.writeable = False
    other.fit(frozen, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.1))
    np.testing.assert_array_equal(model.predict(mapped), other.predict(frozen))


def test_targets_of_one_output_may_be_flat(rng):
    x, _ = data(rng)
    y = rng.normal(size=50)
    flat, tall = model_of(1), model_of(1)
    flat.fit(x, y, loss="mse", optimizer=tw.SGD(lr=0.1))
    tall.fit(x, y[:, None], loss="mse", optimizer=tw.SGD(lr=0.1))
    assert flat.predict(x).shape == (50, 1)
    np.testing.assert_array_equal(flat.predict(x), tall.predict(x))
    assert flat.evaluate(x, y) == tall.evaluate(x, y[:, None])


# ---- what is refused ------------------------------------------------------------------------------------------------

X, Y = np.ones((10, 4)), np.zeros(10, int)
WRONG = {
    "columns": (lambda m: m.predict(np.ones((2, 5))), ValueError, r"Dense\(4 → 8\) got X with 5 columns"),
    "one axis": (lambda m: m.predict(np.ones(4)), ValueError, r"X has shape \(4,\); expected \(rows, 4\); for one row use"),
    "three axes": (lambda m: m.predict(np.ones((1, 4, 2))), ValueError, r"X has shape \(1, 4, 2\)"),
    "no rows": (lambda m: m.predict(np.ones((0, 4))), ValueError, "X has no rows"),
    "complex": (lambda m: m.predict(np.ones((2, 4), complex)), TypeError, "X has dtype complex128; expected float32"),
    "text": (lambda m: m.predict([["a"] * 4]), TypeError, "X has dtype <U1"),
    "objects": (lambda m: m.predict(np.array([[None] * 4])), TypeError, "X has dtype object"),
    "float16": (lambda m: m.predict(np.ones((2, 4), np.float16)), TypeError, r"X.astype\('float32'\)"),
    "no axes": (lambda m: m.predict(np.array(1.0)), ValueError, r"X has shape \(\)"),
    "dates": (lambda m: m.predict(np.ones((2, 4), "M8[s]")), TypeError, "X has dtype datetime64"),
    "records": (lambda m: m.predict(np.ones((2, 4), "f4,f4")), TypeError, "X has dtype"),
    "words": (lambda m: m.predict(np.full((2, 4), "1")), TypeError, "X has dtype <U1"),
    "longdouble": (lambda m: m.predict(np.ones((2, 4), np.longdouble)), TypeError, "X has dtype"),
    "rows of y": (lambda m: fit(m, X, Y[:9]), ValueError, "y has 9 rows, X has 10"),
    "scalar y": (lambda m: fit(m, X, 3), ValueError, "y has no rows, X has 10"),
    "float labels": (lambda m: fit(m, X, Y * 1.0), ValueError, r"labels must be integers: y.astype\(int\)"),
    "label too large": (lambda m: fit(m, X, Y + 3), ValueError, r"y\[\d\] is 3; expected integer labels from 0 to 2"),
    "negative label": (lambda m: fit(m, X, Y - 1), ValueError, r"y\[\d\] is -1; expected integer labels from 0 to 2"),
    "huge label": (lambda m: fit(m, X, np.full(10, 2**63, np.uint64)), ValueError, r"y\[\d\] is 9223372036854775808"),
    "one-hot width": (lambda m: fit(m, X, np.ones((10, 2))), ValueError, r"y has shape \(10, 2\).*expects integer labels"),
    "targets of mse": (lambda m: fit(m, X, Y, loss="mse"), ValueError, r"mse with 3 outputs expects \(10, 3\)"),
    "targets beyond 1": (
        lambda m: fit(m, X, np.full((10, 3), 2), loss="binary_cross_entropy"), ValueError, "y is 2 at row 0; .* from 0 to 1"),
    "loss": (lambda m: fit(m, X, Y, loss="log"), ValueError, "unknown loss 'log'; there are: mse, cross_entropy"),
    "optimizer": (lambda m: fit(m, X, Y, optimizer="adam"), TypeError, r"such as tw.Adam\(lr=1e-3\), got 'adam'"),
    "batch": (lambda m: fit(m, X, Y, batch_size=0), ValueError, "batch_size must be a positive integer or 'full', got 0"),
    "batch name": (lambda m: fit(m, X, Y, batch_size="all"), ValueError, "got 'all'"),
    "batch real": (lambda m: fit(m, X, Y, batch_size=2.5), ValueError, "got 2.5"),
    "epochs": (lambda m: fit(m, X, Y, epochs=-1), ValueError, "epochs must be an integer >= 0, got -1"),
    "weights' shape": (lambda m: fit(m, X, Y, sample_weight=np.ones(9)), ValueError, r"sample_weight has shape \(9,\)"),
    "negative weight": (
        lambda m: fit(m, X, Y, sample_weight=-np.ones(10)), ValueError, r"sample_weight\[0\] is -1.0; weights must be"),
    "NaN weight": (lambda m: fit(m, X, Y, sample_weight=np.full(10, np.nan)), ValueError, r"sample_weight\[0\] is nan"),
    "seed": (lambda m: fit(m, X, Y, seed=-1), ValueError, "seed must be an integer from 0 to"),
    "threads": (lambda m: fit(m, X, Y, num_threads=0), ValueError, "num_threads must be a positive integer or None, got 0"),
    "verbose": (lambda m: fit(m, X, Y, verbose="loud"), ValueError, "verbose must be 'auto', 0 or 1"),
    "callback": (lambda m: fit(m, X, Y, callbacks=[print]), TypeError, "callbacks must be objects of tw.Callback"),
    "validation": (lambda m: fit(m, X, Y, validation_data=(X,)), ValueError, r"validation_data has 1 parts; expected \(X, y\)"),
    "validation X": (
        lambda m: fit(m, X, Y, validation_data=(np.ones((2, 3)), [0, 1])), ValueError, "got validation X with 3 columns"),
    "validation y": (
        lambda m: fit(m, X, Y, validation_data=(X, Y[:3])), ValueError, "validation y has 3 rows, X has 10"),
    "split": (lambda m: fit(m, X, Y, validation_split=1.0), ValueError, "validation_split must be a number from 0 to below 1"),
    "split of nothing": (lambda m: fit(m, X, Y, validation_split=0.01), ValueError, "leaves nothing"),
    "weights' number": (lambda m: m.set_weights([X]), ValueError, "weights has 1 arrays; the model has 4 parameters"),
    "a weight's shape": (
        lambda m: m.set_weights([*m.get_weights()[:3], X]), ValueError, r"weights\[3\] has shape \(10, 4\); expected \(3,\)"),
    "untrained": (lambda m: m.evaluate(X, Y), ValueError, "has not been trained yet; give the loss"),
    "no probabilities": (lambda m: m.predict_proba(X), ValueError, "has not been trained yet; probabilities come with"),
    "backward first": (lambda m: trainer_of(m).backward(X), RuntimeError, r"call forward\(x\) first"),
    "gradients": (lambda m: trainer_of(m).apply([X]), ValueError, "gradients has 1 arrays"),
    "isa": (lambda m: tw.Trainer(m, "mse", tw.SGD(), isa="sse9"), ValueError, "unknown or unsupported isa 'sse9'; there are:"),
    "describe": (lambda m: trainer_of(m).describe(0), ValueError, "batch_size must be a positive integer, got 0"),
    "units": (lambda m: tw.Dense(0), ValueError, "Dense: units must be a positive integer, got 0"),
    "many units": (lambda m: tw.Dense(2**31), ValueError, r"Dense: units must be below 2\*\*31, got 2,147,483,648"),
    "units real": (lambda m: tw.Dense(2.5), ValueError, "got 2.5"),
    "activation": (lambda m: tw.Dense(2, "swoosh"), ValueError, "unknown activation 'swoosh'; there are: identity, relu"),
    "initializer": (lambda m: tw.Dense(2, initializer="zeros"), ValueError, "unknown initializer 'zeros'; there are: glorot"),
    "layers": (lambda m: tw.Sequential([], 4), TypeError, "layers must be a non-empty sequence"),
    "layer": (lambda m: tw.Sequential([3], 4), TypeError, "layers must be a non-empty sequence"),
    "input size": (lambda m: tw.Sequential([tw.Dense(2)], 0), ValueError, "input_size must be a positive integer, got 0"),
    "dtype": (lambda m: tw.Sequential([tw.Dense(2)], 4, dtype="int32"), ValueError, "dtype must be float32 or float64"),
    "lr": (lambda m: tw.SGD(lr=-1), ValueError, "SGD: lr must be a finite number >= 0 or a schedule, got -1"),
    "lr text": (lambda m: tw.Adam(lr="fast"), ValueError, "Adam: lr must be a finite number >= 0 or a schedule, got 'fast'"),
    "nesterov": (lambda m: tw.SGD(nesterov=True), ValueError, "nesterov needs momentum > 0 and dampening = 0"),
    "betas": (lambda m: tw.Adam(betas=(0.9, 1.0)), ValueError, r"Adam: betas must be two numbers in \[0, 1\)"),
    "eps": (lambda m: tw.AdamW(eps=0), ValueError, "AdamW: eps must be a finite number > 0, got 0"),
    "decay": (lambda m: tw.SGD(weight_decay=-0.1), ValueError, "SGD: weight_decay must be a finite number >= 0"),
    "kernel's shapes": (lambda m: tw.kernels.dense_forward(X, X), ValueError, "got x with 4 columns"),
    "kernel's activation": (lambda m: tw.kernels.activation_forward(X, "sin"), ValueError, "unknown activation 'sin'"),
    "update's copy": (
        lambda m: tw.kernels.sgd_update(X[:, ::2], X[:, ::2]), ValueError, "w must be C-contiguous and writable"),
    "update's dtype": (
        lambda m: tw.kernels.sgd_update(X, X.astype("f")), ValueError, r"g is float32 of shape \(10, 4\); expected float64"),
    "update's state": (lambda m: tw.kernels.sgd_update(X, X, X.copy()), ValueError, "keeps no state, got"),
}  # fmt: skip


def fit(model, x, y, loss="cross_entropy", optimizer=None, **how):
    """A fit of the model."""
    return model.fit(x, y, loss=loss, optimizer=optimizer or tw.SGD(lr=0.1), **how)


def trainer_of(model):
    """A trainer of the model."""
    return tw.Trainer(model, "cross_entropy", tw.SGD())


@pytest.mark.parametrize("case", list(WRONG))
def test_wrong_input_is_named_and_nothing_is_lost(case):
    call, error, message = WRONG[case]
    model = model_of()
    before = model.get_weights()
    with pytest.raises(error, match=message):
        call(model)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    fit(model, X, Y)  # and it still trains


# ---- NaN and infinity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [1, 8, "full"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_fault_in_x_is_found_before_its_update(activation, value, batch, threads, rng, dtype):
    x, y = data(rng)
    x[37, 2] = value
    model = tw.Sequential([tw.Dense(64, activation), tw.Dense(3)], 4, seed=0, dtype=dtype)
    with pytest.raises(tw.NonFiniteLoss, match=r"epoch 0, step \d+: X is (nan|-?inf) at row 37, column 2") as caught:
        fit(model, x, y, batch_size=batch, num_threads=threads, sample_weight=rng.random(50))
    assert all(np.isfinite(p).all() for p in model.parameters)
    assert isinstance(caught.value, ArithmeticError)
    assert 0 <= caught.value.step < 50


def test_weights_after_a_fault_are_those_of_the_steps_before(rng):
    x, y = data(rng)
    x[33, 1] = np.nan
    model, twin = model_of(), model_of()
    with pytest.raises(tw.NonFiniteLoss, match="step 4"):
        fit(model, x, y, batch_size=8, shuffle=False)
    fit(twin, x[:32], y[:32], batch_size=8, shuffle=False)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", ["mse", "binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_fault_in_y_is_found(loss, value, rng):
    if loss == "binary_cross_entropy" and value == np.inf:
        value = np.nan  # infinity is refused as a value beyond 1
    x, _ = data(rng)
    y = np.full((50, 3), 1 / 3)
    y[21, 1] = value
    with pytest.raises(tw.NonFiniteLoss, match=r"y is (nan|inf) at row 21, column 1"):
        fit(model_of(), x, y, loss=loss)


def test_a_loss_that_explodes_says_so(rng):
    x, _ = data(rng)
    with pytest.raises(tw.NonFiniteLoss, match="a smaller learning rate may help"):
        model_of(dtype="float32").fit(x * 1e6, rng.normal(size=(50, 3)), loss="mse", optimizer=tw.SGD(lr=10), epochs=50)


def test_a_label_out_of_range_stops_before_its_step(rng):
    x, y = data(rng)
    y[45] = 7
    model, twin = model_of(), model_of()
    with pytest.raises(
        ValueError, match=r"y\[45\] is 7; expected integer labels from 0 to 2, since the model has 3 outputs"
    ):
        fit(model, x, y, batch_size=8, shuffle=False)
    fit(twin, x[:40], y[:40], batch_size=8, shuffle=False)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"y\[45\] is 7"):
        model.evaluate(x, y)
    with pytest.raises(ValueError, match=r"target\[0\] is 9"):
        tw.kernels.softmax_cross_entropy(np.zeros((1, 3)), [9])


def test_predictions_pass_nan_on(rng):
    x, y = data(rng)
    x[3] = np.nan
    for activation in ("identity", "relu", "tanh", "sigmoid"):
        model = tw.Sequential([tw.Dense(8, activation), tw.Dense(3)], 4, seed=0)
        predicted = model.predict(x)
        assert np.isnan(predicted[3]).all()
        assert np.isfinite(np.delete(predicted, 3, axis=0)).all()
        assert np.isnan(model.evaluate(x, y, loss="cross_entropy")["loss"])
