"""The optimizer alone, on 10 and 100 million parameters: python benchmarks/optimizer_only.py.

`tw.kernels.sgd_update` (momentum 0.9) and `adam_update`, in place on arrays of float32, beside torch.optim's SGD and Adam,
fused and as they come, and beside a probe: a loop in C, compiled here, over the same arrays on as many threads
(streams.c). Each contestant has a process of its own, and turns of a fifth of a second follow one another, since memory may
be half as fast a few seconds later. A call's time is the median of a turn, ratios are medians over rounds of the ratio within the
round. PASS or FAIL; the status is 1 on a FAIL.
"""

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from thalweg import get_num_threads, kernels
from thalweg.bench.probe import compile_source
from turns import Player, Verdict, installed, repeated, report, show

LR, MOMENTUM = 1e-3, 0.9
STREAMS = {"sgd": 5, "adam": 7}  # arrays read and written
BARS = {  # a contestant's time over that of thalweg
    ("probe", "sgd"): 0.9, ("probe", "adam"): 0.9, ("torch fused", "sgd"): 0.97, ("torch fused", "adam"): 0.97,
    ("torch", "sgd"): 1.4, ("torch", "adam"): 3.0,
}  # fmt: skip

Vector = NDArray[np.float32]


def first_arrays(n: int) -> tuple[Vector, Vector]:
    """Return weights and their gradient, whose entries are far from zero."""
    rng = np.random.default_rng(0)
    part = rng.uniform(0.5, 1.5, 1000).astype(np.float32)
    return np.zeros(n, np.float32), np.resize(part, n)


def thalweg(rule: str, n: int) -> tuple[Vector, Callable[[], object]]:
    """Return weights and what updates them: thalweg's kernel."""
    w, g = first_arrays(n)
    state = [np.zeros(n, np.float32) for _ in range(STREAMS[rule] // 2 - 1)]
    if rule == "sgd":
        return w, partial(kernels.sgd_update, w, g, *state, lr=LR, momentum=MOMENTUM)
    return w, partial(kernels.adam_update, w, g, *state, step=1, lr=LR)


def probe(rule: str, n: int) -> tuple[None, Callable[[], object]]:
    """Return the loop over the same streams; what it computes is nobody's business."""
    library = compile_source(Path(__file__).with_name("streams.c"), "-O3")
    if library is None:
        raise SystemExit("the probe needs a C compiler")
    w, g = first_arrays(n)
    arrays = [w, g, *(np.zeros(n, np.float32) for _ in range(STREAMS[rule] // 2 - 1))]
    pointers = [array.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for array in arrays]
    loop = library.momentum_streams if rule == "sgd" else library.adam_streams
    return None, lambda: (loop(*pointers, ctypes.c_long(n), ctypes.c_int(get_num_threads())), arrays)


def torch(rule: str, n: int, fused: bool = False) -> tuple[Vector, Callable[[], object]]:
    """Return weights and what updates them: torch.optim."""
    import torch

    torch.set_flush_denormal(True)
    w, g = (torch.from_numpy(array) for array in first_arrays(n))
    parameter = torch.nn.Parameter(w)
    parameter.grad = g
    if rule == "sgd":
        return w.numpy(), torch.optim.SGD([parameter], lr=LR, momentum=MOMENTUM, fused=fused).step
    return w.numpy(), torch.optim.Adam([parameter], lr=LR, fused=fused).step


Contestant = Callable[[str, int], tuple[Vector | None, Callable[[], object]]]
CONTESTANTS: dict[str, Contestant] = {
    "thalweg": thalweg,
    "probe": probe,
    "torch": torch,
    "torch fused": partial(torch, fused=True),
}


def serve(name: str, rule: str, n: int) -> None:
    """Answer each line, a number of seconds, with the milliseconds of an update, after the first one was found to be right."""
    w, update = CONTESTANTS[name](rule, n)
    update()
    if w is not None:
        expected = -LR * (first_arrays(n)[1] if rule == "sgd" else np.ones(n, np.float32))
        np.testing.assert_allclose(w, expected, rtol=1e-5)
    for line in sys.stdin:
        show({"ms": 1e3 * median(repeated(update, time.perf_counter, float(line), least=3))})


def take_turns(names: list[str], rule: str, n: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return milliseconds of an update, of each contestant round by round, after a round that does not count."""
    took: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        players = {name: stack.enter_context(Player(name, "--rules", rule, "--millions", n // 10**6)) for name in names}
        for number in range(rounds + 1):
            for name, player in players.items():
                ms = player.play(seconds)["ms"]
                if number > 0:
                    took[name].append(ms)
    return took


def judge(rule: str, n: int, took: dict[str, list[float]]) -> list[Verdict]:
    """Print times and what flows in a second; hold all ratios against their bars."""
    verdicts = []
    for name, times in took.items():
        flow = STREAMS[rule] * 4e-6 * n / median(times)
        span = f"{median(times):8.2f} ms ({min(times):.2f} to {max(times):.2f})"
        print(f"{rule:<5}{n:>12,}  {name:<12}{span}  {flow:6.1f} GB/s", flush=True)
        if name != "thalweg":
            ratio = median(theirs / ours for theirs, ours in zip(times, took["thalweg"], strict=True))
            verdicts.append(Verdict(f"x {name}: {rule} {n:,}", ratio, BARS[name, rule], True))
    return verdicts


def main() -> int:
    """Measure in turn and judge; or play one contestant."""
    parser = argparse.ArgumentParser(description="The optimizer alone.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each turn")
    parser.add_argument("--millions", type=int, nargs="+", default=[10, 100], help="parameters")
    parser.add_argument("--rules", choices=STREAMS, nargs="+", default=list(STREAMS))
    parser.add_argument("--play", choices=CONTESTANTS, help="be one contestant, and answer what is asked")
    options = parser.parse_args()
    sizes = [millions * 10**6 for millions in options.millions]
    if options.play:
        serve(options.play, options.rules[0], sizes[0])
        return 0
    names = ["thalweg", "probe", *installed({"torch": "torch", "torch fused": "torch"})]
    verdicts = []
    for n in sizes:
        for rule in options.rules:
            verdicts += judge(rule, n, take_turns(names, rule, n, options.rounds, options.seconds))
    return report(verdicts)


if __name__ == "__main__":
    sys.exit(main())
