r"""Proximal operators: what `ADMMAdam` holds weights to, penalties with a kink and sets of allowed weights alike.

For a penalty g, or a set, of which g is 0 inside and infinite outside, ``prox(v, step)`` is

.. math::
    \operatorname{prox}(v) = \arg\min_z \; g(z) + \frac{1}{2 \cdot \text{step}} \|z - v\|^2 .

Of a set that is the point of it nearest to v, whatever the step. Matrices are weights of `Dense` layers, (inputs, units).
Penalties: `L1`, `L2`, `ElasticNet`, `GroupLasso`, `LowRank` with lam; convex sets: `Box`, `NonNegative`; other sets: `TopK`,
`LowRank` with rank, `Levels`. One of your own is a subclass of `Prox`. Source: Parikh and Boyd 2014, Proximal Algorithms.

Examples
--------
>>> import thalweg as tw
>>> tw.prox.TopK(2)([0.5, -3.0, 1.0, 2.0]).tolist()
[0.0, -3.0, 0.0, 2.0]
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg.arrays import Array, as_real
from thalweg.checks import check_count, check_number, is_whole
from thalweg.proximal import L1, L2, ElasticNet, GroupLasso, Prox, check_matrix, soft

__all__ = ["L1", "L2", "Box", "ElasticNet", "GroupLasso", "Levels", "LowRank", "NonNegative", "Prox", "TopK"]


@dataclass(frozen=True, repr=False)
class Box(Prox):
    """The set of weights between two bounds: prox clips.

    Parameters
    ----------
    low, high : float
        low <= high; infinity for none.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.prox.Box(-1, 1)([2.0, -0.25]).tolist()
    [1.0, -0.25]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Check what was given."""
        for name in ("low", "high"):
            if getattr(self, name) not in (-np.inf, np.inf):
                self._set(name, check_number)
        if not self.low <= self.high or self.low == np.inf or self.high == -np.inf:
            raise ValueError(f"Box: low must be <= high, with a number between them, got {self.low} and {self.high}")

    def point(self, v: Array, step: float) -> Array:
        """Return prox(v)."""
        return v.clip(self.low, self.high)

    def free(self, z: Array) -> Array:
        """Return True for all: within the bounds all may move."""
        return np.ones(z.shape, bool)

    def confine(self, w: Array) -> Array:
        """Return w, clipped."""
        return w.clip(self.low, self.high)


@dataclass(frozen=True, repr=False)
class NonNegative(Prox):
    """The set of weights >= 0: prox is max(v, 0).

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.prox.NonNegative()([2.0, -0.25]).tolist()
    [2.0, 0.0]
    """

    def point(self, v: Array, step: float) -> Array:
        """Return prox(v)."""
        return np.maximum(v, 0)

    def confine(self, w: Array) -> Array:
        """Return max(w, 0)."""
        return np.maximum(w, 0)


@dataclass(frozen=True, repr=False)
class TopK(Prox):
    """The set of arrays of which at most k entries are not 0: prox keeps the k of largest size, of equals the first.

    Not convex: begin with trained weights.

    Parameters
    ----------
    k : int or float
        How many; a float between 0 and 1 is a share of the entries, rounded.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.prox.TopK(0.5)([1.0, -1.0, 1.0, 0.0]).tolist()
    [1.0, -1.0, 0.0, 0.0]
    """

    k: float

    def __post_init__(self) -> None:
        """Check what was given."""
        if isinstance(self.k, (float, np.floating)) and 0 < self.k < 1:
            return
        if not is_whole(self.k) or int(self.k) < 1:
            raise ValueError(f"TopK: k must be a positive integer, or a share between 0 and 1, got {self.k!r}")
        self._set("k", check_count)

    def count(self, size: int) -> int:
        """Return how many of so many entries are kept."""
        return max(1, round(size * self.k)) if self.k < 1 else int(self.k)

    def check_shape(self, shape: tuple[int, ...], what: str) -> None:
        """Raise ValueError unless there are k entries."""
        size = int(np.prod(shape))
        if self.count(size) > size:
            raise ValueError(
                f"{what} has {size:,} entries, of which TopK cannot keep k={self.k}: k must be at most that"
            )

    def point(self, v: Array, step: float) -> Array:
        """Return prox(v)."""
        sizes = np.abs(v).ravel()
        k = self.count(sizes.size)
        least = np.partition(sizes, sizes.size - k)[sizes.size - k]
        kept = sizes > least
        kept[np.flatnonzero(sizes == least)[: k - int(kept.sum())]] = True  # ties: exactly k remain
        return np.where(kept.reshape(v.shape), v, v.dtype.type(0))


@dataclass(frozen=True, repr=False)
class LowRank(Prox):
    r"""Matrices of low rank: the set of those of at most a rank, or the penalty :math:`\lambda \sum \sigma_i` on singular values.

    With U S V' the singular value decomposition of v, prox is U S V' with all but the ``rank`` largest of S as 0 (Eckart
    and Young 1936), or with each of S less by lam step and at least 0 (Cai, Candes and Shen 2010). The set is not
    convex, the penalty is. A weight that `ADMMAdam.finalize` has frozen does not move any more.

    Parameters
    ----------
    rank : int, optional
    lam : float, optional
        :math:`\lambda \ge 0`. One of the two is given.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.prox.LowRank(1)([[3.0, 0.0], [0.0, 1.0]]).round(12).tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    >>> tw.prox.LowRank(lam=0.5)([[3.0, 0.0], [0.0, 1.0]]).round(12).tolist()
    [[2.5, 0.0], [0.0, 0.5]]
    """

    rank: int | None = None
    lam: float | None = None

    def __post_init__(self) -> None:
        """Check what was given."""
        if (self.rank is None) == (self.lam is None):
            raise ValueError(f"LowRank: give rank or lam, one of them, got {self.rank} and {self.lam}")
        if self.lam is None:
            self._set("rank", check_count)
        else:
            self._set("lam", check_number, 0)

    def check_shape(self, shape: tuple[int, ...], what: str) -> None:
        """Raise ValueError unless it is a matrix's that can have the rank."""
        check_matrix(self, shape, what)
        if self.rank is not None and self.rank > min(shape):
            raise ValueError(f"{what} has shape {shape}; LowRank's rank must be at most {min(shape)}, got {self.rank}")

    def point(self, v: Array, step: float) -> Array:
        """Return prox(v)."""
        u, s, vt = np.linalg.svd(v, full_matrices=False)
        s = soft(s, self.lam * step) if self.lam is not None else np.where(np.arange(len(s)) < (self.rank or 0), s, 0)
        return np.asarray((u * s.astype(v.dtype)) @ vt)

    def value(self, z: npt.ArrayLike) -> float:
        """Return the penalty."""
        return 0.0 if self.lam is None else self.lam * float(np.linalg.norm(np.asarray(z, np.float64), "nuc"))

    def free(self, z: Array) -> Array:
        """Return False for all: an entry that moved alone would change the rank."""
        return np.zeros(z.shape, bool)


