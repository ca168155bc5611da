"""Problems solved by the alternating direction method of multipliers (ADMM): Boyd et al. 2011; Lin, Lin and Tang 2022."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import oneshot
from thalweg.admm_adam import ADMMAdam
from thalweg.arrays import Array, as_real
from thalweg.checks import check_count, check_positive
from thalweg.gradients import as_gradient
from thalweg.prox import Prox
from thalweg.splitting import Splitting

__all__ = ["Solution", "deep_prior", "solve"]

_ROWS = 1024  # solved at a time: each has matrices of rank x rank of its own


@dataclass
class Solution:
    """What `solve` found.

    Attributes
    ----------
    x : array
        z: exactly as prox makes it, zeros among it.
    w : array
        What Adam moved.
    rho : float
        Where it ended.
    iterations : int
        How many were made.
    converged : bool
        Whether Boyd's criteria were met.
    primal_residuals, dual_residuals : list of float
        Of every iteration.
    """

    x: Array
    w: Array
    rho: float
    iterations: int
    converged: bool
    primal_residuals: list[float]
    dual_residuals: list[float]


def solve(
    gradient: Callable[[Array], npt.ArrayLike], w0: npt.ArrayLike, optimizer: ADMMAdam, max_iterations: int = 1000
) -> Solution:
    r"""Minimise :math:`L(w) + g(w)` for a smooth L, given by its gradient, and the optimizer's prox, in float64.

    The iteration that trains networks with `ADMMAdam`, down to the update kernel. It ends when Boyd's criteria are met,
    for eps_abs = eps_rel = 0 at max_iterations.

    Parameters
    ----------
    gradient : callable
        Called with w, returns the gradient of L, of the same shape.
    w0 : array
        Where to begin; any shape that prox serves.
    optimizer : ADMMAdam
        A learning rate that falls (`thalweg.schedules`, counted in steps of Adam) makes the last digits right.
    max_iterations : int, default 1000
        Of inner_steps steps of Adam each.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError, TypeError
        Arguments that do not fit; gradient returned what is no array of the shape of w, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> a = np.array([3.0, -0.5, 1.0])
    >>> lr = tw.schedules.Step(0.05, step_size=20, gamma=0.97)
    >>> optimizer = tw.ADMMAdam(lr, rho=1.0, prox=tw.prox.L1(1.0), inner_steps=20, eps_abs=1e-9, eps_rel=0)
    >>> solution = tw.admm.solve(lambda w: w - a, np.zeros(3), optimizer)  # of 1/2 ||w - a||^2
    >>> solution.x.round(6).tolist(), solution.converged
    ([2.0, 0.0, 0.0], True)
    """
    w = _check_problem(gradient, w0, optimizer)
    rounds = check_count(max_iterations, "solve: max_iterations")
    assert isinstance(optimizer.prox, Prox)
    slope, z, u = (np.zeros_like(w) for _ in range(3))
    notes: dict[str, Any] = {}
    split = Splitting(optimizer, [optimizer.prox], [w], [z], [u], notes)
    update = oneshot.updater(optimizer, w, slope)
    primal, dual = [], []
    for first in range(0, rounds * optimizer.inner_steps, optimizer.inner_steps):
        for scalars in optimizer.scalars(np.arange(first, first + optimizer.inner_steps)):
            slope[...] = _checked_gradient(gradient, w)
            split.pull([slope])
            update(scalars)
            split.advance()
        primal.append(notes["primal_residual"])
        dual.append(notes["dual_residual"])
        if notes["converged"] and optimizer.eps_abs + optimizer.eps_rel > 0:
            break
    return Solution(z, w, notes["rho"], len(primal), notes["converged"], primal, dual)


def _check_problem(gradient: Any, w0: npt.ArrayLike, optimizer: Any) -> Array:
    """Return w0 as an array to change."""
    if not callable(gradient):
        raise TypeError(f"solve: gradient must be a function of w, got {gradient!r}")
    if not isinstance(optimizer, ADMMAdam) or not isinstance(optimizer.prox, Prox):
        raise TypeError(f"solve: optimizer must be a tw.ADMMAdam with one prox, got {optimizer!r}")
    optimizer.check()
    if optimizer.regulates or optimizer.accumulate > 1:
        raise ValueError("solve: clip_value, clip_norm and accumulate serve training alone; leave them out")
    w = np.array(as_real(w0, "w0"), np.float64, order="C")
    if not w.size or not np.isfinite(w).all():
        raise ValueError("w0 holds no numbers" if not w.size else "w0 holds NaN or infinity")
    optimizer.prox.check_shape(w.shape, "w0")
    return w


def _checked_gradient(gradient: Callable[[Array], npt.ArrayLike], w: Array) -> Array:
    slope = as_gradient(gradient(w.copy()), w.shape)
    if not np.isfinite(slope).all():
        raise ValueError("gradient returned NaN or infinity: a smaller learning rate may help")
    return slope


def deep_prior(
    observed: npt.ArrayLike,
    mask_or_operator: npt.ArrayLike,
    prior: npt.ArrayLike,
    rank: int | None = None,
    lam: float = 0.01,
    mu: float | None = None,
    iterations: int = 300,
) -> Array:
    r"""Restore data from incomplete observations, pulled towards a network's answer: the ADMM-ADAM of Lin, Lin and Tang.

    With E the `rank` strongest principal directions of the prior (not centred), each row y of what was observed gives

    .. math::
        \hat s = \arg\min_s \|A (E s) - y\|^2 + \frac\lambda2 \|s - E^T x_{\text{prior}}\|^2, \qquad \hat x = E \hat s,

    where A takes the observed entries of a row, or is the operator, by ADMM steps that all have closed forms:

    .. math::
        z &\leftarrow (\lambda E^T x_{\text{prior}} + \mu (s - d)) / (\lambda + \mu) \\
        s &\leftarrow (E^T A^T A E + \tfrac\mu2 I)^{-1} (E^T A^T y + \tfrac\mu2 (z + d)) \\
        d &\leftarrow d - s + z

    Parameters
    ----------
    observed : array of shape (rows, columns), or (rows, observations) with an operator
        What a mask leaves out is not read, and may be NaN.
    mask_or_operator : array
        Booleans of the shape of `observed`: what was observed. Or numbers of shape (observations, columns): the matrix A,
        the same for all rows.
    prior : array of shape (rows, columns)
        What a network, trained with Adam or otherwise, makes of the observations.
    rank : int, optional
        Number of directions, at most columns; None: all of them, without a basis (E = I).
    lam : float, default 0.01
        :math:`\lambda > 0`, the weight of the prior: the noisier the observations the larger.
    mu : float, optional
        :math:`\mu > 0`, ADMM's penalty: changes the way and not the answer. Default: lam / 10, for their 1e-3.
    iterations : int, default 300
        Each makes the error smaller by max(lam, mu) / (lam + mu) or more: 300 serve for the default mu, whatever lam.

    Returns
    -------
    array of shape (rows, columns)
        float64. A row of which nothing was observed is its prior's projection, E E' x.

    Raises
    ------
    ValueError, TypeError
        Arguments that do not fit one another, or are not finite.

    Notes
    -----
    Lin, Lin and Tang, IEEE TGRS 60, 2022, doi 10.1109/TGRS.2021.3111007; terms and steps are those of their code, with no
    half before the first norm. Their columns are bands and their rows pixels. The default of lam is theirs; they make 51
    iterations, after which 1e-4 may be missing.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> observed = np.array([[1.0, np.nan], [2.0, 4.0]])
    >>> prior = np.array([[1.1, 2.0], [2.0, 4.1]])
    >>> tw.admm.deep_prior(observed, ~np.isnan(observed), prior, rank=1).round(2).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    observed, operator, mask, prior = _check_observations(observed, mask_or_operator, prior)
    lam = check_positive(lam, "deep_prior: lam")
    mu = lam / 10 if mu is None else check_positive(mu, "deep_prior: mu")
    iterations = check_count(iterations, "deep_prior: iterations")
    basis = _basis(prior, rank)
    result = np.empty_like(prior)
    for first in range(0, len(prior), _ROWS):
        rows = slice(first, first + _ROWS)
        if mask is not None:
            # A E of each row: the rows of E that were observed
            normal = np.einsum("rc,ci,cj->rij", mask[rows].astype(np.float64), basis, basis, optimize=True)
            right = observed[rows] @ basis
        else:
            product = operator @ basis
            normal, right = (product.T @ product)[None], observed[rows] @ product
        result[rows] = _restore(normal, right, prior[rows] @ basis, lam, mu, iterations) @ basis.T
    return result


