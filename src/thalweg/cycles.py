"""Schedules along a cosine or a triangle, once or again and again."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thalweg.arrays import Array
from thalweg.checks import check_number, is_number
from thalweg.scheduling import Schedule, check_lengths, check_rates
from thalweg.settings import check_fields, require


def _half_wave(passed: Array) -> Array:
    """(1 + cos(pi passed)) / 2: from 1 at 0 to 0 at 1, as a square of a sine, which keeps its digits near 0."""
    wave: Array = np.sin(np.pi / 2 * (1 - passed)) ** 2
    return wave


@dataclass(frozen=True, repr=False)
class Cosine(Schedule):
    r"""Go from one rate to another along half a cosine: :math:`\eta_1 + (\eta - \eta_1)(1 + \cos(\pi t/T))/2`.

    Parameters
    ----------
    lr : float
        :math:`\eta`, at step 0.
    decay_steps : float
        :math:`T`.
    end_lr : float, default 0
        :math:`\eta_1`, from step decay_steps on.

    Notes
    -----
    torch's CosineAnnealingLR, decay_steps its T_max and end_lr its eta_min, except that torch's rate rises again after
    T_max; Keras's CosineDecay, end_lr its alpha times lr, and with its warm-up within `Warmup`.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.schedules.Cosine(1.0, decay_steps=100)([0, 50, 100, 200]).round(15).tolist()
    [1.0, 0.5, 0.0, 0.0]
    """

    lr: float
    decay_steps: float
    end_lr: float = 0.0

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        check_rates(self, "lr", "end_lr")
        check_lengths(self, "decay_steps")

    def rates(self, t: Array) -> Array:
        """Return the rates of steps t."""
        passed = np.minimum(t, self.decay_steps) / self.decay_steps
        return self.end_lr + (self.lr - self.end_lr) * _half_wave(passed)


@dataclass(frozen=True, repr=False)
class CosineRestarts(Schedule):
    r"""Half cosines one after another, each t_mul times as long and from m_mul times as high as the one before.

    In the i-th, which begins at step :math:`t_i` and is :math:`T_i = T_0 a^i` long,
    :math:`\eta_1 + (\eta - \eta_1)\, m^i (1 + \cos(\pi (t - t_i) / T_i))/2`.

    Parameters
    ----------
    lr : float
        :math:`\eta`, at step 0.
    first_decay_steps : float
        :math:`T_0`.
    t_mul : float, default 1
        :math:`a \ge 1`.
    m_mul : float, default 1
        :math:`m`.
    end_lr : float, default 0
        :math:`\eta_1`.

    Notes
    -----
    torch's CosineAnnealingWarmRestarts, first_decay_steps its T_0 and t_mul its T_mult; Keras's CosineDecayRestarts,
    whose t_mul is 2 by default.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.schedules.CosineRestarts(1.0, 10, t_mul=2)([0, 5, 10, 20, 30]).round(15).tolist()
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    lr: float
    first_decay_steps: float
    t_mul: float = 1.0
    m_mul: float = 1.0
    end_lr: float = 0.0

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        check_rates(self, "lr", "end_lr", "m_mul")
        check_lengths(self, "first_decay_steps")
        check_fields(self, check_number, "t_mul", least=1)

    def rates(self, t: Array) -> Array:
        """Return the rates of steps t."""
        number, passed = self._locate(t)
        return self.end_lr + (self.lr - self.end_lr) * self.m_mul**number * _half_wave(passed)

    def _locate(self, t: Array) -> tuple[Array, Array]:
        """Return in the how manyth cosine each step is, and which share of it has passed."""
        if self.t_mul == 1:
            number, left = np.divmod(t, self.first_decay_steps)
            return number, left / self.first_decay_steps
        starts, length = [0.0], float(self.first_decay_steps)  # sums, not logarithms: the first step of each is exact
        while starts[-1] <= np.max(t, initial=0):
            starts.append(starts[-1] + length)
            length *= self.t_mul
        begun = np.array(starts)
        index = np.searchsorted(begun, t, side="right") - 1
        return index.astype(np.float64), (t - begun[index]) / np.diff(begun)[index]


