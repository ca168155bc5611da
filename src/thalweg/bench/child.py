"""The process of one contestant: loads its library, says so, then answers every line that it reads, all in JSON.

    {"build": true}        make the contestant, which may compile; what it says of itself
    {"seconds": 0.5}       train one epoch from the first weights, then time whole epochs for at least so long
    {"epochs": [3, 17]}    the losses after so many epochs from the first weights

Between answers it is blocked on its input, and stopped by its player, so that no worker of its library spins meanwhile.
"""

import ctypes
import json
import os
import signal
import sys
import time
from math import ceil
from pathlib import Path
from typing import Any

from thalweg.bench import registry
from thalweg.bench.contestants.base import Contestant
from thalweg.bench.works import Work, mean_loss


def busy_seconds() -> float:
    """Return seconds for which the cores of this process were busy, or taken by another machine, since the start."""
    cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    user_to_steal = (1, 2, 3, 6, 7, 8)  # without idle and waiting
    ticks = sum(int(line[i]) for line in lines if line[0] in cores for i in user_to_steal)
    return ticks / os.sysconf("SC_CLK_TCK")


def play(contestant: Contestant, work: Work, seconds: float) -> dict[str, Any]:
    """Train one epoch from the first weights, to be compared; then time whole epochs for at least so long."""
    contestant.reset()
    began = time.perf_counter()
    contestant.train(1)
    an_epoch = time.perf_counter() - began
    after_one = contestant.weights()
    if any(weight.dtype != work.dtype for weight in after_one):
        raise TypeError(f"weights are of {after_one[0].dtype}, not of {work.dtype}")
    epochs, elapsed = 0, 0.0
    others = busy_seconds() - time.process_time()
    began = time.perf_counter()
    while elapsed < seconds:
        more = max(1, ceil((seconds - elapsed) / an_epoch))
        contestant.train(more)
        epochs, elapsed = epochs + more, time.perf_counter() - began
        an_epoch = elapsed / epochs
    others = busy_seconds() - time.process_time() - others
    return {
        "epochs": epochs,
        "seconds": elapsed,
        "others": others / elapsed,  # cores' worth that other processes took meanwhile
        "loss_after_one": mean_loss(work, after_one),
        "loss_at_end": mean_loss(work, contestant.weights()),
        "resumes": contestant.resumes,
    }


def losses(contestant: Contestant, work: Work, epochs: list[int]) -> dict[str, Any]:
    """Train from the first weights; return the loss after each of these numbers of epochs, which rise."""
    contestant.reset()
    measured, done = [], 0
    for number in epochs:
        contestant.train(number - done)
        done = number
        measured.append(mean_loss(work, contestant.weights()))
    return {"losses": measured}


def serve(name: str, work: Work) -> None:
    """Answer on the process's own output; whatever libraries print goes to its errors."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    kind = registry.load(name)
    print(json.dumps({"loaded": name}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        if "build" in asked:
            contestant = kind(work)
            answer = contestant.about()
        elif "seconds" in asked:
            answer = play(contestant, work, asked["seconds"])
        else:
            answer = losses(contestant, work, asked["epochs"])
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: never outlive the player, not even stopped
    serve(sys.argv[1], Work.from_json(sys.argv[2]))
