"""Kin of Adam: Adamax, NAdam, RAdam."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from thalweg.arrays import Array
from thalweg.checks import check_number
from thalweg.optimizer import Optimizer, one_minus_power
from thalweg.scheduling import Rate
from thalweg.settings import check_fields


@dataclass(eq=False, repr=False)
class Adamax(Optimizer):
    r"""Adamax (Kingma and Ba 2015): Adam with the largest gradient in place of the root of the mean square.

    .. math::
        g &\leftarrow g + \lambda w, \qquad m \leftarrow \beta_1 m + (1 - \beta_1) g \\
        u &\leftarrow \max(\beta_2 u, |g| + \epsilon), \qquad w \leftarrow w - \frac{\eta}{1 - \beta_1^t} \, m / u

    Parameters
    ----------
    lr : float or schedule, default 2e-3
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    betas : pair of float, default (0.9, 0.999)
        :math:`\beta_1, \beta_2` in [0, 1).
    eps : float, default 1e-8
        :math:`\epsilon > 0`.
    weight_decay : float, default 0
        :math:`\lambda`, L2: added to the gradient, biases included.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.Adamax, of the same defaults. Keras adds epsilon to u in the denominator.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.Adamax().lr
    0.002
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    rule = "adamax"
    state_names = ("m", "u")

    def scalars(self, steps: Array) -> Array:
        """Return lr / (1 - beta1^t), decay, 1 - beta1, beta2, eps."""
        beta1, beta2 = self.betas
        rate = self.rates(steps) / one_minus_power(beta1, steps + 1)
        return self._rows(steps, rate, self.weight_decay, 1.0 - beta1, beta2, self.eps)


