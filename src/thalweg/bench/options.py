"""The options of ``thalweg bench``, and what follows from them."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from thalweg.bench import registry, works
from thalweg.bench.works import Work
from thalweg.console import number_within, option, positive
from thalweg.system import allowed_cores

_NOT_QUICK = ("torch-compiled", "jax-step")  # what compiles for half a minute; a weaker form of another
_DEFAULTS, _QUICK = (5, 1.0), (2, 0.1)  # rounds, seconds


@dataclass(frozen=True)
class Settings:
    """What to run."""

    works: list[Work]
    contestants: list[str]
    rounds: int
    seconds: float
    threads: int


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    parser.epilog = f"Works (layers, batch size, optimizer): {works.listed()}."
    add = parser.add_argument
    count = option(number_within(1, 2**31), "a positive integer")
    add("--works", nargs="+", metavar="WORK",
        help="numbers or parts of names, or all (default: 784-128-10 with batches from one row to all)")  # fmt: skip
    add("--contestants", nargs="+", metavar="NAME", choices=registry.NAMES,
        help=f"default: all that are installed of {', '.join(registry.NAMES)}")  # fmt: skip
    add("--dtype", choices=("float32", "float64"), default="float32", help="of data and weights (default: float32)")
    add("--rounds", type=count, metavar="N", help=f"turns of each contestant (default: {_DEFAULTS[0]})")
    add("--seconds", type=option(positive, "a number above 0"), metavar="S",
        help=f"at least so long each turn (default: {_DEFAULTS[1]:g})")  # fmt: skip
    add("--threads", type=count, metavar="N", help="cores for every contestant, by affinity (default: all)")
    add("--quick", action="store_true", help="under a minute: two rounds of 0.1 s, and unless they are named only the "
        "three update methods, without torch-compiled and jax-step")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write all turns and figures to this file")
    add("--plot", type=Path, metavar="FILE", help="draw throughput over batch size, and loss over seconds of the three "
        "update methods (needs matplotlib)")  # fmt: skip


def settle(options: argparse.Namespace) -> Settings:
    """Fill in what was not asked for."""
    rounds, seconds = _QUICK if options.quick else _DEFAULTS
    threads = options.threads or allowed_cores()
    if threads > allowed_cores():
        raise ValueError(f"--threads is {threads}, but there are {allowed_cores()} cores")
    default = works.METHODS if options.quick else works.SWEEP
    names = [name for name in registry.NAMES if not options.quick or name not in _NOT_QUICK]
    wanted = options.contestants or names
    return Settings(
        works=works.choose(options.works or default, options.dtype),
        contestants=[name for name in registry.NAMES if name in wanted],
        rounds=options.rounds or rounds,
        seconds=options.seconds or seconds,
        threads=threads,
    )
