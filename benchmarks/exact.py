"""What the suites hold results against: arrays of random numbers, and float64."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_generator = np.random.default_rng(40)


def draw(*shape: int) -> NDArray[np.float32]:
    """Draw standard normal numbers, float32."""
    return _generator.standard_normal(shape, dtype=np.float32)


def close(pairs: Iterable[tuple[NDArray[np.float32], NDArray[np.float64]]]) -> bool:
    """Tell whether float32 results are those of float64, up to rounding."""
    return all(np.allclose(mine, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max()) for mine, exact in pairs)
