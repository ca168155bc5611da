"""The order of rows: a uniform permutation of (seed, epoch), the same for ever."""

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from thalweg import _native


def order_of(n, seed, epoch):
    """The core's permutation."""
    order = np.full(n, -1, np.int64)
    _native.shuffle(order, seed, epoch)
    return order


@given(st.integers(1, 300), st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_it_is_the_twins_permutation(n, seed, epoch):
    order = order_of(n, seed, epoch)
    assert sorted(order) == list(range(n))
    assert order.tolist() == reference.shuffled(n, seed, epoch)


@pytest.mark.parametrize("isa", tw.info()["isas"])
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_its_first_rows_can_be_had_alone(isa, n, count, seed):
    first, whole = np.full(n, -1, np.int64), np.empty(n, np.int64)
    count = min(n, count)
    _native.shuffle(first, seed, 3, count, isa)
    _native.shuffle(whole, seed, 3, isa=isa)
    assert first[:count].tolist() == whole[:count].tolist() == reference.shuffled(n, seed, 3)[:count]


@pytest.mark.parametrize("count", [1, 128, 1023, 1024, 1025])
def test_the_first_of_many_rows_can_be_had_alone(count):
    order = np.full(60_000, -1, np.int64)
    drawn = _native.shuffle(order, 7, 3, count)
    assert drawn == (count if count <= 1024 else 60_000)
    assert order[:count].tolist() == reference.shuffled(60_000, 7, 3)[:count]


def test_what_has_been_drawn_is_not_drawn_again(monkeypatch):
    drawn, shuffle = [], _native.shuffle

    def noted(order, *arguments):
        drawn.append(shuffle(order, *arguments))
        return drawn[-1]

    monkeypatch.setattr(_native, "shuffle", noted)
    model = tw.Sequential([tw.Dense(2)], 3, seed=0)
    trainer = tw.Trainer(model, "mse", tw.SGD())
    x, y = np.zeros((5000, 3)), np.zeros((5000, 2))
    for batch, expected in ((8, [8, 5000]), (2000, [5000])):
        trainer.fit(x, y, batch_size=batch)
        assert drawn == expected
        drawn.clear()


def test_it_will_never_change():
    # from 0.1.0 on a training resumes with these orders for ever
    assert order_of(10, 0, 0).tolist() == GOLDEN
    assert order_of(10, 0, 1).tolist() != GOLDEN
    assert order_of(10, 1, 0).tolist() != GOLDEN


GOLDEN = [2, 4, 1, 0, 6, 7, 5, 3, 8, 9]


@pytest.mark.parametrize("n", [2, 5, 8])
def test_every_row_is_as_likely_everywhere(n):
    draws = 4000
    counts = np.zeros((n, n))
    for epoch in range(draws):
        counts[np.arange(n), order_of(n, 11, epoch)] += 1
    chi_square = ((counts - draws / n) ** 2 / (draws / n)).sum()
    freedom = (n - 1) ** 2
    assert chi_square < freedom + 5 * np.sqrt(2 * freedom)


def test_epochs_and_seeds_are_independent():
    n = 5000
    orders = [order_of(n, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(n)
            assert (a == b).sum() < 10  # one is expected
