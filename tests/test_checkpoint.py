"""Checkpoints: exact resumes from any step, kills, damaged files, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import thalweg as tw
from thalweg import checkpoint, files

EPOCHS = 8
VALUES = [5.0, 4.0, 3.0, 3.5, 3.6, 3.7, 3.8, 3.9]  # best in epoch 2; rates are reduced; training stops in epoch 5


class Crash(Exception):
    """Stands for a kill."""


class Feed(tw.Callback):
    """Puts the numbers above into the logs."""

    def on_epoch_end(self, epoch, logs):
        logs["val_loss"] = VALUES[epoch]


class Memory(tw.Callback):
    """A user's callback with arrays and numbers of its own: a mean of the weights, and all it heard."""

    def __init__(self):
        self.mean, self.heard = [np.zeros(1)], {"epochs": []}

    def on_epoch_begin(self, epoch, logs):
        self.heard["epochs"].append(epoch)

    def on_train_batch_end(self, step, logs):
        self.mean = [0.9 * old + 0.1 * new for old, new in zip(self.mean * 4, self.model.parameters, strict=False)][:4]
        self.heard["loss"] = logs["loss"]

    def state(self):
        return {"mean": self.mean, "heard": self.heard, "nothing": None, "count": np.float64(0.1)}

    def restore(self, state):
        self.mean, self.heard = state["mean"], state["heard"]
        assert (state["nothing"], state["count"]) == (None, 0.1)


class CrashAt(tw.Callback):
    """Fails in an event."""

    def __init__(self, step=None, event="on_train_batch_end"):
        self.step = step
        setattr(self, event, self.crash)

    def crash(self, *what):
        if self.step is not None and self.trainer.position.step >= self.step:
            raise Crash


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Wait for no disk: a process that is killed needs none, and kills.py waits."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def data():
    """Some rows."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(18, 3)), rng.normal(size=18)


def make(optimizer=None, units=5, loss="mse", seed=2):
    """A trainer, made anew as a script does that is started again."""
    model = tw.Sequential([tw.Dense(units, "tanh"), tw.Dense(1)], 3, seed=seed)
    return tw.Trainer(model, loss, optimizer or tw.Adam(lr=0.05), num_threads=1)


def frozen(trainer):
    """The same trainer, its model's first layer frozen."""
    trainer.model.layers[0].trainable = False
    return trainer


def train(folder, *more, trainer=None, every=2, epochs=EPOCHS, batch=4, **how):
    """Train with everything on, and return bytes of all that is left."""
    trainer, memory = trainer or make(), Memory()
    watching = [tw.EarlyStopping(patience=3, restore_best_weights=True), memory,
                tw.ReduceLROnPlateau(patience=1, factor=0.5), tw.LearningRateScheduler(lambda epoch, lr: 0.9 * lr)]  # fmt: skip
    writing = [tw.CSVLogger(folder / "log.csv"), tw.ModelCheckpoint(folder / "best.npz", save_best_only=True)]
    kept = tw.Checkpoint(folder / "kept", **{"every_steps": every} | how)
    callbacks = [*more, kept, Feed(), *watching, *writing]
    history = trainer.fit(*data(), batch_size=batch, epochs=epochs, callbacks=callbacks, validation_data=data())
    left = {f"{i}": p.tobytes() for i, p in enumerate(trainer.model.get_weights())}
    left |= {type(c).__name__: str(c.state()) for c in watching + writing}
    left |= {"history": str((history.history, history.epoch)), "position": str(trainer.position)}
    left |= {"lr": trainer.optimizer.lr, "log": (folder / "log.csv").read_bytes()}
    return left | {"best": (folder / "best.npz").read_bytes()}


def crash(folder, *more, **how):
    """Train until the crash."""
    with pytest.raises(Crash):
        train(folder, *more, **how)


def names(folder):
    return sorted(os.listdir(folder / "kept"))


# ---- exact resumes --------------------------------------------------------------------------------------------------

STEPS = 30  # six epochs of five


def differences(tmp_path, every, event="on_train_batch_end", steps=range(1, STEPS + 1), **how):
    """Crash in turn at each of some steps; return what differed from a training that did not."""
    (tmp_path / "whole").mkdir()
    whole, found = train(tmp_path / "whole", every=every, **how), []
    assert whole["position"].startswith("Position(epoch=6, step_in_epoch=0, step=30")
    for step in steps:
        folder = tmp_path / str(step)
        folder.mkdir()
        crash(folder, CrashAt(step, event), every=every, **how)
        left = train(folder, CrashAt(), every=every, **how)
        found += [(step, name) for name in whole if left[name] != whole[name]]
    return found


