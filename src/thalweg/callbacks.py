"""Callbacks: what happens between epochs. Events have Keras's names."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.model import Sequential
    from thalweg.trainer import Trainer

Logs = dict[str, float]


class Callback:
    """Base of callbacks: override what you need. `model` and `trainer` are set before the first event.

    The weights stand still during an event: ``predict``, ``evaluate``, ``save`` and ``set_weights`` of the model work.
    Setting ``trainer.stop_training`` ends training after the epoch.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> class Print(tw.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(epoch, sorted(logs))
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> _ = model.fit(np.ones((4, 2)), np.ones(4), loss="mse", optimizer=tw.SGD(), callbacks=[Print()])
    0 ['loss']
    """

    model: "Sequential"
    trainer: "Trainer"

    def on_train_begin(self, logs: Logs) -> None:
        """Act before the first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Act after an epoch; logs has "loss", and with validation data "val_loss" and "val_" + each metric."""

    def on_train_end(self, logs: Logs) -> None:
        """Act after the last epoch."""


class History(Callback):
    """What ``fit`` returns: the logs of every epoch.

    Attributes
    ----------
    history : dict of list of float
        "loss": mean of the losses of the epoch's steps, each before its update and weighted by its rows; with
        validation data "val_loss" and "val_" + metric, after the epoch.
    epoch : list of int
        Number of each epoch, from 0, counted over all calls of ``fit`` that went on with one training.
    params : dict
        What ``fit`` was called with: epochs, batch_size, steps an epoch, samples.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []
        self.params = params

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Append the logs."""
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        """Tell epochs and last values."""
        last = ", ".join(f"{name}={values[-1]:.6g}" for name, values in self.history.items())
        return f"History({len(self.epoch)} epochs{': ' + last if last else ''})"
