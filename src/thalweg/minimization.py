"""Minimising functions of the user's own, with the optimizers of training."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thalweg import oneshot
from thalweg.arrays import Array
from thalweg.checks import check_count, check_number, check_positive, is_number
from thalweg.descent import CONVERGED, MAX_STEPS, NO_PROGRESS, Box, Callback, Objective, Result, Walk
from thalweg.gradients import Function
from thalweg.lbfgs import lbfgs
from thalweg.optimizer import Optimizer
from thalweg.optimizers import SGD
from thalweg.quasi_newton import LBFGS


def minimize(
    f: Function,
    x0: npt.ArrayLike,
    gradient: Function | None = None,
    optimizer: Optimizer | None = None,
    max_steps: int = 1000,
    tolerance: float = 1e-6,
    bounds: Any = None,
    callback: Callback | None = None,
) -> Result:
    r"""Minimise a function of one or several variables by following its gradient downhill.

    .. math:: x \leftarrow P(x - \text{step of the optimizer for } \nabla f(x))

    with the update kernels of training, in float64; P projects onto the bounds.

    Parameters
    ----------
    f : callable
        Takes a point like `x0` and returns one number.
    x0 : number or array of any shape
        Where to begin; projected onto the bounds.
    gradient : callable, optional
        Returns the gradient at a point, of the shape of `x0`; called once at every point. Without it, f is called with
        a `thalweg.graph.Variable`, whose way back gives the gradient; where f cannot take one (it uses NumPy's
        functions, say), gradients are central differences: see `Result.derivative` and `numerical_gradient`.
    optimizer : Optimizer, default SGD(lr=1e-2)
        Any of thalweg's but `ADMMAdam` (see `thalweg.admm.solve`), with its clipping; a new state for every call. Of
        `LBFGS` lr and history_size count: max_steps are its iterations.
    max_steps : int, default 1000
    tolerance : float, default 1e-6
        Ends where no entry of the gradient is larger (entries that push against a bound do not count), or where f has
        not become lower in a tenth of `max_steps`, at least 100. 0 turns both off.
    bounds : pair (low, high), optional
        Numbers or arrays of the shape of `x0`; None on one side leaves it open. Every point of the path is within;
        central differences reach out beyond by their h.
    callback : callable, optional
        Called after each step with a copy of the point; to end, it returns True or raises StopIteration.

    Returns
    -------
    Result
        ``x, fun, jac, nit, nfev, success, status, message`` as SciPy's, and ``path``, all points visited. `x` is the
        best of them. A value that is not finite ends the descent with status 3.

    Raises
    ------
    ValueError, TypeError
        f returns more than one number, f is not finite at `x0`, the learning rate is 0, or arguments do not fit.

    See Also
    --------
    minimize_scalar : for one variable, without a learning rate.

    Examples
    --------
    >>> import thalweg as tw
    >>> result = tw.minimize(lambda x: 5 * x**2 - 20 * x, 0.0, optimizer=tw.SGD(lr=0.05))
    >>> round(result.x, 6), result.success, result.derivative
    (2.0, True, 'graph')
    >>> rosenbrock = lambda v: (1 - v[0]) ** 2 + 100 * (v[1] - v[0] ** 2) ** 2
    >>> result = tw.minimize(rosenbrock, [-1.2, 1.0], optimizer=tw.Adam(lr=0.05), max_steps=5000)
    >>> result.x.round(4).tolist()
    [1.0, 1.0]
    """
    optimizer = _checked(SGD(lr=1e-2) if optimizer is None else optimizer)
    max_steps = check_count(max_steps, "minimize: max_steps", 0)
    tolerance = check_number(tolerance, "minimize: tolerance", 0)
    walk = Walk(Objective(f, gradient, x0, bounds), tolerance, callback)
    if isinstance(optimizer, LBFGS):
        _by_line_searches(walk, optimizer, max_steps, bounds)
    else:
        _by_steps(walk, optimizer, max_steps)
    return walk.result()


def _checked(optimizer: Any) -> Optimizer:
    """Return an optimizer that a function can be minimised with."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"minimize: optimizer must be an optimizer such as tw.Adam(lr=1e-3), got {optimizer!r}")
    optimizer.check()
    if is_number(optimizer.lr) and optimizer.lr == 0:
        raise ValueError(f"minimize: the learning rate must be > 0, got {optimizer!r}")
    for name, off in (("accumulate", 1), ("average", None)):
        if getattr(optimizer, name) != off:
            raise ValueError(f"minimize: {name} is for training on batches, got {optimizer!r}")
    if optimizer.python_state_names:
        raise ValueError(f"minimize takes no optimizer with constraints: see tw.admm.solve; got {optimizer!r}")
    return optimizer


