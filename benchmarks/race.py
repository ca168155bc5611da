"""The race: thalweg and each installed peer on the same works, rows and first weights, taking turns.

Every contestant lives in a process of its own, which is stopped whenever it is not its turn. A round gives each of them
one turn of at least --seconds of whole epochs, timed inside the process around training only. Before and after each turn
the machine's FMA peak and the latency of a barrier are measured: turns count where the cores kept at least 95 % of the
best peak of the run, no other process took more than a tenth of a core, and the cores stayed in one state, on one L3 or
on two; the two states are reported apart. Each turn begins with one epoch from the first weights, not timed, after which
the loss must be that of a float64 twin, up to rounding.

    python benchmarks/race.py --works 3 9 --contestants thalweg jax --json race.json
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import contestants
import probe
import report
import twin
import works
from player import Player, PlayerError
from probe import Probe
from report import Result, Turn
from works import Work


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Race thalweg against the peers that are installed.")
    parser.add_argument("--works", nargs="+", default=[], help="numbers or parts of names; default: all")
    parser.add_argument("--contestants", nargs="+", choices=contestants.NAMES, default=list(contestants.NAMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="at least so long each turn")
    cores = min(2, len(os.sched_getaffinity(0)))
    parser.add_argument("--threads", type=int, default=cores, help="cores for every contestant, by affinity")
    parser.add_argument("--quick", action="store_true", help="two rounds of 0.2 s: to see that everything works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all turns and figures there")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.2
    try:
        options.works = works.choose(options.works)
    except ValueError as error:
        parser.error(str(error))
    return options


def limit_cores(threads: int) -> None:
    """Restrict this process, and thereby every contestant, to so many cores."""
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        sys.exit(f"race: --threads {threads}, but there are {len(cores)} cores")
    os.sched_setaffinity(0, cores[-threads:])


def installed(names: list[str]) -> list[str]:
    """Return the contestants that can run; name the others."""
    for name in names:
        if missing := contestants.missing(name):
            print(f"skipped: {name} (not installed: {', '.join(missing)})")
    return [name for name in names if not contestants.missing(name)]


@contextmanager
def building(names: list[str], work: Work, facts: dict[str, Any]) -> Iterator[list[Player]]:
    """Build the contestants one after another, and end them at the exit. Who fails is left out."""
    players = []
    with ExitStack() as stack:
        for name in names:
            errors = stack.enter_context(TemporaryFile("w+"))
            player = stack.enter_context(Player(name, work, errors))
            try:
                player.wait_until_ready()
            except PlayerError as error:
                print(f"   {name} cannot take part: {error}")
                continue
            facts[name] = player.about
            players.append(player)
        yield players


def race(players: list[Player], work: Work, machine: Probe, rounds: int, seconds: float) -> list[Turn]:
    """Run all rounds of a work."""
    turns = []
    before = machine.measure()
    for number in range(rounds):
        for player in list(players):
            try:
                answer = player.play(seconds)
            except PlayerError as error:
                print(f"   {player.name} left in round {number}: {error}")
                players.remove(player)
                continue
            after = machine.measure()
            speed = answer["epochs"] * work.rows / answer["seconds"]
            turns.append(Turn(number, player.name, speed, before, after, answer))
            before = after
    return turns


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")] \
        if cpu.exists() else []  # fmt: skip
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": sorted(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def as_data(result: Result, limit: float | None) -> dict[str, Any]:
    """Return everything measured in a work as plain data."""
    work, turns = result.work, result.turns
    return asdict(work) | {
        "name": work.name,
        "flops_per_sample": work.flops_per_sample,
        "reference": result.reference,
        "turns": [asdict(turn) | {"state": turn.state} for turn in turns],
        "tables": {
            state: [asdict(row) for row in report.tabulate(chosen, result.reference)]
            for state, chosen in report.counting(turns, limit).items()
        },
    }


def main() -> int:
    """Run the race; return 1 where a loss differs."""
    options = parse()
    limit_cores(options.threads)
    machine = Probe(options.threads)
    warn(machine, options.threads)
    names = installed(options.contestants)
    facts: dict[str, Any] = {}
    results: list[Result] = []
    for work in options.works:
        with building(names, work, facts.setdefault(work.name, {})) as players:
            turns = race(players, work, machine, options.rounds, options.seconds)
        results.append(Result(work, turns, twin.loss_after_one_epoch(work)))
        report.print_work(results[-1], limit_of(results))
        sys.stdout.flush()
    report.print_summary(results, limit_of(results), names)
    if options.json:
        data = {
            "machine": describe_machine() | {"fma_gflops": limit_of(results)},
            "settings": {"threads": options.threads, "rounds": options.rounds, "seconds": options.seconds},
            "tolerance": report.TOLERANCE,
            "contestants": facts,
            "works": [as_data(result, limit_of(results)) for result in results],
        }
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    offs = [report.loss_off(turn, result.reference) for result in results for turn in result.turns]
    return 0 if offs and max(offs) <= report.TOLERANCE else 1


def warn(machine: Probe, threads: int) -> None:
    """Say so where the figures will be worth less."""
    one, all_of_them = Probe(1).measure_fma(), machine.measure_fma()
    if one is None or all_of_them is None:
        print("no C compiler: without the FMA probe no limit is known, and no turn is dropped for a slow machine")
    elif all_of_them < probe.ENOUGH * threads * one:
        print(f"the machine is busy: one thread reaches {one:.0f} GFLOP/s, {threads} together {all_of_them:.0f}")


def limit_of(results: list[Result]) -> float | None:
    """Return the machine's limit: the best FMA probe so far, in GFLOP/s."""
    return report.best_fma(turn for result in results for turn in result.turns)


if __name__ == "__main__":
    sys.exit(main())
