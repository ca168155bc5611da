"""What a call of fit was given, checked before anything changes: data, validation data, settings."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg import feeding
from thalweg.arrays import Array
from thalweg.callbacks import Callback
from thalweg.checks import check_count, check_flag, check_number
from thalweg.events import check_callbacks
from thalweg.loss import Loss
from thalweg.optimizer import Optimizer
from thalweg.progress import is_shown
from thalweg.scoring import Metrics, choose

if TYPE_CHECKING:
    from thalweg.trainer import Trainer

DEFAULT_BATCH = 32

Validation = tuple[Any, Any, Array | None]  # X, y and sample_weight, or batches, None and None


@dataclass
class Settings:
    """How to train, checked."""

    epochs: int
    shown: bool
    callbacks: list[Callback]
    metrics: Metrics | None = None
    exact_block: bool = True


def check_data(
    trainer: "Trainer", x: Any, y: Any, weight: Any, validation: Any, split: float
) -> tuple[feeding.Data, Validation | None]:
    """Check all arrays of a call of fit, without a pass over X; hold out the last rows where wanted."""
    data = feeding.check_data(trainer.model, trainer.loss, x, y, weight)
    if not split or validation is not None:
        return data, check_validation(trainer, validation)
    rows = len(data.x)
    kept = rows - round(rows * split)
    if not 0 < kept < rows:
        raise ValueError(f"validation_split {split} of {rows} rows leaves nothing to train or validate with")
    return data[:kept], data[kept:].parts


def check_validation(trainer: "Trainer", given: Any) -> Validation | None:
    """Check validation data before training begins; of batches the first."""
    model, loss = trainer.model, trainer.loss
    if given is None:
        return None
    if not isinstance(given, tuple):
        feeding.check_again(model, loss, given, "validation_data")
        return given, None, None
    if len(given) not in (2, 3):
        raise ValueError(
            f"validation_data has {len(given)} parts; expected (X, y) or (X, y, sample_weight), or batches of them"
        )
    names = ("validation X", "validation y", "validation sample_weight")
    x, y, *weight = given
    return feeding.check_data(model, loss, x, y, weight[0] if weight else None, names).parts


def make_feed(
    trainer: "Trainer",
    x: Any,
    y: Any,
    weight: Any,
    *,
    batch_size: int | str | None,
    epochs: int,
    steps: int | None,
    validation: Any,
    split: float,
    shuffle: bool,
) -> tuple[feeding.Rows | feeding.Batches, Validation | None]:
    """Check all data of a call of fit: arrays, or without y batches, of which the first is checked."""
    shuffle, split = check_flag(shuffle, "shuffle"), check_number(split, "validation_split", 0, 1)
    if y is not None:
        data, checked = check_data(trainer, x, y, weight, validation, split)
        batch = check_batch_size(batch_size, len(data.x), steps, trainer.optimizer)
        feeding.check_norms(trainer.model, batch)
        accumulate = trainer.optimizer.accumulate
        return feeding.Rows(trainer.model, trainer.loss, data, batch, accumulate, shuffle), checked
    for_arrays = {"batch_size": batch_size is not None, "validation_split": split, "sample_weight": weight is not None}
    wrong = [name for name, is_given in for_arrays.items() if is_given]
    if wrong:
        raise ValueError(
            f"{wrong[0]} goes with arrays, but y is missing, so X is taken for batches: their size is what they come "
            "with, weights are a third part of each, (x, y, sample_weight)"
        )
    if trainer.optimizer.full_batch:
        name = type(trainer.optimizer).__name__
        raise ValueError(
            f"{name} needs all rows in every step, but y is missing, so X is taken for batches: give arrays"
        )
    if trainer.optimizer.accumulate > 1:
        raise ValueError("accumulate goes with arrays, but y is missing, so X is taken for batches: make these larger")
    checked = check_validation(trainer, validation)
    return feeding.Batches(trainer.model, trainer.loss, x, steps, epochs), checked


def check_batch_size(batch_size: int | str | None, rows: int, steps: int | None, optimizer: Optimizer) -> int:
    """Return the rows of a step; `steps`, an epoch's, goes with batches only."""
    if steps is not None:
        raise ValueError(
            f"steps_per_epoch goes with batches, without y; with arrays an epoch is all rows, got {steps!r}"
        )
    if batch_size is None:
        batch_size = "full" if optimizer.full_batch else DEFAULT_BATCH
    if isinstance(batch_size, str) and batch_size == "full":
        return rows
    size = check_count(batch_size, "batch_size", other=" or 'full'")
    if optimizer.full_batch and size < rows:
        raise ValueError(
            f"{type(optimizer).__name__} needs all {rows} rows in every step: batch_size must be 'full', "
            f"got {batch_size!r}"
        )
    return min(size, rows)


def check_settings(
    loss: Loss,
    epochs: int,
    verbose: str | int,
    callbacks: Callback | Iterable[Callback] | None,
    metrics: Metrics | None,
    exact_block: bool = True,
) -> Settings:
    """Check all other arguments of a call of fit."""
    more, checked = check_count(epochs, "epochs", 0), check_callbacks(callbacks)
    choose(metrics, loss)  # raises before anything has changed
    return Settings(more, is_shown(verbose), checked, metrics, check_flag(exact_block, "exact_block"))
