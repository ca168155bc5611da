"""Pictures of training, of descent and of computational graphs. They need matplotlib: ``pip install 'thalweg[plot]'``.

Every function returns the figure and shows nothing: ``figure.savefig("picture.svg")`` or ``.png`` keeps it, a notebook
shows it as a cell's last value. Grounds are transparent and colours fit light and dark pages. Axes of your own (`ax`)
are drawn in and otherwise left as you made them. pyplot, its current figure and rcParams are never touched.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from thalweg.callbacks import History

__all__ = ["descent", "graph", "history", "update_methods"]


def open_canvas() -> ModuleType:
    """Import what draws, when something is drawn."""
    try:
        from thalweg import canvas
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != "matplotlib":
            raise
        raise ImportError("pictures need matplotlib: pip install 'thalweg[plot]'", name="matplotlib") from None
    return canvas


# ---- training -------------------------------------------------------------------------------------------------------


def history(
    history: "History", names: str | Sequence[str] | None = None, *, log: bool = False, ax: "Axes | None" = None
) -> "Figure":
    """Draw losses, metrics and whatever else a history holds over the epochs: training solid, validation dashed.

    Parameters
    ----------
    history : History
        What ``fit`` returned. ``history.plot()`` is the same.
    names : str or sequence of str, optional
        What to draw, without "val_", each in axes of its own: "loss", "accuracy", ... Default: all; in `ax` the loss.
    log : bool, default False
        Whether the vertical axes are logarithmic.
    ax : matplotlib Axes, optional
        Draw here, one name.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        The history holds no epoch, or nothing of a name; or several names were asked for in one `ax`.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    >>> x, y = np.ones((8, 2)), np.zeros(8)
    >>> fitted = model.fit(x, y, loss="mse", optimizer=tw.SGD(0.1), epochs=5, validation_data=(x, y))
    >>> figure = tw.plot.history(fitted)
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    from thalweg.curves import draw_quantity, quantities

    canvas, chosen = open_canvas(), quantities(history, names, ax is not None)
    if ax is None:
        columns = min(len(chosen), 3)
        figure, axes = canvas.new(-(-len(chosen) // columns), columns, width=6.4 if columns == 1 else 4.8)
        while len(axes) > len(chosen):
            axes.pop().remove()
    else:
        figure, only = canvas.place(ax)
        axes = [only]
    for one, name in zip(axes, chosen, strict=True):
        draw_quantity(canvas, one, history, name)
        one.set_yscale("log" if log else "linear")
    return figure  # type: ignore[no-any-return]


def update_methods(
    runs: "Mapping[str, History] | Sequence[History]", *, log: bool = True, axes: "Sequence[Axes] | None" = None
) -> "Figure":
    """Draw the loss over the samples seen and over the seconds of training, for runs that differ in how they update.

    Batch gradient descent makes one update from all rows, stochastic one from each row, mini-batch one from a few: by
    samples the small batches are ahead, by seconds those that keep the CPU busy.

    Parameters
    ----------
    runs : dict of str to History, or sequence of History
        What ``fit`` returned for each; without names they are called "full batch", "stochastic" and "mini-batch of n".
    log : bool, default True
        Whether the losses' axes are logarithmic; where a loss is not positive they are not.
    axes : two matplotlib Axes, optional
        Draw here: samples, seconds.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is missing.
    ValueError
        There is no run, or one without an epoch, without a known number of samples, or resumed by a `Checkpoint`.

    Notes
    -----
    A point is an epoch: the mean of its steps' losses, each before its update. Seconds are ``History.seconds``, without
    validation.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> x, y = np.ones((8, 2)), np.zeros(8)
    >>> def run(batch_size):
    ...     model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    ...     return model.fit(x, y, loss="mse", optimizer=tw.SGD(0.1), epochs=5, batch_size=batch_size)
    >>> figure = tw.plot.update_methods([run("full"), run(1), run(4)])
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['full batch', 'stochastic', 'mini-batch of 4']
    """
    from thalweg.curves import draw_run, name_runs

    canvas, named = open_canvas(), name_runs(runs)
    if axes is None:
        figure, (over_samples, over_seconds) = canvas.new(columns=2, width=4.8)
    else:
        if len(axes) != 2:
            raise ValueError(f"axes must be two axes of matplotlib, for samples and seconds, got {len(axes)}")
        (figure, over_samples), (_, over_seconds) = (canvas.place(ax) for ax in axes)
    for i, (label, run) in enumerate(named.items()):
        samples = [run.params["samples"] * (number + 1) for number in range(len(run.epoch))]
        draw_run(canvas, over_samples, samples, run, label, i)
        draw_run(canvas, over_seconds, list(accumulate(run.seconds)), run, label, i)
    positive = all(loss > 0 for run in named.values() for loss in run.history["loss"])
    for ax, label in ((over_samples, "samples seen"), (over_seconds, "seconds of training")):
        ax.set_xlabel(label)
        ax.set_ylabel("loss")
        ax.set_xscale("log")
        ax.set_yscale("log" if log and positive else "linear")
    canvas.legend(over_samples)
    return figure  # type: ignore[no-any-return]


# ---- descent --------------------------------------------------------------------------------------------------------


def descent(f: Any, paths: Any, *, bounds: Any = None, ax: "Axes | None" = None) -> "Figure":
    """Draw paths of descent: over the contours of a function of two variables, or on the curve of one.

    Parameters
    ----------
    f : callable
        Of a point, as `thalweg.minimize` takes it; returns one number.
    paths : path, or dict of str to path
        A path is what `thalweg.minimize` returned, or an array of points: (points, 2), (points, 1) or (points,).
    bounds : (low, high), optional
        What is shown: numbers, or one for each variable. Default: all of the paths; of a path that ends higher than it
        began, as it does where the learning rate is too large, the first steps.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError, ValueError
        f returns no number; paths are of points with more than two variables, or have no point.

    Notes
    -----
    A ring marks where a path begins, a larger filled marker where it ends. f is called at every point of a path, and at
    6,561 of a grid, or 401 where it has one variable.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> def valley(x):
    ...     return x[0] ** 2 + 10 * x[1] ** 2
    >>> path = [np.array([4.0, 1.0])]
    >>> for _ in range(20):
    ...     path.append(path[-1] - 0.08 * np.array([2.0, 20.0]) * path[-1])
    >>> figure = tw.plot.descent(valley, {"lr 0.08": path})
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('x[0]', 'x[1]')
    """
    from thalweg.landscape import draw_contours, draw_curve, draw_path, survey

    canvas = open_canvas()
    land = survey(f, paths, bounds)
    figure, ax = canvas.place(ax)
    if len(land.grid) == 1:
        draw_curve(canvas, ax, land)
    else:
        draw_contours(canvas, ax, land)
    for i, (name, path) in enumerate(land.paths.items()):
        across = land.heights[name] if len(land.grid) == 1 else path[:, 1]
        draw_path(canvas, ax, path[:, 0], across, i, name)
    canvas.legend(ax)
    return figure  # type: ignore[no-any-return]


# ---- graphs ---------------------------------------------------------------------------------------------------------


def graph(node: Any, *, ax: "Axes | None" = None) -> "Figure":
    """Draw the computational graph that ends in a node: what each node is made from, its value and its gradient.

    Parameters
    ----------
    node : thalweg.graph.Variable
        After ``node.backward()`` the nodes have gradients. ``node.plot()`` is the same.
    ax : matplotlib Axes, optional
        Draw here; the words keep their size, so that it must be large enough.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is missing.
    TypeError
        `node` is no node of a graph.
    ValueError
        The graph has more than 100 nodes.

    Examples
    --------
    >>> import thalweg as tw
    >>> a, b, c = (tw.graph.Variable(value, name) for value, name in ((1, "a"), (2, "b"), (4, "c")))
    >>> J = 3 * (a + b * c)
    >>> J.backward()
    >>> figure = tw.plot.graph(J)
    >>> [text.get_text() for text in figure.axes[0].texts if "n" in text.get_text()[:1]]
    ['n1 = b * c', 'n2 = a + n1', 'n3 = 3 * n2']
    """
    from thalweg.diagram import check_graph, draw_graph

    shown = check_graph(node)
    return draw_graph(open_canvas(), shown, ax)  # type: ignore[no-any-return]
