"""Whether cost grows as the work does: python benchmarks/growth.py [--plot FILE].

Twice the rows, twice the layers or twice all widths must cost what they should; no batch size and no width may cost much
more than the next multiple of 16, to which it could have been padded; and the last of 30 epochs may take no longer than
the third, though gradients, momenta and probabilities have become denormal numbers by then.

A step's time is the least of a fit's epochs, over all rounds: noise only adds. What looks like a cliff is measured again
before it is called one. PASS or FAIL; the status is 1 on a FAIL. For a machine that does nothing else meanwhile.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

import thalweg as tw
from turns import Verdict, report

EPOCH, POOL = 2048, 8192  # rows of an epoch, at least one step; rows that there are
CLIFF = 1.25
STEEP = 8  # that many of the worst ratios are printed
Times = dict[int, float]


@cache
def data(inputs: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return rows and labels."""
    rng = np.random.default_rng(0)
    return rng.random((POOL, inputs), dtype=np.float32), rng.integers(0, 10, POOL)


def step_seconds(widths: Sequence[int], batch: int, seconds: float) -> float:
    """Return the seconds of a training step with SGD: the least of some epochs, of whole batches, in order."""
    inputs, *hidden, outputs = widths
    steps = max(1, EPOCH // batch)
    x, y = (array[: steps * batch] for array in data(inputs))
    layers = [*(tw.Dense(units, activation="relu") for units in hidden), tw.Dense(outputs)]
    trainer = tw.Trainer(tw.Sequential(layers, input_size=inputs, seed=0), "cross_entropy", tw.SGD(lr=1e-3))
    settings = {"batch_size": batch, "shuffle": False, "verbose": 0}
    trainer.fit(x, y, **settings)
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 3:
        took += trainer.fit(x, y, epochs=2, **settings).seconds
    return min(took) / steps


# ---- twice as much ----------------------------------------------------------------------------------------------------

BASE, BATCH = (784, 512, 512, 512, 10), 512
TWICE = {  # (widths, batch, least, most)
    "twice the rows": (BASE, 2 * BATCH, 1.9, 2.1),
    "six hidden layers": ((784, *[512] * 6, 10), BATCH, 1.9, 2.1),
    "twice all widths": (tuple(2 * width for width in BASE), BATCH, 3.7, 4.2),
}


def judge_growth(rounds: int, seconds: float) -> list[Verdict]:
    """Measure the base and what is twice as much, in turn."""
    verdicts = []
    for name, (widths, batch, least, most) in TWICE.items():
        pairs = [(step_seconds(BASE, BATCH, seconds), step_seconds(widths, batch, seconds)) for _ in range(rounds)]
        base, more = map(min, zip(*pairs, strict=True))
        print(f"{name}: {1e6 * base:.0f} us a step, {1e6 * more:.0f} us", flush=True)
        verdicts += [Verdict(f"x a step: {name}", more / base, bar, bar == least) for bar in (least, most)]
    return verdicts


# ---- cliffs -----------------------------------------------------------------------------------------------------------


def next_multiple(n: int) -> int:
    """Return the next multiple of 16."""
    return 16 * (n // 16 + 1)


def sample(least: int, most: int) -> list[int]:
    """Return all numbers to 40, those around multiples of 16, primes, and the next multiples of 16 of all of them."""
    places = [48, 64, 80, 96, 128, 144, 192, 256, 320, 384, 512, 768, 1024, 1536, 2048, 3072, 4096]
    primes = [53, 67, 101, 151, 211, 307, 401, 509, 619, 809, 1009, 1601, 2203, 3203, 4001]
    around = [n + d for n in places for d in (-1, 0, 1, 6)]
    chosen = {n for n in [*range(41), *around, *primes, most] if least <= n <= most}
    return sorted(chosen | {next_multiple(n) for n in chosen})


def steepest(times: Times) -> list[tuple[float, int]]:
    """Return for each number its time over that of the next multiple of 16, the worst first."""
    ratios = [(took / times[next_multiple(n)], n) for n, took in times.items() if next_multiple(n) in times]
    return sorted(ratios, reverse=True)


def find_cliffs(what: str, measure: Callable[[int], float], numbers: Sequence[int], rounds: int) -> Times:
    """Measure a step for each number; again for those that look like cliffs; print the steepest."""
    times = dict.fromkeys(numbers, float("inf"))
    for _ in range(rounds):
        times = {n: min(took, measure(n)) for n, took in times.items()}
    for _ in range(3):
        for number in [n for ratio, n in steepest(times) if ratio > CLIFF]:
            for n in (number, next_multiple(number)):
                times[n] = min(times[n], measure(n))
    print(f"{what}, the steepest of {len(numbers)}:")
    for ratio, n in steepest(times)[:STEEP]:
        after = next_multiple(n)
        print(f"  {n:>5}: {1e6 * times[n]:9.2f} us   {after:>5}: {1e6 * times[after]:9.2f} us   x {ratio:.3f}")
    sys.stdout.flush()
    return times


def plot(path: Path, curves: dict[str, Times]) -> None:
    """Draw time a step over batch size and over width."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    for axes, (what, times) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        axes.loglog(list(times), [1e6 * took for took in times.values()], ".-", linewidth=0.8, markersize=4)
        axes.set(xlabel=what, ylabel="us a step")
        axes.grid(which="both", alpha=0.3)
    figure.savefig(path, dpi=150)


# ---- epochs -----------------------------------------------------------------------------------------------------------


def last_over_third() -> float:
    """Return the time of the last of 30 epochs over that of the third, on data that are learned by then."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 20_000)
    x = (rng.random((10, 784)) < 0.2).astype(np.float32)[y]  # ten different rows, of zeros and ones
    layers = [tw.Dense(128, activation="relu"), tw.Dense(64, activation="tanh"), tw.Dense(10)]
    model = tw.Sequential(layers, input_size=784, seed=0)
    optimizer = tw.SGD(lr=0.5, momentum=0.9)
    history = model.fit(x, y, loss="cross_entropy", optimizer=optimizer, batch_size=128, epochs=30, verbose=0)
    return history.seconds[29] / history.seconds[2]


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description="How cost grows with the work.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement in a round")
    parser.add_argument("--threads", type=int, help="exactly so many; default: as many as are worth it")
    parser.add_argument("--plot", type=Path, help="draw both curves into this file")
    options = parser.parse_args()
    tw.set_num_threads(options.threads)
    rounds, seconds = options.rounds, options.seconds
    verdicts = judge_growth(rounds, 5 * seconds)
    curves = {
        "batch size of 784-128-10": find_cliffs(
            "batch sizes", lambda n: step_seconds((784, 128, 10), n, seconds), sample(2, 4096), rounds),
        "n of 784-n-10, batch 128": find_cliffs(
            "widths", lambda n: step_seconds((784, n, 10), 128, seconds), sample(1, 1030), rounds),
    }  # fmt: skip
    for what, times in curves.items():
        ratio, n = steepest(times)[0]
        verdicts.append(Verdict(f"x the next multiple of 16: {what}, worst at {n}", ratio, CLIFF, False))
    decay = median(last_over_third() for _ in range(5))
    verdicts.append(Verdict("x the third epoch: the last of 30", decay, 1.05, False))
    if options.plot:
        plot(options.plot, curves)
    return report(verdicts)


if __name__ == "__main__":
    sys.exit(main())
