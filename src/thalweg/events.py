"""Events of a training, and the base of what hears them. Names are Keras's."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.checks import check_count_or_none

if TYPE_CHECKING:
    from thalweg.model import Sequential
    from thalweg.trainer import Trainer

Logs = dict[str, float]
State = Mapping[str, Any]  # what JSON can hold, and NumPy arrays


class Callback:
    """Base of callbacks: override what you need. `model` and `trainer` are set before the first event.

    A callback may also have a method ``on_train_batch_end(step, logs)``: it is called after each `every_steps` steps,
    counted over all epochs, with that count and with "loss", the epoch's mean so far. Training pauses there, which never
    changes a bit of the result, but costs time where `every_steps` is small; callbacks without the method cost nothing.
    Where `fit` makes steps in blocks (``exact_block``), what is due inside a block is told at its end.

    The weights stand still during an event: ``predict``, ``evaluate``, ``save`` and ``set_weights`` of the model work.
    ``trainer.stop_training = True`` ends training after the epoch, or when set in ``on_train_batch_end`` at once: then
    the epoch's ``on_epoch_end`` is not called, and a later ``fit`` of the same data goes on in the middle of the epoch.
    An error raised in an event ends training and is passed on, with weights and counters of a whole number of steps.
    As in Keras, ``on_train_end`` is not called when training ends by an error or by Ctrl-C.

    Attributes
    ----------
    every_steps : int or None, default 1
        For ``on_train_batch_end``. None: after every slice of about 50 ms, wherever it ends.

    Notes
    -----
    Differs from Keras: ``on_train_batch_end`` gets the number of steps made, not the batch's index in the epoch; and a
    callback takes part in exact resumes (see `Checkpoint`) by `state` and `restore`.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> class Print(tw.Callback):
    ...     every_steps = 2
    ...     def on_train_batch_end(self, step, logs):
    ...         print("step", step, sorted(logs))
    ...     def on_epoch_end(self, epoch, logs):
    ...         print("epoch", epoch, sorted(logs))
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> x, y = np.ones((3, 2)), np.ones(3)
    >>> _ = model.fit(x, y, loss="mse", optimizer=tw.SGD(), batch_size=1, callbacks=[Print()])
    step 2 ['loss']
    epoch 0 ['loss']
    """

    model: "Sequential"
    trainer: "Trainer"
    every_steps: int | None = 1
    comes_last: ClassVar[bool] = False  # hears every event after the others: a checkpoint must see what they did

    def on_train_begin(self, logs: Logs) -> None:
        """Act before the first epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        """Act before an epoch."""

    def on_test_begin(self, logs: Logs) -> None:
        """Act before the validation of an epoch."""

    def on_test_end(self, logs: Logs) -> None:
        """Act after the validation of an epoch; logs has "loss" and each metric."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Act after an epoch; logs has "loss", and with validation data "val_loss" and "val_" + each metric.

        What is added to `logs` is seen by the callbacks that come later in the list, and by the history.
        """

    def on_train_end(self, logs: Logs) -> None:
        """Act after the last epoch; logs are those of that epoch."""

    def state(self) -> State:
        """Return what an exact resume needs to know: what JSON can hold, and NumPy arrays, in a dict.

        A callback that remembers nothing from one event to the next need not define it.
        """
        return {}

    def restore(self, state: State) -> None:
        """Take back what `state` returned, after ``on_train_begin``."""


def check_callbacks(given: Callback | Iterable[Callback] | None) -> list[Callback]:
    """Return callbacks as a list: of one, of several, or of None."""
    if given is None:
        return []
    several: Any = given if hasattr(given, "__iter__") and not isinstance(given, Callback) else [given]
    callbacks: list[Any] = list(several)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            hint = ": make one of the class, with ()" if isinstance(callback, type) else ""
            raise TypeError(f"callbacks must be objects of tw.Callback, got {callback!r}{hint}")
        check_count_or_none(callback.every_steps, f"{type(callback).__name__}: every_steps")
    return callbacks
