"""scikit-learn: its MLP estimators, all epochs in one `fit`."""

import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from thalweg.bench.contestants.base import Contestant
from thalweg.bench.works import Floats, Work, first_weights, make_data


class ScikitLearn(Contestant):
    """`fit` with a warm start: it keeps weights from call to call, and begins its optimizer's state anew.

    Penalty, shuffling and stopping are off. Its squared error is half of the others', which Adam's update does not see.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.resumes = work.optimizer == "sgd"  # which has no state here
        self.x, self.y = make_data(work)
        settings = {
            "hidden_layer_sizes": work.layers[1:-1],
            "solver": work.optimizer,
            "batch_size": work.batch,
            "learning_rate_init": work.lr,
            "alpha": 0.0,
            "momentum": 0.0,
            "nesterovs_momentum": False,
            "shuffle": False,
            "tol": 0.0,
            "n_iter_no_change": 10**9,
            "warm_start": True,
            "max_iter": 1,
            "random_state": 0,
        }
        self.estimator: Any = (MLPRegressor if work.loss == "mse" else MLPClassifier)(**settings)
        self.estimator.fit(self.x, self.y)  # makes its arrays

    def reset(self) -> None:
        """Go back to the first weights."""
        weights = first_weights(self.work)
        self.estimator.coefs_, self.estimator.intercepts_ = weights[0::2], weights[1::2]

    def train(self, epochs: int) -> None:
        """Train for some epochs."""
        self.estimator.set_params(max_iter=epochs)
        self.estimator.fit(self.x, self.y)

    def weights(self) -> list[Floats]:
        """Return copies of the weights."""
        pairs = zip(self.estimator.coefs_, self.estimator.intercepts_, strict=True)
        return [np.array(array) for pair in pairs for array in pair]

    def about(self) -> dict[str, object]:
        """Return versions."""
        return {"version": sklearn.__version__, "numpy": np.__version__}
