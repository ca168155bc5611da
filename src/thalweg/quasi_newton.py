"""L-BFGS as an optimizer, and its steps: the loss of all rows as a function of one vector of weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg import stepping
from thalweg.arrays import Array
from thalweg.checks import check_count, check_count_or_none, check_number
from thalweg.lbfgs import dot, lbfgs
from thalweg.optimizer import Optimizer
from thalweg.programs import Runner, frozen_parameters, parameter_penalties
from thalweg.scheduling import Rate
from thalweg.settings import check_fields, require

if TYPE_CHECKING:
    from thalweg.network import Network


@dataclass(eq=False, repr=False)
class LBFGS(Optimizer):
    r"""L-BFGS (Liu and Nocedal 1989) with a strong-Wolfe line search, for full batches.

    .. math::
        w \leftarrow w - t H g, \qquad
        L(w - tHg) \le L - c_1 t\, g^T H g, \qquad |g_{new}^T H g| \le c_2\, g^T H g

    H, an estimate of the inverse Hessian, comes from the last steps s and the changes y of the gradient over them;
    :math:`c_1 = 10^{-4}, c_2 = 0.9`.

    Parameters
    ----------
    lr : float or schedule, default 1
        The t that line searches begin with.
    max_iter : int, default 20
        Iterations of a step; an epoch is one step, since a batch is all rows.
    max_eval : int, optional
        Evaluations of loss and gradient in a step; default: max_iter * 5 / 4.
    tolerance_grad : float, default 1e-7
        A step ends when every entry of the gradient is as small.
    tolerance_change : float, default 1e-9
        A step ends after an iteration that changed no weight by more, or the loss by less.
    history_size : int, default 10
        Iterations that are remembered: two copies of the weights each.

    Raises
    ------
    ValueError
        A setting out of its range; ``clip_value``, ``clip_norm`` or ``average``, with which a line search makes no
        sense; in ``fit`` batches that are not all rows, or a layer with an l1 penalty, which has a kink.

    Notes
    -----
    torch.optim.LBFGS with ``line_search_fn="strong_wolfe"``, of the same defaults but history_size, 100 there;
    ``max_iter=1`` makes an epoch an iteration. The step's loss in the history is the one before it. Penalties of layers
    are part of what is minimised. Running statistics of batch normalisation see the batch once a step, with the weights
    of before it. What is remembered is saved in trainer files. ``batch_size`` need not be given.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> model = tw.Sequential([tw.Dense(1)], input_size=3, seed=0, dtype="float64")
    >>> history = model.fit(x, x @ [1, 2, 3], loss="mse", optimizer=tw.LBFGS(), batch_size="full")
    >>> model.layers[0].weight.ravel().round(6).tolist()
    [1.0, 2.0, 3.0]
    """

    lr: Rate = 1.0
    max_iter: int = 20
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 10

    rule = ""  # weights are set from here
    full_batch = True
    stepwise = True

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        require(self.lr != 0, self, "lr", "a finite number > 0 or a schedule")
        check_fields(self, check_count, "max_iter", "history_size")
        check_fields(self, check_count_or_none, "max_eval")
        check_fields(self, check_number, "tolerance_grad", "tolerance_change", least=0)
        for name in ("clip_value", "clip_norm", "average"):
            require(getattr(self, name) is None, self, name, "None: the line search needs the loss's own gradient")

    def check_model(self, model: "Network") -> None:
        """Raise ValueError for a model that it cannot train."""
        if any(layer.l1 > 0 for layer in model.shape.layers):
            raise ValueError("LBFGS: a layer has an l1 penalty, which has a kink at 0; L-BFGS needs a smooth one, l2")

    def scalars(self, steps: Array) -> Array:
        """Return what line searches begin with."""
        return self._rows(steps, self.rates(steps))


class _Interrupted(Exception):
    """Ctrl-C was noted in the middle of a step."""


class FullBatchStep(stepping.Step):
    """One step of `LBFGS`: some iterations, in which each evaluation passes over all rows."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        model, optimizer = self.trainer.model, self.trainer.optimizer
        assert isinstance(optimizer, LBFGS)
        self.optimizer: LBFGS = optimizer
        self.dtype = model.dtype
        self.moving = [not frozen for frozen in frozen_parameters(model.shape)]
        self.before = self._gather(model.parameters)
        self.records = True  # running statistics take the batch in with the step's first gradient
        self.began: tuple[float, float] | None = None  # loss and weight of before the step
        self._gradient = np.zeros_like(self.before)

    def _gather(self, views: list[Array]) -> Array:
        parts = [view.ravel() for view, moves in zip(views, self.moving, strict=True) if moves]
        return np.concatenate(parts) if parts else np.zeros(0, self.dtype)

    def _put(self, x: Array) -> None:
        at = 0
        for view, moves in zip(self.trainer.model.parameters, self.moving, strict=True):
            if moves:
                view[...] = x[at : at + view.size].reshape(view.shape)
                at += view.size

    def run(self) -> str:
        """Make the iterations; return how it ended."""
        settings, trainer = self.optimizer, self.trainer
        memory = trainer.memory.copy(settings.history_size)
        try:
            found = lbfgs(
                self._evaluate, self.before, max_steps=settings.max_iter, tolerance=settings.tolerance_grad,
                change=settings.tolerance_change, rate=float(settings.rates(self.number)[0]), memory=memory,
                max_evaluations=settings.max_eval or settings.max_iter * 5 // 4,
            )  # fmt: skip
        except _Interrupted:
            return "stopped"
        assert self.began is not None  # the first evaluation was made
        self.loss, self.weight = self.began
        if not np.isfinite(self.loss):
            return "not_finite"
        self._put(found.x)
        trainer.memory = memory
        return "done"

    def _evaluate(self, x: Array) -> tuple[float, Array]:
        """Return loss and penalties, and their gradient, for a vector of weights."""
        self._put(x)
        self._gradient, self.weight = np.zeros_like(x), 0.0
        status = self._differentiate()
        if status == "stopped":
            raise _Interrupted
        if self.began is None:
            self.began = (self.loss, self.weight)
        self.records = False
        if status == "not_finite" or not self.weight:
            return (np.inf if status == "not_finite" else 0.0), self._gradient
        penalty, gradient = self._penalties()
        return self.loss + penalty, self._gradient / self._gradient.dtype.type(self.weight) + gradient

    def _add(self, runner: Runner, weight: float) -> None:
        """Add a batch's gradient; the step's first takes its statistics into the running ones."""
        if self.records:
            runner.run(since="committed", until="recorded")
        self._gradient = self._gradient + self._gather(self.trainer.gradient_views()) * self.dtype.type(weight)

    def _penalties(self) -> tuple[float, Array]:
        """Return the layers' l2 penalties, and their gradient."""
        model = self.trainer.model
        pairs = list(zip(model.parameters, parameter_penalties(model.shape), strict=True))
        moving = [pair for pair, moves in zip(pairs, self.moving, strict=True) if moves]
        penalty = sum(l2 * dot(view.ravel(), view.ravel()) for view, l2 in moving if l2)
        return penalty, self._gather([self.dtype.type(2 * l2) * view for view, l2 in pairs])

    def undo(self, statistics: list[Array]) -> None:
        """Put weights and running statistics back."""
        super().undo(statistics)
        self._put(self.before)
