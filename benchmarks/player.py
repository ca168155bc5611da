"""The race's side of a contestant's process: start, play, stop."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any, Self, TextIO

from works import Work

_CHILD = Path(__file__).parent / "contestants" / "child.py"
_HARMFUL = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # where they are set they can halve NumPy and scikit-learn
_PATIENCE = 900.0  # seconds: compiling a network takes a minute on a slow machine


class PlayerError(RuntimeError):
    """A contestant did not build or did not answer."""


class Player:
    """One contestant in its own process group, stopped whenever it is not its turn. `errors` takes what it prints."""

    def __init__(self, name: str, work: Work, errors: TextIO) -> None:
        self.name = name
        self._errors = errors
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD), name, str(work.number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={key: value for key, value in os.environ.items() if key not in _HARMFUL},
            start_new_session=True,
        )
        self.about: dict[str, Any] = {}

    def wait_until_ready(self) -> None:
        """Wait until it is built and warm, and stop it."""
        self.about = self._answer()
        self._signal(signal.SIGSTOP)

    def play(self, seconds: float) -> dict[str, Any]:
        """Have it play one round."""
        self._signal(signal.SIGCONT)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # if it is gone there will be no answer, but a reason
            print(seconds, file=self._process.stdin, flush=True)
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
        return json.loads(line)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, with all that it started."""
        self._signal(signal.SIGKILL)
        self._process.communicate()
