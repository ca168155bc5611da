"""What ``thalweg bench`` does: checks, races, prints, writes."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from thalweg.bench import figures, options, picture, probe, registry, report
from thalweg.bench.figures import Result
from thalweg.bench.options import Settings
from thalweg.bench.probe import Limit, Probe
from thalweg.bench.race import Race, limited_to
from thalweg.console import check_place


def run(asked: argparse.Namespace) -> int:
    """Run the works; return 0 if all losses agree, otherwise 1."""
    settings = options.settle(asked)
    check_place(asked.json, "--json")
    check_place(asked.plot, "--plot")
    if asked.plot is not None:
        picture.check(asked.plot)
    names = _installed(settings.contestants)
    with limited_to(settings.threads):
        race, results = _race(settings, names)
        limit = Limit(figures.best_fma(results), race.machine.source)
        outcomes = picture.train_methods() if asked.plot is not None else []
    print(report.summarize(results, limit, names))
    print(f"\n{report.describe_contestants(race.facts)}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(_as_data(settings, race, results, limit), indent=1) + "\n")
    if asked.plot is not None:
        picture.draw(results, limit, outcomes).savefig(asked.plot, dpi=150)
    turns = [result.agrees(turn) for result in results for turn in result.turns]
    return 0 if turns and all(turns) else 1


def _installed(names: Sequence[str]) -> list[str]:
    """Return the contestants that can run; name the others, and what brings them."""
    absent = {name: missing for name in names if (missing := registry.missing(name))}
    present = [name for name in names if name not in absent]
    if absent:
        packages = dict.fromkeys(package for missing in absent.values() for package in missing)
        line = f"skipped: {', '.join(absent)}, for lack of {', '.join(packages)}: {registry.EXTRA}"
        if not present:
            raise ImportError(line)
        print(line, flush=True)
    return present


def _race(settings: Settings, names: list[str]) -> tuple[Race, list[Result]]:
    """Run all works, with a bar, and print each one's tables as soon as they are known."""
    results: list[Result] = []
    total = len(settings.works) * settings.rounds * len(names)
    with tqdm(total=total, unit=" turns", dynamic_ncols=True) as bar:

        def tell(text: str) -> None:
            bar.write(text)
            sys.stdout.flush()

        race = Race(names, settings.rounds, settings.seconds, Probe(settings.threads), tell, bar)
        _warn(race)
        for work in settings.works:
            results.append(race.run(work))
            tell(report.describe(results[-1], Limit(figures.best_fma(results), race.machine.source)))
    return race, results


def _warn(race: Race) -> None:
    """Say so where the figures will be worth less."""
    one, threads = Probe(1).measure_fma(), race.machine.threads
    together = race.machine.measure_fma()
    if together < probe.ENOUGH * threads * one:
        race.tell(f"the machine is busy: one thread reaches {one:.0f} GFLOP/s, {threads} together {together:.0f}")


def _as_data(settings: Settings, race: Race, results: list[Result], limit: Limit) -> dict[str, Any]:
    """Return everything that was measured as plain data."""
    return {
        "machine": _describe_machine() | {"fma_gflops": limit.gflops, "fma_source": limit.source},
        "settings": {"threads": settings.threads, "rounds": settings.rounds, "seconds": settings.seconds},
        "tolerance": {"after_one": figures.TOLERANCE, "at_end": figures.END_TOLERANCE},
        "contestants": race.facts,
        "works": [_work_as_data(result, limit.gflops) for result in results],
    }


def _work_as_data(result: Result, limit: float) -> dict[str, Any]:
    kept = figures.counting(result.turns, limit)
    return asdict(result.work) | {
        "name": result.work.name,
        "flops_per_sample": result.work.flops_per_sample,
        "reference": result.reference,
        "thalweg_at_end": result.ends,
        "turns": [asdict(turn) | {"state": turn.state} for turn in result.turns],
        "tables": {state: [asdict(row) for row in figures.tabulate(result, turns)] for state, turns in kept.items()},
    }


def _describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": sorted(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
