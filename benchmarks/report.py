"""From turns to figures: which turns count, medians, ratios round by round, tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any

import contestants
import probe
from probe import State
from works import Work

# How far the loss after one epoch may lie from the float64 twin's, relative. Roundings alone make 1e-9 to 1e-7; where they
# switch a unit on or off for one row, 1e-4.
TOLERANCE = 1e-3

ALONE = 0.1  # of a core: where other processes took more meanwhile, a turn does not count


@dataclass(frozen=True)
class Turn:
    """One contestant's part of one round, with the machine's state before and after."""

    round: int
    contestant: str
    samples_per_s: float
    before: State
    after: State
    answer: dict[str, Any]

    @property
    def state(self) -> str:
        """How far apart the cores lay meanwhile."""
        return probe.name_state(self.before, self.after)


@dataclass(frozen=True)
class Result:
    """All turns of a work, and the twin's loss after one epoch."""

    work: Work
    turns: list[Turn]
    reference: float


@dataclass(frozen=True)
class Row:
    """What a contestant reached in one work and one state of the machine."""

    contestant: str
    rounds: int
    samples_per_s: float
    spread: tuple[float, float]
    ratio: float | None  # thalweg's speed over this one's, the median over rounds that count for both
    ratio_spread: tuple[float, float]
    loss_off: float  # the largest deviation of its loss after one epoch from the twin's, relative


def best_fma(turns: Iterable[Turn]) -> float | None:
    """Return the best FMA probe: the machine's limit, in GFLOP/s."""
    probes = [state.fma_gflops for turn in turns for state in (turn.before, turn.after) if state.fma_gflops]
    return max(probes, default=None)


def counting(turns: list[Turn], limit: float | None) -> dict[str, list[Turn]]:
    """Return the turns that count, by state: those in one state throughout, alone on cores of full speed."""
    kept: dict[str, list[Turn]] = {}
    for turn in turns:
        alone = turn.answer["others"] <= ALONE
        if turn.state != "mixed" and alone and probe.is_steady(turn.before, turn.after, limit):
            kept.setdefault(turn.state, []).append(turn)
    return kept


def loss_off(turn: Turn, reference: float) -> float:
    """Return how far the loss after one epoch lies from the twin's, relative; infinitely far if one is not finite."""
    loss, at_end = turn.answer["loss_after_one"], turn.answer["loss_at_end"]
    return abs(loss / reference - 1) if isfinite(loss) and isfinite(at_end) else float("inf")


def tabulate(turns: list[Turn], reference: float) -> list[Row]:
    """Return a row for each contestant of turns of one state."""
    names = [name for name in contestants.NAMES if any(turn.contestant == name for turn in turns)]
    ours = {turn.round: turn.samples_per_s for turn in turns if turn.contestant == "thalweg"}
    rows = []
    for name in names:
        mine = [turn for turn in turns if turn.contestant == name]
        speeds = [turn.samples_per_s for turn in mine]
        ratios = [ours[turn.round] / turn.samples_per_s for turn in mine if turn.round in ours]
        rows.append(Row(
            name, len(mine), median(speeds), _spread(speeds), median(ratios) if ratios else None, _spread(ratios),
            max(loss_off(turn, reference) for turn in mine)))  # fmt: skip
    return rows


def _spread(values: list[float]) -> tuple[float, float]:
    return (min(values), max(values)) if values else (0.0, 0.0)


def strongest(rows: list[Row]) -> Row | None:
    """Return the peer that thalweg beats by the least."""
    peers = [row for row in rows if row.contestant != "thalweg" and row.ratio is not None]
    return min(peers, key=lambda row: row.ratio or 0.0, default=None)


def gflops(work: Work, samples_per_s: float) -> float:
    """Return GFLOP/s of the matrix products."""
    return samples_per_s * work.flops_per_sample / 1e9


def print_work(result: Result, limit: float | None) -> None:
    """Print a table for each state in which turns count."""
    work, turns, reference = result.work, result.turns, result.reference
    kept = counting(turns, limit)
    dropped = len(turns) - sum(map(len, kept.values()))
    print(f"\n{work.number}. {work.name}: {work.flops_per_sample:,} flops a sample, {work.rows:,} rows")
    for state, chosen in kept.items():
        _print_state(work, state, tabulate(chosen, reference), limit)
    if dropped:
        print(f"   {dropped} of {len(turns)} turns do not count: the machine was busy, slower, or changed its state")
    if {turn.contestant for turn in turns} - {turn.contestant for chosen in kept.values() for turn in chosen}:
        print("   some contestants have no turn that counts; all turns, for orientation:")
        _print_state(work, "unsteady", tabulate(turns, reference), limit)


def _print_state(work: Work, state: str, rows: list[Row], limit: float | None) -> None:
    cores = {"near": ", both cores on one L3", "far": ", cores far apart"}.get(state, "")
    print(f"   {state}{cores}; FMA limit {f'{limit:.0f} GFLOP/s' if limit else 'unknown'}")
    print(f"   {'':<15}{'samples/s':>12}  {'spread':<25}{'rounds':>6}{'GFLOP/s':>9}{'limit':>7}  "
          f"{'thalweg is':<22}{'loss off by'}")  # fmt: skip
    for row in rows:
        speed = gflops(work, row.samples_per_s)
        spread = f"{row.spread[0]:,.0f}-{row.spread[1]:,.0f}"
        share = f"{speed / limit:.0%}" if limit else ""
        against = ""
        if row.contestant != "thalweg" and row.ratio is not None:
            against = f"{row.ratio:.2f}x [{row.ratio_spread[0]:.2f}-{row.ratio_spread[1]:.2f}]"
        off = f"{row.loss_off:.0e}" + ("" if row.loss_off <= TOLERANCE else "  DIFFERS")
        print(f"   {row.contestant:<15}{row.samples_per_s:>12,.0f}  {spread:<25}{row.rounds:>6}{speed:>9.1f}{share:>7}  "
              f"{against:<22}{off}")  # fmt: skip


def print_summary(results: list[Result], limit: float | None, names: list[str]) -> None:
    """Print one Markdown table for each state: a line a work, thalweg's ratio to each peer."""
    peers = [name for name in names if name != "thalweg"]
    for state in ("near", "far", "one core"):
        lines = [line for result in results if (line := _summary_line(result, limit, state, peers))]
        if lines:
            print(f"\n{state}: thalweg's samples/s, and how many times each peer's that is\n")
            print(f"| work | thalweg | GFLOP/s | % of limit | {' | '.join(peers)} | strongest |")
            print("|---" * (len(peers) + 5) + "|")
            print("\n".join(lines))


def _summary_line(result: Result, limit: float | None, state: str, peers: list[str]) -> str:
    work, chosen = result.work, counting(result.turns, limit).get(state, [])
    rows = {row.contestant: row for row in tabulate(chosen, result.reference)}
    if "thalweg" not in rows:
        return ""
    ours = rows["thalweg"].samples_per_s
    speed = gflops(work, ours)
    cells = [_ratio(rows.get(peer)) for peer in peers]
    best = strongest(list(rows.values()))
    return (
        f"| {work.name} | {ours:,.0f} | {speed:.1f} | {f'{speed / limit:.0%}' if limit else ''} | "
        f"{' | '.join(cells)} | {f'{best.contestant} {_ratio(best)}' if best else ''} |"
    )


def _ratio(row: Row | None) -> str:
    if row is None or row.ratio is None:
        return ""
    return f"{row.ratio:.2f}" + ("" if row.loss_off <= TOLERANCE else " (loss differs)")
