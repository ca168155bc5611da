"""Comparison of update methods: the same model trained by each, and how long each takes to get where."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from thalweg.adam_kin import Adamax, NAdam, RAdam
from thalweg.adaptive import Adadelta, Adagrad, RMSprop
from thalweg.errors import NonFiniteLoss
from thalweg.layers import Dense
from thalweg.model import Sequential
from thalweg.optimizer import Optimizer
from thalweg.optimizers import SGD, Adam, AdamW
from thalweg.preparation import Prepared
from thalweg.signs import Lion

BATCH_SIZES: tuple[int | str, ...] = ("full", 1, 32)
_KINDS: dict[str, type[Optimizer]] = {
    "sgd": SGD, "adam": Adam, "adamw": AdamW, "adamax": Adamax, "nadam": NAdam, "radam": RAdam,
    "rmsprop": RMSprop, "adagrad": Adagrad, "adadelta": Adadelta, "lion": Lion,
}  # fmt: skip
OPTIMIZERS = ("momentum", *_KINDS)

# For batch sizes of 1, of more, and "full"; those of Adam where there are no others.
_ADAM = (0.0003, 0.001, 0.01)
_RATES = {
    "sgd": (0.02, 0.1, 0.5), "momentum": (0.002, 0.02, 0.2), "adamax": (0.001, 0.002, 0.02), "adagrad": (0.01, 0.02, 0.05),
    "adadelta": (0.3, 1.0, 3.0), "lion": (0.00005, 0.0003, 0.002),
}  # fmt: skip
_EPOCHS = (20, 40, 300)
_MSE_SHARE = 0.2  # of these rates, where a step is proportional to the gradient: squared errors have larger ones


@dataclass(frozen=True)
class Method:
    """An update method: rows a step, optimizer, learning rate and number of epochs."""

    batch_size: int | str
    optimizer: str
    lr: float
    epochs: int

    @classmethod
    def choose(
        cls,
        batch_size: int | str,
        optimizer: str | None = None,
        lr: float | None = None,
        epochs: int | None = None,
        loss: str = "cross_entropy",
    ) -> "Method":
        """Fill in what was not asked for with what suits the batch size and the loss."""
        size = {1: 0, "full": 2}.get(batch_size, 1)
        name = optimizer or ("momentum" if batch_size == "full" else "sgd")
        rate = _RATES.get(name, _ADAM)[size]
        share = _MSE_SHARE if loss == "mse" and name in ("sgd", "momentum") else 1.0
        return cls(batch_size, name, rate * share if lr is None else lr, epochs or _EPOCHS[size])

    @property
    def name(self) -> str:
        """What the method is called."""
        return {1: "stochastic", "full": "full batch"}.get(self.batch_size, f"mini-batch of {self.batch_size}")

    def make_optimizer(self) -> Optimizer:
        """Return a new optimizer."""
        if self.optimizer == "momentum":
            return SGD(lr=self.lr, momentum=0.9)
        return _KINDS[self.optimizer](lr=self.lr)

    def __str__(self) -> str:
        """Name the method with its settings."""
        return f"{self.name}, {self.optimizer}, lr {self.lr:g}"


@dataclass
class Outcome:
    """A trained model and how it got there: loss and seconds of training at the end of each epoch."""

    method: Method
    model: Sequential
    steps: int
    losses: list[float]
    seconds: list[float]
    samples: int
    score: float | None

    def seconds_to(self, loss: float) -> float:
        """Seconds until the end of the first epoch with at most this loss."""
        return next(seconds for seconds, value in zip(self.seconds, self.losses, strict=True) if value <= loss)


def make_model(data: Prepared, hidden: Sequence[int], seed: int) -> Sequential:
    """Return a model for the data: dense layers with relu, and one for the target."""
    layers = [Dense(units, activation="relu") for units in hidden]
    model = Sequential([*layers, Dense(data.target.outputs)], input_size=data.x.shape[1], seed=seed)
    model.metadata = data.metadata
    return model


def train(data: Prepared, method: Method, hidden: Sequence[int], seed: int) -> Outcome:
    """Train a new model by a method, and test it."""
    model, loss = make_model(data, hidden, seed), data.target.loss
    try:
        history = model.fit(data.x, data.y, loss=loss, optimizer=method.make_optimizer(), batch_size=method.batch_size,
                            epochs=method.epochs)  # fmt: skip
    except NonFiniteLoss as error:
        raise NonFiniteLoss(f"{method}: {error}", error.epoch, error.step) from error
    score = model.evaluate(data.x_test, data.y_test)[data.target.metric] if len(data.x_test) else None
    steps, samples = history.params["steps"] * method.epochs, len(data.x) * method.epochs
    seconds = list(accumulate(history.seconds))
    return Outcome(method, model, steps, history.history["loss"], seconds, samples, score)


def common_loss(outcomes: Sequence[Outcome]) -> float:
    """Return the lowest loss that all reached."""
    return max(min(outcome.losses) for outcome in outcomes)


def best(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the one of the best score, or without scores of the lowest loss."""

    def merit(outcome: Outcome) -> float:
        return -outcome.losses[-1] if outcome.score is None or math.isnan(outcome.score) else outcome.score

    return max(outcomes, key=merit)
