"""Gradients of whole networks: against central differences and against the twin, every activation x loss."""

import itertools

import numpy as np
import pytest
import reference
from close import unit

import thalweg as tw
from thalweg.programs import parameter_rows

LOSSES = {
    "mse": "values", "mae": "values", "huber": "values", "quantile": "values", "poisson": "values",
    "binary_cross_entropy": "values", "cross_entropy": "labels", "hinge": "yes_no", "squared_hinge": "yes_no",
}  # fmt: skip
CLASSICS = ("identity", "relu", "tanh", "sigmoid"), ("identity", "sigmoid", "tanh"), ("mse", "cross_entropy")
NETWORKS = [  # activation, the last layer's, loss
    *itertools.product(*CLASSICS),
    *((activation, last, "binary_cross_entropy") for activation in CLASSICS[0] for last in ("identity", "tanh")),
    *((activation, "identity", "mse") for activation in reference.DENSE if activation not in CLASSICS[0]),
    *(("tanh", activation, "mse") for activation in reference.DENSE if activation not in CLASSICS[0]),
    *(("tanh", "identity", loss) for loss in LOSSES if loss not in ("mse", "cross_entropy", "binary_cross_entropy")),
]


def network(activation, last, units, seed, dtype="float64", bias=True):
    """A network of three layers with biases that are not zero."""
    layers = [tw.Dense(7, activation, bias), tw.Dense(5, activation, bias), tw.Dense(units, last, bias)]
    model = tw.Sequential(layers, input_size=4, seed=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.bias is not None:
            layer.bias[...] = rng.normal(size=layer.units) * 0.3
    return model


def batch(rng, loss, rows=20, units=3):
    """A batch of inputs and targets."""
    x = rng.normal(size=(rows, 4))
    y = rng.integers(0, units, rows) if LOSSES[loss] == "labels" else rng.random((rows, units))
    return x, (y > 0.5).astype(float) if LOSSES[loss] == "yes_no" else y


def twin_of(model):
    """The model's parameters and activations for the reference."""
    pairs = [
        (layer.weight.astype(float), np.zeros(layer.units) if layer.bias is None else layer.bias.astype(float))
        for layer in model.layers
    ]
    return pairs, [layer.activation for layer in model.layers]


def central_differences(f, parameter, h=2e-4):
    """Gradient of f() with respect to an array that f reads, by central differences of fourth order.

    Their error is about h^4 = 2e-15 and eps / h = 1e-12 of f: small beside 1e-7 of a gradient of 1e-4.
    """
    gradient = np.empty(parameter.shape)
    for index in np.ndindex(parameter.shape):
        kept = parameter[index]
        values = []
        for steps in (1, -1, 2, -2):
            parameter[index] = kept + steps * h
            values.append(f())
        parameter[index] = kept
        gradient[index] = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)
    return gradient


def away_from_kinks(model, rng, loss, margin=2e-3):
    """A batch for which no input of an activation, and no output, is near a kink."""
    while True:
        x, y = batch(rng, loss)
        values, distances = [x], []
        for layer in model.layers:
            z = tw.kernels.dense_forward(values[-1], layer.weight, layer.bias)
            distances += [z - kink for kink in reference.KINKS.get(layer.activation, [])]
            values.append(tw.kernels.activation_forward(z, layer.activation))
        if loss in ("mae", "huber", "quantile"):
            distances += [values[-1] - y, np.abs(values[-1] - y) - 1]
        if loss in ("hinge", "squared_hinge"):
            distances.append(1 - np.where(y > 0, 1, -1) * values[-1])
        if all(np.abs(distance).min() >= margin for distance in distances):
            return x, y


@pytest.mark.parametrize(("activation", "last", "loss"), NETWORKS)
def test_gradients_are_central_differences(activation, last, loss, rng):
    model = network(activation, last, 3, seed=5)
    trainer = tw.Trainer(model, loss=loss, optimizer=tw.SGD())
    x, y = away_from_kinks(model, rng, loss)
    weight = rng.random(len(x))
    gradients, dx = trainer.gradients(x, y, weight, input_gradient=True)

    def value():
        return model.evaluate(x, y, sample_weight=weight, loss=loss)["loss"]

    for got, parameter in zip([*gradients, dx], [*model.parameters, x], strict=True):
        expected = central_differences(value, parameter)
        bound = 1e-7 * np.maximum(np.abs(expected), np.abs(expected).mean())
        assert (np.abs(got - expected) <= bound).all()


