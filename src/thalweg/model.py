"""The model: layers in a row over one block of parameters."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from thalweg import arrays, feeding, files, frames, inference, losses
from thalweg.arrays import Array
from thalweg.callbacks import Callback, History
from thalweg.custom import LossFunction, resolve
from thalweg.network import Network
from thalweg.norms import Normalize
from thalweg.optimizer import Optimizer
from thalweg.scoring import Metrics, choose
from thalweg.weighting import ClassWeight

if TYPE_CHECKING:
    from thalweg.tracing import Trace
    from thalweg.trainer import Trainer

_DTYPES = {"float32": "f", "float64": "d"}


class Sequential(Network):
    """Layers one after another.

    Parameters
    ----------
    layers : sequence of Layer
        Copies of them are bound to this model: ``model.layers``.
    input_size : int
        Number of columns of X.
    seed : int, optional
        From which the weights are drawn, and by default the order of rows in training. None draws a seed.
    dtype : {"float32", "float64"}
        Of parameters and all computation.

    Attributes
    ----------
    layers : tuple of Layer
    parameters : list of array
        Layer by layer weight, then bias, absent ones skipped: writable views of the model's one parameter block.
    statistics : list of array
        What training keeps besides: running mean and variance of each `BatchNorm`, mean and factor of a `Normalize`;
        writable views, float64.
    metadata : dict
        Yours: plain data (what JSON can hold) that is saved with the model, such as the names of classes.
    feature_names : list of str or None
        Names of the columns of the DataFrame that the model was fitted with; a DataFrame with other names, or the same
        in another order, is refused from then on. None lifts that.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    >>> model = tw.Sequential([tw.Dense(8, activation="tanh"), tw.Dense(2)], input_size=2, seed=1)
    >>> history = model.fit(X, [0, 1, 1, 0], loss="cross_entropy", optimizer=tw.Adam(lr=0.1), epochs=200)
    >>> model.predict(X).argmax(axis=1).tolist()
    [0, 1, 1, 0]
    """

    # ---- training -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        loss: "str | losses.Loss | LossFunction",
        optimizer: Optimizer,
        batch_size: int | str | None = None,
        epochs: int = 1,
        steps_per_epoch: int | None = None,
        validation_data: Any = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: ClassWeight | None = None,
        metrics: Metrics | None = None,
        shuffle: bool = True,
        seed: int | None = None,
        callbacks: Callback | Iterable[Callback] | None = None,
        verbose: str | int = "auto",
        num_threads: int | None = None,
        finish_with_average: bool = False,
        exact_block: bool = True,
    ) -> History:
        """Train the model.

        The model keeps one `Trainer` and goes on with it, moments and counters included, when called again with the
        same optimizer object and loss; otherwise it starts a new one.

        Parameters
        ----------
        X : array of shape (rows, input_size), DataFrame, path of a .npy file, or batches
            float32, float64, integers or booleans, any strides, read-only or memory-mapped; converted row by row as it
            is read, never copied as a whole. Integers above 2**24 lose digits in float32. A file is mapped into memory:
            it may be larger, what is read is the rows of a batch. A pandas DataFrame is copied unless all its columns
            have one NumPy dtype and lie together; columns of text or categories are refused.
            Without `y`, X is taken for batches: an iterable of (x, y) or (x, y, sample_weight), begun anew for every
            epoch; a function that returns an iterator for each epoch; or an iterator, which serves one pass. A batch
            is a step, of its own size.
        y : array, Series or path, optional
            What the loss expects: see `thalweg.losses`.
        loss : str, Loss or callable
            "mse", "mae", "huber", "quantile", "poisson", "cross_entropy", "binary_cross_entropy", "hinge",
            "squared_hinge", an object of `thalweg.losses`, or a function of your own, ``(y_pred, y) -> (loss,
            gradient)``: see `thalweg.custom.CustomLoss`.
        optimizer : Optimizer
        batch_size : int or "full", optional
            Rows a step, 32 if it is not given: 1 for stochastic, "full" for batch gradient descent. The last, smaller
            batch is trained on; more than there are rows means all rows. Not for batches, which have sizes of their own.
        epochs : int, default 1
            How many more.
        steps_per_epoch : int, optional
            For batches: so many are an epoch, and each epoch goes on where the one before stopped.
        validation_data : (X, y), (X, y, sample_weight), or batches; optional
            Evaluated after each epoch: "val_loss" and "val_" + metric in the history. A tuple holds arrays; anything
            else is batches, which must be there anew each time.
        validation_split : float, default 0
            This share of the rows, the last ones, is held out for validation.
        sample_weight : array of shape (rows,), optional
        class_weight : dict or "balanced", optional
            Multiplies the weight of every row trained on by that of its class: {class: weight}, others 1; "balanced" is
            rows / (classes * rows of the class). For labels, one-hot rows, or one yes or no a row. Not for validation.
        metrics : str, function, list or dict, optional
            Of the validation data; as in `evaluate`.
        shuffle : bool, default True
            Draw a new order of rows for every epoch. A full batch is never shuffled, and batches come as they come.
        seed : int, optional
            Of the shuffling; default: the model's.
        callbacks : Callback or iterable of them, optional
        verbose : "auto", 0 or 1
            Progress bar: on a terminal, never, always.
        num_threads : int, optional
            Exactly so many; see `set_num_threads`.
        finish_with_average : bool, default False
            Leave the average of the weights in the model at the end; for an optimizer with ``average``, and
            `ScheduleFreeAdamW`.
        exact_block : bool, default True
            Let plain SGD with at most 8 rows a step update the first layer in blocks; see `Trainer`.

        Returns
        -------
        History

        Raises
        ------
        NonFiniteLoss
            The loss of a step, or an entry of X or y, was NaN or infinite. The weights are those of before that step.
        ValueError, TypeError
            Arguments that do not fit. Nothing has changed; of batches the first is checked before training begins, and
            one that does not fit later stops training before its step.

        Notes
        -----
        A training that was stopped inside an epoch goes on there when `fit` is called again with arrays of as many rows
        and the same batch size; with batches the epoch begins anew.

        Examples
        --------
        >>> import numpy as np
        >>> import thalweg as tw
        >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
        >>> def batches():
        ...     for seed in range(10):
        ...         x = np.random.default_rng(seed).normal(size=(16, 2))
        ...         yield x, x.sum(axis=1)
        >>> history = model.fit(batches, loss="mse", optimizer=tw.SGD(lr=0.1), epochs=5, validation_data=batches)
        >>> history.history["val_loss"][-1] < 0.01
        True
        """
        from thalweg.trainer import Trainer

        self.guard.check("fit")
        trainer = self._trainer
        if trainer is None or trainer.optimizer is not optimizer or trainer.loss != resolve(loss):
            trainer = Trainer(self, loss=loss, optimizer=optimizer)
        return trainer.fit(
            X, y, batch_size=batch_size, epochs=epochs, steps_per_epoch=steps_per_epoch, validation_data=validation_data,
            validation_split=validation_split, sample_weight=sample_weight, class_weight=class_weight, metrics=metrics,
            shuffle=shuffle, seed=seed, callbacks=callbacks, verbose=verbose, num_threads=num_threads,
            finish_with_average=finish_with_average, exact_block=exact_block, started=self._keep,
        )  # fmt: skip

    def _keep(self, trainer: "Trainer") -> None:
        """Keep the trainer whose training has begun."""
        self._trainer = trainer

    # ---- using ----------------------------------------------------------------------------------------------------

    def predict(self, X: Any, *, num_threads: int | None = None) -> Array:
        """Return what the last layer puts out: for a classifier logits, of shape (rows, units of the last layer).

        A row's prediction does not depend on the rows beside it. `X` is as in `fit`; an iterator (of a DataLoader:
        ``iter(loader)``) gives batches of rows, whose outputs come as one array.

        Examples
        --------
        >>> import numpy as np
        >>> import thalweg as tw
        >>> tw.Sequential([tw.Dense(3)], input_size=2, seed=0).predict(np.zeros((4, 2))).shape
        (4, 3)
        """
        if self.guard.holder is not None:  # a call less where nobody trains
            self.guard.check("predict")
        return inference.predict(self, X, "", num_threads)

    def predict_proba(self, X: Any, *, num_threads: int | None = None) -> Array:
        """Return probabilities: softmax or sigmoid of `predict`, whichever belongs to the loss trained with."""
        self.guard.check("predict_proba")
        if self.loss is None or not self.loss.probabilities:
            trained = "has not been trained yet" if self.loss is None else f"was trained with {self.loss.name}"
            raise ValueError(
                f"predict_proba: the model {trained}; probabilities come with cross_entropy or binary_cross_entropy"
            )
        return inference.predict(self, X, self.loss.probabilities, num_threads)

    def evaluate(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: Any = None,
        metrics: Metrics | None = None,
        loss: "str | losses.Loss | LossFunction | None" = None,
        num_threads: int | None = None,
    ) -> dict[str, float]:
        """Return the loss and metrics over all rows.

        `metrics` are by default "accuracy" for classes, "mae" and "r2" for quantities ("mae" alone for poisson). Others
        by name: for classes "precision", "recall", "f1" and "auc", of two classes those of the second, of more (and of
        several outputs) their mean, and "top_5_accuracy"; for quantities "mse" and "rmse". Or functions ``f(y_true,
        y_pred)`` or ``f(y_true, y_pred, sample_weight)``, where y_pred is what `predict` returns (of shape (rows,) where
        y_true is): one of these, a list, or a dict by name. `loss` is needed for a model that has not been trained. NaN
        in X or y gives a loss of NaN. `X` and `y` are as in `fit`, batches without `y` among them.

        Examples
        --------
        >>> import numpy as np
        >>> import thalweg as tw
        >>> model = tw.Sequential([tw.Dense(2)], input_size=2, seed=0)
        >>> sorted(model.evaluate(np.ones((3, 2)), [0, 1, 1], loss="cross_entropy"))
        ['accuracy', 'loss']
        """
        self.guard.check("evaluate")
        chosen = self.loss if loss is None else resolve(loss)
        if chosen is None:
            raise ValueError("evaluate: the model has not been trained yet; give the loss, for example loss='mse'")
        chosen.check_model(self.shape.outputs, self.last_activation)
        judged = choose(metrics, chosen)
        if y is None:
            if sample_weight is not None:
                raise ValueError("sample_weight goes with y; as part of a batch it is given as (x, y, sample_weight)")
            batches = feeding.checked_batches(self, chosen, X)
            mean, target, outputs, weight = inference.evaluate_batches(self, chosen, batches, num_threads)
        else:
            data = feeding.check_data(self, chosen, X, y, sample_weight)
            x, target, weight = data.parts
            mean, outputs = inference.evaluate(self, chosen, x, target, data.kind, weight, num_threads)
        return {"loss": mean} | {name: metric(target, outputs, weight) for name, metric in judged.items()}

    def trace(self, x: Any, y: Any, loss: "str | losses.Loss | LossFunction", sample_weight: Any = None) -> "Trace":
        """Send a batch forward and back, and keep what every layer received, put out and got back.

        In float64 and in training mode: dropout drops what it would in the first step of a training with the model's
        seed, batch normalisation takes the batch's statistics. Nothing changes. For looking, not for training: arrays
        of every layer are kept, and all rows of `x` are one batch.

        Parameters
        ----------
        x, y, loss, sample_weight
            As in `fit`.

        Returns
        -------
        Trace
            Printed, the steps of back-propagation; see `thalweg.tracing.Trace`.

        Raises
        ------
        NonFiniteLoss
            The loss is not finite.

        Examples
        --------
        >>> import thalweg as tw
        >>> model = tw.Sequential([tw.Dense(1, bias=False)], input_size=2, seed=0)
        >>> model.layers[0].weight[...] = [[2.0], [1.0]]
        >>> trace = model.trace([[1.0, 3.0]], [[4.0]], "mse")
        >>> print(trace)
        forward
          layers[0]  Dense(identity)
            received           [[1, 3]]
            weight             [[2], [1]]
            put out            [[5]]
          loss  1
        backward
          output
            got back           [[2]]
          layers[0]  Dense(identity)
            got back           [[2]]
            of weight          [[2], [6]]
          input
            got back           [[4, 2]]
        """
        from thalweg.tracing import trace

        self.guard.check("trace")
        return trace(self, x, y, loss, sample_weight)

    def check_inputs(self, X: Any, name: str = "X") -> Array:
        """Return rows of inputs as an array, or raise; a frame's columns must be those fitted with, in their order."""
        x = arrays.check_inputs(X, self.input_size, self.owner, name)
        if self.feature_names is not None:
            frames.check_names(X, self.feature_names, name)
        return x

    def learn_inputs(self, x: Array) -> None:
        """Let a `Normalize` that knows nothing yet learn from training data."""
        first = self.layers[0]
        if isinstance(first, Normalize) and not first.learned:
            first.learn(x)

    def check_learned(self) -> None:
        """Raise if inputs are to be standardised by what nobody has learned."""
        first = self.layers[0]
        if isinstance(first, Normalize) and not first.learned:
            raise ValueError("Normalize has not learned mean and std yet: train the model, or model.layers[0].learn(X)")


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a model that `Sequential.save` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is no thalweg model.
    """
    config, stored = files.read(path, "model")
    weights, statistics = (files.all_of(stored, prefix, path) for prefix in "ps")
    return Sequential.from_config(config, weights, statistics)
