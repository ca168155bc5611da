"""A contestant's process, from outside: start, ask, stop."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from select import select
from typing import Any, Self, TextIO

from thalweg.bench.works import Work

_HARMFUL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where they are set they can halve NumPy and scikit-learn
_PATIENCE = 900.0  # seconds: compiling a network takes a minute on a slow machine


class PlayerError(RuntimeError):
    """A contestant did not build or did not answer."""


class Player:
    """One contestant in its own process group, stopped whenever it is not its turn. `errors` takes what it prints."""

    def __init__(self, name: str, work: Work, errors: TextIO) -> None:
        self._errors = errors
        self._process = subprocess.Popen(
            # -P: a file of the folder it is started in is nobody's library
            [sys.executable, "-P", "-m", "thalweg.bench.child", name, work.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={key: value for key, value in os.environ.items() if key not in _HARMFUL},
            start_new_session=True,
        )
        self.pid = self._process.pid

    def load(self) -> dict[str, Any]:
        """Wait until its library is loaded, and stop it."""
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def build(self) -> dict[str, Any]:
        """Have it built and warm. Returns what it says of itself."""
        return self._ask({"build": True})

    def play(self, seconds: float) -> dict[str, Any]:
        """Have it play one round: see `child.play`."""
        return self._ask({"seconds": seconds})

    def losses(self, epochs: list[int]) -> dict[int, float]:
        """Have it train anew; return its loss after each of these numbers of epochs."""
        answer = self._ask({"epochs": sorted(epochs)})
        return dict(zip(sorted(epochs), answer["losses"], strict=True))

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        self._signal(signal.SIGCONT)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # if it is gone there will be no answer, but a reason
            print(json.dumps(what), file=self._process.stdin, flush=True)
        answer = self._answer()
        self._signal(signal.SIGSTOP)
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select([self._process.stdout], [], [], _PATIENCE)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self._errors.seek(0)
            lines = self._errors.read().strip().splitlines()
            raise PlayerError(lines[-1] if lines and ready else "no answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, with all that it started."""
        self._signal(signal.SIGKILL)
        self._process.communicate()
