"""What this process computes with: the ISA, chosen once at import, and the threads."""

import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

from thalweg import _native
from thalweg.checks import check_count_or_none


def _choose_isa(wanted: str | None, supported: list[str]) -> str:
    if not wanted:
        return supported[0]
    if wanted not in supported:
        raise ImportError(
            f"THALWEG_ISA is {wanted!r}, which is unknown or not supported by this CPU; there are: {', '.join(supported)}"
        )
    return wanted


SUPPORTED_ISAS = _native.supported_isas()
ISA = _choose_isa(os.environ.get("THALWEG_ISA"), SUPPORTED_ISAS)

_num_threads: int | None = None
changes = 0  # of what plans depend on besides the time: whoever keeps what follows from them looks here


def _quota_v2(root: Path) -> float | None:
    quota, period = (root / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(root: Path) -> float | None:
    quota = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
    return None if quota <= 0 else quota / int((root / "cpu" / "cpu.cfs_period_us").read_text())


def _container_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores that a container's quota allows, or None without one."""
    for read in (_quota_v2, _quota_v1):
        try:
            return read(root)
        except (OSError, ValueError):
            continue
    return None


def allowed_cores() -> int:
    """Cores that this process may use: its affinity, and its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _container_quota()
    return max(1, min(cores, int(quota + 0.5) if quota else cores))


def check_num_threads(n: int | None) -> int | None:
    """Return n as an int, or None; raise if it is no number of threads."""
    n = check_count_or_none(n, "num_threads")
    if n is not None and n > _native.thread_limit():
        raise ValueError(
            f"num_threads is {n}, but thalweg, this build or OMP_THREAD_LIMIT allows {_native.thread_limit()}"
        )
    return n


def set_num_threads(n: int | None) -> None:
    """Set the number of threads for everything that this process does with thalweg.

    Parameters
    ----------
    n : int or None
        Exactly so many threads, even beyond the cores, up to 1,024. None, the state at the start, lets the planner use as
        many as are worth it, up to the cores that affinity and container quota allow. Results do not depend on it: the
        same seed gives the same bits with any number of threads.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.set_num_threads(1)
    >>> tw.get_num_threads()
    1
    >>> tw.set_num_threads(None)
    """
    global _num_threads, changes
    _num_threads = check_num_threads(n)
    changes += 1


def get_num_threads() -> int:
    """Return the number of threads set, or else the most that the planner would use.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.get_num_threads() >= 1
    True
    """
    return _num_threads or min(allowed_cores(), _native.thread_limit())


class Machine(NamedTuple):
    """What the planner may use, in the words of csrc/program/spec.hpp."""

    threads: int
    exactly: bool
    barrier_ns: float


# ns of a barrier between two cores of one L3 (31-107 measured) and of two (215-420): the planner knows these two states.
_NEAR, _FAR, _NEAR_BELOW = 50.0, 220.0, 150.0


# Affinity, quota and places of cores change while a process runs, but seldom, and a look takes as long as some small
# predictions. For each question: when it was last answered, and how.
LOOK_AGAIN_SECONDS = 1.0
_seen: dict[tuple[int | None, bool], tuple[float, Machine]] = {}


def _forget() -> None:
    global changes
    _seen.clear()
    changes += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a child may be given other cores


def machine(num_threads: int | None = None, probe: bool = True) -> Machine:
    """Tell what a plan may use now: threads asked for, and (probe) how far apart the cores lie; as of the last second."""
    asked, now = _num_threads if num_threads is None else check_num_threads(num_threads), time.monotonic()
    seen = _seen.get((asked, probe))
    if seen is None or now - seen[0] > LOOK_AGAIN_SECONDS:
        seen = _seen[asked, probe] = now, _look(asked, probe)
    return seen[1]


def _look(asked: int | None, probe: bool) -> Machine:
    """Find out, the distance between cores in 20 us."""
    threads = asked or get_num_threads()
    if threads == 1:
        return Machine(1, True, _NEAR)
    crowded = threads > allowed_cores()
    near = not crowded and (not probe or _native.measure_barrier() < _NEAR_BELOW)
    return Machine(threads, asked is not None, _NEAR if near else _FAR)


def _cache_sizes() -> dict[str, str]:
    sizes = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((index / part).read_text().strip() for part in ("level", "type", "size"))
        sizes[f"L{level}" + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return sizes


def info() -> dict[str, object]:
    """Return what thalweg runs on: version, ISA, threads, caches.

    Examples
    --------
    >>> import thalweg as tw
    >>> tw.info()["isa"] in tw.info()["isas"]
    True
    """
    import numpy

    import thalweg

    try:
        caches = _cache_sizes()
    except OSError:
        caches = {}
    return {
        "version": thalweg.__version__,
        "isa": ISA,
        "isas": list(SUPPORTED_ISAS),
        "threads": get_num_threads(),
        "cores": allowed_cores(),
        "openmp": _native.thread_limit() > 1,
        "caches": caches,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
    }