@dataclass(frozen=True, repr=False)
class OneCycle(Schedule):
    r"""Up to a large rate and down to a very small one (Smith and Topin 2018).

    From max_lr / div_factor at step 0 to max_lr at step pct_start * total_steps - 1, and on to
    max_lr / div_factor / final_div_factor at step total_steps - 1.

    Parameters
    ----------
    max_lr : float
    total_steps : float
    pct_start : float, default 0.3
        Share of the steps to go up in.
    anneal_strategy : {"cos", "linear"}
    div_factor : float, default 25
    final_div_factor : float, default 1e4
    three_phase : bool, default False
        Go down as fast as up to the first rate, and then to the last.

    Notes
    -----
    torch's OneCycleLR, without its cycle of the momentum.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.schedules.OneCycle(1.0, total_steps=100)([0, 29, 99]).tolist()
    [0.04, 1.0, 4e-06]
    """

    max_lr: float
    total_steps: float
    pct_start: float = 0.3
    anneal_strategy: str = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        check_rates(self, "max_lr")
        check_lengths(self, "total_steps", "div_factor", "final_div_factor")
        require(is_number(self.pct_start) and 0 < self.pct_start < 1, self, "pct_start", "a number between 0 and 1")
        require(self.anneal_strategy in ("cos", "linear"), self, "anneal_strategy", "'cos' or 'linear'")
        ends, _ = self._knots()
        if not all(a < b for a, b in pairwise(ends)):
            raise ValueError(
                f"OneCycle: total_steps {self.total_steps} and pct_start {self.pct_start} leave no step to go up or "
                f"down in: the phases would end at steps {', '.join(f'{end:g}' for end in ends[1:])}"
            )

    def _knots(self) -> tuple[list[float], list[float]]:
        """Return the steps between which the rate goes up or down, and the rates there."""
        first, up = self.max_lr / self.div_factor, self.pct_start * self.total_steps
        last = first / self.final_div_factor
        if self.three_phase:
            return [0.0, up - 1, 2 * up - 2, self.total_steps - 1], [first, self.max_lr, first, last]
        return [0.0, up - 1, self.total_steps - 1], [first, self.max_lr, last]

    def rates(self, t: Array) -> Array:
        """Return the rates of steps t."""
        ends, knots = self._knots()
        rates = np.full(t.shape, knots[0])
        for i in range(len(ends) - 1):
            passed = np.clip((t - ends[i]) / (ends[i + 1] - ends[i]), 0, 1)
            left = _half_wave(passed) if self.anneal_strategy == "cos" else 1 - passed
            rates = np.where(t > ends[i], knots[i + 1] + (knots[i] - knots[i + 1]) * left, rates)
        return rates


@dataclass(frozen=True, repr=False)
class Cyclic(Schedule):
    r"""Up and down between two rates, again and again (Smith 2017).

    Parameters
    ----------
    base_lr, max_lr : float
        The rate goes from base_lr to max_lr and back, in straight lines.
    step_size_up : float, default 2000
        Steps to go up in.
    step_size_down : float, optional
        Steps to go down in; as many as up.
    mode : {"triangular", "triangular2", "exp_range"}
        The height above base_lr stays, is halved in each cycle, or is multiplied by gamma in each step.
    gamma : float, default 1
        Of exp_range.

    Notes
    -----
    torch's CyclicLR, without its cycle of the momentum.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.schedules.Cyclic(0.0, 1.0, step_size_up=10, mode="triangular2")([0, 5, 10, 20, 30]).tolist()
    [0.0, 0.5, 1.0, 0.0, 0.5]
    """

    base_lr: float
    max_lr: float
    step_size_up: float = 2000
    step_size_down: float | None = None
    mode: str = "triangular"
    gamma: float = 1.0

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        check_rates(self, "base_lr", "max_lr", "gamma")
        check_lengths(self, "step_size_up", *(["step_size_down"] if self.step_size_down is not None else []))
        modes = ("triangular", "triangular2", "exp_range")
        require(self.mode in modes, self, "mode", "'triangular', 'triangular2' or 'exp_range'")

    def rates(self, t: Array) -> Array:
        """Return the rates of steps t."""
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        cycle, passed = np.divmod(t, up + down)
        height = np.where(passed <= up, passed / up, (up + down - passed) / down)
        if self.mode == "triangular2":
            height = height * 0.5**cycle
        elif self.mode == "exp_range":
            height = height * self.gamma**t
        return self.base_lr + (self.max_lr - self.base_lr) * height