@pytest.mark.parametrize(
    ("every", "steps"), [(1, range(1, 31, 4)), (2, range(1, 31)), (5, range(3, 31, 3)), (7, [6, 20])]
)
def test_a_crash_after_any_step_leaves_no_trace(every, steps, tmp_path):
    assert not differences(tmp_path, every, steps=steps)


@pytest.mark.parametrize("event", ["on_epoch_begin", "on_epoch_end", "on_test_end", "on_train_end"])
def test_a_crash_in_any_event_leaves_no_trace(event, tmp_path):
    steps = [STEPS] if event == "on_train_end" else range(1, STEPS - 5, 5)
    assert not differences(tmp_path, 3, event, steps)


def test_crash_after_crash(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "crashed").mkdir()
    for step in (2, 3, 4, 11, 12, 13, 24, 26, 29, 30):
        crash(tmp_path / "crashed", CrashAt(step), every=3)
    assert train(tmp_path / "crashed", CrashAt(), every=3) == train(tmp_path / "whole", every=1)


@pytest.mark.parametrize(
    "optimizer", [tw.SGD, lambda lr: tw.SGD(lr, momentum=0.9), lambda lr: tw.AdamW(lr, amsgrad=True)]
)
@pytest.mark.parametrize(("batch", "step"), [(1, 41), (7, 8), ("full", 3)])
def test_any_optimizer_and_batch_size(optimizer, batch, step, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "crashed").mkdir()
    crash(tmp_path / "crashed", CrashAt(step), trainer=make(optimizer(0.01)), batch=batch)
    left = train(tmp_path / "crashed", trainer=make(optimizer(0.01)), batch=batch)
    assert left == train(tmp_path / "whole", trainer=make(optimizer(0.01)), batch=batch)


def test_the_clock_changes_nothing(tmp_path):
    (tmp_path / "clock").mkdir()
    (tmp_path / "steps").mkdir()
    crash(tmp_path / "clock", CrashAt(12), every=None, every_seconds=0)
    assert len(names(tmp_path / "clock")) == 3
    left = train(tmp_path / "clock", every=None, every_seconds=3600)
    assert left == train(tmp_path / "steps", every=4)


FORGOTTEN = {
    "early stopping": (tw.EarlyStopping, "restore"),
    "plateau": (tw.ReduceLROnPlateau, "restore"),
    "history": (tw.History, "restore"),
    "log": (tw.CSVLogger, "restore"),
    "best": (tw.ModelCheckpoint, "restore"),
    "memory": (Memory, "restore"),
    "trainer": (tw.Trainer, "restore"),
}


@pytest.mark.parametrize("part", FORGOTTEN)
def test_what_is_forgotten_shows(part, tmp_path, monkeypatch):
    monkeypatch.setattr(*FORGOTTEN[part], lambda *what: None)
    assert differences(tmp_path, 2, steps=[14, 24])


@pytest.mark.parametrize("name", ["loss_sum", "weight_sum", "step", "step_in_epoch"])
def test_forgotten_counters_show(name, tmp_path, monkeypatch):
    restore = tw.Trainer.restore

    def forget(trainer, *what):
        restore(trainer, *what)
        setattr(trainer.position, name, 0)

    monkeypatch.setattr(tw.Trainer, "restore", forget)
    assert differences(tmp_path, 2, steps=[13])


@pytest.mark.parametrize(("name", "value"), [("in_epoch", False), ("done", 0), ("logs", {})])
def test_forgotten_parts_of_the_call_show(name, value, tmp_path, monkeypatch):
    unpack, ends = checkpoint._unpack, []

    def forget(run, *what):
        unpack(run, *what)
        setattr(run, name, value)

    monkeypatch.setattr(checkpoint, "_unpack", forget)
    (tmp_path / "whole").mkdir()
    (tmp_path / "crashed").mkdir()
    told = tw.LambdaCallback(on_train_end=ends.append)
    how = {"epochs": 4, "every": None, "every_seconds": 0}  # after every slice and every epoch
    whole = train(tmp_path / "whole", told, **how)
    for event in ("on_train_batch_end", "on_train_end"):
        crash(tmp_path / "crashed", CrashAt(14, event), **how)
    left = train(tmp_path / "crashed", told, **how)
    assert (left, ends[0]) != (whole, ends[-1])


