"""Networks: layers over one block of parameters and one of statistics, and how they come into files and copies."""

import copy
import os
import secrets
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from thalweg import _native, arrays, files, initializers, losses, system
from thalweg.arrays import Array
from thalweg.blocks import check_layers, lower_all
from thalweg.checks import check_size, is_whole
from thalweg.custom import CustomLoss
from thalweg.guard import Guard
from thalweg.layer import Layer
from thalweg.layers import Dense
from thalweg.norms import Normalize
from thalweg.programs import (
    LayerSpec,
    Pool,
    Shape,
    parameter_bytes,
    parameter_views,
    statistics_bytes,
    statistics_views,
)

if TYPE_CHECKING:
    from thalweg.inference import Prediction
    from thalweg.trainer import Trainer

_DTYPES = {"float32": "f", "float64": "d"}
Forwards = dict[tuple[str, system.Machine], _native.Forward]  # that predict with a shape, by what comes behind it


class Network:
    """What `Sequential` is made of, without what it does."""

    def __init__(
        self, layers: Sequence[Layer], input_size: int, seed: int | None = None, dtype: npt.DTypeLike = "float32"
    ) -> None:
        self.layers = check_layers(layers, "Sequential")
        self.input_size = check_size(input_size, "Sequential: input_size")
        name = np.dtype(dtype).name
        if name not in _DTYPES:
            raise ValueError(f"Sequential: dtype must be float32 or float64, got {name}")
        self._code = _DTYPES[name]
        self.seed = check_seed(seed) if seed is not None else secrets.randbits(63)
        self.loss: losses.Loss | None = None
        self.metadata: dict[str, Any] = {}
        self.feature_names: list[str] | None = None
        self.guard = Guard()
        self.pool = Pool()
        self._trainer: Trainer | None = None
        self.times_set = 0  # all weights at once: averages of them begin anew
        self._shaped: tuple[Shape, Forwards] | None = None
        self._shaped_at = -1  # Layer.changes when the shape was made
        self.last_prediction: Prediction | None = None
        self._bind()
        self._draw()

    @property
    def shape(self) -> Shape:
        """The model in the core's words, as the layers' settings stand."""
        return self.shaped()[0]

    def shaped(self) -> tuple[Shape, Forwards]:
        """Return the shape together with what is kept to predict with it: one is never of another than the other."""
        changes = Layer.changes  # of now: what another thread sets meanwhile is seen next time
        if self._shaped is None or self._shaped_at != changes:
            specs: list[LayerSpec] = []
            lower_all(self.layers, specs, 0, self.input_size)
            standardize = isinstance(self.layers[0], Normalize)
            shape = Shape(self._code, self.input_size, tuple(specs), standardize)
            if self._shaped is None or shape != self._shaped[0]:
                self._shaped = shape, {}
            self._shaped_at = changes
        return self._shaped

    def _bind(self) -> None:
        """Make the blocks of parameters and of statistics, and give every layer its views of them."""
        shape = self.shape
        self.block = _native.Block(parameter_bytes(shape))
        self.statistics_block = _native.Block(statistics_bytes(shape))
        self.parameters = parameter_views(self.block, shape)
        self.statistics = statistics_views(self.statistics_block, shape)
        parameters, statistics = iter(self.parameters), iter(self.statistics)
        for layer in self.layers:
            layer.bind(parameters, statistics)

    def _draw(self) -> None:
        index, draws = 0, initializers.Draws(self.seed)
        for layer in self.layers:
            index = layer.draw(index, draws)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of parameters and computation."""
        return np.dtype(self._code)

    @property
    def last_activation(self) -> str:
        """The activation of what the model puts out."""
        specs = self.shape.layers
        return specs[-1].activation if specs else "identity"

    @cached_property
    def owner(self) -> str:
        """What receives X, for messages: "Dense(784 → 10)"."""
        first = self.layers[0]
        return f"Dense({self.input_size} → {first.units})" if isinstance(first, Dense) else type(first).__name__

    # ---- weights and files ----------------------------------------------------------------------------------------

    def get_weights(self) -> list[Array]:
        """Return copies of all parameters, in the order of `parameters`."""
        return [np.array(parameter, order="C") for parameter in self.parameters]

    def set_weights(self, weights: Sequence[npt.ArrayLike]) -> None:
        """Set all parameters, in the order of `parameters`. On an error none is changed."""
        self.guard.check("set_weights")
        given = [arrays.as_real(weight, f"weights[{i}]") for i, weight in enumerate(weights)]
        arrays.check_shapes(given, self.parameters, "weights")
        for parameter, weight in zip(self.parameters, given, strict=True):
            parameter[...] = weight
        self.times_set += 1

    def summary(self) -> None:
        """Print the layers, their output shapes and their numbers of parameters.

        Examples
        --------
        >>> import thalweg as tw
        >>> tw.Sequential([tw.Dense(128, activation="relu"), tw.Dense(10)], input_size=784, seed=0).summary()
        layer                         output         parameters
        Dense(relu)                   (rows, 128)       100,480
        Dense(identity)               (rows, 10)          1,290
        total                                           101,770
        """
        print(f"{'layer':<30}{'output':<15}{'parameters':>10}")
        width = self.input_size
        for layer in self.layers:
            width = layer.lower([], 0, width)
            size = sum(view.size for _, view in layer.own_parameters())
            print(f"{layer.title():<30}{f'(rows, {width})':<15}{size:>10,}")
        print(f"{'total':<45}{sum(parameter.size for parameter in self.parameters):>10,}")

    def config(self) -> dict[str, Any]:
        """Return the description as plain data."""
        return {
            "input_size": self.input_size,
            "dtype": self.dtype.name,
            "seed": self.seed,
            "layers": [layer.config() for layer in self.layers],
            "loss": None if self.loss is None or isinstance(self.loss, CustomLoss) else self.loss.config(),
            "metadata": self.metadata,
            "feature_names": self.feature_names,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write description, weights and loss to an npz file (written beside and renamed: whole or not at all)."""
        self.guard.check("save")
        files.write(path, "model", self.config(), self.arrays())

    def arrays(self) -> dict[str, Array]:
        """Return parameters and statistics by their names in files."""
        return {f"p{i}": p for i, p in enumerate(self.parameters)} | {f"s{i}": s for i, s in enumerate(self.statistics)}

    @classmethod
    def from_config(cls, config: dict[str, Any], weights: Sequence[Array], statistics: Sequence[Array] = ()) -> Self:
        """Make a model again from its description, weights and statistics."""
        layers = [Layer.from_config(layer) for layer in config["layers"]]
        model = cls(layers, config["input_size"], config["seed"], config["dtype"])
        model.set_weights(weights)
        arrays.check_shapes(statistics, model.statistics, "statistics")
        for view, values in zip(model.statistics, statistics, strict=True):
            view[...] = values
        model.loss = None if config["loss"] is None else losses.resolve(config["loss"])
        model.metadata = copy.deepcopy(config.get("metadata", {}))
        model.feature_names = copy.copy(config.get("feature_names"))
        return model

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[dict[str, Any], list[Array], list[Array]]]:
        """Pickle and copy description, weights and statistics; a copy's training begins anew."""
        statistics = [view.copy() for view in self.statistics]
        return type(self).from_config, (self.config(), self.get_weights(), statistics)

    def __repr__(self) -> str:
        """Return the call that makes such a model."""
        return f"{type(self).__name__}({list(self.layers)}, input_size={self.input_size}, dtype={self.dtype.name!r})"


def check_seed(seed: Any) -> int:
    """Return a seed as an int in [0, 2**64)."""
    if not is_whole(seed) or not 0 <= int(seed) < 2**64:
        raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, got {seed!r}")
    return int(seed)
