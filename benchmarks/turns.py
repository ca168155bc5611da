"""What tools share that compare libraries: each plays in a process of its own, one after another, round by round.

A tool starts itself again with ``--play NAME``; that process prints its figures as one line of JSON. A library that is
not installed is left out.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

Figures = dict[str, float]
HALVING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where these are set, NumPy and scikit-learn lose half their speed


@dataclass(frozen=True)
class Verdict:
    """A figure and the bar that it must reach."""

    what: str
    value: float
    bar: float
    at_least: bool

    @property
    def passed(self) -> bool:
        """Whether the bar is reached."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def __str__(self) -> str:
        """Return it as one line."""
        sign = ">=" if self.at_least else "<="
        return f"{'PASS' if self.passed else 'FAIL'}  {self.value:9.3f}  ({sign} {self.bar:g})  {self.what}"


def report(verdicts: Sequence[Verdict]) -> int:
    """Print all verdicts; return the exit status, 1 if a bar is missed."""
    print("", *verdicts, sep="\n", flush=True)
    return int(not all(verdict.passed for verdict in verdicts))


def installed(modules: dict[str, str]) -> list[str]:
    """Return the contestants whose module is there."""
    for name, module in modules.items():
        if find_spec(module) is None:
            print(f"{name} is left out: there is no module {module}")
    return [name for name, module in modules.items() if find_spec(module) is not None]


def play(name: str, *options: object) -> Figures:
    """Run this tool again as one contestant, in a new process; return its figures."""
    command = [sys.executable, str(Path(sys.argv[0]).resolve()), "--play", name, *map(str, options)]
    environment = {key: value for key, value in os.environ.items() if key not in HALVING}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def play_in_turn(names: Sequence[str], rounds: int, *options: object) -> dict[str, list[Figures]]:
    """Let each contestant play once a round; print and return what they measured."""
    played: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            played[name].append(play(name, *options))
            shown = ", ".join(f"{what} {figure:.4g}" for what, figure in played[name][-1].items())
            print(f"round {number}  {name:<14}{shown}", flush=True)
    return played


def show(figures: Figures) -> None:
    """Print figures for the process that asked for them."""
    print(json.dumps(figures))


def repeated(call: Callable[[], object], clock: Callable[[], float], seconds: float, batch: int = 1) -> list[float]:
    """Return the seconds of a call, from batches of calls for so many seconds, the first tenth left out."""
    took: list[float] = []
    began = clock()
    while (now := clock()) - began < seconds or len(took) < 10:
        for _ in range(batch):
            call()
        took.append((clock() - now) / batch)
    return took[len(took) // 10 :]
