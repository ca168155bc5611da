"""What tools share that compare libraries: each plays in a process of its own, one after another, round by round.

A tool starts itself again with ``--play NAME``; that process prints its figures as one line of JSON, once, or as a
`Player` for every line that it reads. A library that is not installed is left out.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

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


def command(name: str, *options: object) -> list[str]:
    """Return the command that is this tool as one contestant."""
    return [sys.executable, str(Path(sys.argv[0]).resolve()), "--play", name, *map(str, options)]


def environment() -> dict[str, str]:
    """Return the environment for a contestant."""
    return {key: value for key, value in os.environ.items() if key not in HALVING}


def play(name: str, *options: object) -> Figures:
    """Run this tool again as one contestant, in a new process; return its figures."""
    done = subprocess.run(command(name, *options), stdout=subprocess.PIPE, text=True, check=True, env=environment())
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


class Player:
    """One contestant in a process that stays, and measures whenever it is asked: turns may be short, and near in time."""

    def __init__(self, name: str, *options: object) -> None:
        pipe = subprocess.PIPE
        asked = command(name, *options)
        self._process = subprocess.Popen(asked, stdin=pipe, stdout=pipe, text=True, env=environment())

    def play(self, seconds: float) -> Figures:
        """Have it measure for so long; return its figures."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(seconds, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a contestant has ended without an answer: its reason stands above")
        figures: Figures = json.loads(line)
        return figures

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it nothing more to read, at which it ends."""
        self._process.communicate()


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
    print(json.dumps(figures), flush=True)


def repeated(
    call: Callable[[], object], clock: Callable[[], float], seconds: float, batch: int = 1, least: int = 10
) -> list[float]:
    """Return the seconds of a call, from `least` batches of calls or more for so long, the first tenth left out."""
    took: list[float] = []
    began = clock()
    while (now := clock()) - began < seconds or len(took) < least:
        for _ in range(batch):
            call()
        took.append((clock() - now) / batch)
    return took[len(took) // 10 :]
