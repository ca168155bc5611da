"""Threads and processes: the GIL, locks, forks, Ctrl-C, and what a training leaves behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import thalweg as tw
from thalweg import _native, programs, system


def training(rows=2000, seed=0):
    """A model with something to learn."""
    rng = np.random.default_rng(seed)
    model = tw.Sequential([tw.Dense(64, "relu"), tw.Dense(5)], 30, seed=seed)
    return model, rng.normal(size=(rows, 30)).astype(np.float32), rng.integers(0, 5, rows)


def run(code, *arguments, **how):
    """Run a script in a new process."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **how)


class During(tw.Callback):
    """Calls something in another thread while this one trains, and keeps what it raised."""

    def __init__(self, call):
        self.call, self.raised = call, None

    def on_epoch_end(self, epoch, logs):
        def attempt():
            try:
                self.call()
            except RuntimeError as error:
                self.raised = str(error)

        other = threading.Thread(target=attempt)
        other.start()
        other.join()


ACTIONS = {
    "fit": lambda m, x, y: m.fit(x, y, loss="cross_entropy", optimizer=tw.SGD()),
    "predict": lambda m, x, y: m.predict(x),
    "predict_proba": lambda m, x, y: m.predict_proba(x),
    "evaluate": lambda m, x, y: m.evaluate(x, y),
    "save": lambda m, x, y: m.save(os.devnull),
    "set_weights": lambda m, x, y: m.set_weights(m.get_weights()),
    "step": lambda m, x, y: tw.Trainer(m, "cross_entropy", tw.SGD()).step(x, y),
}


@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_model_in_training_refuses_other_threads(action):
    model, x, y = training(rows=100)
    during = During(lambda: ACTIONS[action](model, x, y))
    model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(), callbacks=[during])
    assert during.raised is not None
    assert action in during.raised
    assert "another thread" in during.raised
    ACTIONS["predict"](model, x, y)  # and afterwards it is free


class Nested(tw.Callback):
    """Calls fit from within fit."""

    def on_epoch_end(self, epoch, logs):
        self.model.fit(np.ones((2, 30)), [0, 1], loss="cross_entropy", optimizer=tw.SGD())


def test_a_nested_fit_is_refused():
    model, x, y = training(rows=100)
    with pytest.raises(RuntimeError, match="being trained already, by this thread"):
        model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(), callbacks=[Nested()])
    model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD())


def test_several_threads_may_predict_at_once():
    model, x, _ = training()
    expected = model.predict(x)
    results = []
    threads = [threading.Thread(target=lambda: results.append(model.predict(x))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, expected) for result in results)


def test_threads_may_predict_any_numbers_of_rows_at_once():
    model, x, _ = training(rows=40)
    expected, results = model.predict(x), []

    def predict_many(offset):
        for n in range(200):  # more kinds than are kept
            rows = 1 + (7 * n + offset) % 40
            results.append(np.array_equal(model.predict(x[:rows]), expected[:rows]))

    threads = [threading.Thread(target=predict_many, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 800


def test_two_models_may_train_at_once():
    def train(seed, results):
        model, x, y = training(seed=seed)
        model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), epochs=5, num_threads=1)
        results[seed] = model.predict(x)

    alone, together = {}, {}
    for seed in (0, 1):
        train(seed, alone)
    threads = [threading.Thread(target=train, args=(seed, together)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        np.testing.assert_array_equal(alone[seed], together[seed])


def test_the_gil_is_free_while_epochs_run():
    # A thread that only counts gets somewhere while fit computes: without the GIL released it would stand still for
    # the length of a slice. The share is measured by benchmarks/interplay.py; here it is not zero.
    model, x, y = training(rows=20000)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    time.sleep(0.01)
    before = counted[0]
    model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(), epochs=3, num_threads=1)
    after = counted[0]
    stop.set()
    counter.join()
    assert after - before > 1000


# ---- forks ----------------------------------------------------------------------------------------------------------


def child(results):
    """Train in a forked child."""
    model, x, y = training()
    model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), num_threads=2)
    results.put(model.predict(x[:3]).tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_trained_can_fork_and_train_in_the_child():
    model, x, y = training()
    model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), num_threads=2)
    expected = model.predict(x[:3]).tobytes()
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        results = context.Queue()
        process = context.Process(target=child, args=(results,))
        process.start()
        assert results.get(timeout=60) == expected
        process.join(timeout=60)
        assert process.exitcode == 0
        _native.measure_barrier()  # the parent's pool is there again


# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import thalweg as tw
from thalweg import system
from thalweg.guard import DeferredInterrupt

rng = np.random.default_rng(0)
full, rows = sys.argv[1] != "mini", {"mini": 3000, "long": 4000, "full": 20000, "chunks": 400000}[sys.argv[1]]
if full:
    rows //= {"avx512": 1, "avx2": 2, "scalar": 4}[system.ISA]  # as long on all
wide = sys.argv[1] in ("long", "full")
hidden = [tw.Dense(512, "relu")] * 3 if wide else [tw.Dense(64, "relu")] * 2 if full else [tw.Dense(32, "relu")]
inputs = 784 if wide else 20
x, y = rng.normal(size=(rows, inputs)).astype(np.float32), rng.integers(0, 10, rows)
model = tw.Sequential([*hidden, tw.Dense(10)], inputs, seed=0)
trainer = tw.Trainer(model, "cross_entropy", tw.SGD(lr=1e-3), num_threads=int(sys.argv[2]))
batch = "full" if full else 8
sent = []

def interrupt():
    time.sleep(float(sys.argv[3]))
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    trainer.fit(x, y, batch_size=batch, epochs=10**6, shuffle=False)
except KeyboardInterrupt:
    waited = time.perf_counter() - sent[0]
steps = trainer.position.step
twin = tw.Sequential([*hidden, tw.Dense(10)], inputs, seed=0)
other = tw.Trainer(twin, "cross_entropy", tw.SGD(lr=1e-3))
epochs, rest = divmod(steps, 1 if full else 375)
if steps < 20000:
    if epochs:
        other.fit(x, y, batch_size=batch, epochs=epochs, shuffle=False)
    for i in range(rest):
        other.step(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    assert all((a == b).all() for a, b in zip(model.parameters, twin.parameters)), "not a whole number of steps"
assert all(np.isfinite(p).all() for p in model.parameters)
print(steps, waited)
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("batch", "after"),
    [
        ("mini", 0.25),
        ("full", 0.3),
        ("full", 0.75),
        ("chunks", 0.4),
        ("chunks", 0.45),
        *(("long", 0.4 + 0.03 * i) for i in range(5)),
    ],
)
def test_ctrl_c_leaves_a_whole_number_of_steps(batch, threads, after):
    result = run(INTERRUPTED, batch, str(threads), str(after))
    assert result.returncode == 0, result.stderr
    steps, waited = result.stdout.split()
    assert float(waited) < 2  # 0.2 s on a machine to itself: benchmarks/interplay.py
    assert int(steps) > 0 or batch != "mini"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("rows", "pieces", "fused"), [(500, False, True), (4000, True, True), (20000, True, False)])
def test_a_long_step_is_in_pieces_and_a_long_update_apart(capsys, threads, rows, pieces, fused):
    rows //= {"avx512": 1, "avx2": 2, "scalar": 4}[system.ISA]  # as long on all
    model = tw.Sequential([tw.Dense(512, "relu")] * 3 + [tw.Dense(10)], 784, seed=0)
    tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=threads).describe(rows)
    shown = capsys.readouterr().out
    assert ("fused" in shown.splitlines()[0]) == fused
    assert ("in pieces" in shown.splitlines()[0]) == pieces
    if threads > 1 and pieces:
        assert "barrier commit" in shown  # a stop between the last barrier and the update would be half a gradient


def test_training_goes_on_after_ctrl_c():
    model, x, y = training(rows=500)
    whole, *_ = training(rows=500)
    interrupted = tw.Trainer(model, "cross_entropy", tw.Adam())

    class Interrupt(tw.Callback):
        def on_epoch_begin(self, epoch, logs):
            if epoch == 1 and not done:
                done.append(True)
                signal.raise_signal(signal.SIGINT)

    done = []
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(x, y, epochs=3, callbacks=[Interrupt()])
    interrupted.fit(x, y, epochs=2)
    tw.Trainer(whole, "cross_entropy", tw.Adam()).fit(x, y, epochs=3)
    np.testing.assert_array_equal(model.predict(x), whole.predict(x))


