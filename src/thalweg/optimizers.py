"""Optimizers: plain descriptions of how weights follow their gradient. Names, defaults and formulas are torch's.

State lives in the `Trainer`. A field may be changed between two calls of ``fit``; it is checked when it is used. What
changes from step to step and not from weight to weight is computed here, in float64, for a whole slice of steps.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from thalweg.arrays import Array
from thalweg.checks import check_number
from thalweg.optimizer import Optimizer, one_minus_power
from thalweg.settings import check_fields


@dataclass(eq=False, repr=False)
class SGD(Optimizer):
    r"""Gradient descent, with momentum, dampening, Nesterov's look-ahead and weight decay where wanted.

    .. math::
        g &\leftarrow g + \lambda w \\
        b &\leftarrow \mu b + (1 - \tau) g \quad\text{(at the first step } b = g\text{)} \\
        w &\leftarrow w - \eta b \quad\text{or, with Nesterov,}\quad w - \eta (g + \mu b)

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    momentum, dampening, weight_decay : float, default 0
        :math:`\mu`, :math:`\tau` and :math:`\lambda`. Decay is L2 and touches biases too.
    nesterov : bool, default False
        Needs momentum > 0 and dampening = 0.

    Notes
    -----
    torch.optim.SGD, of the same defaults.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.SGD(lr=0.1, momentum=0.9, nesterov=True)
    SGD(lr=0.1, momentum=0.9, nesterov=True)
    """

    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        check_fields(self, check_number, "momentum", least=0)
        check_fields(self, check_number, "dampening")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("SGD: nesterov needs momentum > 0 and dampening = 0")

    @property
    def rule(self) -> str:
        """The core's rule, by name."""
        return "momentum" if self.momentum else "sgd"

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state that the rule keeps for each weight."""
        return ("momentum_buffer",) if self.momentum else ()

    def scalars(self, steps: Array) -> Array:
        """Return lr and decay, and with momentum: momentum, 1 - dampening, the shares of g and b in the step."""
        lr = self.rates(steps)
        if not self.momentum:
            return self._rows(steps, lr, self.weight_decay)
        fresh = np.where(steps == 0, 1.0, 1.0 - self.dampening)
        shares = (1.0, self.momentum) if self.nesterov else (0.0, 1.0)
        return self._rows(steps, lr, self.weight_decay, self.momentum, fresh, *shares)


@dataclass(eq=False, repr=False)
class Adam(Optimizer):
    r"""Adam (Kingma and Ba 2015), and AMSGrad (Reddi, Kale and Kumar 2018) in torch's form.

    .. math::
        g &\leftarrow g + \lambda w \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow w - \frac{\eta}{1-\beta_1^t} \, m \Big/ \Big(\sqrt{v / (1-\beta_2^t)} + \epsilon\Big)

    With ``amsgrad`` the root is that of the largest v so far (the maximum is taken before the correction by
    :math:`1-\beta_2^t`, with the current t).

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    betas : pair of float, default (0.9, 0.999)
        :math:`\beta_1, \beta_2` in [0, 1).
    eps : float, default 1e-8
        :math:`\epsilon > 0`.
    weight_decay : float, default 0
        :math:`\lambda`, L2: added to the gradient, biases included.
    amsgrad : bool, default False

    Notes
    -----
    torch.optim.Adam, of the same defaults. Keras adds epsilon to the uncorrected root.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.Adam(lr=1e-2).betas
    (0.9, 0.999)
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False

    _decoupled: ClassVar[bool] = False

    @property
    def rule(self) -> str:
        """The core's rule, by name."""
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state that the rule keeps for each weight."""
        return ("m", "v", "v_max") if self.amsgrad else ("m", "v")

    def scalars(self, steps: Array) -> Array:
        """Return lr / (1 - beta1^t), L2 decay, kept share of w, 1 - beta1, beta2, 1 - beta2, 1/sqrt(1 - beta2^t), eps."""
        beta1, beta2 = self.betas
        t = steps + 1
        correction1, correction2 = one_minus_power(beta1, t), one_minus_power(beta2, t)
        lr, decay = self.rates(steps), self.weight_decay
        l2, kept = (0.0, 1.0 - lr * decay) if self._decoupled else (decay, 1.0)
        fresh = (1.0 - beta1, beta2, 1.0 - beta2)
        return self._rows(steps, lr / correction1, l2, kept, *fresh, 1.0 / np.sqrt(correction2), self.eps)


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    r"""Adam with decoupled weight decay (Loshchilov and Hutter 2019): first :math:`w \leftarrow (1 - \eta\lambda) w`.

    Parameters
    ----------
    lr, betas, eps, amsgrad
        As in `Adam`.
    weight_decay : float, default 1e-2
        :math:`\lambda`, multiplied by the learning rate; touches biases too.

    Notes
    -----
    torch.optim.AdamW, of the same defaults.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.AdamW().weight_decay
    0.01
    """

    weight_decay: float = 1e-2

    _decoupled: ClassVar[bool] = True
