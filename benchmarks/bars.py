"""What the trainings on real data share: a learning rate that decays, a table a seed, and bars to reach."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import mean

import thalweg as tw
from thalweg.callbacks import Logs

SEEDS = (0, 1, 2)


class Decay(tw.Callback):
    """Multiplies the learning rate by a factor after every epoch."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Lower the rate."""
        self.trainer.optimizer.lr *= self.factor


@dataclass(frozen=True)
class Bar:
    """What the mean over the seeds must reach."""

    score: str
    limit: float
    at_most: bool
    form: str  # of a score, as for format()

    def is_reached(self, score: float) -> bool:
        """Whether the bar is reached."""
        return score <= self.limit if self.at_most else score >= self.limit

    def __str__(self) -> str:
        """Name the bar."""
        return f"{self.score} {'<=' if self.at_most else '>='} {self.limit:{self.form}}"


def try_seeds(title: str, bar: Bar, train: Callable[[int], float]) -> bool:
    """Train with every seed, print score and seconds of each, and whether their mean reaches the bar."""
    print(f"{title}\n{'seed':>8}{bar.score:>14}{'seconds':>10}")
    scores = []
    for seed in SEEDS:
        began = time.perf_counter()
        scores.append(train(seed))
        print(f"{seed:>8}{scores[-1]:>14{bar.form}}{time.perf_counter() - began:>10.1f}", flush=True)
    reached = bar.is_reached(mean(scores))
    print(f"{'mean':>8}{mean(scores):>14{bar.form}}{'':>10}  {'PASS' if reached else 'FAIL'}: {bar}\n", flush=True)
    return reached


def exit_status(reached: Iterable[bool]) -> int:
    """Return 0 if all bars are reached, otherwise 1."""
    return 0 if all(reached) else 1
