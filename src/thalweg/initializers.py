"""How weights begin: glorot, he and lecun, uniform and normal.

The variance of a weight is 2 / (inputs + outputs) (Glorot and Bengio 2010), 2 / inputs (He et al. 2015) or 1 / inputs
(LeCun et al. 1998). A uniform draw has the limits +-sqrt(3 variance); a normal one is not truncated.
"""

import numpy as np

from thalweg.arrays import Array

_VARIANCES = {
    "glorot": lambda inputs, outputs: 2 / (inputs + outputs),
    "he": lambda inputs, outputs: 2 / inputs,
    "lecun": lambda inputs, outputs: 1 / inputs,
}
NAMES = tuple(f"{scheme}_{shape}" for scheme in _VARIANCES for shape in ("uniform", "normal"))

_DEFAULTS = {"relu": "he_uniform"}


def default_for(activation: str) -> str:
    """Return the initializer that keeps the scale of signals for an activation: he for relu, glorot otherwise."""
    return _DEFAULTS.get(activation, "glorot_uniform")


def draw(name: str, inputs: int, outputs: int, generator: np.random.Generator) -> Array:
    """Draw weights of shape (inputs, outputs), float64."""
    scheme, shape = name.split("_")
    deviation = np.sqrt(_VARIANCES[scheme](inputs, outputs))
    if shape == "normal":
        return generator.normal(0.0, deviation, (inputs, outputs))
    limit = np.sqrt(3) * deviation
    return generator.uniform(-limit, limit, (inputs, outputs))
