"""Comparisons with the float64 twin: tolerances follow from the dtype, the length of sums and the size of their terms."""

import numpy as np


def unit(dtype):
    """Half the distance of 1 and the next number: 6e-8 and 1.1e-16."""
    return np.finfo(dtype).eps / 2


def assert_product(got, a, b, dtype, slack=0.0):
    """Demand that got = a b to within 4 sqrt(K) u sqrt(sum of squared terms), K the length of the sums.

    sqrt(K) u is how rounding errors of a chain grow; `slack` is added for what follows the product.
    """
    a, b = a.astype(float), b.astype(float)
    bound = 4 * np.sqrt(a.shape[1]) * unit(dtype) * np.sqrt(a**2 @ b**2) + slack
    error = np.abs(got.astype(float) - a @ b)
    assert (error <= bound).all(), (
        f"error {error.max():.3g}, {(error / np.maximum(bound, 1e-300)).max():.3g} of the bound"
    )


def assert_close(got, expected, dtype, units=8.0, scale=None):
    """Demand |got - expected| <= units u max(|expected|, scale); scale defaults to the mean size of expected."""
    expected = np.asarray(expected, float)
    scale = np.abs(expected).mean() if scale is None else scale
    bound = units * unit(dtype) * np.maximum(np.abs(expected), scale)
    error = np.abs(np.asarray(got, float) - expected)
    assert (error <= bound).all(), (
        f"error {error.max():.3g}, {(error / np.maximum(bound, 1e-300)).max():.3g} of the bound"
    )
