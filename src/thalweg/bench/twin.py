"""The slow twin: one epoch of a work in NumPy and float64, which every contestant's loss is held against."""

from collections.abc import Callable

import numpy as np

from thalweg.arrays import Array
from thalweg.bench.works import Work, first_weights, forward, make_data, mean_loss


def loss_after_one_epoch(work: Work) -> float:
    """Train one epoch from the first weights; return the loss after it."""
    x, y = make_data(work)
    weights = [array.astype(np.float64) for array in first_weights(work)]
    update = _make_update(work, weights)
    for first in range(0, work.rows, work.batch):
        rows = slice(first, first + work.batch)
        update(_gradients(work, weights, x[rows].astype(np.float64), y[rows]))
    return mean_loss(work, [array.astype(work.dtype) for array in weights])


def _gradients(work: Work, weights: list[Array], x: Array, y: Array) -> list[Array]:
    values = forward(work, weights, x)
    dy = _loss_gradient(work, values.pop(), y) / len(x)
    gradients: list[Array] = []
    for i in range(len(weights) - 2, -1, -2):
        below = values.pop()
        gradients[:0] = [below.T @ dy, dy.sum(axis=0)]
        dy = (dy @ weights[i].T) * (below > 0)
    return gradients


def _loss_gradient(work: Work, outputs: Array, y: Array) -> Array:
    if work.loss == "mse":
        return 2 * (outputs - y[:, None])
    shares: Array = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(y)), y] -= 1
    return shares


def _make_update(work: Work, weights: list[Array]) -> Callable[[list[Array]], None]:
    """Return the optimizer, which updates the weights in place."""
    m, v = ([np.zeros_like(array) for array in weights] for _ in range(2))
    steps = 0

    def sgd(gradients: list[Array]) -> None:
        for w, g in zip(weights, gradients, strict=True):
            w -= work.lr * g

    def adam(gradients: list[Array]) -> None:
        nonlocal steps
        steps += 1
        for i, g in enumerate(gradients):
            m[i] += 0.1 * (g - m[i])
            v[i] += 0.001 * (g * g - v[i])
            root = np.sqrt(v[i] / (1 - 0.999**steps)) + 1e-8
            weights[i] -= work.lr / (1 - 0.9**steps) * m[i] / root

    return {"sgd": sgd, "adam": adam}[work.optimizer]
