"""Scalars of steps to come: the same as if they were made for each slice."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from thalweg import scalars

OPTIMIZERS = {
    "sgd": tw.SGD(lr=0.1),
    "momentum": tw.SGD(lr=0.1, momentum=0.9, dampening=0.5),
    "adam": tw.Adam(lr=1e-3),
    "nadam": tw.NAdam(),
    "schedule_free": tw.ScheduleFreeAdamW(warmup_steps=50),
    "schedule": tw.Adam(lr=tw.schedules.Exponential(1e-3, gamma=0.999)),
    "decayed": tw.AdamW(average=0.9),
}


def made_now(optimizer, regulated, first, steps):
    """What is expected."""
    numbers = np.arange(first, first + steps)
    fresh = dataclasses.replace(optimizer)  # without what it remembers of steps before
    return fresh.regulated_scalars(numbers) if regulated else fresh.scalars(numbers)


@pytest.mark.parametrize("regulated", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
@given(lengths=st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0, 0, 0, 7, -5])), min_size=1, max_size=12))
def test_they_are_those_of_their_steps(name, regulated, lengths):
    optimizer, kept, first = OPTIMIZERS[name], scalars.Scalars(), 3
    for steps, jump in lengths:  # mostly one slice after the other; now and then a jump, as a resumed training makes
        got = kept.take(optimizer, regulated, first, steps)
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(got, made_now(optimizer, regulated, first, steps))
        first = max(0, first + steps + jump)


def test_they_reach_ahead_and_end(monkeypatch):
    monkeypatch.setattr(scalars, "AHEAD", 20)
    asked = []
    optimizer = tw.SGD(lr=0.5)
    rows = tw.SGD.scalars
    monkeypatch.setattr(tw.SGD, "scalars", lambda self, steps: (asked.append(len(steps)), rows(self, steps))[1])
    kept = scalars.Scalars()
    for first in range(0, 30, 3):
        np.testing.assert_array_equal(kept.take(optimizer, False, first, 3), [[0.5, 0.0]] * 3)
    assert asked == [3, 10, 10, 10]  # nine steps of ten are used: a slice's rows lie together
    np.testing.assert_array_equal(kept.take(optimizer, False, 24, 6), [[0.5, 0.0]] * 6)
    assert asked == [3, 10, 10, 10]  # a training that goes back by some steps finds them
    kept.take(optimizer, False, 20, 2)
    assert asked == [3, 10, 10, 10, 2]  # and makes those that it has not


def test_new_settings_are_heard_at_once():
    optimizer, kept = tw.SGD(lr=0.5), scalars.Scalars()
    for first in (0, 1):
        kept.take(optimizer, False, first, 1)
    optimizer.lr = 0.25
    assert kept.take(optimizer, False, 2, 1)[0, 0] == 0.25
    assert kept.take(tw.SGD(lr=0.125), False, 3, 1)[0, 0] == 0.125


def test_a_function_is_asked_for_the_steps_of_a_slice_only():
    asked = []

    def rate(steps):
        asked.append(list(steps))
        return np.full(len(steps), 0.1)

    optimizer, kept = tw.SGD(lr=rate), scalars.Scalars()
    asked.clear()
    for first in (0, 4, 8):
        kept.take(optimizer, False, first, 4)
    assert asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