@pytest.mark.parametrize("rows", [1, 15, 16, 64, 600])
@pytest.mark.parametrize("loss", list(LOSSES))
def test_gradients_follow_the_twin(loss, rows, isa, dtype, rng):
    model = network("tanh", "identity", 3, seed=3, dtype=dtype)
    x, y = batch(rng, loss, rows)
    x = x.astype(dtype)
    trainer = tw.Trainer(model, loss=loss, optimizer=tw.SGD(), isa=isa)
    gradients, dx = trainer.gradients(x, y, input_gradient=True)
    _, pairs, exact_dx = reference.gradients(*twin_of(model), x, y, loss)
    exact = [gradient for pair in pairs for gradient in pair]
    for got, expected in zip([*gradients, dx], [*exact, exact_dx], strict=True):
        scale = np.sqrt((expected**2).mean())
        assert np.abs(got - expected).max() <= 64 * np.sqrt(max(rows, 16)) * unit(dtype) * scale


def test_a_model_without_biases(rng):
    model = network("tanh", "identity", 3, seed=4, bias=False)
    assert [p.shape for p in model.parameters] == [(4, 7), (7, 5), (5, 3)]
    x, y = batch(rng, "mse")
    gradients = tw.Trainer(model, loss="mse", optimizer=tw.SGD()).gradients(x, y)
    _, pairs, _ = reference.gradients(*twin_of(model), x, y, "mse")
    for got, (expected, _) in zip(gradients, pairs, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_forward_and_backward_are_the_gradients(rng):
    # the loss is mean((y - t)^2): handing its gradient to backward gives what gradients gives
    model = network("sigmoid", "tanh", 3, seed=6)
    trainer = tw.Trainer(model, loss="mse", optimizer=tw.SGD())
    x, t = batch(rng, "mse")
    dy = reference.LOSSES["mse"](trainer.forward(x), t)[1]
    by_hand, dx = trainer.backward(dy, input_gradient=True)
    native, native_dx = trainer.gradients(x, t, input_gradient=True)
    for a, b in zip([*by_hand, dx], [*native, native_dx], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("optimizer", [tw.SGD(lr=0.1, momentum=0.9), tw.Adam(lr=0.01), tw.AdamW(lr=0.01, amsgrad=True)])
def test_training_follows_the_twin(optimizer, isa, dtype, rng):
    model = network("tanh", "identity", 3, seed=8, dtype=dtype)
    pairs, activations = twin_of(model)
    batches = [batch(rng, "cross_entropy", rows=24) for _ in range(30)]
    batches = [(x.astype(dtype), y) for x, y in batches]
    trainer = tw.Trainer(model, loss="cross_entropy", optimizer=optimizer, isa=isa)
    losses = [trainer.step(x, y) for x, y in batches]
    config = optimizer.config()
    expected = reference.train(pairs, activations, batches, "cross_entropy", config.pop("type"), config)
    np.testing.assert_allclose(losses, expected, rtol=2e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("rows", [1, 2, 5, 40])
@pytest.mark.parametrize("units", [5, 70])
def test_pads_stay_zero_where_gradients_overflow(units, rows, isa):
    """An infinite gradient, clipped, leaves weights as they are told; what lies beside them is none of its business."""
    model = tw.Sequential([tw.Dense(20, "tanh"), tw.Dense(units)], 7, seed=0)
    trainer = tw.Trainer(model, "mse", tw.SGD(lr=0.1, clip_value=1.0), isa=isa)
    dy = np.ones_like(trainer.forward(np.ones((rows, 7))))
    dy[0, 0] = np.inf
    trainer.apply(trainer.backward(dy))
    for block, outputs in zip(parameter_rows(model.block, model.shape), (20, units), strict=True):
        np.testing.assert_array_equal(block[:, outputs:], 0)
