"""The picture of a run: throughput over batch size, a network each, and how fast the three update methods learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg import comparison, datasets, preparation
from thalweg.bench import figures, registry
from thalweg.bench.figures import Result
from thalweg.bench.probe import Limit
from thalweg.bench.works import Work
from thalweg.comparison import Method, Outcome
from thalweg.curves import FEW
from thalweg.plot import open_canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HIDDEN = [64]  # units between the digits' 64 pixels and 10 classes


def check(path: Path) -> None:
    """Find out before any work whether a picture can be drawn and written to a file of this name."""
    kinds = open_canvas().new()[0].canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ValueError(f"--plot: {path} should end in one of .{', .'.join(kinds)}")


def train_methods() -> list[Outcome]:
    """Train a small network on the digits that come with the package, by each update method."""
    data = preparation.prepare(datasets.digits())
    return [comparison.train(data, Method.choose(size), _HIDDEN, seed=0) for size in comparison.BATCH_SIZES]


def draw(results: Sequence[Result], limit: Limit, outcomes: Sequence[Outcome]) -> "Figure":
    """Draw the throughput on each network, and the loss over seconds."""
    networks = list(dict.fromkeys(result.work.network for result in results))
    count = len(networks) + 1
    columns = min(count, 3)
    figure, axes = open_canvas().new(-(-count // columns), columns, width=6.0, height=4.8)
    while len(axes) > count:
        axes.pop().remove()
    for network, ax in zip(networks, axes, strict=False):
        _draw_throughput(ax, [result for result in results if result.work.network == network], limit)
    _draw_losses(axes[-1], outcomes)
    return figure  # type: ignore[no-any-return]


def _draw_throughput(ax: "Axes", results: list[Result], limit: Limit) -> None:
    """Draw samples a second over the rows of a step, a line each contestant, and the limit."""
    canvas = open_canvas()
    results = sorted(results, key=lambda result: result.work.batch)
    tables = [figures.tabulate(result, figures.fullest(result, limit.gflops)) for result in results]
    for i, name in enumerate(registry.NAMES):
        points = [(result.work.batch, row.samples_per_s)
                  for result, rows in zip(results, tables, strict=True) for row in rows if row.contestant == name]  # fmt: skip
        if points:
            ax.plot(*zip(*points, strict=True), color=canvas.COLOURS[i], marker=canvas.MARKERS[i], markersize=5,
                    linewidth=2.5 if name == "thalweg" else 1.5, label=name)  # fmt: skip
    _draw_limit(ax, results, limit)
    works = [result.work for result in results]
    ax.set_xscale("log", base=2)
    ax.set_xticks([work.batch for work in works], [_name_step(work) for work in works])
    canvas.count_in_decades(ax)
    ax.set_xlabel(f"rows a step, {works[0].network}")
    ax.set_ylabel("samples/s")
    canvas.legend(ax)


def _draw_limit(ax: "Axes", results: list[Result], limit: Limit) -> None:
    """Draw the samples a second at which the products alone would reach the machine's limit."""
    ink = open_canvas().INK
    limit = limit.of(results[0].work)
    speed = limit.gflops * 1e9 / results[0].work.flops_per_sample
    ax.axhline(speed, color=ink, linestyle="--", linewidth=1)
    ax.annotate(f"limit, {limit.gflops:.0f} GFLOP/s", (0, speed), (4, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", color=ink, fontsize=9)  # fmt: skip


def _name_step(work: Work) -> str:
    batch = f"all {work.batch:,}" if work.full else f"{work.batch:,}"
    return f"{batch}\n{work.optimizer_name}"


def _draw_losses(ax: "Axes", outcomes: Sequence[Outcome]) -> None:
    """Draw the loss of each epoch over the seconds of training until its end."""
    canvas = open_canvas()
    for i, outcome in enumerate(outcomes):
        marker = canvas.MARKERS[i] if len(outcome.losses) <= FEW else None
        ax.plot(outcome.seconds, outcome.losses, color=canvas.COLOURS[i], marker=marker, markersize=4,
                label=str(outcome.method))  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("seconds of training, digits, 64-64-10")
    ax.set_ylabel("loss, mean of an epoch")
    canvas.legend(ax, columns=1)
