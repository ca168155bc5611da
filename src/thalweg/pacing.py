"""Pacing: how many steps a slice takes, and on how many threads.

Whether more threads are faster depends on where the system puts them at the time: two cores that share no cache may be
slower together than one of them alone. The planner prices that; training measures it, trying now and then the other way
for a few milliseconds. Results do not depend on it.
"""

import time

from thalweg.system import Machine

SLICE_SECONDS = 0.05  # between two looks at callbacks, progress and Ctrl-C
TRIAL_SECONDS = 0.003
MANY_STEPS = 4  # from here on a run may take the time of a step to prepare
FIRST_TRIAL_SECONDS = 0.01  # after so much training
LONG_STEP_SECONDS = 0.005  # such a step has work enough for all threads
WORTH_CHANGING = 0.95  # of the time that a step takes now
SOON, LATE = 1.0, 4.0  # until the next trial, after a close one and after a clear one
# After a change, and twice as long each time that it proves right: another's threads may have been in the way.
AGAIN = 0.1


class Pace:
    """What a training's next slice is to be like, from how long the last ones took."""

    def __init__(self, machine: Machine, fixed_steps: int | None = None) -> None:
        self._fixed = fixed_steps
        self._given = self._best = self._now = machine
        self._other: Machine | None = None  # what to try; None: nothing
        self._may_try = machine.threads > 1 and not machine.exactly and fixed_steps is None
        self._seconds: dict[Machine, float] = {}  # of a step
        self._before = 0.0  # seconds of a step before the trial
        self._trial = 0  # slices left of a trial: the other way to warm up and to measure, and the best once more
        self._wait = LATE
        self._next_trial = time.perf_counter() + FIRST_TRIAL_SECONDS

    def next(self) -> tuple[Machine, int]:
        """Return what the next slice's plan may use, and how many steps it takes."""
        best = self._seconds.get(self._best)
        if self._fixed is not None or best is None:
            return self._best, self._fixed or 1
        if self._other and not self._trial and best < LONG_STEP_SECONDS and time.perf_counter() >= self._next_trial:
            self._trial, self._before = 3, best
        if not self._trial or self._other is None:
            self._now = self._best
            return self._now, _steps(SLICE_SECONDS, best)
        self._now = self._other if self._trial > 1 else self._best
        long_enough = 0 if self._trial == 3 else _steps(TRIAL_SECONDS, min(self._seconds.values()))
        return self._now, max(MANY_STEPS, long_enough)

    def note(self, steps: int, seconds: float, threads: int) -> None:
        """Learn how long a slice took, and how many threads its plan had."""
        if not steps:
            return
        self._seconds[self._now] = seconds / steps
        if self._trial:
            self._trial -= 1
            if not self._trial:
                self._decide()
        elif self._may_try and (self._other is None or self._other.threads == threads):
            other = self._given.threads if threads == 1 else 1
            self._other = Machine(other, True, self._given.barrier_ns)

    def _decide(self) -> None:
        assert self._other  # was tried
        tried, best = self._seconds[self._other], min(self._before, self._seconds[self._best])
        changes, clear = tried < WORTH_CHANGING * best, not 0.7 < tried / best < 1.4
        if changes:
            self._best = self._other
        self._wait = AGAIN if changes else min(2 * self._wait, LATE if clear else SOON)
        self._next_trial = time.perf_counter() + self._wait


def _steps(seconds: float, of_one: float) -> int:
    return int(min(max(seconds / of_one, 1), 2**20))