# ---- number of threads ----------------------------------------------------------------------------------------------


def test_threads_asked_for_are_used_exactly(capsys):
    model, *_ = training()
    for threads in (1, 2, 5):
        tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=threads).describe()
        assert f", {threads} thread" in capsys.readouterr().out.splitlines()[0]
    tw.set_num_threads(3)
    assert tw.get_num_threads() == 3
    tw.Trainer(model, "cross_entropy", tw.SGD()).describe()
    assert ", 3 threads" in capsys.readouterr().out.splitlines()[0]


def test_container_quotas_are_kept(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert system._container_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert system._container_quota(tmp_path) is None
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert system._container_quota(tmp_path) == 4
    assert system._container_quota(tmp_path / "nowhere") is None


def test_affinity_is_a_ceiling():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    code = """
    import os
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import thalweg as tw
    print(tw.get_num_threads(), tw.info()["cores"])
    """
    assert run(code).stdout.split() == ["1", "1"]


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="this system does not tell where threads are")
def test_threads_may_use_the_same_cores_after_a_training():
    # both begin on one core, from which one of them has to go
    code = """
    import os, numpy as np, thalweg as tw
    cores = sorted(os.sched_getaffinity(0))
    model = tw.Sequential([tw.Dense(64, "relu"), tw.Dense(5)], 30, seed=0)
    x, y = np.ones((256, 30), np.float32), np.zeros(256, int)
    threads = lambda: [int(name) for name in os.listdir("/proc/self/task")]
    for _ in range(50):
        for thread in threads():
            os.sched_setaffinity(thread, cores[:1])
            os.sched_setaffinity(thread, cores)
        model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(), num_threads=2, verbose=0)
        assert all(sorted(os.sched_getaffinity(thread)) == cores for thread in threads())
    os.sched_setaffinity(0, cores[:1])
    for thread in threads():
        os.sched_setaffinity(thread, cores[:1])
    model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(), num_threads=2, verbose=0)
    assert all(os.sched_getaffinity(thread) == {cores[0]} for thread in threads())
    """
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_cores_are_looked_at_again_after_a_while(monkeypatch):
    clock, cores = [1000.0], [4]
    monkeypatch.setattr(system, "_seen", {})
    monkeypatch.setattr(system, "_num_threads", None)
    monkeypatch.setattr(system, "allowed_cores", lambda: cores[0])
    monkeypatch.setattr(system.time, "monotonic", lambda: clock[0])
    most = _native.thread_limit()
    assert system.machine(probe=False).threads == min(4, most)
    cores[0] = 1
    assert system.machine(probe=False).threads == min(4, most)
    clock[0] += 1.5
    assert system.machine(probe=False).threads == 1


# ---- the ISA --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", tw.info()["isas"])
def test_the_forced_isa_is_the_active_one(isa):
    result = run("import thalweg; print(thalweg.info()['isa'])", env={**os.environ, "THALWEG_ISA": isa})
    assert result.stdout.strip() == isa


@pytest.mark.parametrize("isa", ["sse9", "AVX2", "neon512"])
def test_an_unknown_isa_is_an_error_at_import(isa):
    result = run("import thalweg", env={**os.environ, "THALWEG_ISA": isa})
    assert result.returncode == 1
    there_are = ", ".join(tw.info()["isas"])
    assert (
        f"THALWEG_ISA is {isa!r}, which is unknown or not supported by this CPU; there are: {there_are}"
        in result.stderr
    )


@pytest.mark.parametrize("units", [1, 2, 15])
def test_a_narrow_layer_is_priced_as_the_vector_that_it_fills(units):
    def threads(units):
        trainer = tw.Trainer(
            tw.Sequential([tw.Dense(units, "relu"), tw.Dense(10)], 784, seed=0), "cross_entropy", tw.SGD()
        )
        job = trainer.job(128, "labels", False, True)
        return programs.make_plan(trainer.model.shape, job, system.Machine(2, False, 50.0)).threads

    assert threads(units) == threads(16) == 2
