"""Optimizers that divide each weight's gradient by the size that it has had: RMSprop, Adagrad, Adadelta."""

from dataclasses import dataclass

from thalweg.arrays import Array
from thalweg.checks import check_number
from thalweg.optimizer import Optimizer
from thalweg.scheduling import Rate
from thalweg.settings import check_fields


@dataclass(eq=False, repr=False)
class RMSprop(Optimizer):
    r"""RMSprop (Tieleman and Hinton 2012, lecture 6.5), and its centered form (Graves 2013), in torch's form.

    .. math::
        g &\leftarrow g + \lambda w, \qquad v \leftarrow \alpha v + (1 - \alpha) g^2 \\
        u &= g \big/ \big(\sqrt{v} + \epsilon\big)
             \quad\text{or, centered, with}\quad \sqrt{v - a^2}, \; a \leftarrow \alpha a + (1 - \alpha) g \\
        w &\leftarrow w - \eta u \quad\text{or, with momentum,}\quad b \leftarrow \mu b + u, \; w \leftarrow w - \eta b

    Parameters
    ----------
    lr : float or schedule, default 1e-2
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    alpha : float, default 0.99
        :math:`\alpha` in [0, 1).
    eps : float, default 1e-8
        :math:`\epsilon > 0`.
    weight_decay, momentum : float, default 0
        :math:`\lambda` and :math:`\mu`. Decay is L2 and touches biases too.
    centered : bool, default False
        Divide by an estimate of the standard deviation.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.RMSprop, of the same defaults. Keras and optax add epsilon inside the root. Where rounding takes
    :math:`v - a^2` below 0, the root is 0; torch's is NaN.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.RMSprop(lr=1e-3, momentum=0.9)
    RMSprop(lr=0.001, momentum=0.9)
    """

    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        check_fields(self, check_number, "alpha", least=0, below=1)
        check_fields(self, check_number, "momentum", least=0)

    @property
    def rule(self) -> str:
        """The core's rule, by name."""
        return "rmsprop" + ("_centered" if self.centered else "") + ("_momentum" if self.momentum else "")

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state that the rule keeps for each weight."""
        names = {"square_avg": True, "grad_avg": self.centered, "momentum_buffer": self.momentum}
        return tuple(name for name, is_kept in names.items() if is_kept)

    def scalars(self, steps: Array) -> Array:
        """Return lr, decay, alpha, 1 - alpha, eps, momentum."""
        shares = (self.alpha, 1.0 - self.alpha)
        return self._rows(steps, self.rates(steps), self.weight_decay, *shares, self.eps, self.momentum)


@dataclass(eq=False, repr=False)
class Adagrad(Optimizer):
    r"""Adagrad (Duchi, Hazan and Singer 2011).

    .. math::
        g &\leftarrow g + \lambda w, \qquad s \leftarrow s + g^2 \\
        w &\leftarrow w - \frac{\eta}{1 + (t - 1)\,\delta} \, g \big/ \big(\sqrt{s} + \epsilon\big)

    Parameters
    ----------
    lr : float or schedule, default 1e-2
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    lr_decay, weight_decay : float, default 0
        :math:`\delta` and :math:`\lambda`. Weight decay is L2 and touches biases too.
    initial_accumulator_value : float, default 0
        What s begins as.
    eps : float, default 1e-10
        :math:`\epsilon > 0`.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.Adagrad, of the same defaults. Keras and optax begin with s = 0.1 and add epsilon, 1e-7, inside the
    root.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> tw.Adagrad(lr=0.1, lr_decay=1.0).scalars(np.arange(3))[:, 0].round(3).tolist()
    [0.1, 0.05, 0.033]
    """

    lr: Rate = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    rule = "adagrad"
    state_names = ("sum",)

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        check_fields(self, check_number, "lr_decay", "initial_accumulator_value", least=0)

    def beginnings(self) -> dict[str, float | None]:
        """Return how slots begin that do not begin as zeros."""
        return super().beginnings() | {"sum": self.initial_accumulator_value}

    def scalars(self, steps: Array) -> Array:
        """Return the decayed lr, weight decay, eps."""
        return self._rows(steps, self.rates(steps) / (1.0 + steps * self.lr_decay), self.weight_decay, self.eps)


@dataclass(eq=False, repr=False)
class Adadelta(Optimizer):
    r"""Adadelta (Zeiler 2012): the size of a step follows that of the steps before it.

    .. math::
        g &\leftarrow g + \lambda w, \qquad v \leftarrow \rho v + (1 - \rho) g^2 \\
        d &= \frac{\sqrt{a + \epsilon}}{\sqrt{v + \epsilon}} \, g, \qquad a \leftarrow \rho a + (1 - \rho) d^2 \\
        w &\leftarrow w - \eta d

    Parameters
    ----------
    lr : float or schedule, default 1
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    rho : float, default 0.9
        :math:`\rho` in [0, 1).
    eps : float, default 1e-6
        :math:`\epsilon > 0`, inside both roots.
    weight_decay : float, default 0
        :math:`\lambda`, L2: added to the gradient, biases included.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.Adadelta, of the same defaults. optax's and Keras's are the same formula, with rho 0.95 and eps 1e-7 in
    Keras.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.Adadelta(rho=0.95)
    Adadelta(lr=1.0, rho=0.95)
    """

    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: float = 0.0

    rule = "adadelta"
    state_names = ("square_avg", "acc_delta")

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        check_fields(self, check_number, "rho", least=0, below=1)

    def scalars(self, steps: Array) -> Array:
        """Return lr, decay, rho, 1 - rho, eps."""
        return self._rows(steps, self.rates(steps), self.weight_decay, self.rho, 1.0 - self.rho, self.eps)
