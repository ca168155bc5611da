"""Which threads a training takes, and how many steps a slice: with clocks that tests set."""

import numpy as np
import pytest

import thalweg as tw
from thalweg import pacing
from thalweg.pacing import LONG_STEP_SECONDS, Pace
from thalweg.system import Machine

DEFAULT = Machine(2, False, 50.0)


class World:
    """A clock, and seconds that a step takes on one thread and on two; the planner's choice is two."""

    def __init__(self, monkeypatch, machine=DEFAULT, fixed=None):
        self.now = 0.0
        monkeypatch.setattr(pacing.time, "perf_counter", lambda: self.now)
        self.pace = Pace(machine, fixed)
        self.seen = []

    def slice(self, one, two, still=0.0):
        """Run a slice, in which a core stands still for so many seconds; return its number of threads and of steps."""
        machine, steps = self.pace.next()
        threads = 1 if machine.threads == 1 else 2
        seconds = steps * (one if threads == 1 else two) + still
        self.now += seconds
        self.pace.note(steps, seconds, threads)
        self.seen.append((threads, steps))
        return self.seen[-1]

    def run(self, seconds, one, two):
        """Run slices for some seconds; return the share of time on two threads."""
        began, on_two = self.now, 0.0
        while self.now - began < seconds:
            at = self.now
            on_two += (self.slice(one, two)[0] == 2) * (self.now - at)
        return on_two / (self.now - began)


def test_the_faster_way_is_kept(monkeypatch):
    assert World(monkeypatch).run(5, one=1e-4, two=6e-5) > 0.98
    assert World(monkeypatch).run(5, one=1e-4, two=3e-4) < 0.03


def test_a_change_of_the_machine_is_found(monkeypatch):
    world = World(monkeypatch)
    assert world.run(10, one=1e-4, two=6e-5) > 0.98
    assert world.run(10, one=1e-4, two=3e-4) < 0.6
    assert world.run(10, one=1e-4, two=3e-4) < 0.02
    world.run(10, one=1e-4, two=6e-5)
    assert world.run(10, one=1e-4, two=6e-5) > 0.98


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("still", [0.004, 0.02, 0.2])
@pytest.mark.parametrize(("one", "two"), [(1e-4, 6e-5), (1e-4, 3e-4)])
def test_a_core_that_stands_still_once_decides_nothing(number, still, one, two, monkeypatch):
    world = World(monkeypatch)
    for _ in range(number):
        world.slice(one, two)
    world.slice(one, two, still)
    world.run(0.15, one, two)  # the trial that may have been disturbed, and a slice behind it
    if two < one:
        assert world.run(3, one, two) > 0.98
    else:
        world.run(4.5, one, two)  # one thread may not have been seen to be faster until the next trial
        assert world.run(3, one, two) < 0.03


def test_what_others_did_at_the_beginning_is_soon_forgotten(monkeypatch):
    # BLAS of another process, say, keeps a core for a tenth of a second
    world = World(monkeypatch)
    world.run(0.1, one=1e-4, two=4e-4)
    assert world.seen[-1][0] == 1
    assert world.run(1, one=1e-4, two=6e-5) > 0.8


def test_a_change_that_proves_right_is_tried_less_and_less(monkeypatch):
    world = World(monkeypatch)
    world.run(30, one=1e-4, two=3e-4)
    trials = sum(threads == 2 for threads, _ in world.seen[10:]) / 2  # one slice to warm up, one to measure
    assert 6 <= trials <= 14


def test_slices_are_of_50_ms(monkeypatch):
    world = World(monkeypatch)
    world.run(3, one=1e-4, two=6e-5)
    lengths = {steps for threads, steps in world.seen[10:] if threads == 2}
    assert lengths <= {1, int(0.05 / 6e-5), int(0.05 / 6e-5) + 1}


@pytest.mark.parametrize(
    ("machine", "fixed", "two"),
    [(Machine(2, True, 50.0), None, 1e-3), (DEFAULT, 7, 1e-3), (DEFAULT, None, 2 * LONG_STEP_SECONDS)],
)
def test_nothing_is_tried(machine, fixed, two, monkeypatch):
    # exactly so many threads; slices that a test asks for; long steps
    world = World(monkeypatch, machine, fixed)
    assert world.run(3, one=two / 2, two=two) == 1
    assert fixed is None or {steps for _, steps in world.seen} == {fixed}


def test_trials_change_no_bit(monkeypatch):
    monkeypatch.setattr(pacing, "FIRST_TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(pacing, "SOON", 0.0)
    monkeypatch.setattr(pacing, "LATE", 0.0)
    monkeypatch.setattr(pacing, "AGAIN", 0.0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5000, 40)), rng.integers(0, 5, 5000)
    found, ways = set(), []
    for threads in (None, 1):
        model = tw.Sequential([tw.Dense(64, "relu"), tw.Dense(5)], 40, seed=0)
        with monkeypatch.context() as patch:
            patch.setattr(Pace, "note", lambda self, *seen, note=Pace.note: (ways.append(seen[2]), note(self, *seen)))
            model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), epochs=20, num_threads=threads)
        found.add(b"".join(p.tobytes() for p in model.get_weights()))
    assert len(found) == 1
    if tw.get_num_threads() > 1:
        assert {1, tw.get_num_threads()} <= set(ways)


def test_a_smaller_last_step_does_not_count(monkeypatch):
    # else a slice of 50 ms of such steps would follow, of steps that take far longer
    rng = np.random.default_rng(0)
    noted = []
    monkeypatch.setattr(Pace, "note", lambda self, steps, *_: noted.append(steps))
    model = tw.Sequential([tw.Dense(3)], 4, seed=0)
    trainer = tw.Trainer(model, "mse", tw.SGD())
    trainer.fit(rng.normal(size=(65, 4)), rng.normal(size=(65, 3)), batch_size=32, epochs=2)
    assert noted == [1, 1, 1, 1]
