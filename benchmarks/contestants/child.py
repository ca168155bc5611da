"""The process of one contestant: builds once, then plays a round for every line that it reads, and answers in JSON.

Between rounds it is blocked on its input, and stopped by the race, so that no worker of its library spins meanwhile.
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

sys.path.insert(0, str(Path(__file__).parents[1]))

import contestants
from contestants.base import Contestant
from works import WORKS, Work, mean_loss


def play(contestant: Contestant, work: Work, seconds: float) -> dict[str, Any]:
    """Train one epoch from the first weights, to be compared; then time whole epochs for at least so long."""
    contestant.reset()
    began = time.perf_counter()
    contestant.train(1)
    an_epoch = time.perf_counter() - began
    after_one = contestant.weights()
    epochs, elapsed = 0, 0.0
    began = time.perf_counter()
    while elapsed < seconds:
        more = max(1, ceil((seconds - elapsed) / an_epoch))
        contestant.train(more)
        epochs, elapsed = epochs + more, time.perf_counter() - began
        an_epoch = elapsed / epochs
    return {
        "epochs": epochs,
        "seconds": elapsed,
        "loss_after_one": mean_loss(work, after_one),
        "loss_at_end": mean_loss(work, contestant.weights()),
    }


def serve(name: str, number: int) -> None:
    """Answer on the process's own output; whatever libraries print goes to its errors."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    work = WORKS[number - 1]
    contestant = contestants.make(name, work)
    print(json.dumps(contestant.about()), file=answers)
    for line in sys.stdin:
        print(json.dumps(play(contestant, work, float(line))), file=answers)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: never outlive the race, not even stopped
    serve(sys.argv[1], int(sys.argv[2]))
