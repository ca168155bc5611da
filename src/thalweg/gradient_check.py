"""Gradient checks: what the compiled way back gives, against differences of the loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import losses
from thalweg.arrays import Array
from thalweg.checks import check_count, check_count_or_none, check_positive
from thalweg.custom import CustomLoss, LossFunction
from thalweg.errors import NonFiniteLoss
from thalweg.gradients import step_sizes
from thalweg.layer import Layer
from thalweg.model import Sequential
from thalweg.optimizers import SGD
from thalweg.programs import Runner, frozen_parameters
from thalweg.trainer import Trainer

# Where the slope of an activation jumps, in terms of what it puts out; of hard_swish in terms of its input.
_KINKS = {
    "relu": [0], "leaky_relu": [0], "elu": [0], "selu": [0], "relu6": [0, 6], "hard_tanh": [-1, 1],
    "hard_sigmoid": [0, 1], "hard_swish": [-3, 3],
}  # fmt: skip


@dataclass(frozen=True)
class ParameterCheck:
    """One parameter's gradient against central differences.

    Attributes
    ----------
    name : str
        Where it is in the model: "layers[0].weight".
    shape : tuple of int
    checked, kinks : int
        Entries compared, and entries left out because a difference would reach across a kink.
    max_abs, max_rel : float
        The largest differences; `max_rel` is as `GradientReport` says.
    worst : tuple of int or None
        The entry of `max_rel`.
    native, numeric : float
        Both gradients of that entry.
    """

    name: str
    shape: tuple[int, ...]
    checked: int
    kinks: int
    max_abs: float
    max_rel: float
    worst: tuple[int, ...] | None
    native: float
    numeric: float


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found; printed it is a table.

    Attributes
    ----------
    parameters : tuple of ParameterCheck
        Of all parameters that train.
    loss : float
    tolerance : float
        Of the relative difference, |native - numeric| / max(|native|, |numeric|, floor), where the floor is 1e-4 of the
        largest gradient, or what rounding of the loss makes of the tolerance if that is more.
    """

    parameters: tuple[ParameterCheck, ...]
    loss: float
    tolerance: float

    @property
    def max_rel(self) -> float:
        """The largest relative difference of all parameters."""
        return max((check.max_rel for check in self.parameters), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether every entry compared is within the tolerance; one that is not finite differs by infinity."""
        return all(check.max_rel <= self.tolerance for check in self.parameters)

    def __str__(self) -> str:
        """Return the table, and a last line with the verdict."""
        width = max([len(check.name) for check in self.parameters] + [9])
        lines = [
            f"{'parameter':<{width}}  {'shape':<12}{'checked':>9}{'kinks':>7}{'max abs':>10}{'max rel':>10}  worst"
        ]
        for check in self.parameters:
            numbers = f"{check.checked:>9}{check.kinks:>7}{check.max_abs:>10.1e}{check.max_rel:>10.1e}"
            lines.append(f"{check.name:<{width}}  {check.shape!s:<12}{numbers}  {check.worst or '-'}")
        wrong = [check for check in self.parameters if check.max_rel > self.tolerance]
        lines += [
            f"{check.name}{list(check.worst or ())}: native {check.native:.10g}, differences {check.numeric:.10g}"
            for check in wrong
        ]
        verdict = "every entry" if not wrong else f"NOT every entry: {len(wrong)} parameters differ"
        return "\n".join([*lines, f"loss {self.loss:.6g}; within {self.tolerance:g}: {verdict}"])


def check_gradients(
    model: Sequential,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    loss: "str | losses.Loss | LossFunction",
    *,
    sample_weight: npt.ArrayLike | None = None,
    entries: int | None = 1000,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> GradientReport:
    r"""Compare the gradients that training would use with central differences of the loss, in float64.

    .. math:: \frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}, \qquad
        h = \sqrt[3]{\epsilon} \max(1, |w|)

    on a copy of the model in float64, in training mode at step 0: dropout drops the same in every evaluation, and batch
    normalisation takes the statistics of the batch. The model itself does not change. Penalties (l1, l2) and weight
    decay are no part of the loss.

    Parameters
    ----------
    model : Sequential
    X, y : array
        A batch, as in `Sequential.fit`; some ten rows will do.
    loss : str, Loss or callable
        As in `Sequential.fit`; with a function of your own it is its gradient that is checked.
    sample_weight : array of shape (rows,), optional
    entries : int or None, default 1000
        Of a parameter with more entries so many are drawn; None checks all. Each costs two steps.
    tolerance : float, default 1e-5
        Largest relative difference of a check that is passed: see `GradientReport`.
    seed : int
        Of the drawing.

    Returns
    -------
    GradientReport

    Raises
    ------
    NonFiniteLoss
        The loss is NaN or infinite.
    ValueError, TypeError
        Arguments that do not fit, as in `Sequential.fit`.

    Notes
    -----
    Where a unit of relu, or the loss, has its kink between w - h and w + h, the difference is of two slopes, and the
    entry is left out: counted as a kink. Kinks of a loss of your own are not seen.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> model = tw.Sequential([tw.Dense(5, activation="tanh"), tw.Dense(3)], input_size=4, seed=0)
    >>> X = np.random.default_rng(0).normal(size=(10, 4))
    >>> report = tw.check_gradients(model, X, np.arange(10) % 3, "cross_entropy")
    >>> report.passed, [check.checked for check in report.parameters]
    (True, [20, 5, 15, 3])
    """
    if not isinstance(model, Sequential):
        raise TypeError(f"model must be a model such as tw.Sequential([tw.Dense(10)], 784), got {model!r}")
    tolerance = check_positive(tolerance, "tolerance")
    most = check_count_or_none(entries, "entries")
    rng = np.random.default_rng(check_count(seed, "seed", 0))
    probe = _Probe(double(model), X, y, loss, sample_weight)
    every = np.concatenate([np.abs(gradient).ravel() for gradient in probe.gradients] or [np.zeros(1)])
    largest = float(every.max(initial=0, where=np.isfinite(every)))
    rounding = 10 * np.finfo(float).eps / np.cbrt(np.finfo(float).eps) * abs(probe.loss)
    floor = max(1e-4 * largest, rounding / tolerance, np.finfo(float).tiny)
    checks = [_check(probe, number, name, most, floor, rng) for number, name in probe.trained()]
    return GradientReport(tuple(checks), probe.loss, tolerance)


def double(model: Sequential) -> Sequential:
    """Return a copy of a model in float64."""
    statistics = [view.copy() for view in model.statistics]
    return type(model).from_config(model.config() | {"dtype": "float64"}, model.get_weights(), statistics)


def parameter_names(layers: Sequence[Layer], prefix: str = "") -> Iterator[str]:
    """Go through the names of all parameters, in their order."""
    for number, layer in enumerate(layers):
        name = f"{prefix}layers[{number}]."
        inner: Sequence[Layer] = getattr(layer, "layers", ())
        yield from parameter_names(inner, name)
        if not inner:
            yield from (name + own for own, _ in layer.own_parameters())


class _Probe:
    """The loss of a batch in training mode, again and again, while weights change; and its gradients."""

    def __init__(self, model: Sequential, X: Any, y: Any, loss: Any, weight: Any) -> None:
        self.model = model
        self.trainer = Trainer(model, loss=loss, optimizer=SGD(), num_threads=1)
        self.data = self.trainer._check(X, y, weight)
        self.gradients: list[Any] = [*self.trainer.gradients(X, y, weight)]
        self.runner: Runner = self.trainer._unfused(
            len(self.data.x), self.data.kind, self.data.weight is not None, self.data.sources["x"]
        )
        self.loss = self()

    def __call__(self) -> float:
        trainer, runner = self.trainer, self.runner
        if not isinstance(trainer.loss, CustomLoss):
            trainer._run(runner, self.data, until="committed")
            return runner.tally.loss
        runner.run(x=self.data.sources["x"], until="forwarded", seed=trainer.seed)
        value = trainer.loss.call(runner.output.copy(), self.data.y)[0]
        if not np.isfinite(value):
            raise NonFiniteLoss(f"loss is {value}: {trainer.loss.name}", 0, 0)
        return value

    def trained(self) -> Iterator[tuple[int, str]]:
        """Go through numbers and names of the parameters that train."""
        frozen = frozen_parameters(self.model.shape)
        names = enumerate(parameter_names(self.model.layers))
        return ((number, name) for number, name in names if not frozen[number])

    def sides(self) -> list[Array]:
        """Return for all units and outputs on which side of their kinks the last evaluation left them."""
        found = []
        for number, layer in enumerate(self.model.shape.layers, 1):
            for kink in _KINKS.get(layer.activation, ()):
                found.append(np.sign(self._kept(layer.activation, number, layer.input) - kink))
        return found + [np.sign(margin) for margin in self._loss_margins()]

    def _kept(self, activation: str, number: int, source: int) -> Array:
        if activation != "hard_swish":
            return self.runner.view(f"y{number}")
        if self.runner.program.buffer(f"z{number}") is not None:
            return self.runner.view(f"z{number}")
        return self.runner.view(f"y{source}") if source else np.asarray(self.data.x)

    def _loss_margins(self) -> list[Array]:
        loss, outputs = self.trainer.loss, self.runner.output
        if loss.name not in ("mae", "quantile", "huber", "hinge", "squared_hinge"):
            return []
        y = np.reshape(self.data.y, outputs.shape)
        if "hinge" in loss.name:
            return [1 - np.where(y > 0, 1, -1) * outputs]
        error = outputs - y
        return [np.abs(error) - loss.numbers(outputs.shape[1]) if loss.name == "huber" else error]

    def difference(self, parameter: Array, index: tuple[int, ...], h: float) -> float | None:
        """Return the central difference of an entry, or None across a kink."""
        kept = parameter[index]
        values: list[float] = []
        sides: list[list[Array]] = []
        try:
            for end in (kept + h, kept - h):
                parameter[index] = end
                values.append(self())
                sides.append(self.sides())
        finally:
            parameter[index] = kept
        if not all(np.array_equal(above, below) for above, below in zip(*sides, strict=True)):
            return None
        return (values[0] - values[1]) / float((kept + h) - (kept - h))


def _check(
    probe: _Probe, number: int, name: str, most: int | None, floor: float, rng: np.random.Generator
) -> ParameterCheck:
    parameter, gradient = probe.model.parameters[number], probe.gradients[number]
    chosen = np.arange(parameter.size)
    if most is not None and most < parameter.size:
        chosen = np.sort(rng.choice(parameter.size, most, replace=False))
    sizes = step_sizes(np.array(parameter), None)
    max_abs, max_rel, worst, pair, kinks = 0.0, 0.0, None, (0.0, 0.0), 0
    for index in (tuple(int(i) for i in np.unravel_index(flat, parameter.shape)) for flat in chosen):
        numeric = probe.difference(parameter, index, sizes[index])
        if numeric is None:
            kinks += 1
            continue
        native = float(gradient[index])
        error = abs(native - numeric) if np.isfinite(native) else np.inf
        relative = error / max(abs(numeric), abs(native), floor) if np.isfinite(native) else np.inf
        max_abs = max(max_abs, error)
        if worst is None or relative > max_rel:
            max_rel, worst, pair = relative, index, (native, numeric)
    return ParameterCheck(name, parameter.shape, len(chosen) - kinks, kinks, max_abs, max_rel, worst, *pair)
