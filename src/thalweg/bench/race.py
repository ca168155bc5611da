"""All contestants on a work, taking turns.

Every contestant lives in a process of its own, which is stopped whenever it is not its turn. A round gives each of them
one turn of at least so many seconds of whole epochs, timed inside the process around training only. Before and after
each turn the machine's FMA peak and the latency of a barrier are measured: turns count where the cores kept at least 95 %
of the best peak of the run, no other process took more than a tenth of a core, and the cores stayed in one state, on one
L3 or on two; the two states are reported apart. Each turn begins with one epoch from the first weights, not timed, after
which the loss must be that of a float64 twin; and after the timed ones it must be thalweg's after as many epochs.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryFile
from typing import Any, Protocol

from thalweg.bench import figures, twin
from thalweg.bench.figures import Result, Turn
from thalweg.bench.player import Player, PlayerError
from thalweg.bench.probe import Probe
from thalweg.bench.works import Work


class Bar(Protocol):
    """What shows how far a race is: tqdm's bar."""

    def set_description_str(self, desc: str) -> None:
        """Say what is done now."""

    def update(self) -> object:
        """Count a turn."""


@dataclass
class Race:
    """What is the same for all works; `tell` takes a line for the user, `facts` hold what contestants say of themselves."""

    names: Sequence[str]
    rounds: int
    seconds: float
    machine: Probe
    tell: Callable[[str], object]
    bar: Bar
    facts: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # of a contestant, in a work

    def run(self, work: Work) -> Result:
        """Run all rounds of a work."""
        with ExitStack() as stack:
            players = self._build(work, stack)
            turns = self._play(work, players)
            ends = self._compare(players, turns)
        return Result(work, turns, twin.loss_after_one_epoch(work), ends)

    def _build(self, work: Work, stack: ExitStack) -> dict[str, Player]:
        """Load all libraries at once, then build one contestant after another; they end with the stack."""
        players = {}
        for name in self.names:
            errors = stack.enter_context(TemporaryFile("w+"))  # noqa: SIM115  the stack closes it
            players[name] = stack.enter_context(Player(name, work, errors))
        failure = f"cannot take part in {work.name}"
        self.bar.set_description_str(f"{work.name}: libraries are loaded")
        for name, player in list(players.items()):
            self._attempt(player.load, players, name, failure)
        for name, player in list(players.items()):
            self.bar.set_description_str(f"{work.name}: {name} is built")
            if (about := self._attempt(player.build, players, name, failure)) is not None:
                self.facts.setdefault(name, {})[work.name] = about
        return players

    def _play(self, work: Work, players: dict[str, Player]) -> list[Turn]:
        turns = []
        before = self.machine.measure()
        for number in range(self.rounds):
            for name in self.names:
                self.bar.set_description_str(f"{work.name}, round {number + 1}: {name}")
                if name in players and (answer := self._take_turn(players, name, number)) is not None:
                    after = self.machine.measure()
                    speed = answer["epochs"] * work.rows / answer["seconds"]
                    turns.append(Turn(number, name, speed, before, after, answer))
                    before = after
                self.bar.update()
        return turns

    def _take_turn(self, players: dict[str, Player], name: str, number: int) -> dict[str, Any] | None:
        call = partial(players[name].play, self.seconds)
        return self._attempt(call, players, name, f"left in round {number + 1}")

    def _attempt(
        self, call: Callable[[], dict[str, Any]], players: dict[str, Player], name: str, failure: str
    ) -> dict[str, Any] | None:
        """Return a player's answer; who gives none is named and left out from now on."""
        try:
            return call()
        except PlayerError as error:
            self.tell(f"   {name} {failure}: {error}")
            del players[name]
            return None

    def _compare(self, players: dict[str, Player], turns: list[Turn]) -> dict[int, float]:
        """Return thalweg's losses after as many epochs as the peers trained."""
        epochs = figures.epochs_to_compare(turns)
        if "thalweg" not in players or not epochs:
            return {}
        self.bar.set_description_str("losses are compared")
        try:
            return players["thalweg"].losses(epochs)
        except PlayerError as error:
            self.tell(f"   losses at the end are not compared: {error}")
            return {}


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Restrict this process, and thereby every contestant, to so many cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