def _by_steps(walk: Walk, optimizer: Optimizer, max_steps: int) -> None:
    """Step with an elementwise optimizer: one program, for which point and gradient stay where they are."""
    x = walk.objective.x0.reshape(-1).copy()
    point = x.reshape(walk.objective.x0.shape)  # the same memory
    g = np.empty_like(x)
    update = oneshot.updater(optimizer, x, g)
    patience = max(100, max_steps // 10)
    while True:
        value, gradient = walk.objective(point)
        if not walk.visit(point, value, gradient):
            return
        if walk.tolerance and walk.since_lowest >= patience:
            walk.stop(NO_PROGRESS, f"no progress: f has not become lower in {patience} steps")
            return
        if walk.steps == max_steps:
            walk.stop(MAX_STEPS, f"max_steps = {max_steps} steps were made")
            return
        g[...] = _clipped(optimizer, gradient).reshape(-1)
        update(optimizer.scalars(np.array([walk.steps])))
        point[...] = walk.box.project(point)


def _clipped(optimizer: Optimizer, gradient: Array) -> Array:
    """Clip by the norm, then by value, as training does."""
    if optimizer.clip_norm is not None:
        norm = float(np.linalg.norm(gradient))
        gradient = gradient * min(1.0, optimizer.clip_norm / norm) if norm else gradient
    if optimizer.clip_value is not None:
        gradient = np.clip(gradient, -optimizer.clip_value, optimizer.clip_value)
    return gradient


def _by_line_searches(walk: Walk, optimizer: LBFGS, max_steps: int, bounds: Any) -> None:
    """Leave it to L-BFGS, which evaluates several points a step; the path is of those that it accepts."""
    if bounds is not None:
        raise ValueError("minimize: L-BFGS takes no bounds; use an optimizer that steps, such as tw.Adam")
    objective, shape = walk.objective, walk.objective.x0.shape
    latest: dict[bytes, tuple[float, Array]] = {}

    def evaluate(x: Array) -> tuple[float, Array]:
        key = x.tobytes()
        if key not in latest:
            latest[key] = objective(x.reshape(shape))
        return latest[key][0], latest[key][1].reshape(-1)

    def accept(x: Array, *_: Any) -> bool:
        known = latest[x.tobytes()]
        for key in [key for key in latest if key != x.tobytes()]:
            del latest[key]
        return walk.status is None and not walk.visit(x.reshape(shape), *known)

    start = objective.x0.reshape(-1)
    evaluate(start)
    if walk.visit(objective.x0, *latest[start.tobytes()]) and max_steps:
        lbfgs(
            evaluate, start, max_steps=max_steps, tolerance=walk.tolerance, history=optimizer.history_size,
            rate=float(optimizer.rates(0)[0]), callback=accept,
        )  # fmt: skip
    if walk.status is None and walk.steps >= max_steps:
        walk.stop(MAX_STEPS, f"max_steps = {max_steps} steps were made")
    elif walk.status is None:
        walk.stop(NO_PROGRESS, "no progress: no lower point was found along the line")


def minimize_scalar(
    f: Function,
    x0: float,
    gradient: Function | None = None,
    step: float = 0.1,
    growth: float = 2.0,
    max_steps: int = 1000,
    tolerance: float = 1e-8,
    bounds: Any = None,
    callback: Callback | None = None,
) -> Result:
    r"""Minimise a function of one variable by the sign of its derivative.

    From `x0` it steps downhill, :math:`x \leftarrow x - h \operatorname{sign} f'(x)`, until the derivative is zero or
    has changed its sign; then a minimum lies between the last two points, and halving that bracket closes in on it.

    Parameters
    ----------
    f, x0, gradient, callback
        As in `minimize`, of one number.
    step : float, default 0.1
        The first h.
    growth : float, default 2
        Each h is so many times the one before; 1 is the textbooks' constant step.
    max_steps : int, default 1000
    tolerance : float, default 1e-8
        Ends where the derivative is no larger; or where the bracket has closed, to rounding of its first two ends.
    bounds : pair (low, high), optional
        A descent that arrives at a bound ends there.

    Returns
    -------
    Result

    Raises
    ------
    ValueError, TypeError
        As `minimize` does.

    Examples
    --------
    >>> import thalweg as tw
    >>> result = tw.minimize_scalar(lambda x: (x - 3) ** 2 + 1, 0.0)
    >>> round(result.x, 9), result.fun
    (3.0, 1.0)
    """
    step, growth = check_positive(step, "minimize_scalar: step"), check_number(growth, "minimize_scalar: growth", 1)
    max_steps = check_count(max_steps, "minimize_scalar: max_steps", 0)
    tolerance = check_number(tolerance, "minimize_scalar: tolerance", 0)
    objective = Objective(f, gradient, x0, bounds)
    if objective.x0.ndim:
        raise ValueError(
            f"minimize_scalar: x0 has shape {objective.x0.shape}; expected a number; see minimize for more"
        )
    walk = Walk(objective, tolerance, callback)
    _close_in(walk, step, growth, max_steps)
    return walk.result()


def _close_in(walk: Walk, step: float, growth: float, max_steps: int) -> None:
    """Step downhill until the derivative changes its sign, then halve the bracket."""
    x = walk.objective.x0
    value, derivative = walk.objective(x)
    sign = np.sign(derivative)  # that of the end called inside; at the other it is not
    inside, outside, closed = x, None, 0.0
    while walk.visit(x, value, derivative):
        if derivative == 0:
            walk.stop(CONVERGED, "the derivative is 0")
            return
        if np.sign(derivative) == sign:
            inside = x
        else:
            closed = closed or np.finfo(float).eps * max(abs(float(inside)), abs(float(x)))
            outside = x
        x, ended = _next(walk.box, inside, outside, step * sign, closed)
        if ended:
            walk.stop(CONVERGED, ended)
            return
        if walk.steps == max_steps:
            walk.stop(MAX_STEPS, f"max_steps = {max_steps} steps were made")
            return
        step *= growth
        value, derivative = walk.objective(x)


def _next(box: Box, inside: Array, outside: Array | None, step: Array, closed: float) -> tuple[Array, str]:
    """Return the next point, and why there is none."""
    if outside is None:
        x = box.project(inside - step)
        return x, "the descent has arrived at a bound" if x == inside else ""
    if abs(float(outside - inside)) <= closed:
        return inside, "the derivative changes its sign here"
    return np.asarray(inside + (outside - inside) / 2), ""