@pytest.mark.parametrize("step", [3, 8, 14])
def test_a_log_that_is_added_to(step, tmp_path):
    def script(name, *more):
        log = tw.CSVLogger(tmp_path / f"{name}.csv", append=True)
        callbacks = [log, tw.Checkpoint(tmp_path / name, every_steps=3), *more]
        make().fit(*data(), epochs=4, batch_size=4, callbacks=callbacks)
        return (tmp_path / f"{name}.csv").read_text()

    for name in ("whole", "crashed"):
        (tmp_path / f"{name}.csv").write_text("epoch,loss\n7,0.5\n")
    with pytest.raises(Crash):
        script("crashed", CrashAt(step, "on_epoch_end"))
    assert script("crashed") == script("whole")
    assert script("crashed").count("\n") == 6


# ---- the end --------------------------------------------------------------------------------------------------------


def test_a_finished_training_returns_at_once(tmp_path):
    first, kept = train(tmp_path), names(tmp_path)
    events = []
    again = train(tmp_path, tw.LambdaCallback(on_train_batch_end=lambda *_: events.append(1)))
    assert again == first
    assert not events
    assert names(tmp_path) == kept


def test_more_epochs_go_on(tmp_path):
    how = {"batch_size": 4, "callbacks": [tw.Checkpoint(tmp_path / "kept")]}
    make().fit(*data(), epochs=2, **how)
    trainer, whole = make(), make()
    history = trainer.fit(*data(), epochs=5, **how)
    assert history.epoch == [0, 1, 2, 3, 4]
    assert history.history == whole.fit(*data(), epochs=5, batch_size=4).history
    assert trainer.position == whole.position
    assert make().fit(*data(), epochs=3, **how).epoch == [0, 1, 2, 3, 4]


def test_a_stopped_training_stays_stopped(tmp_path):
    def end(step, logs):
        stop.trainer.stop_training = True

    stop = tw.LambdaCallback(on_train_batch_end=end, every_steps=7)
    how = {"batch_size": 4, "epochs": 4}
    make().fit(*data(), callbacks=[tw.Checkpoint(tmp_path), stop], **how)
    trainer = make()
    history = trainer.fit(*data(), callbacks=[tw.Checkpoint(tmp_path)], **how)
    assert (trainer.position.step, history.epoch) == (7, [0])


def test_resume_false_begins_anew(tmp_path):
    crash(tmp_path, CrashAt(12))
    trainer = make()
    callbacks = [tw.Checkpoint(tmp_path / "kept", resume=False, keep=2)]
    assert trainer.fit(*data(), callbacks=callbacks, batch_size=4).epoch == [0]
    later = make()
    later.load(tmp_path / "kept" / names(tmp_path)[-1])
    assert later.position.step == 5


def test_with_resume_false_the_first_save_takes_the_place_of_older_files(tmp_path):
    crash(tmp_path, CrashAt(12))
    old = names(tmp_path)
    crash(tmp_path, CrashAt(1), resume=False)
    assert names(tmp_path) == old  # no save yet: nothing is lost
    crash(tmp_path, CrashAt(5), resume=False)
    assert names(tmp_path) == ["checkpoint-000006.npz", "checkpoint-000007.npz"]
    again = make()
    again.load(tmp_path / "kept" / "checkpoint-000006.npz")
    assert again.position.step == 2
    assert train(tmp_path) == train(tmp_path / "whole")  # goes on with the new training


def test_calls_of_fit_have_folders_of_their_own(tmp_path):
    def script(epochs, stop=None):
        trainer = make()
        for name in ("a", "b"):
            callbacks = [tw.Checkpoint(tmp_path / name, every_steps=2), CrashAt(stop)]
            trainer.fit(*data(), batch_size=4, epochs=epochs, callbacks=callbacks)
        return trainer

    with pytest.raises(Crash):
        script(3, 19)
    trainer, whole = script(3), make()
    whole.fit(*data(), batch_size=4, epochs=6)
    assert trainer.position == whole.position
    np.testing.assert_array_equal(trainer.model.predict(data()[0]), whole.model.predict(data()[0]))
    with pytest.raises(ValueError, match="it is of a fit that began at step 0, this one begins at step 30"):
        trainer.fit(*data(), batch_size=4, callbacks=[tw.Checkpoint(tmp_path / "a")])