def _restore(normal: Array, right: Array, wanted: Array, lam: float, mu: float, iterations: int) -> Array:
    """Make the steps for some rows; `normal` is E'A'AE, `right` E'A'y, `wanted` E'x of the prior."""
    inverse = np.linalg.inv(normal + mu / 2 * np.eye(normal.shape[-1]))
    s, d = np.zeros_like(wanted), np.zeros_like(wanted)
    for _ in range(iterations):
        z = (lam * wanted + mu * (s - d)) / (lam + mu)
        s = (inverse @ (right + mu / 2 * (z + d))[:, :, None])[:, :, 0]
        d += z - s
    return s


def _basis(prior: Array, rank: int | None) -> Array:
    """Return the strongest principal directions of the prior's rows as columns."""
    columns = prior.shape[1]
    if rank is None:
        return np.eye(columns)
    count = check_count(rank, "deep_prior: rank")
    if count > columns:
        raise ValueError(f"deep_prior: rank must be at most the {columns} columns of prior, got {rank}")
    return np.asarray(np.linalg.eigh(prior.T @ prior)[1][:, -count:])


def _check_observations(observed: Any, mask_or_operator: Any, prior: Any) -> tuple[Array, Array, Array | None, Array]:
    """Return observed, operator, mask and prior as float64; what was not observed is 0."""
    given, y = as_real(mask_or_operator, "mask_or_operator"), as_real(observed, "observed")
    x = np.asarray(as_real(prior, "prior"), np.float64)
    for array, name in ((x, "prior"), (y, "observed"), (given, "mask_or_operator")):
        if array.ndim != 2 or not array.size:
            raise ValueError(f"{name} has shape {array.shape}; expected two axes, none of them empty")
    mask = given if given.dtype == bool else None
    expected = (x.shape[0], x.shape[1] if mask is not None else len(given))
    if y.shape != expected:
        raise ValueError(f"observed has shape {y.shape}; expected {expected} for a prior of shape {x.shape}")
    if mask is not None and mask.shape != y.shape:
        raise ValueError(f"mask_or_operator is a mask of shape {mask.shape}; expected {y.shape} as observed")
    if mask is None and given.shape[1] != x.shape[1]:
        advice = "; a mask has dtype bool" if given.shape == y.shape else ""
        raise ValueError(f"mask_or_operator has {given.shape[1]} columns, prior has {x.shape[1]}{advice}")
    y = np.where(mask, y, 0).astype(np.float64) if mask is not None else y.astype(np.float64)
    for array, name in ((x, "prior"), (y, "observed"), (given, "mask_or_operator")):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
    return y, given.astype(np.float64), mask, x
