"""What all pictures share: the figure, colours for light and dark grounds, and axes drawn in them. Needs matplotlib.

Grounds are transparent and every colour is of a middle lightness, so that one file serves a white page and a dark one.
Nothing of matplotlib's global state is read for what must be legible, or changed: no pyplot, no rcParams, no backend.
"""

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

__all__ = [
    "COLOURS",
    "INK",
    "MARKERS",
    "SIZE",
    "Axes",
    "Figure",
    "Picture",
    "count_in_decades",
    "dress",
    "legend",
    "new",
    "place",
]

# Each has a contrast of 3.7 and more with white, with #1e1e1e, with #0d1117 and with black (WCAG asks 3 of graphics and
# of large text). Neighbours differ in hue, and lines in their markers too.
INK = "#797979"
COLOURS = ("#2f7fd6", "#c9621b", "#2a8f5a", "#d6456b", "#9463d0", "#168f9c", "#a9760f")
MARKERS = "osD^vP*"
SIZE = 11.0  # points


class Picture(Figure):
    """A figure that notebooks show without pyplot."""

    def _repr_svg_(self) -> str:
        file = io.StringIO()
        self.savefig(file, format="svg")
        return file.getvalue()


def new(rows: int = 1, columns: int = 1, width: float = 6.4, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    """Return a figure and its axes, dressed; width and height in inches are of one of them."""
    figure = Picture(figsize=(width * columns, height * rows), layout="constrained", facecolor="none", edgecolor="none")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for one in axes:
        dress(one)
    return figure, axes


def place(ax: Axes | None, width: float = 6.4, height: float = 4.0) -> tuple[Figure, Axes]:
    """Return the figure and axes to draw in: the user's, left as they are dressed, or new ones."""
    if ax is None:
        figure, axes = new(width=width, height=height)
        return figure, axes[0]
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be axes of matplotlib, such as figure.subplots() returns, got {type(ax).__name__}")
    root = ax.get_figure(root=True)
    if root is None:
        raise ValueError("ax belongs to no figure any more: it was removed")
    return root, ax


def dress(ax: Axes) -> None:
    """Make the ground transparent, and draw frame, ticks and words in ink."""
    ax.set_facecolor("none")
    for side, spine in ax.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    ax.tick_params(which="both", color=INK, labelcolor=INK, labelsize=SIZE - 1)
    for words in (ax.xaxis.label, ax.yaxis.label, ax.title):
        words.set_color(INK)
        words.set_fontsize(SIZE)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_offset_text().set_color(INK)
    ax.grid(True, color=INK, alpha=0.2, linewidth=0.6)
    ax.set_axisbelow(True)


def count_in_decades(ax: Axes) -> None:
    """Make the vertical axis logarithmic for large numbers, written out at 1, 2 and 5 of each decade."""
    ax.set_yscale("log")
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.minorticks_off()


def legend(ax: Axes, columns: int | None = None) -> None:
    """Tell above the axes what the lines are, where there is more than one: a place that no line can reach."""
    handles, _ = ax.get_legend_handles_labels()
    if len(handles) > 1:
        columns = columns or (2 if len(handles) in (2, 4) else 3)
        words = ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize=SIZE - 1)
        for word in words.get_texts():
            word.set_color(INK)
