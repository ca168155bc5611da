"""The works: networks, batch sizes and optimizers, with data and first weights that are the same for all.

Data are drawn from a fixed seed: inputs uniform in [0, 1), labels and targets from a random linear teacher, so that there
is something to learn and losses stay finite. No work has a tail batch, and rows are never shuffled: every contestant
sees the same rows in the same order. Learning rates are small, so that roundings seldom decide on which side of zero a
unit's input lies: one such flip moves the loss after an epoch by far more than the roundings themselves.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from thalweg.arrays import Array

Floats = NDArray[np.float32] | NDArray[np.float64]  # of the work's dtype
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Work:
    """One training to race on. `batch` divides `rows`; equal to it, it is batch gradient descent."""

    number: int
    layers: tuple[int, ...]
    batch: int
    optimizer: str
    rows: int
    lr: float
    loss: str = "cross_entropy"
    dtype: str = "float32"

    @property
    def full(self) -> bool:
        """Whether every step takes all rows."""
        return self.batch == self.rows

    @property
    def name(self) -> str:
        """The work in short, as in "784-128-10, 32, SGD"."""
        batch = f"full {self.batch:,}" if self.full else str(self.batch)
        more = (", MSE" if self.loss == "mse" else "") + (f", {self.dtype}" if self.dtype != "float32" else "")
        return f"{self.network}, {batch}, {self.optimizer_name}{more}"

    @property
    def network(self) -> str:
        """The sizes of the layers, as in "784-128-10"."""
        return "-".join(map(str, self.layers))

    @property
    def optimizer_name(self) -> str:
        """SGD or Adam."""
        return {"sgd": "SGD", "adam": "Adam"}[self.optimizer]

    @property
    def flops_per_sample(self) -> int:
        """Of the matrix products: forward, weight gradient and, behind the first layer, input gradient."""
        products = [inputs * outputs for inputs, outputs in zip(self.layers, self.layers[1:], strict=False)]
        return 4 * products[0] + 6 * sum(products[1:])

    def to_json(self) -> str:
        """Write it in one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Work":
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(**fields | {"layers": tuple(fields["layers"])})


_MNIST, _DEEP, _WIDE = (784, 128, 10), (784, 512, 512, 512, 10), (1024, 4096, 4096, 1000)

WORKS = (
    Work(1, _MNIST, 1, "sgd", 4_096, 1e-3),
    Work(2, _MNIST, 8, "sgd", 10_240, 3e-3),
    Work(3, _MNIST, 32, "sgd", 10_240, 1e-2),
    Work(4, _MNIST, 128, "adam", 10_240, 1e-4),
    Work(5, _MNIST, 1024, "adam", 10_240, 1e-4),
    Work(6, _MNIST, 10_000, "sgd", 10_000, 1e-2),
    Work(7, _DEEP, 64, "adam", 5_120, 1e-4),
    Work(8, _DEEP, 512, "adam", 10_240, 1e-4),
    Work(9, (32, 256, 256, 256, 1), 256, "adam", 25_600, 1e-4, "mse"),
    Work(10, _WIDE, 256, "sgd", 1_280, 1e-2),
    Work(11, (64, 32, 10), 16, "adam", 32_768, 1e-4),
)


# The batch sizes from one row to all of them, on one network; and of these the three update methods alone.
SWEEP, METHODS = ("1", "2", "3", "4", "5", "6"), ("1", "3", "6")


def choose(wanted: Sequence[str], dtype: str = "float32") -> list[Work]:
    """Return the works of these numbers, or whose names contain these texts, or "all", in a dtype."""
    unknown = [text for text in wanted if not any(_matches(work, text) for work in WORKS)]
    if unknown:
        raise ValueError(f"no work is {unknown[0]!r}; there are: {listed()}")
    return [replace(work, dtype=dtype) for work in WORKS if any(_matches(work, text) for text in wanted)]


def listed() -> str:
    """Name all works in one line."""
    return "; ".join(f"{work.number} ({work.name})" for work in WORKS)


def _matches(work: Work, text: str) -> bool:
    if text == "all":
        return True
    return work.number == int(text) if text.isdecimal() else text.lower() in work.name.lower()


def make_data(work: Work) -> tuple[Floats, Floats | Ints]:
    """Draw X, and y: labels, or standardised targets of shape (rows,); the same numbers in every dtype."""
    generator = np.random.default_rng(20)
    x = generator.random((work.rows, work.layers[0]), dtype=np.float32)
    teacher = generator.standard_normal((work.layers[0], work.layers[-1]), dtype=np.float32)
    scores = (x - np.float32(0.5)) @ teacher
    if work.loss == "mse":
        return x.astype(work.dtype, copy=False), (scores[:, 0] / scores[:, 0].std()).astype(work.dtype)
    return x.astype(work.dtype, copy=False), _with_every_class(scores.argmax(axis=1), work.layers[-1])


def _with_every_class(labels: Ints, classes: int) -> Ints:
    """Give classes that do not occur a row of one that occurs more than once: scikit-learn takes classes from labels.

    Where there are more classes than rows, some stay without.
    """
    found, first = np.unique(labels, return_index=True)
    lost = np.setdiff1d(np.arange(classes), found)
    spare = np.setdiff1d(np.arange(len(labels)), first)[: len(lost)]
    labels[spare] = lost[: len(spare)]
    return labels


def first_weights(work: Work) -> list[Floats]:
    """Draw weight, bias, weight, bias, ...: uniform with variance 2 / inputs for layers before a relu; biases zero."""
    generator = np.random.default_rng(30)
    weights = []
    for inputs, outputs in zip(work.layers, work.layers[1:], strict=False):
        limit = np.sqrt(6 / inputs)
        weights.append(generator.uniform(-limit, limit, (inputs, outputs)).astype(np.float32).astype(work.dtype))
        weights.append(np.zeros(outputs, work.dtype))
    return weights


def forward(work: Work, weights: Sequence[Array], x: Array) -> list[Array]:
    """Return x and the output of every layer."""
    values = [x]
    for i in range(0, len(weights), 2):
        z = values[-1] @ weights[i] + weights[i + 1]
        values.append(np.maximum(z, 0) if i + 2 < len(weights) else z)
    return values


def mean_loss(work: Work, weights: Sequence[Floats], rows: int = 1024) -> float:
    """Return the loss of weights over the first rows: products in the work's dtype, the rest in float64."""
    x, y = (part[:rows] for part in make_data(work))
    outputs = forward(work, weights, x)[-1].astype(np.float64)
    if work.loss == "mse":
        return float(np.mean((outputs[:, 0] - y) ** 2))
    outputs -= outputs.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(len(y)), y]))