def test_through_the_model(tmp_path):
    def script(*callbacks):
        model = tw.Sequential([tw.Dense(4, "relu"), tw.Dense(1)], 3)  # no seed: the file's is taken
        how = {"loss": "mse", "optimizer": tw.Adam(), "batch_size": 4, "epochs": 3, "validation_split": 0.2}
        return model, model.fit(*data(), callbacks=[tw.Checkpoint(tmp_path, every_steps=1), *callbacks], **how)

    with pytest.raises(Crash):
        script(CrashAt(6))
    model, history = script()
    again, complete = script()
    assert history.epoch == [0, 1, 2]
    assert complete.history == history.history
    np.testing.assert_array_equal(model.predict(data()[0]), again.predict(data()[0]))


def test_progress_begins_where_the_training_stands(tmp_path, capsys):
    crash(tmp_path, CrashAt(12))
    trainer = make()
    callbacks = [tw.Checkpoint(tmp_path / "other")]
    trainer.fit(*data(), batch_size=4, epochs=2, callbacks=callbacks)
    capsys.readouterr()
    make().fit(*data(), batch_size=4, epochs=4, callbacks=callbacks, verbose=1)
    assert "72.0/72.0" in capsys.readouterr().err


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_are_kept(keep, tmp_path):
    crash(tmp_path, CrashAt(12), every=1, keep=keep)
    assert names(tmp_path) == [f"checkpoint-{number:06d}.npz" for number in range(12 - keep, 12)]


def test_a_trainer_loads_a_checkpoint(tmp_path):
    crash(tmp_path, CrashAt(12), every=1)
    trainer = make()
    trainer.load(tmp_path / "kept" / "checkpoint-000011.npz")
    assert trainer.position.step == 11


def damage_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 16
    path.write_bytes(content)


def damage_empty(path):
    path.write_bytes(b"")


def replace_by_a_model(path):
    make().model.save(path)


@pytest.mark.parametrize("damage", [damage_half, damage_bit, damage_empty, replace_by_a_model])
def test_damaged_files_are_skipped(damage, tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "crashed").mkdir()
    folder = tmp_path / "crashed"
    crash(folder, CrashAt(12))
    for name in names(folder)[1:]:
        damage(folder / "kept" / name)
    with pytest.warns(
        RuntimeWarning, match=r"checkpoint-00000\d.npz is no thalweg trainer file.*; it is skipped"
    ) as told:
        left = train(folder, CrashAt())
    assert len(told) == 2
    assert left == train(tmp_path / "whole")
    assert [files.read(folder / "kept" / name, "trainer") for name in names(folder)]  # the damaged are gone


def test_when_all_are_damaged_training_begins_anew(tmp_path):
    crash(tmp_path, CrashAt(12))
    for name in names(tmp_path):
        damage_half(tmp_path / "kept" / name)
    with pytest.warns(RuntimeWarning, match="skipped"):
        train(tmp_path)
    assert "checkpoint-000006.npz" not in names(tmp_path)


def test_only_own_leftovers_are_removed(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    foreign = [".other.part", "checkpoint-1.npz", "notes.txt", ".checkpoint-000001.npz.part"]
    for name in [*foreign, ".checkpoint-000007.npz.123.part"]:
        (folder / name).write_text("?")
    make().fit(*data(), callbacks=[tw.Checkpoint(folder)])
    assert names(tmp_path) == sorted([*foreign, "checkpoint-000001.npz"])


@settings(max_examples=150)
@given(st.data())
def test_no_damage_is_taken_for_a_state(tmp_path_factory, more):
    path = whole_file(tmp_path_factory)
    content = bytearray(path.read_bytes())
    cut = more.draw(st.booleans())
    at = more.draw(st.integers(0, len(content) - 1))
    if cut:
        content = content[:at]
    else:
        content[at] ^= more.draw(st.integers(1, 255))
    other = path.with_name("damaged")
    other.write_bytes(content)
    expected = files.read(path, "trainer")
    try:
        found = files.read(other, "trainer")
    except files.Damaged:
        return
    assert not cut  # a date or the like, which nothing depends on
    assert found[0] == expected[0]
    for name in expected[1]:
        np.testing.assert_array_equal(found[1][name], expected[1][name])


def whole_file(factory, made=[]):  # noqa: B006
    """A checkpoint, made once."""
    if not made:
        folder = factory.mktemp("whole")
        make().fit(*data(), callbacks=[tw.Checkpoint(folder)])
        made.append(folder / "checkpoint-000001.npz")
    return made[0]


def test_files_are_on_the_disk_before_they_have_their_names(tmp_path, monkeypatch):
    done, replace = [], os.replace

    def synced(handle):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("rename"), replace(old, new)))
    make().save(tmp_path / "t.npz")
    assert done == [f".t.npz.{os.getpid()}.part", "rename", tmp_path.name]


