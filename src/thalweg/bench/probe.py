"""What the machine can do at this moment: the FMA peak of its cores, and how far apart they lie."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from thalweg import _native, arrays, oneshot
from thalweg.bench.works import Work
from thalweg.programs import Job

NEAR_NS = 150.0  # a barrier between two threads: 40 to 110 ns on one L3, 210 to 370 on two, on the machines seen so far
ENOUGH = 0.95  # of the best FMA probe of the run: below it the machine was busy, or slower
_ROUNDS = 400_000  # of the FMA chains: a few milliseconds
_SIDE = 512  # of the product's matrices: they stay in L2, and the product reaches 97 to 100 % of the FMA chains


@dataclass(frozen=True)
class State:
    """The machine at one moment: GFLOP/s of float32, and nanoseconds of a barrier, None on one core."""

    fma_gflops: float
    barrier_ns: float | None


@dataclass(frozen=True)
class Limit:
    """The most that the machine has shown in float32, and by what."""

    gflops: float
    source: str

    def of(self, work: Work) -> "Limit":
        """Return it in a work's dtype: a vector holds half as many numbers of float64."""
        return self if work.dtype == "float32" else replace(self, gflops=self.gflops / 2)

    def __str__(self) -> str:
        """Name it."""
        return f"limit {self.gflops:.0f} GFLOP/s ({self.source})"


class Probe:
    """Measures the state of the machine on so many threads.

    Its peak is that of FMA chains in registers, compiled here, or without a compiler that of thalweg's own product.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        library = compile_source(Path(__file__).with_suffix(".c"))
        self.source = "FMA chains" if library else "thalweg's own product in L2, there being no C compiler"
        self._measure = _chains(library, threads) if library else _product(threads)

    def measure(self) -> State:
        """Measure, in about 50 ms, and leave no thread spinning."""
        return State(self.measure_fma(), self.measure_barrier())

    def measure_fma(self) -> float:
        """Return GFLOP/s of float32 FMAs, the median of a few."""
        return median(self._measure())

    def measure_barrier(self) -> float | None:
        """Return nanoseconds of a barrier between two threads, the least of a few, or None for one thread."""
        if self.threads < 2:
            return None
        least = min(_native.measure_barrier() for _ in range(5))
        _native.release_threads()
        return least


def _chains(library: ctypes.CDLL, threads: int) -> Callable[[], list[float]]:
    """Return what measures FMA chains in registers, a few times."""
    library.fma_gflops.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
    library.fma_gflops.restype = ctypes.c_double
    kept = ctypes.c_float()

    def measure() -> list[float]:
        repeated = [library.fma_gflops(threads, _ROUNDS, ctypes.byref(kept)) for _ in range(5)]
        library.rest()
        return repeated

    return measure


def _product(threads: int) -> Callable[[], list[float]]:
    """Return what measures thalweg's own product of two matrices, a few times."""
    square = np.ones((_SIDE, _SIDE), np.float32)
    shape, x, block = oneshot.prepare_dense(square, square, None, "identity")
    possible = min(threads, _native.thread_limit())
    runner = oneshot.make_runner(shape, Job(_SIDE, in_place=True), possible, None, block)
    source = arrays.source(x)

    def time_once() -> float:
        began = perf_counter()
        runner.run(x=source, until="forwarded")
        return 2e-9 * _SIDE**3 / (perf_counter() - began)

    def measure() -> list[float]:
        repeated = [time_once() for _ in range(9)]
        _native.release_threads()
        return repeated

    return measure


@cache
def compile_source(source: Path, optimize: str = "-O2") -> ctypes.CDLL | None:
    """Compile a file of C for this very machine, and load it; None without a compiler."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "probe.so"
        options = [optimize, "-march=native", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC", "-o", str(library)]
        if subprocess.run([compiler, *options, str(source)], capture_output=True, check=False).returncode:
            return None
        return ctypes.CDLL(str(library))


def name_state(before: State, after: State) -> str:
    """Return "near", "far", "mixed" or, on one core, "one core": how far apart the cores lay meanwhile."""
    if before.barrier_ns is None or after.barrier_ns is None:
        return "one core"
    near = [barrier < NEAR_NS for barrier in (before.barrier_ns, after.barrier_ns)]
    return "near" if all(near) else "mixed" if any(near) else "far"


def is_steady(before: State, after: State, best: float) -> bool:
    """Whether both FMA probes reach 95 % of the best of the run."""
    return all(state.fma_gflops >= ENOUGH * best for state in (before, after))
