"""What all optimizers share: see `thalweg.optimizers`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from thalweg import scheduling
from thalweg.arrays import Array
from thalweg.checks import check_count, check_flag, check_number, check_positive, is_number, is_pair
from thalweg.scheduling import Rate
from thalweg.settings import call, check_fields, plain, require

AVERAGE = "average"  # the slot of moving averages of the weights
WEIGHTS = None  # how state begins that begins as the weights
if TYPE_CHECKING:
    from thalweg.network import Network
    from thalweg.training import Training


@dataclass(eq=False, repr=False)
class Optimizer:
    """What all optimizers share: a learning rate, what happens around the rule, state slots, and scalars a step.

    Parameters
    ----------
    clip_value : float, optional
        Every entry of the gradient, penalties included, is clipped to [-clip_value, clip_value].
    clip_norm : float, optional
        Where the norm of all gradients of the loss together is above clip_norm they are multiplied by clip_norm / norm
        (torch's clip_grad_norm_, without its 1e-6). Takes the unfused path, a step at a time.
    accumulate : int, default 1
        A step takes so many batches of batch_size rows, one after another, and updates with the gradient of the mean
        over all of their rows: the step of a batch so many times as large, in less memory. Dropout drops what it would
        of that batch; batch normalisation sees each of the batches.
    average : float, optional
        Keep an exponential moving average of the weights: average += (1 - average) (w - average) after every update,
        from the weights that training began with. See `Trainer.averaged_weights`.
    """

    lr: Rate = 1e-3
    clip_value: float | None = field(default=None, kw_only=True)
    clip_norm: float | None = field(default=None, kw_only=True)
    accumulate: int = field(default=1, kw_only=True)
    average: float | None = field(default=None, kw_only=True)

    full_batch: ClassVar[bool] = False  # whether every step needs all rows
    python_state_names: ClassVar[tuple[str, ...]] = ()  # state for each weight that the rule knows nothing of
    changes: ClassVar[int] = 0  # of any setting of any optimizer: whoever has checked them looks here

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting, as plain data where it is a list, so that no part of it changes unseen; count if it was set."""
        if name in vars(self):
            Optimizer.changes += 1
        super().__setattr__(name, plain(value))

    def __post_init__(self) -> None:
        """Check what was given."""
        self.check()

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        lr: Any = self.lr
        right = 0 <= lr < np.inf if is_number(lr) else callable(lr) and not isinstance(lr, type)
        require(right, self, "lr", "a finite number >= 0 or a schedule")
        for name in ("clip_value", "clip_norm"):
            value = getattr(self, name)
            require(value is None or (is_number(value) and 0 < value < np.inf), self, name, "a number > 0 or None")
        check_fields(self, check_count, "accumulate")
        share = self.average is None or (is_number(self.average) and 0 <= self.average < 1)
        require(share, self, "average", "a number from 0 to below 1, or None")
        for setting in fields(self):  # those that several optimizers have
            if setting.name in _CHECKS:
                check_fields(self, _CHECKS[setting.name], setting.name)
            elif isinstance(setting.default, bool):
                check_fields(self, check_flag, setting.name)

    def check_model(self, model: "Network") -> None:
        """Raise ValueError for a model that it cannot train."""

    @property
    def rule(self) -> str:
        """The core's rule, by name; of most optimizers a constant."""
        raise NotImplementedError

    @property
    def state_names(self) -> tuple[str, ...]:
        """Names of the state that the rule keeps for each weight; of most optimizers a constant."""
        return ()

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of all that is kept for each weight: the rule's state, the average, then what only Python knows of."""
        average = (AVERAGE,) if self.average is not None else ()
        return self.state_names + average + self.python_state_names

    @property
    def averaged(self) -> str | None:
        """The slot that holds averaged weights, if any does."""
        return AVERAGE if self.average is not None else None

    def beginnings(self) -> dict[str, float | None]:
        """Return how slots begin that do not begin as zeros: a number, or WEIGHTS."""
        return {AVERAGE: WEIGHTS}

    def before_update(self, training: "Training") -> None:
        """Change the gradients of a step before they are clipped and the rule takes them; where `stepwise`."""

    def after_update(self, training: "Training") -> None:
        """Act after a step's update; where `stepwise`."""

    def end_epoch(self, training: "Training") -> dict[str, float]:
        """Return what the logs of an epoch are to hold; may ask training to stop."""
        return {}

    def scalars(self, steps: Array) -> Array:
        """Return the rule's numbers for global step numbers (from 0): float64, one row a step."""
        raise NotImplementedError

    def without_decay(self) -> Self:
        """Return the same optimizer without weight decay, for parameters that are exempt from it."""
        without: dict[str, Any] = {"weight_decay": 0.0}
        return replace(self, **without) if getattr(self, "weight_decay", 0) else self

    def regulated_scalars(self, steps: Array, scale: float = 1.0) -> Array:
        """Return the scalars of a regulated plan: the rule's, the rule's without decay, then scale, clip and share."""
        clip = np.inf if self.clip_value is None else self.clip_value
        share = 0.0 if self.average is None else 1.0 - self.average
        return np.hstack(
            [self.scalars(steps), self.without_decay().scalars(steps), self._rows(steps, scale, clip, share)]
        )

    @property
    def regulates(self) -> bool:
        """Whether more than the rule happens to a gradient."""
        return self.clip_value is not None or self.clip_norm is not None or self.average is not None

    @property
    def stepwise(self) -> bool:
        """Whether a step needs Python between its gradient and its update."""
        return self.clip_norm is not None or self.accumulate > 1

    def rates(self, steps: npt.ArrayLike) -> Array:
        """Return the learning rates of global step numbers (from 0): float64.

        Raises
        ------
        ValueError, TypeError
            What a schedule returned is not one finite number >= 0 for each step.

        Examples
        --------
        >>> import thalweg as tw
        >>> tw.SGD(lr=tw.schedules.Step(0.1, step_size=2)).rates([0, 1, 2, 3]).round(15).tolist()
        [0.1, 0.1, 0.01, 0.01]
        """
        return scheduling.evaluate(self.lr, steps)

    def config(self) -> dict[str, Any]:
        """Return the settings as plain data; what is off of those that all share is left out.

        Of a learning rate that is a function of yours it holds only the name.
        """
        off = {field.name: field.default for field in fields(Optimizer) if field.kw_only}
        settings = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        on = {name: value for name, value in settings.items() if name not in off or value != off[name]}
        return {"type": type(self).__name__} | on | {"lr": scheduling.to_config(self.lr)}

    def with_config(self, config: dict[str, Any]) -> Self:
        """Return such an optimizer with the settings of a `config`; a function of yours is this one's.

        Raises
        ------
        ValueError
            The config's learning rate is a function of yours, and this one's is none.
        """
        settings = {name: plain(value) for name, value in config.items() if name != "type"}
        return type(self)(**settings | {"lr": scheduling.restore(config["lr"], self.lr)})

    def __repr__(self) -> str:
        """Return the call that makes this optimizer: the learning rate, and what is not its default."""
        return call(self)

    def _rows(self, steps: Array, *columns: Any) -> Array:
        rows = np.empty((len(steps), len(columns)))
        for i, column in enumerate(columns):
            rows[:, i] = column
        return rows


def _check_betas(value: Any, what: str) -> None:
    if not is_pair(value) or not all(0 <= beta < 1 for beta in value):
        raise ValueError(f"{what} must be two numbers in [0, 1), got {value!r}")


_CHECKS: dict[str, Callable[..., Any]] = {
    "betas": _check_betas,
    "eps": check_positive,
    "weight_decay": partial(check_number, least=0),
}


def one_minus_power(beta: float, t: Array) -> Array:
    """Return 1 - beta^t without cancellation."""
    return -np.expm1(t * math.log(beta)) if beta > 0 else np.ones(len(t))
