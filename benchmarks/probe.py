"""What the machine can do at this moment: the FMA peak of its cores, and how far apart they lie."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from thalweg import _native

NEAR_NS = 150.0  # a barrier between two threads: 40 to 110 ns on one L3, 210 to 370 on two, on the machines seen so far
ENOUGH = 0.95  # of the best FMA probe of the run: below it the machine was busy, or slower
_ROUNDS = 400_000  # of the FMA chains: a few milliseconds


@dataclass(frozen=True)
class State:
    """The machine at one moment. None where it cannot be measured: no compiler, or one core only."""

    fma_gflops: float | None
    barrier_ns: float | None


class Probe:
    """Measures the state of the machine on so many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._library = compile_beside("probe.c")
        if self._library is not None:
            self._library.fma_gflops.argtypes = [ctypes.c_int, ctypes.c_long, ctypes.POINTER(ctypes.c_float)]
            self._library.fma_gflops.restype = ctypes.c_double

    def measure(self) -> State:
        """Measure, in about 50 ms, and leave no thread spinning."""
        return State(self.measure_fma(), self.measure_barrier())

    def measure_fma(self) -> float | None:
        """Return GFLOP/s of float32 FMAs, the median of a few, or None without a compiler."""
        if self._library is None:
            return None
        kept = ctypes.c_float()
        repeated = [self._library.fma_gflops(self.threads, _ROUNDS, ctypes.byref(kept)) for _ in range(5)]
        self._library.rest()
        return median(repeated)

    def measure_barrier(self) -> float | None:
        """Return nanoseconds of a barrier between two threads, the least of a few, or None for one thread."""
        if self.threads < 2:
            return None
        least = min(_native.measure_barrier() for _ in range(5))
        _native.release_threads()
        return least


def compile_beside(name: str, optimize: str = "-O2") -> ctypes.CDLL | None:
    """Compile a file of this folder for this very machine, and load it; None without a compiler."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))), None)
    if compiler is None:
        return None
    source = Path(__file__).with_name(name)
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
    near = [state.barrier_ns < NEAR_NS for state in (before, after)]
    return "near" if all(near) else "mixed" if any(near) else "far"


def is_steady(before: State, after: State, best: float | None) -> bool:
    """Whether both FMA probes reach 95 % of the best of the run."""
    return best is None or all((state.fma_gflops or 0.0) >= ENOUGH * best for state in (before, after))
