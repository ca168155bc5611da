"""Several epochs in one slice: the same bits, losses and counters as one after the other, which a callback asks for."""

import numpy as np
import pytest

import thalweg as tw
from thalweg import loop, stepping

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(96, 40)).astype(np.float32), RNG.integers(0, 5, 96)


def trainer_of(optimizer, loss="cross_entropy", dropout=0.0, **settings):
    layers = [tw.Dense(32, "relu"), *([tw.Dropout(dropout)] if dropout else []), tw.Dense(5)]
    return tw.Trainer(tw.Sequential(layers, 40, seed=0), loss, optimizer, **settings)


def state(trainer, history):
    """All that is to be the same."""
    weights = b"".join(p.tobytes() for p in trainer.model.parameters)
    slots = b"".join(view.tobytes() for name in trainer._slots for view in trainer.slot_views(name))
    return weights, slots, vars(trainer.position), history.history, history.epoch, len(history.seconds)


def count_passes(monkeypatch):
    seen = []
    run = stepping.run
    monkeypatch.setattr(
        stepping, "run", lambda trainer, piece, *rest: (seen.append(piece.passes), run(trainer, piece, *rest))[1]
    )
    return seen


CASES = {
    "sgd": ({"optimizer": tw.SGD(lr=0.1)}, 32),
    "blocks": ({"optimizer": tw.SGD(lr=0.1)}, 2),
    "single rows": ({"optimizer": tw.SGD(lr=0.01)}, 1),
    "adam": ({"optimizer": tw.Adam()}, 16),
    "schedule": ({"optimizer": tw.Adam(lr=tw.schedules.Step(1e-2, step_size=7))}, 16),
    "average": ({"optimizer": tw.SGD(lr=0.1, momentum=0.9, average=0.9)}, 32),
    "full": ({"optimizer": tw.SGD(lr=0.1)}, "full"),
    "dropout": ({"optimizer": tw.SGD(lr=0.1), "dropout": 0.3}, 32),
    "unfused": ({"optimizer": tw.Adam(), "fused": False}, 32),
}


@pytest.mark.parametrize("threads", [1, 2, None])
@pytest.mark.parametrize("case", CASES)
def test_nothing_depends_on_it(case, threads, monkeypatch):
    settings, batch = CASES[case]
    seen, found = count_passes(monkeypatch), []
    for callbacks in (None, [tw.Callback()]):
        trainer = trainer_of(num_threads=threads, **settings)
        history = trainer.fit(X, Y, batch_size=batch, epochs=13, shuffle=False, callbacks=callbacks)
        history = trainer.fit(X, Y, batch_size=batch, epochs=4, shuffle=False, callbacks=callbacks)
        found.append((state(trainer, history), max(seen)))
        seen.clear()
    (alone, most), (told, one) = found
    assert alone == told
    assert most > 1 == one


def test_large_batches_in_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(16_512, 8)).astype(np.float32), rng.normal(size=(16_512, 1)).astype(np.float32)
    found = []
    for callbacks in (None, [tw.Callback()]):
        trainer = tw.Trainer(
            tw.Sequential([tw.Dense(64, "relu"), tw.Dense(1)], 8, seed=0), "mse", tw.Adam(), num_threads=2
        )
        history = trainer.fit(x, y, batch_size="full", epochs=9, callbacks=callbacks)
        found.append(state(trainer, history))
    assert found[0] == found[1]


def test_rows_so_wide_that_steps_wait_for_their_products():
    # of exact blocks on two threads: one makes steps, the other what they need of the rows' products with each other
    found, x = [], np.random.default_rng(1).normal(size=(96, 4000)).astype(np.float32)
    for callbacks in (None, [tw.Callback()]):
        model = tw.Sequential([tw.Dense(32, "relu"), tw.Dense(5)], 4000, seed=0)
        trainer = tw.Trainer(model, "cross_entropy", tw.SGD(lr=1e-3), num_threads=2)
        history = trainer.fit(x, Y, batch_size=1, epochs=20, shuffle=False, callbacks=callbacks)
        found.append(state(trainer, history))
    assert found[0] == found[1]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 32])
def test_a_loss_that_is_not_finite_ends_it_at_its_step(batch, threads, monkeypatch):
    found, last = [], 7 * (96 // batch) + 1  # step after which weights are huge, in the eighth epoch
    monkeypatch.setattr(loop.Pace, "next", lambda self: (self._given, 10 * (96 // batch)))
    for callbacks in (None, [tw.Callback()]):
        optimizer = tw.SGD(lr=lambda steps: np.where(steps < last, 1e-3, 1e30))
        trainer = trainer_of(optimizer, loss="mse", num_threads=threads)
        with pytest.raises(tw.NonFiniteLoss, match="epoch 7, step") as error:
            trainer.fit(X, np.eye(5)[Y], batch_size=batch, epochs=10, shuffle=False, callbacks=callbacks)
        weights = b"".join(p.tobytes() for p in trainer.model.parameters)
        found.append((str(error.value), weights, vars(trainer.position)))
    assert found[0] == found[1]
    assert found[0][2]["step"] >= last


def test_an_interrupt_finds_whole_epochs(monkeypatch):
    wanted = trainer_of(tw.Adam())
    wanted.fit(X, Y, batch_size=32, epochs=20, shuffle=False)
    trainer, run = trainer_of(tw.Adam()), stepping.run

    def interrupted(trainer, piece, machine, interrupt):
        outcome = run(trainer, piece, machine, interrupt)
        interrupt.noted = piece.passes > 1
        return outcome

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stepping, "run", interrupted)
        trainer.fit(X, Y, batch_size=32, epochs=20, shuffle=False)
    done = trainer.position.epoch
    assert 1 < done <= 20
    assert trainer.position.step == 3 * done
    trainer.fit(X, Y, batch_size=32, epochs=20 - done, shuffle=False)
    assert [p.tobytes() for p in trainer.model.parameters] == [p.tobytes() for p in wanted.model.parameters]


WAYS = {
    "shuffled": {"shuffle": True},
    "a tail": {"batch_size": 40},
    "validation": {"validation_data": (X, Y)},
    "a callback": {"callbacks": [tw.Callback()]},
}


@pytest.mark.parametrize("way", WAYS)
def test_epochs_that_somebody_looks_at_are_their_own_slices(way, monkeypatch):
    seen = count_passes(monkeypatch)
    trainer_of(tw.SGD()).fit(X, Y, **{"batch_size": 32, "epochs": 6, "shuffle": False} | WAYS[way])
    assert set(seen) == {1}


@pytest.mark.parametrize("optimizer", [tw.SGD(clip_norm=1.0), tw.SGD(accumulate=2), tw.ADMMAdam(prox=tw.prox.L1(1e-3))])
def test_so_are_those_of_optimizers_that_python_helps(optimizer, monkeypatch):
    seen = count_passes(monkeypatch)
    trainer_of(optimizer).fit(X, Y, batch_size=32, epochs=6, shuffle=False)
    assert set(seen) == {1}


def test_a_slice_ends_after_its_time(monkeypatch):
    # 12 steps, however many epochs there are
    monkeypatch.setattr(loop.Pace, "next", lambda self: (self._given, 12))
    seen = count_passes(monkeypatch)
    trainer_of(tw.SGD()).fit(X, Y, batch_size=32, epochs=10, shuffle=False)
    assert seen == [4, 4, 2]
