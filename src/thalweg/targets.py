"""Targets: what a model is to predict, in the user's words and in the loss's numbers."""

from dataclasses import dataclass

import numpy as np

from thalweg.arrays import Array

YES_NO = ("binary_cross_entropy", "hinge", "squared_hinge")  # losses of two classes: one output, above 0 for the second
QUANTITIES = ("mse", "mae", "huber")
LOSSES = ("cross_entropy", *YES_NO, *QUANTITIES)
FEW_CLASSES = 30  # so many different whole numbers are still taken for classes


@dataclass(frozen=True)
class Target:
    """What is predicted: one of some classes, or quantities.

    Attributes
    ----------
    name, loss : str
        What it is called, and the loss to train with.
    classes : list of str
        None for quantities.
    mean, std : list of float
        Of quantities in the rows trained on: the model puts out standardised ones.
    """

    name: str
    loss: str
    classes: list[str]
    mean: list[float]
    std: list[float]

    @property
    def outputs(self) -> int:
        """Units of the last layer."""
        return 1 if self.loss in YES_NO else len(self.classes) or len(self.mean)

    @property
    def metric(self) -> str:
        """What to judge by: a key of ``model.evaluate``."""
        return "accuracy" if self.classes else "r2"

    def describe(self) -> str:
        """Say what is predicted, and in which units the loss is."""
        if self.classes:
            return f"{self.name}, {len(self.classes)} classes"
        several = (
            f", {len(self.mean)} columns" if len(self.mean) > 1 else f": mean {self.mean[0]:.6g}, std {self.std[0]:.6g}"
        )
        return f"{self.name}, standardised{several}"

    def decode(self, outputs: Array) -> list[str]:
        """Return a model's outputs as text, one a row: a class, or numbers separated by commas."""
        if self.classes:
            winners = outputs[:, 0] > 0 if self.outputs == 1 else outputs.argmax(axis=1)
            return [self.classes[int(winner)] for winner in winners]
        if self.loss in YES_NO:  # several answers of yes or no
            return [",".join(str(int(answer)) for answer in row) for row in outputs > 0]
        values = outputs.astype(np.float64)
        if self.mean:
            values = values * np.array(self.std) + np.array(self.mean)
        return [",".join(f"{value:.7g}" for value in row) for row in values]


def learn(name: str, y: Array, train: Array, loss: str | None) -> tuple[Target, Array]:
    """Return what a target is, and y as its loss takes it; means are those of the rows `train`.

    Without a loss, texts and few different whole numbers are classes, for cross_entropy; other numbers are quantities,
    for mse.
    """
    y = _plain(name, y)
    chosen = loss or ("cross_entropy" if _looks_like_classes(y) else "mse")
    return _quantities(name, y, train, chosen) if chosen in QUANTITIES else _classes(name, y, chosen)


def _plain(name: str, y: Array) -> Array:
    """Return y without needless columns: (rows, 1) as (rows,), one-hot rows as labels."""
    if y.dtype.kind not in "biufUO":
        raise ValueError(f"{name} has dtype {y.dtype}; expected numbers or text")
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    if y.ndim == 2 and y.dtype.kind in "biuf" and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        labels: Array = y.argmax(axis=1)
        return labels
    if y.ndim > 2:
        raise ValueError(f"{name} has shape {y.shape}; expected (rows,) or (rows, columns)")
    return y


def _looks_like_classes(y: Array) -> bool:
    if y.ndim == 2 or y.dtype.kind == "f":
        return False
    return y.dtype.kind in "bUO" or len(np.unique(y)) <= FEW_CLASSES


def _classes(name: str, y: Array, loss: str) -> tuple[Target, Array]:
    whole = y.dtype.kind == "f" and (y == np.round(y)).all()
    if y.ndim == 2 or (y.dtype.kind == "f" and not whole):
        raise ValueError(
            f"{loss} needs classes, but {name} holds {'several columns' if y.ndim == 2 else 'real numbers'}"
        )
    labels, codes = np.unique(y.astype(np.int64) if whole else y, return_inverse=True)
    if len(labels) < 2 or (loss in YES_NO and len(labels) > 2):
        raise ValueError(
            f"{loss} needs {'2' if len(labels) > 2 else '2 or more'} classes, but {name} has {len(labels)}"
        )
    if len(labels) == len(y):
        raise ValueError(
            f"{loss} needs classes, but all {len(y):,} values of {name} differ, such as {str(labels[0])!r}"
        )
    return Target(name, loss, [str(label) for label in labels.tolist()], [], []), codes


def _quantities(name: str, y: Array, train: Array, loss: str) -> tuple[Target, Array]:
    if y.dtype.kind in "UO":
        raise ValueError(f"{loss} needs numbers, but {name} holds text such as {str(y.flat[0])!r}")
    values = y.reshape(len(y), -1).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has {values[~np.isfinite(values)][0]}; expected finite numbers")
    mean, std = values[train].mean(axis=0), values[train].std(axis=0)
    std[std == 0] = 1
    return Target(name, loss, [], mean.tolist(), std.tolist()), ((values - mean) / std).astype(np.float32)