@dataclass(eq=False, repr=False)
class NAdam(Optimizer):
    r"""NAdam (Dozat 2016): Adam with Nesterov's look-ahead and a warming momentum.

    .. math::
        \mu_t &= \beta_1 \big(1 - \tfrac12\, 0.96^{t \psi}\big), \qquad g \leftarrow g + \lambda w \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow w - \eta \bigg(\frac{1 - \mu_t}{1 - \prod_{i \le t} \mu_i} g
             + \frac{\mu_{t+1}}{1 - \prod_{i \le t+1} \mu_i} m\bigg) \Big/ \Big(\sqrt{v / (1-\beta_2^t)} + \epsilon\Big)

    Parameters
    ----------
    lr : float or schedule, default 2e-3
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    betas : pair of float, default (0.9, 0.999)
        :math:`\beta_1, \beta_2` in [0, 1).
    eps : float, default 1e-8
        :math:`\epsilon > 0`.
    weight_decay : float, default 0
        :math:`\lambda`, biases included.
    momentum_decay : float, default 4e-3
        :math:`\psi`.
    decoupled_weight_decay : bool, default False
        :math:`w \leftarrow (1 - \eta\lambda) w` first, as in `AdamW`, instead of L2.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.NAdam, of the same defaults. Keras has the schedule of :math:`\mu` without :math:`\psi`, optax none.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.NAdam(decoupled_weight_decay=True, weight_decay=1e-2)
    NAdam(lr=0.002, weight_decay=0.01, decoupled_weight_decay=True)
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False

    rule = "nadam"
    state_names = ("m", "v")

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        check_fields(self, check_number, "momentum_decay", least=0)

    def scalars(self, steps: Array) -> Array:
        """Return share of g, L2 decay, kept share of w, 1 - beta1, beta2, 1 - beta2, 1/sqrt(1 - beta2^t), eps, of m."""
        lr, t, (beta1, beta2) = self.rates(steps), steps + 1, self.betas
        mu, after = (_warming(beta1, self.momentum_decay, at) for at in (t, t + 1))
        product, product_after = (_warming_product(beta1, self.momentum_decay, at) for at in (t, t + 1))
        share_g, share_m = lr * (1.0 - mu) / (1.0 - product), lr * after / (1.0 - product_after)
        l2, kept = _decays(lr, self.weight_decay, self.decoupled_weight_decay)
        root = 1.0 / np.sqrt(one_minus_power(beta2, t))
        return self._rows(steps, share_g, l2, kept, 1.0 - beta1, beta2, 1.0 - beta2, root, self.eps, share_m)


@dataclass(eq=False, repr=False)
class RAdam(Optimizer):
    r"""RAdam (Liu et al. 2020): Adam whose first steps wait for the variance of its root to become finite.

    .. math::
        \rho_\infty &= 2 / (1 - \beta_2) - 1, \qquad \rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t) \\
        w &\leftarrow w - \eta \frac{m}{1 - \beta_1^t} \cdot
             \begin{cases} r_t \sqrt{1 - \beta_2^t} \big/ \big(\sqrt{v} + \epsilon\big) & \rho_t > 5 \\ 1 \end{cases} \\
        r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\rho_\infty}{(\rho_\infty - 4)(\rho_\infty - 2)\rho_t}}

    with m and v as in `Adam`.

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        Learning rate :math:`\eta`; a number, or a function of the step: see `thalweg.schedules`.
    betas : pair of float, default (0.9, 0.999)
        :math:`\beta_1, \beta_2` in [0, 1). With :math:`\beta_2 \le 2/3` no step is rectified.
    eps : float, default 1e-8
        :math:`\epsilon > 0`, added to the root before its correction.
    weight_decay : float, default 0
        :math:`\lambda`, biases included.
    decoupled_weight_decay : bool, default False
        :math:`w \leftarrow (1 - \eta\lambda) w` first, as in `AdamW`, instead of L2.

    Raises
    ------
    ValueError
        A setting out of its range.

    Notes
    -----
    torch.optim.RAdam, of the same defaults. optax adds epsilon to the corrected root.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.RAdam(lr=1e-2)
    RAdam(lr=0.01)
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False

    rule = "adam"  # a step that is not rectified is Adam's with a denominator of 0 root + 1
    state_names = ("m", "v")

    def scalars(self, steps: Array) -> Array:
        """Return what Adam's rule takes; the rectification is in the rate."""
        lr, t, (beta1, beta2) = self.rates(steps), steps + 1, self.betas
        correction = one_minus_power(beta2, t)
        limit = 2.0 / (1.0 - beta2) - 1.0
        rho = limit - 2.0 * t * beta2**t / correction
        rectified = rho > 5.0
        top, bottom = (rho - 4.0) * (rho - 2.0) * limit, (limit - 4.0) * (limit - 2.0) * rho
        ratio = np.divide(top, bottom, out=np.ones(len(t)), where=rectified)
        factor = np.where(rectified, np.sqrt(ratio * correction), 1.0)
        rate = lr / one_minus_power(beta1, t) * factor
        l2, kept = _decays(lr, self.weight_decay, self.decoupled_weight_decay)
        eps = np.where(rectified, self.eps, 1.0)
        return self._rows(steps, rate, l2, kept, 1.0 - beta1, beta2, 1.0 - beta2, np.where(rectified, 1.0, 0.0), eps)


def _decays(lr: Array, decay: float, decoupled: bool) -> tuple[float, Array]:
    """Return the L2 decay and the kept share of the weights."""
    return (0.0, 1.0 - lr * decay) if decoupled else (decay, np.ones(len(lr)))


def _warming(beta: float, decay: float, t: Array) -> Array:
    """NAdam's momentum of steps t, from 1."""
    return beta * (1.0 - 0.5 * 0.96 ** (t * decay))


def _warming_product(beta: float, decay: float, t: Array) -> Array:
    """Products of NAdam's momentum up to steps t; 0 where they no longer change 1."""
    last = int(np.log(1e-17) / np.log(beta)) + 1 if beta > 0 else 1  # each factor is at most beta
    needed = min(int(t.max(initial=1)), last)
    products = _products(beta, decay, 1 << needed.bit_length())
    return np.where(t <= last, products[np.minimum(t, last) - 1], 0.0)


@lru_cache(maxsize=4)
def _products(beta: float, decay: float, count: int) -> Array:
    """Return the products of the first `count` momenta, one after another."""
    return np.multiply.accumulate(_warming(beta, decay, np.arange(1, count + 1)))
