"""AdamW without a schedule: training goes on at one point, the answer is an average of others."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from thalweg.arrays import Array
from thalweg.checks import check_count, check_number
from thalweg.optimizer import WEIGHTS, Optimizer, one_minus_power
from thalweg.scheduling import Rate
from thalweg.settings import check_fields, require

_PIECE = 2**18  # steps of the past that are looked at together


@dataclass(eq=False, repr=False)
class ScheduleFreeAdamW(Optimizer):
    r"""AdamW without a schedule (Defazio et al. 2024, "The Road Less Scheduled").

    The gradient is taken at y, the model's weights; z makes Adam's steps without a first moment; x is an average of z:

    .. math::
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        z \leftarrow z - \eta_t \Big(g \Big/ \big(\sqrt{v / (1-\beta_2^t)} + \epsilon\big) + \lambda y\Big) \\
        x &\leftarrow (1 - c_t)\, x + c_t z, \qquad c_t = \omega_t \Big/ \sum_{i \le t} \omega_i,
             \qquad \omega_t = t^r \max_{i \le t} \eta_i^p \\
        y &= \beta_1 x + (1 - \beta_1) z

    Parameters
    ----------
    lr : float or schedule, default 2.5e-3
        Learning rate :math:`\eta`; a number, or a function of the step. During warm-up it is multiplied by
        t / warmup_steps.
    betas : pair of float, default (0.9, 0.999)
        :math:`\beta_1, \beta_2` in [0, 1).
    eps : float, default 1e-8
        :math:`\epsilon > 0`.
    weight_decay : float, default 0
        :math:`\lambda`, decoupled and multiplied by the learning rate; touches biases too.
    warmup_steps : int, default 0
    r, weight_lr_power : float, default 0 and 2
        r and p of the weights in the average.

    Raises
    ------
    ValueError
        A setting out of its range; ``average``, which x already is.

    Notes
    -----
    The formulas and defaults of facebookresearch/schedule_free, AdamWScheduleFree; weight decay is taken at y.

    x is what to judge and to use: validation in ``fit``, ``restore_best_weights`` and `Trainer.averaged_weights` do;
    ``fit(finish_with_average=True)`` leaves it in the model. z and x are the state: weights that you set meanwhile serve
    one gradient; to begin from others use a new optimizer. A rate that is *raised* by hand, and not by a schedule, counts
    in the average as if it had always been so.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> history = model.fit(x, x @ [1, -2], loss="mse", optimizer=tw.ScheduleFreeAdamW(lr=0.3), epochs=30,
    ...                     finish_with_average=True)
    >>> model.layers[0].weight.ravel().round(2).tolist()
    [1.0, -2.0]
    """

    lr: Rate = 2.5e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup_steps: int = 0
    r: float = 0.0
    weight_lr_power: float = 2.0

    rule = "schedule_free"
    state_names = ("v", "z", "x")

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        self._past: tuple[Any, int, Array] = ((), 0, np.zeros(2))

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        check_fields(self, check_number, "r", "weight_lr_power", least=0)
        check_fields(self, check_count, "warmup_steps", least=0)
        require(self.average is None, self, "average", "None: x is the average")

    @property
    def averaged(self) -> str | None:
        """The slot that holds averaged weights."""
        return "x"

    def beginnings(self) -> dict[str, float | None]:
        """Return how slots begin that do not begin as zeros."""
        return {"z": WEIGHTS, "x": WEIGHTS}

    def without_decay(self) -> Self:
        """Return the same optimizer without weight decay, which need not look at the past again."""
        other = super().without_decay()
        other._past = self._past
        return other

    def scalars(self, steps: Array) -> Array:
        """Return lr, lr decay, beta2, 1 - beta2, 1/sqrt(1 - beta2^t), eps, c, beta1."""
        lr, (beta1, beta2) = self._warmed(steps), self.betas
        root = 1.0 / np.sqrt(one_minus_power(beta2, steps + 1))
        moments = (beta2, 1.0 - beta2, root, self.eps)
        return self._rows(steps, lr, lr * self.weight_decay, *moments, self._shares(steps), beta1)

    def _warmed(self, steps: Array) -> Array:
        """Rates with the warm-up."""
        return self.rates(steps) * np.minimum(1.0, (steps + 1) / max(self.warmup_steps, 1))

    def _shares(self, steps: Array) -> Array:
        """C of consecutive steps. What the first of them found is kept, since steps mostly come one after another."""
        key, first = (self.lr, self.warmup_steps, self.r, self.weight_lr_power), int(steps[0])
        known, at, carry = self._past
        if known != key or at > first:
            at, carry = 0, np.zeros(2)  # the largest rate, the sum of weights
        for begin in range(at, first, _PIECE):
            *_, carry = self._weigh(np.arange(begin, min(begin + _PIECE, first)), carry)
        self._past = (key, first, carry)
        weights, sums, _ = self._weigh(steps, carry)
        return np.divide(weights, sums, out=np.zeros(len(steps)), where=sums > 0)

    def _weigh(self, steps: Array, carry: Array) -> tuple[Array, Array, Array]:
        """Return the weights of consecutive steps, their sums from the first step of all, and what comes of the carry."""
        largest = np.maximum(np.maximum.accumulate(self._warmed(steps)), carry[0])
        weights = (steps + 1.0) ** self.r * largest**self.weight_lr_power
        sums = np.add.accumulate(np.concatenate((carry[1:], weights)))[1:]
        return weights, sums, np.array([largest[-1], sums[-1]])
