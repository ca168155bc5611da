r"""Losses: what training makes small.

Each is a mean over the rows of a batch. With sample weights w it is :math:`\sum_r w_r l_r / \sum_r w_r`; a batch whose
weights are all zero makes no update. ``loss="huber"`` or ``loss=tw.losses.Huber(delta=2.0)``: equal where settings are.
Targets are of shape (rows, outputs), or (rows,) for one output; `CrossEntropy` takes labels too.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from thalweg.arrays import Array, as_real
from thalweg.checks import check_number
from thalweg.loss import Loss, Numbers, check_numbers, is_positive
from thalweg.metrics import accuracy, binary_accuracy, mae, r2


@dataclass(frozen=True)
class MSE(Loss):
    r"""Mean squared error, :math:`\frac1{RC}\sum_{rc} (y_{rc} - t_{rc})^2`: over all rows and outputs, without a half.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.mse([[1.0, 2.0]], [[0.0, 0.0]])
    >>> loss, gradient.tolist()
    (2.5, [[1.0, 2.0]])
    """

    name = "mse"
    metrics: ClassVar = {"mae": mae, "r2": r2}


@dataclass(frozen=True)
class MAE(Loss):
    r"""Mean absolute error, :math:`\frac1{RC}\sum_{rc} |y_{rc} - t_{rc}|`. Its gradient is 0 where y = t.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.mae([[1.0, -2.0]], [[0.0, 0.0]])
    >>> loss, gradient.tolist()
    (1.5, [[0.5, -0.5]])
    """

    name = "mae"
    metrics: ClassVar = {"mae": mae, "r2": r2}


@dataclass(frozen=True)
class Huber(Loss):
    r"""Huber's loss: :math:`\frac12 r^2` for :math:`|r| \le \delta`, else :math:`\delta(|r| - \frac12\delta)`, r = y - t.

    The mean over all rows and outputs.

    Parameters
    ----------
    delta : float or one for each output, default 1.0
        Above 0: from where on an error counts by its size and not by its square.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.huber([[0.5, -3.0]], [[0.0, 0.0]], delta=1.0)
    >>> loss, gradient.tolist()
    (1.3125, [[0.25, -0.5]])
    """

    delta: Numbers = 1.0

    name = "huber"
    number = "delta"
    metrics: ClassVar = {"mae": mae, "r2": r2}

    def __post_init__(self) -> None:
        """Check what was given."""
        check_numbers(self, self.delta, is_positive, "a finite number > 0")


@dataclass(frozen=True)
class Quantile(Loss):
    r"""Quantile (pinball) loss: :math:`\max(q r, (q - 1) r)`, r = t - y; small where y is the q-quantile of t.

    The mean over all rows and outputs. Its gradient is 0 where y = t.

    Parameters
    ----------
    q : float or one for each output, default 0.5
        Between 0 and 1: above this share of the targets the outputs shall lie. Half the absolute error for 0.5.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.quantile([[0.0, 0.0]], [[1.0, 1.0]], q=(0.1, 0.9))
    >>> loss, gradient.tolist()
    (0.5, [[-0.05, -0.45]])
    """

    q: Numbers = 0.5

    name = "quantile"
    number = "q"
    metrics: ClassVar = {"mae": mae, "r2": r2}

    def __post_init__(self) -> None:
        """Check what was given."""
        check_numbers(self, self.q, lambda q: 0 < q < 1, "a number between 0 and 1")


def _mae_of_rates(y: Array, outputs: Array, weight: Array | None = None) -> float:
    with np.errstate(over="ignore"):
        return mae(y, np.exp(outputs.astype(np.float64)), weight)


@dataclass(frozen=True)
class Poisson(Loss):
    r"""Poisson loss, :math:`e^y - t y`: outputs y are logarithms of rates, targets t counts, or rates, >= 0.

    The mean over all rows and outputs; what does not depend on y is left out (``torch.nn.PoissonNLLLoss()``). A model's
    ``predict`` gives log rates: take ``numpy.exp`` of them. "mae" is that of the rates.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.poisson([[0.0]], [3])
    >>> loss, gradient.tolist()
    (1.0, [[-2.0]])
    """

    name = "poisson"
    metrics: ClassVar = {"mae": _mae_of_rates}
    accepts = "values >= 0"

    def _wrong(self, y: Array) -> Array:
        return y < 0


@dataclass(frozen=True)
class CrossEntropy(Loss):
    r"""Cross entropy of the softmax of a model's outputs (logits), :math:`-\sum_c t_c \log\mathrm{softmax}(y)_c`.

    Targets are integer labels of shape (rows,), from 0 to outputs - 1; or rows of probabilities, one-hot among them, of
    shape (rows, outputs). Labels are checked as they are read: one out of range stops training before that step.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        From 0 to below 1: targets t, labels too, become :math:`(1 - \epsilon) t + \epsilon / C` for C outputs.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, _ = tw.kernels.softmax_cross_entropy([[10.0, 1.0, -2.0]], [1])
    >>> round(loss, 4)
    9.0001
    """

    label_smoothing: float = 0.0

    name = "cross_entropy"
    metrics: ClassVar = {"accuracy": accuracy}
    probabilities = "softmax"

    def __post_init__(self) -> None:
        """Check what was given."""
        smoothing = check_number(self.label_smoothing, "CrossEntropy: label_smoothing", 0, 1)
        object.__setattr__(self, "label_smoothing", smoothing)

    @property
    def smoothing(self) -> float:
        """How much of each target is spread over all outputs."""
        return self.label_smoothing

    def check_targets(self, y: npt.ArrayLike, rows: int, units: int, name: str = "y") -> tuple[Array, str]:
        """Return y as an array, and how the core reads it."""
        y = as_real(y, name)
        self._check_rows(y, rows, name)
        if units < 2:
            raise ValueError("cross_entropy needs at least 2 outputs, the model has 1: use binary_cross_entropy")
        if y.ndim == 1 and y.dtype.kind in "iub":
            return y, "labels"
        if y.shape == (rows, units):
            return y, "values"
        hint = f"; labels must be integers: {name}.astype(int)" if y.ndim == 1 else ""
        raise ValueError(
            f"{name} has shape {y.shape} and dtype {y.dtype}; cross_entropy with {units} outputs expects integer "
            f"labels of shape ({rows},) or probabilities of shape ({rows}, {units}){hint}"
        )


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    r"""Binary cross entropy of the sigmoid of a model's outputs (logits), the mean over all rows and outputs.

    :math:`-p\, t \log\sigma(y) - (1-t) \log(1-\sigma(y))`. Targets in [0, 1]: with several outputs each is a yes or no of
    its own (multi-label).

    Parameters
    ----------
    pos_weight : float or one for each output, optional
        p, above 0: what a yes counts beside a no. None: 1.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.binary_cross_entropy([[0.0]], [1])
    >>> round(loss, 6), gradient.tolist()
    (0.693147, [[-0.5]])
    """

    pos_weight: Numbers | None = None

    name = "binary_cross_entropy"
    number = "pos_weight"
    metrics: ClassVar = {"accuracy": binary_accuracy}
    probabilities = "sigmoid"
    accepts = "values from 0 to 1"

    def __post_init__(self) -> None:
        """Check what was given."""
        if self.pos_weight is not None:
            check_numbers(self, self.pos_weight, is_positive, "a finite number > 0")

    def _wrong(self, y: Array) -> Array:
        return (y < 0) | (y > 1)


@dataclass(frozen=True)
class Hinge(Loss):
    r"""Hinge loss, :math:`\max(0, 1 - s y)`, the mean over all rows and outputs; s is 1 for a yes and -1 for a no.

    Targets are 0 and 1, or -1 and 1: a value above 0 is a yes. An output above 0 answers yes.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.hinge([[0.5], [0.5]], [1, 0])
    >>> loss, gradient.tolist()
    (1.0, [[-0.5], [0.5]])
    """

    name = "hinge"
    metrics: ClassVar = {"accuracy": binary_accuracy}
    accepts = "values of 0 and 1, or of -1 and 1"

    def _wrong(self, y: Array) -> Array:
        low = -1 if (y == -1).any() else 0
        wrong: Array = ~((y == 1) | (y == low) | np.isnan(y))
        return wrong


@dataclass(frozen=True)
class SquaredHinge(Hinge):
    r"""Squared hinge loss, :math:`\max(0, 1 - s y)^2`: see `Hinge`.

    Examples
    --------
    >>> import thalweg as tw
    >>> loss, gradient = tw.kernels.squared_hinge([[0.5], [0.5]], [1, -1])
    >>> loss, gradient.tolist()
    (1.25, [[-0.5], [1.5]])
    """

    name = "squared_hinge"


_LOSSES = (MSE, CrossEntropy, BinaryCrossEntropy, MAE, Huber, Quantile, Poisson, Hinge, SquaredHinge)
_BY_NAME: dict[str, type[Loss]] = {loss.name: loss for loss in _LOSSES}


def resolve(loss: "str | Loss | dict[str, Any]") -> Loss:
    """Return the loss that a name or a `Loss.config` stands for, or the loss itself.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.losses.resolve("huber")
    Huber(delta=1.0)
    >>> tw.losses.resolve({"name": "huber", "delta": 2})
    Huber(delta=2.0)
    """
    if isinstance(loss, Loss):
        return loss
    settings = dict(loss) if isinstance(loss, dict) else {}
    name = settings.pop("name", loss)
    if not isinstance(name, str) or name not in _BY_NAME:
        raise ValueError(f"unknown loss {loss!r}; there are: {', '.join(_BY_NAME)}")
    if settings and (unknown := settings.keys() - {field.name for field in fields(_BY_NAME[name])}):
        raise ValueError(f"{name} has no settings {', '.join(unknown)}")
    return _BY_NAME[name](**settings)


__all__ = [
    "MAE", "MSE", "BinaryCrossEntropy", "CrossEntropy", "Hinge", "Huber", "Loss", "Poisson", "Quantile", "SquaredHinge",
    "resolve",
]  # fmt: skip