def test_a_failed_save_ends_training_and_leaves_whole_files(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "savez", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        train(tmp_path)
    monkeypatch.undo()
    assert names(tmp_path) == []
    (tmp_path / "whole").mkdir()
    assert train(tmp_path) == train(tmp_path / "whole")


# ---- what is refused ------------------------------------------------------------------------------------------------

OTHERS = {
    "layers": (
        lambda: make(units=6),
        {},
        r"model is another: layers\[0\], Dense: units is 5 in the file, 6 here\. Give",
    ),
    "frozen": (lambda: frozen(make()), {}, r"layers\[0\], Dense: trainable is True in the file, False here"),
    "loss": (lambda: make(loss="binary_cross_entropy"), {}, "trained with loss mse, this trainer has binary_cross"),
    "optimizer": (lambda: make(tw.SGD(lr=0.05)), {}, "the file was trained with optimizer Adam, this trainer has SGD"),
    "lr": (lambda: make(tw.Adam(lr=0.01)), {}, "it was trained with optimizer lr 0.05, this training has 0.01"),
    "betas": (
        lambda: make(tw.Adam(lr=0.05, betas=(0.5, 0.5))),
        {},
        r"optimizer betas \[0.9, 0.999\], this training has",
    ),
    "batch": (make, {"batch_size": 3}, "it was trained with batch_size 4, this training has 3"),
    "rows": (make, {"validation_split": 0.2}, "it was trained with samples 18, this training has 14"),
    "shuffle": (make, {"shuffle": False}, "it was trained with shuffle True, this training has False"),
    "blocks": (make, {"exact_block": False}, "it was trained with exact_block True, this training has False"),
    "callbacks": (make, {"more": [tw.EarlyStopping("loss")]}, r"callbacks \['History'\], this training has \['Early"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_others_are_refused(case, tmp_path):
    make().fit(*data(), batch_size=4, callbacks=[tw.Checkpoint(tmp_path)])
    make_other, how, message = OTHERS[case]
    how = {"batch_size": 4} | how
    trainer, more = make_other(), how.pop("more", [])
    before = trainer.model.get_weights(), trainer.optimizer.config(), trainer.seed
    y = data()[1] > 0 if case == "loss" else data()[1]
    with pytest.raises(ValueError, match=f"^Checkpoint: cannot resume from .*checkpoint-000001.npz: .*{message}"):
        trainer.fit(data()[0], y, callbacks=[tw.Checkpoint(tmp_path), *more], **how)
    assert trainer.position == tw.training.Position()
    assert (trainer.optimizer.config(), trainer.seed) == before[1:]
    for a, b in zip(before[0], trainer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_trainers_file_is_no_checkpoint(tmp_path):
    make().save(tmp_path / "checkpoint-000001.npz")
    with pytest.raises(ValueError, match=r"it was written by Trainer.save, not by a Checkpoint"):
        make().fit(*data(), callbacks=[tw.Checkpoint(tmp_path)])


def test_a_newer_format_is_refused_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", 2)
    make().fit(*data(), callbacks=[tw.Checkpoint(tmp_path)])
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 2; this version of thalweg reads format 1"):
        make().fit(*data(), callbacks=[tw.Checkpoint(tmp_path)])
    assert os.listdir(tmp_path) == ["checkpoint-000001.npz"]


@pytest.mark.parametrize("state", [{"a": {1, 2}}, {1: 2}, {"a": [np.array([None])]}, {"b": object()}, [1j]])
def test_states_that_no_file_can_hold(state, tmp_path):
    class Odd(tw.Callback):
        def state(self):
            return state

    with pytest.raises(TypeError, match=r"state\(\) of Odd holds .*; expected what JSON can hold, and NumPy arrays"):
        make().fit(*data(), callbacks=[Odd(), tw.Checkpoint(tmp_path)])
    assert os.listdir(tmp_path) == []


# ---- kills ----------------------------------------------------------------------------------------------------------


def test_kills_leave_no_trace():
    path = Path(__file__).parent.parent / "benchmarks" / "kills.py"
    command = [sys.executable, str(path), "--kills", "6", "--seed", "1"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.startswith("6 kills (1 in start, 3 in training, 2 in writing; ")
    assert last.endswith(": 0 differences")
