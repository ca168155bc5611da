"""Metrics: what a fitted model is judged by. Functions of targets and outputs, in float64."""

from collections.abc import Callable

import numpy as np

from thalweg.arrays import Array

Metric = Callable[[Array, Array, Array | None], float]


def accuracy(y: Array, outputs: Array, weight: Array | None = None) -> float:
    """Share of rows whose largest output is the label, or the largest of the row's targets.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([0, 1]), np.array([[2.0, 1.0], [3.0, 0.0]]))
    0.5
    """
    labels = y if y.ndim == 1 else y.argmax(axis=1)
    return float(np.average(outputs.argmax(axis=1) == labels, weights=weight))


def binary_accuracy(y: Array, outputs: Array, weight: Array | None = None) -> float:
    """Share of right answers of logits that answer yes or no each: an output above 0 is a yes, a target above 1/2 too.

    Examples
    --------
    >>> import numpy as np
    >>> binary_accuracy(np.array([0, 1]), np.array([[-2.0], [3.0]]))
    1.0
    """
    right = (outputs > 0) == (y.reshape(outputs.shape) > 0.5)
    return float(np.average(right.mean(axis=1), weights=weight))


def mae(y: Array, outputs: Array, weight: Array | None = None) -> float:
    """Mean absolute error over rows and outputs.

    Examples
    --------
    >>> import numpy as np
    >>> mae(np.array([1.0, 2.0]), np.array([[1.5], [2.0]]))
    0.25
    """
    error = np.abs(y.reshape(outputs.shape).astype(np.float64) - outputs)
    return float(np.average(error.mean(axis=1), weights=weight))


def r2(y: Array, outputs: Array, weight: Array | None = None) -> float:
    """Coefficient of determination, 1 - residual / total sum of squares, the mean over outputs.

    Where a target does not vary it is 1 for a perfect fit and else 0, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([[1.0], [2.0], [3.0]]))
    1.0
    """
    target = y.reshape(outputs.shape).astype(np.float64)
    residual = np.average((target - outputs) ** 2, axis=0, weights=weight)
    total = np.average((target - np.average(target, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    varies = total > 0
    score = np.where(varies, 1 - residual / np.where(varies, total, 1), np.where(residual > 0, 0.0, 1.0))
    return float(score.mean())
