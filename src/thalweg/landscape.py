"""The ground that a descent goes over: points of its paths, the window that shows them, and heights of the function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.arrays import Array
from thalweg.curves import FEW
from thalweg.gradients import as_number, check_function

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = {1: 401, 2: 81}  # points a side, for functions of one and of two variables
_MARGIN = 0.15
_STEPS_SHOWN = 3  # of a path that climbs out of the picture


@dataclass(frozen=True)
class Landscape:
    """A function of one or two variables over a window, and the paths through it."""

    paths: dict[str, Array]  # (points, dimensions)
    heights: dict[str, Array]  # f at each of them
    grid: tuple[Array, ...]  # points along each axis
    ground: Array  # f over the grid; the second variable runs along the rows
    window: Array  # (2, dimensions): lowest and highest


def survey(function: Callable[[Any], Any], paths: Any, bounds: Any) -> Landscape:
    """Evaluate a function along paths and over the window that they need."""
    check_function(function, "f")
    points, shape = read_paths(paths)
    height = Height(function, shape)
    with np.errstate(all="ignore"):
        heights = {name: np.array([height(point) for point in path]) for name, path in points.items()}
        window = _window(points, heights) if bounds is None else _bounds(bounds, len(next(iter(points.values()))[0]))
        grid = tuple(np.linspace(low, high, _GRID[window.shape[1]]) for low, high in window.T)
        points_of_grid = np.stack(np.meshgrid(*grid), -1).reshape(-1, len(grid))
        ground = np.array([height(point) for point in points_of_grid])
    ground = ground.reshape([len(axis) for axis in reversed(grid)])
    return Landscape(points, heights, grid, ground, window)


class Height:
    """A function, called with a point as it stood in the path, or with a `Variable` where it takes nothing else."""

    def __init__(self, function: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
        self.function, self.shape = function, shape
        self.wrap = False

    def __call__(self, point: Array) -> float:
        """Return f at a point, (dimensions,)."""
        shaped: Any = point.reshape(self.shape) if self.shape else float(point[0])
        if self.wrap:
            return as_number(self.function(self._variable(shaped)))
        try:
            returned = self.function(shaped)
        except (AttributeError, TypeError):
            returned = self.function(self._variable(shaped))
            self.wrap = True
        return as_number(returned)

    def _variable(self, point: Any) -> Any:
        from thalweg import graph

        return graph.Variable(point)


def read_paths(paths: Any) -> tuple[dict[str, Array], tuple[int, ...]]:
    """Return paths by name, each (points, 1 or 2), and the shape that a point had."""
    given = dict(paths) if isinstance(paths, Mapping) and not hasattr(paths, "path") else {"": paths}
    if not given:
        raise ValueError("paths is empty; expected a path, or a dict of them by name")
    read: dict[str, Array] = {}
    shapes: set[tuple[int, ...]] = set()
    for name, path in given.items():
        what = f"paths[{name!r}]" if name else "paths"
        try:
            points = np.asarray(getattr(path, "path", path), np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"{what} is no array of points nor a result of tw.minimize: {path!r}") from None
        if points.ndim == 0 or not len(points) or points[0].size not in (1, 2):
            raise ValueError(f"{what} has shape {points.shape}; expected (points,), (points, 1) or (points, 2)")
        read[str(name)] = points.reshape(len(points), -1)
        shapes.add(points.shape[1:])
    if len(shapes) > 1:
        raise ValueError(f"paths are through points of different shapes: {', '.join(map(str, sorted(shapes)))}")
    return read, shapes.pop()


def _window(paths: Mapping[str, Array], heights: Mapping[str, Array]) -> Array:
    """Return the box of the paths with a margin; of a path that ends higher than it began, only the first steps count."""
    shown = [path if heights[name][-1] <= heights[name][0] else path[:_STEPS_SHOWN] for name, path in paths.items()]
    points = np.concatenate(shown)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ValueError("paths hold no finite point; expected numbers")
    low, high = points.min(axis=0), points.max(axis=0)
    width = high - low
    # A path along one axis, or one that stands still, gets a window with some height all the same.
    width = np.maximum(width, 0.5 * width.max() or np.maximum(1.0, np.abs(high)))
    middle = (low + high) / 2
    return np.array([middle - (0.5 + _MARGIN) * width, middle + (0.5 + _MARGIN) * width])


def _bounds(bounds: Any, dimensions: int) -> Array:
    try:
        low, high = (np.broadcast_to(np.asarray(side, np.float64), (dimensions,)) for side in bounds)
    except (TypeError, ValueError):
        expected = f"(low, high), each a number or {dimensions} of them"
        raise ValueError(f"bounds must be {expected}, got {bounds!r}") from None
    if not (np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError(f"bounds must be finite, low below high, got {bounds!r}")
    return np.array([low, high])


def levels(ground: Array, count: int = 13) -> Array:
    """Return heights for contours: more of them where it is low, so that a narrow valley is seen beside steep walls."""
    finite = ground[np.isfinite(ground)]
    shares = (np.arange(1, count) / count) ** 1.5
    return np.unique(np.quantile(finite, shares)) if finite.size and np.ptp(finite) > 0 else np.empty(0)


# ---- drawing --------------------------------------------------------------------------------------------------------


def draw_curve(canvas: ModuleType, ax: "Axes", land: Landscape) -> None:
    """Draw a function of one variable."""
    ax.plot(land.grid[0], land.ground, color=canvas.INK, linewidth=1.2)
    ax.set_xlim(*land.window[:, 0])
    ax.set_xlabel("x")
    ax.set_ylabel("f(x)")
    finite = land.ground[np.isfinite(land.ground)]
    if finite.size and np.ptp(finite) > 0:
        margin = 0.05 * np.ptp(finite)
        ax.set_ylim(finite.min() - margin, finite.max() + margin)


def draw_contours(canvas: ModuleType, ax: "Axes", land: Landscape) -> None:
    """Draw contours of a function of two variables."""
    heights = levels(land.ground)
    if heights.size:
        ground = np.ma.masked_invalid(land.ground)
        lines = ax.contour(*land.grid, ground, levels=heights, colors=canvas.INK, linewidths=0.7, linestyles="solid")
        ax.clabel(lines, heights[::3], fmt="%.3g", fontsize=8, colors=canvas.INK)
    ax.set_xlim(*land.window[:, 0])
    ax.set_ylim(*land.window[:, 1])
    ax.set_xlabel("x[0]")
    ax.set_ylabel("x[1]")
    ax.grid(False)


def draw_path(canvas: ModuleType, ax: "Axes", x: Array, y: Array, number: int, name: str) -> None:
    """Draw a line with a marker at each step, or at some of many; a ring where it begins, a full one where it ends."""
    colour, marker = canvas.COLOURS[number % len(canvas.COLOURS)], canvas.MARKERS[number % len(canvas.MARKERS)]
    step = -(-len(x) // FEW)
    label = name or "_path"  # matplotlib leaves out of the legend what begins with an underscore
    ax.plot(x, y, color=colour, marker=marker, markersize=4, markevery=step, linewidth=1.2, label=label)
    ax.plot(x[:1], y[:1], color=colour, marker="o", markersize=9, markerfacecolor="none", label="_begin")
    ax.plot(x[-1:], y[-1:], color=colour, marker=marker, markersize=8, label="_end")
