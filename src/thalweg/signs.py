"""Optimizers that look at signs alone: Rprop, Lion."""

from dataclasses import dataclass

import numpy as np

from thalweg.arrays import Array
from thalweg.checks import is_pair
from thalweg.optimizer import Optimizer
from thalweg.scheduling import Rate
from thalweg.settings import require


@dataclass(eq=False, repr=False)
class Rprop(Optimizer):
    r"""Rprop (Riedmiller and Braun 1993) without backtracking (iRprop-, Igel and Hüsken 2000), for full batches.

    Every weight has a step :math:`\Delta` of its own, which grows while its gradient keeps its sign:

    .. math::
        \Delta &\leftarrow \min\big(\max(\Delta \cdot \{\eta^+, \eta^-, 1\}, \Delta_{min}), \Delta_{max}\big)
            \quad\text{for}\quad g\,g' > 0,\; < 0,\; = 0 \\
        g &\leftarrow 0 \quad\text{where}\quad g\,g' < 0, \qquad w \leftarrow w - \mathrm{sign}(g)\,\Delta,
            \qquad g' \leftarrow g

    Parameters
    ----------
    lr : float or schedule, default 1e-2
        What every step size begins as (of a schedule its rate at step 0); later changes of it mean nothing.
    etas : pair of float, default (0.5, 1.2)
        :math:`\eta^-` in (0, 1) and :math:`\eta^+ > 1`.
    step_sizes : pair of float, default (1e-6, 50)
        :math:`\Delta_{min} > 0` and :math:`\Delta_{max}`.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.Rprop, of the same defaults. The sign of a mini-batch's gradient is mostly noise: train with
    ``batch_size="full"``. Signs are compared, not multiplied, so that the product of two small gradients is not 0.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.Rprop(lr=1e-3).etas
    (0.5, 1.2)
    """

    lr: Rate = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)

    rule = "rprop"
    state_names = ("prev", "step_size")

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        etas, sizes = self.etas, self.step_sizes
        right = is_pair(etas) and 0 < etas[0] < 1 < etas[1] < np.inf
        require(right, self, "etas", "two numbers, the first between 0 and 1 and the second above 1")
        right = is_pair(sizes) and 0 < sizes[0] <= sizes[1] < np.inf
        require(right, self, "step_sizes", "two finite numbers above 0, the smaller first")

    def beginnings(self) -> dict[str, float | None]:
        """Return how slots begin that do not begin as zeros."""
        return super().beginnings() | {"step_size": float(self.rates(0)[0])}

    def scalars(self, steps: Array) -> Array:
        """Return eta-, eta+, the smallest and the largest step."""
        return self._rows(steps, *self.etas, *self.step_sizes)


@dataclass(eq=False, repr=False)
class Lion(Optimizer):
    r"""Lion (Chen et al. 2023): the sign of an interpolated momentum.

    .. math::
        w &\leftarrow w - \eta \big(\mathrm{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda w\big) \\
        m &\leftarrow \beta_2 m + (1 - \beta_2) g

    Parameters
    ----------
    lr : float or schedule, default 1e-4
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`. Three to ten times
        smaller than Adam's, since every weight moves by all of it.
    betas : pair of float, default (0.9, 0.99)
        :math:`\beta_1, \beta_2` in [0, 1).
    weight_decay : float, default 1e-3
        :math:`\lambda`, decoupled and multiplied by the learning rate; touches biases too.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    optax.lion, of the same defaults; the learning rate, which optax asks for, is the authors'. Not in torch. Keras: the
    same formula, lr 1e-3 and no decay.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.Lion(lr=3e-4)
    Lion(lr=0.0003)
    """

    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 1e-3

    rule = "lion"
    state_names = ("m",)

    def scalars(self, steps: Array) -> Array:
        """Return lr, kept share of w, beta1, 1 - beta1, beta2, 1 - beta2."""
        lr, (beta1, beta2) = self.rates(steps), self.betas
        return self._rows(steps, lr, 1.0 - lr * self.weight_decay, beta1, 1.0 - beta1, beta2, 1.0 - beta2)
