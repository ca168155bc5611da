"""From turns to figures: which turns count, medians, ratios round by round, and how far losses lie apart."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from statistics import median
from typing import Any

from thalweg.bench import probe, registry
from thalweg.bench.probe import State
from thalweg.bench.works import Work

# How far the loss after one epoch may lie from the float64 twin's, relative. Roundings alone make 1e-9 to 1e-7; where they
# switch a unit on or off for one row, 1e-4.
TOLERANCE = 1e-3

# How far the loss after all epochs of a turn may lie from thalweg's after as many, in parts of the loss after one epoch: such
# switches add up, to 1e-3 in 64 epochs of one row a step, while the loss itself may fall to nothing.
END_TOLERANCE = 1e-2

ALONE = 0.1  # of a core: where other processes took more meanwhile, a turn does not count
STATES = ("near", "far", "one core")


@dataclass(frozen=True)
class Turn:
    """One contestant's part of one round, with the machine's state before and after."""

    round: int
    contestant: str
    samples_per_s: float
    before: State
    after: State
    answer: dict[str, Any]  # of its process: see `child.play`

    @property
    def state(self) -> str:
        """How far apart the cores lay meanwhile."""
        return probe.name_state(self.before, self.after)

    @property
    def epochs(self) -> int:
        """Epochs from the first weights to the end: one that is compared, and those that are timed."""
        return int(self.answer["epochs"]) + 1


@dataclass(frozen=True)
class Result:
    """All turns of a work, the twin's loss after one epoch, and thalweg's after those numbers of epochs that peers made."""

    work: Work
    turns: list[Turn]
    reference: float
    ends: dict[int, float] = field(default_factory=dict)

    def first_off(self, turn: Turn) -> float:
        """Return how far the loss after one epoch lies from the twin's, relative; infinitely far if not finite."""
        return self._apart(turn.answer["loss_after_one"], self.reference)

    def end_off(self, turn: Turn) -> float | None:
        """Return how far the loss at the end lies from thalweg's after as many epochs; None if that is not known."""
        loss, end = turn.answer["loss_at_end"], self.ends.get(turn.epochs)
        if not isfinite(loss):
            return float("inf")
        return None if end is None or not _ends_compare(turn) else self._apart(loss, end)

    def _apart(self, loss: float, expected: float) -> float:
        """Return a difference in parts of the loss after one epoch."""
        return abs(loss - expected) / self.reference if isfinite(loss) else float("inf")

    def agrees(self, turn: Turn) -> bool:
        """Whether a turn's losses are those that they should be."""
        return self.first_off(turn) <= TOLERANCE and (self.end_off(turn) or 0.0) <= END_TOLERANCE


@dataclass(frozen=True)
class Row:
    """What a contestant reached in one work and one state of the machine."""

    contestant: str
    rounds: int
    samples_per_s: float
    spread: tuple[float, float]
    ratio: float | None  # thalweg's speed over this one's, the median over rounds that count for both
    ratio_spread: tuple[float, float]
    first_off: float  # the largest of its turns
    end_off: float | None
    agrees: bool


def _ends_compare(turn: Turn) -> bool:
    return turn.contestant != "thalweg" and bool(turn.answer["resumes"])


def epochs_to_compare(turns: Iterable[Turn]) -> list[int]:
    """Return the numbers of epochs after which thalweg's loss is wanted."""
    return sorted({turn.epochs for turn in turns if _ends_compare(turn)})


def best_fma(results: Iterable[Result]) -> float:
    """Return the best FMA probe: the machine's limit, in GFLOP/s."""
    states = (state for result in results for turn in result.turns for state in (turn.before, turn.after))
    return max((state.fma_gflops for state in states), default=0.0)


def counting(turns: list[Turn], limit: float) -> dict[str, list[Turn]]:
    """Return the turns that count, by state: those in one state throughout, alone on cores of full speed."""
    kept: dict[str, list[Turn]] = {}
    for turn in turns:
        alone = turn.answer["others"] <= ALONE
        if turn.state != "mixed" and alone and probe.is_steady(turn.before, turn.after, limit):
            kept.setdefault(turn.state, []).append(turn)
    return kept


def fullest(result: Result, limit: float) -> list[Turn]:
    """Return the turns of the state in which most count, or all turns if a contestant has none there."""
    most = max(counting(result.turns, limit).values(), key=len, default=[])
    names = {turn.contestant for turn in result.turns}
    return most if {turn.contestant for turn in most} == names else result.turns


def tabulate(result: Result, turns: list[Turn]) -> list[Row]:
    """Return a row for each contestant of some turns of a result."""
    ours = {turn.round: turn.samples_per_s for turn in turns if turn.contestant == "thalweg"}
    rows = []
    for name in registry.NAMES:
        mine = [turn for turn in turns if turn.contestant == name]
        if not mine:
            continue
        speeds = [turn.samples_per_s for turn in mine]
        ratios = [ours[turn.round] / turn.samples_per_s for turn in mine if turn.round in ours]
        ends = [off for turn in mine if (off := result.end_off(turn)) is not None]
        rows.append(Row(
            name, len(mine), median(speeds), _spread(speeds), median(ratios) if ratios else None, _spread(ratios),
            max(map(result.first_off, mine)), max(ends, default=None), all(map(result.agrees, mine))))  # fmt: skip
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
