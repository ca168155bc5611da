"""What the pytest-benchmark suites share: the machine, ISA and threads, and how a figure is recorded."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

import thalweg as tw
from thalweg.bench.probe import Probe

Measure = Callable[..., None]


@cache
def limit(threads: int) -> float:
    """Return the FMA peak of so many threads in GFLOP/s: the best of some probes at the start of a run."""
    probe = Probe(threads)
    return max(probe.measure_fma() for _ in range(10))


def pytest_report_header() -> str:
    """Describe what the figures depend on."""
    info = tw.info()
    peak = limit(int(str(info["threads"])))
    barrier = Probe(2).measure_barrier()
    return (
        f"thalweg {info['version']}: {info['isa']}, {info['threads']} threads, "
        f"FMA peak {peak:.0f} GFLOP/s, barrier between two threads {barrier:.0f} ns"
    )


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Keep the same facts in the JSON file."""
    info = tw.info()
    machine_info["thalweg"] = info | {"fma_gflops": limit(int(str(info["threads"])))}


@pytest.fixture
def isa() -> str:
    """Return the ISA in use; the environment variable THALWEG_ISA chooses another one."""
    return str(tw.info()["isa"])


@pytest.fixture(params=sorted({1, tw.get_num_threads()}), ids=lambda threads: f"{threads}t")
def threads(request: pytest.FixtureRequest) -> int:
    """Take one thread, then as many as there are cores."""
    return int(request.param)


@pytest.fixture
def process_threads(threads: int) -> Iterator[None]:
    """Let calls that take no number of threads use so many."""
    tw.set_num_threads(threads)
    yield
    tw.set_num_threads(None)


@pytest.fixture
def measure(benchmark: Any, isa: str, threads: int) -> Measure:
    """Time a call that was shown to be correct; record flops, bytes and samples a second, by the median."""

    def measure(call: Callable[[], object], *, correct: bool, flops: float, data: int = 0, samples: int = 0) -> None:
        assert correct
        benchmark(call)
        benchmark.extra_info |= {"isa": isa, "threads": threads, "correct": correct}
        if benchmark.stats is None:  # with --benchmark-disable
            return
        seconds = benchmark.stats.stats.median
        peak, gflops = limit(threads), flops / seconds / 1e9
        benchmark.extra_info |= {"gflops": gflops, "fma_limit": peak, "share_of_limit": gflops / peak}
        if data:
            benchmark.extra_info["gbytes_per_s"] = data / seconds / 1e9
        if samples:
            benchmark.extra_info["samples_per_s"] = samples / seconds

    return measure