@dataclass(frozen=True, repr=False)
class Levels(Prox):
    """The set of arrays whose entries are some given numbers (quantisation): prox takes the nearest, of two the lower.

    Not convex: begin with trained weights. A weight that `ADMMAdam.finalize` has frozen does not move any more.

    Parameters
    ----------
    levels : sequence of float
        Kept in ascending order.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.prox.Levels([-1, 0, 1])([0.7, -0.2, 0.5, -9.0]).tolist()
    [1.0, 0.0, 0.0, -1.0]
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check what was given."""
        levels = as_real(self.levels, "Levels: levels")
        if levels.ndim != 1 or not levels.size or not np.isfinite(levels).all():
            raise ValueError(f"Levels: levels must be finite numbers, at least one, got {self.levels!r}")
        object.__setattr__(self, "levels", tuple(np.unique(levels.astype(np.float64)).tolist()))

    def point(self, v: Array, step: float) -> Array:
        """Return prox(v)."""
        levels = np.array(self.levels)
        return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, v)].astype(v.dtype)

    def free(self, z: Array) -> Array:
        """Return False for all: what moved would leave its level."""
        return np.zeros(z.shape, bool)


_TYPES: dict[str, type[Prox]] = {
    kind.__name__: kind for kind in (L1, L2, ElasticNet, GroupLasso, Box, NonNegative, TopK, LowRank, Levels)
}


def from_config(config: dict[str, Any] | None, others: Iterable[Prox]) -> Prox | None:
    """Make an operator from its description as plain data; one of the user's own is taken from `others`."""
    if config is None:
        return None
    settings = dict(config)
    kind = settings.pop("type")
    if kind in _TYPES:
        return _TYPES[kind](**settings)
    for other in others:
        if type(other).__name__ == kind:
            return other
    raise ValueError(f"the prox {kind} is none of thalweg's, nor one that this optimizer has")
