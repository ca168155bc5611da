"""Callbacks: events and when they come, Keras's counting, files, and what they refuse."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import thalweg as tw
from thalweg import monitors, rates

OUTSIDE = json.loads((Path(__file__).parent / "outside" / "callbacks.json").read_text())["cases"]
ROWS = 20


def data(rows=ROWS):
    """Some rows."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, 3)), rng.normal(size=rows)


def make(lr=0.01, optimizer=None):
    """A trainer of a tiny model."""
    model = tw.Sequential([tw.Dense(4, "tanh"), tw.Dense(1)], 3, seed=0)
    return tw.Trainer(model, "mse", optimizer or tw.SGD(lr=lr), num_threads=1)


def fit(*callbacks, epochs=1, trainer=None, rows=ROWS, **how):
    """Train, and return trainer and history."""
    trainer = trainer or make()
    return trainer, trainer.fit(*data(rows), epochs=epochs, callbacks=callbacks, **{"batch_size": 4} | how)


def bits(trainer):
    """Bits of the weights."""
    return b"".join(p.tobytes() for p in trainer.model.get_weights())


class Feed(tw.Callback):
    """Puts numbers into the logs, and keeps the weights of each epoch."""

    def __init__(self, name, values):
        self.name, self.values, self.weights = name, values, []

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]
        self.weights.append(bits(self.trainer))


class Note(tw.Callback):
    """Notes attributes of another callback after each epoch."""

    def __init__(self, of, name):
        self.of, self.name, self.noted = of, name, []

    def on_epoch_end(self, epoch, logs):
        self.noted.append(getattr(self.of, self.name, 0))


# ---- Keras's counting -----------------------------------------------------------------------------------------------


def play(case, folder):
    """Return what our callback does with a case's numbers, in the words of Keras's record."""
    kind, settings = case["kind"], case["settings"]
    if kind == "ModelCheckpoint":
        callback = tw.ModelCheckpoint(folder / ("{epoch:02d}-{" + settings["monitor"] + ":.3f}.keras"), **settings)
    else:
        callback = getattr(tw, kind)(**settings)
    feed, waits, lr = Feed(settings["monitor"], case["values"]), Note(callback, "wait"), []
    rate = tw.LambdaCallback(on_epoch_begin=lambda epoch, logs: lr.append(rate.trainer.optimizer.lr))
    trainer, _ = fit(rate, feed, callback, waits, epochs=len(case["values"]), trainer=make(lr=0.5))
    last = bits(trainer)
    return {
        "rates": lr, "waits": waits.noted, "saved": sorted(os.listdir(folder)), "rate": trainer.optimizer.lr,
        "weights": len(feed.weights) - 1 - feed.weights[::-1].index(last),
        "stopped": getattr(callback, "stopped_epoch", 0), "best_epoch": getattr(callback, "best_epoch", 0),
    }  # fmt: skip


def name_of(case):
    return case["kind"] + "-" + "-".join(f"{value}" for value in case["settings"].values())


@pytest.mark.parametrize("case", OUTSIDE, ids=name_of)
def test_as_keras_does(case, tmp_path):
    assert play(case, tmp_path) == case["keras"]


def with_ties(self, current, than):
    return than is None or (current <= than if self.mode == "min" else current >= than)


def without_delta(self, current, than):
    return than is None or (current < than if self.mode == "min" else current > than)


def always_min(self, current, than):
    return than is None or current < than - self.min_delta


def without_cooldown(self, epoch):
    optimizer = self.trainer.optimizer
    optimizer.lr = max(optimizer.lr * self.factor, self.min_lr)
    self.wait = 0


def without_weights(self, epoch):
    self.best_epoch = epoch


PLANTED = {
    "ties": (monitors.Monitor, "is_better", with_ties),
    "delta": (monitors.Monitor, "is_better", without_delta),
    "mode": (monitors.Monitor, "is_better", always_min),
    "cooldown": (rates.ReduceLROnPlateau, "_reduce", without_cooldown),
    "weights": (monitors.EarlyStopping, "_keep", without_weights),
    "best": (monitors.EarlyStopping, "on_train_end", lambda self, logs: None),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_errors_show_in_keras_traces(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(*PLANTED[planted])
    wrong = 0
    for number, case in enumerate(OUTSIDE):
        (tmp_path / str(number)).mkdir()
        wrong += play(case, tmp_path / str(number)) != case["keras"]
    assert wrong


BY_HAND = [
    # values, settings, epochs trained, wait at the end
    ([5, 4, 3, 2, 1, 1, 0], {}, 6, 1),
    ([5, 4, 4.5, 4.5, 3, 2, 1], {"patience": 2}, 4, 2),
    ([5, 4, 4.5, 3, 3.5, 3.5, 1], {"patience": 2}, 6, 2),
    ([5, 4.5, 4, 3.5, 3, 2, 1], {"patience": 1, "min_delta": 0.5}, 2, 1),
    ([5, 4.5, 3.9, 3.5, 3.4, 2, 1], {"patience": 2, "min_delta": 0.5}, 5, 2),
    ([5, 4, 3, 2, 1, 0.5, 0], {"baseline": 1.5, "patience": 3}, 7, 0),
    ([5, 4, 3, 3, 1, 0.5, 0], {"baseline": 1.5, "patience": 3}, 4, 4),
    ([5, 9, 9, 9, 8, 9, 9], {"start_from_epoch": 4}, 6, 1),
    ([9, 8, 7, 6, 5, 4, 3], {"mode": "max", "patience": 3}, 4, 3),
    ([np.nan, 3, 2, np.nan, np.nan, 1, 1], {"patience": 2}, 5, 2),
]


@pytest.mark.parametrize(("values", "settings", "trained", "wait"), BY_HAND)
def test_early_stopping_by_hand(values, settings, trained, wait):
    stop = tw.EarlyStopping(**settings)
    _, history = fit(Feed("val_loss", values), stop, epochs=len(values))
    assert (len(history.epoch), stop.wait) == (trained, wait)
    assert stop.stopped_epoch == (trained - 1 if trained < len(values) else 0)


def test_early_stopping_says_so_and_begins_anew(capsys):
    stop = tw.EarlyStopping(patience=1, restore_best_weights=True, verbose=1)
    feed = Feed("val_loss", [2, 1, 3, 3])
    trainer, _ = fit(feed, stop, epochs=4)
    assert capsys.readouterr().out == "epoch 2: val_loss has not improved since epoch 1, training ends\n"
    assert bits(trainer) == feed.weights[1]
    _, history = fit(Feed("val_loss", [9, 8, 7]), stop, epochs=3)
    assert len(history.epoch) == 3


def test_plateau_by_hand(capsys):
    reduce = tw.ReduceLROnPlateau(patience=2, factor=0.5, cooldown=1, min_lr=0.03, min_delta=0, verbose=1)
    _, history = fit(Feed("val_loss", [1] * 9), reduce, epochs=9, trainer=make(lr=0.1))
    # epoch 0 is best; 1, 2 wait: reduced; 3 ends the cooldown and waits 1, 4 reduces to the floor, then nothing
    assert history.history["lr"] == [0.1] * 3 + [0.05] * 2 + [0.03] * 4
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"epoch {e}: val_loss has not improved, learning rate reduced to {lr}" for e, lr in ((2, 0.05), (4, 0.03))
    ]


def test_scheduler_sets_the_rate_before_each_epoch():
    trainer, history = fit(
        tw.LearningRateScheduler(lambda epoch, lr: lr / (1 + epoch)), epochs=4, trainer=make(lr=0.12)
    )
    assert history.history["lr"] == [0.12, 0.06, 0.02, 0.005]
    twin = make()
    for lr in history.history["lr"]:
        twin.optimizer.lr = lr
        fit(trainer=twin)
    assert bits(trainer) == bits(twin)


@pytest.mark.parametrize("returned", [None, -1, np.nan, np.inf, "0.1", True])
def test_scheduler_refuses(returned):
    trainer = make()
    before = bits(trainer)
    with pytest.raises(
        ValueError, match=r"LearningRateScheduler: schedule\(0, 0.01\) must be a finite number >= 0, got"
    ):
        fit(tw.LearningRateScheduler(lambda epoch, lr: returned), trainer=trainer)
    assert (bits(trainer), trainer.optimizer.lr) == (before, 0.01)


class Scheduled(tw.SGD):
    """An optimizer whose rate is a function of the step."""

    def check(self):
        pass


@pytest.mark.parametrize("callback", [tw.ReduceLROnPlateau(), tw.LearningRateScheduler(lambda epoch, lr: lr)])
def test_rates_of_schedules_are_not_touched(callback):
    trainer = make(optimizer=Scheduled(lr=abs))
    with pytest.raises(
        TypeError, match=f"{type(callback).__name__} sets the optimizer's lr, which is a schedule already"
    ):
        fit(callback, trainer=trainer)
    assert trainer.position.step == 0


MODES = {"val_loss": "min", "loss": "min", "val_mae": "min", "val_accuracy": "max", "top_5_accuracy": "max",
         "val_r2": "max", "roc_auc": "max", "val_mse": "min", "macro_f1": "max", "max_error": "min"}  # fmt: skip


@pytest.mark.parametrize("name", MODES)
def test_auto_mode(name):
    for kind in (tw.EarlyStopping, tw.ReduceLROnPlateau):
        assert kind(monitor=name).mode == MODES[name]
        assert kind(monitor=name, mode="max").mode == "max"


REFUSED = {
    "mode": (lambda: tw.EarlyStopping(mode="least"), "EarlyStopping: mode must be 'auto', 'min' or 'max', got 'least'"),
    "auto": (lambda: tw.EarlyStopping("val_zeal"), "whether more or less of 'val_zeal' is better is not known"),
    "patience": (lambda: tw.EarlyStopping(patience=-1), "EarlyStopping: patience must be an integer >= 0, got -1"),
    "start": (lambda: tw.EarlyStopping(start_from_epoch=1.5), "start_from_epoch must be an integer >= 0, got 1.5"),
    "delta": (lambda: tw.EarlyStopping(min_delta="a"), "EarlyStopping: min_delta must be a finite number, got 'a'"),
    "baseline": (lambda: tw.EarlyStopping(baseline=np.nan), "EarlyStopping: baseline must be a finite number, got nan"),
    "factor": (lambda: tw.ReduceLROnPlateau(factor=1), "factor must be a number from 0 to below 1, got 1"),
    "min_lr": (
        lambda: tw.ReduceLROnPlateau(min_lr=-1),
        "ReduceLROnPlateau: min_lr must be a finite number >= 0, got -1",
    ),
    "cooldown": (lambda: tw.ReduceLROnPlateau(cooldown=True), "cooldown must be an integer >= 0, got True"),
    "steps": (
        lambda: tw.ModelCheckpoint("a", every_steps=0),
        "ModelCheckpoint: every_steps must be a positive integer",
    ),
    "separator": (lambda: tw.CSVLogger("a", separator="ab"), "CSVLogger: separator must be one character, got 'ab'"),
    "seconds": (lambda: tw.Checkpoint("a", every_seconds=-1), "Checkpoint: every_seconds must be a finite number >= 0"),
    "keep": (lambda: tw.Checkpoint("a", keep=0), "Checkpoint: keep must be a positive integer, got 0"),
    "every": (lambda: fit(tw.LambdaCallback(every_steps=0)), "LambdaCallback: every_steps must be a positive integer"),
    "missing": (lambda: fit(tw.EarlyStopping()), "EarlyStopping: no 'val_loss' among the logs, which have loss; val_"),
    "absent": (lambda: fit(tw.ReduceLROnPlateau("mae")), "no 'mae' among the logs, which have loss, lr$"),
    "best": (
        lambda: fit(tw.ModelCheckpoint("a", save_best_only=True)),
        "ModelCheckpoint: no 'val_loss' among the logs",
    ),
    "path": (lambda: fit(tw.ModelCheckpoint("{val_r2}")), "names 'val_r2'; there are epoch, step and the logs: loss"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
    assert not os.listdir(tmp_path)


def test_types_are_refused():
    with pytest.raises(TypeError, match="EarlyStopping: monitor must be a name of the logs such as 'val_loss', got 3"):
        tw.EarlyStopping(3)
    with pytest.raises(TypeError, match="schedule must be a function"):
        tw.LearningRateScheduler(0.1)
    with pytest.raises(TypeError, match="LambdaCallback: on_epoch_end must be a function, got 'print'"):
        tw.LambdaCallback(on_epoch_end="print")


# ---- events ---------------------------------------------------------------------------------------------------------


class Record(tw.Callback):
    """Notes every event."""

    def __init__(self, every_steps=1):
        self.every_steps, self.events = every_steps, []

    def on_train_begin(self, logs):
        self.events.append("begin")

    def on_train_end(self, logs):
        self.events.append(f"end {sorted(logs)}")

    def on_epoch_begin(self, epoch, logs):
        self.events.append(f"epoch {epoch}")

    def on_epoch_end(self, epoch, logs):
        self.events.append(f"over {epoch} {sorted(logs)}")

    def on_test_begin(self, logs):
        self.events.append("test")

    def on_test_end(self, logs):
        self.events.append(f"tested {sorted(logs)}")

    def on_train_batch_end(self, step, logs):
        assert self.trainer.position.step == step
        self.events.append(step)


def test_order_of_events():
    record = Record(every_steps=2)
    fit(record, epochs=2, rows=10, batch_size=4, validation_data=data())
    tests = ["test", "tested ['loss', 'mae', 'r2']"]
    logs = "['loss', 'val_loss', 'val_mae', 'val_r2']"
    first = ["begin", "epoch 0", 2, *tests, f"over 0 {logs}"]
    assert record.events == [*first, "epoch 1", 4, 6, *tests, f"over 1 {logs}", f"end {logs}"]


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 3), st.lists(st.integers(1, 8), max_size=3), st.data())
def test_steps_are_told_exactly_and_change_nothing(rows, batch, epochs, everys, more):
    slices = more.draw(st.sampled_from([None, 1, 3, 1000]))
    plain, told = make(), make()
    told.slice_steps = slices
    records = [Record(every) for every in everys]
    histories = [
        fit(*c, epochs=epochs, rows=rows, batch_size=batch, trainer=t)[1] for c, t in (((), plain), (records, told))
    ]
    total = plain.position.step
    for record, every in zip(records, everys, strict=True):
        assert [e for e in record.events if isinstance(e, int)] == list(range(every, total + 1, every))
    assert bits(plain) == bits(told)
    assert histories[0].history == histories[1].history


def test_steps_count_on_over_calls_of_fit():
    trainer, record = make(), Record(every_steps=4)
    for _ in range(3):
        fit(record, trainer=trainer)  # five steps each
    assert [e for e in record.events if isinstance(e, int)] == [4, 8, 12]


def test_batch_logs_are_the_mean_so_far():
    seen = []
    _, history = fit(tw.LambdaCallback(on_train_batch_end=lambda step, logs: seen.append(logs)), rows=18)
    x, y = data(18)
    twin, losses, sizes = make(), [], []
    order = np.empty(18, np.int64)
    tw.feeding._native.shuffle(order, twin.seed, 0)
    for first in range(0, 18, 4):
        rows = order[first : first + 4]
        losses.append(twin.step(x[rows], y[rows]))
        sizes.append(len(rows))
    expected = np.cumsum(np.multiply(losses, sizes)) / np.cumsum(sizes)
    assert [list(logs) for logs in seen] == [["loss"]] * 5
    np.testing.assert_allclose([logs["loss"] for logs in seen], expected, rtol=1e-12)
    assert seen[-1]["loss"] == history.history["loss"][0]


def count_slices(monkeypatch, *callbacks):
    """Number of slices of a training that fits into one."""
    from thalweg.loop import Run

    calls, run_slice = [], Run._slice
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_slice", lambda self, *how: (calls.append(1), run_slice(self, *how)))
        trainer = make()
        trainer.slice_steps = 1000
        fit(*callbacks, trainer=trainer)
    return len(calls)


def test_callbacks_that_do_not_listen_to_steps_cut_no_slices(monkeypatch, tmp_path):
    quiet = [tw.EarlyStopping("loss"), tw.LambdaCallback(on_epoch_end=print), tw.Checkpoint(tmp_path)]
    quiet += [tw.ModelCheckpoint(tmp_path / "m"), tw.CSVLogger(tmp_path / "c"), tw.Callback()]
    assert count_slices(monkeypatch) == count_slices(monkeypatch, *quiet) == 1
    assert count_slices(monkeypatch, Record(every_steps=2)) == 3


def test_none_means_after_each_slice():
    trainer, record = make(), Record(every_steps=None)
    trainer.slice_steps = 3
    fit(record, trainer=trainer, rows=18)  # four steps of four rows, one of two
    assert [e for e in record.events if isinstance(e, int)] == [3, 4, 5]


# ---- stops and errors -----------------------------------------------------------------------------------------------


class At(tw.Callback):
    """Does something after a step."""

    def __init__(self, step, do):
        self.step, self.do = step, do

    def on_train_batch_end(self, step, logs):
        if step == self.step:
            self.do(self)


def stop(callback):
    callback.trainer.stop_training = True


def fail(callback):
    raise OSError("disk full")


def interrupt(callback):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [1, 4, 7, 9])
@pytest.mark.parametrize(("do", "error"), [(stop, None), (fail, OSError), (interrupt, KeyboardInterrupt)])
def test_training_left_in_the_middle_goes_on(step, do, error):
    whole, left, record = make(), make(), Record()
    fit(trainer=whole, epochs=3)
    if error is None:
        fit(At(step, do), record, trainer=left, epochs=3)
        assert record.events[-1] == ("end []" if step < 5 else "end ['loss']")
        assert f"over {step // 5} ['loss']" not in record.events
    else:
        with pytest.raises(error):
            fit(At(step, do), record, trainer=left, epochs=3)
        assert not any(str(event).startswith("end") for event in record.events)
    assert (left.position.step, left.position.epoch, left.position.step_in_epoch) == (step, step // 5, step % 5)
    again = Record()
    fit(again, trainer=left, epochs=3 - step // 5)
    assert again.events[1] == f"epoch {step // 5}"
    assert left.position == whole.position
    assert bits(left) == bits(whole)


def test_a_stop_after_the_last_step_of_an_epoch_ends_the_epoch():
    record = Record()
    _, history = fit(At(5, stop), record, epochs=3)
    assert record.events[-2:] == ["over 0 ['loss']", "end ['loss']"]
    assert history.epoch == [0]


def test_no_end_of_training_after_a_loss_that_is_not_finite():
    record, trainer = Record(), make(lr=1e30)
    with pytest.raises(tw.NonFiniteLoss):
        fit(record, trainer=trainer, epochs=9)
    assert not any(str(event).startswith("end") for event in record.events)
    assert trainer.running is None


def test_a_callback_may_end_training_before_it_begins():
    def end(logs):
        callback.trainer.stop_training = True

    callback = tw.LambdaCallback(on_train_begin=end)
    trainer, history = fit(callback, epochs=3)
    assert (trainer.position.step, history.epoch) == (0, [])


# ---- those that write -----------------------------------------------------------------------------------------------


def read_csv(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(separator, tmp_path):
    path = tmp_path / "log"
    path.write_text("what was here before\n")
    _, history = fit(tw.CSVLogger(path, separator), epochs=3, validation_data=data())
    names = ["loss", "val_loss", "val_mae", "val_r2"]
    rows = [[str(e), *(repr(history.history[name][e]) for name in names)] for e in range(3)]
    assert read_csv(path, separator) == [["epoch", *names], *rows]


def test_csv_appends(tmp_path):
    trainer, logger = make(), tw.CSVLogger(tmp_path / "log", append=True)
    fit(logger, trainer=trainer, epochs=2)
    fit(logger, trainer=trainer)
    assert [row[0] for row in read_csv(tmp_path / "log")] == ["epoch", "0", "1", "2"]
    kept = (tmp_path / "log").read_bytes()
    with pytest.raises(ValueError, match="log has columns epoch, loss; the logs have epoch, loss, val_loss, val_mae"):
        fit(logger, validation_data=data())
    assert (tmp_path / "log").read_bytes() == kept


def test_model_checkpoints_are_models(tmp_path):
    path = tmp_path / "deep" / "{epoch:02d}-{loss:.2f}-{step}.npz"
    trainer, history = fit(tw.ModelCheckpoint(path), epochs=2)
    names = [f"0{e + 1}-{history.history['loss'][e]:.2f}-{5 * e + 5}.npz" for e in range(2)]
    assert sorted(os.listdir(tmp_path / "deep")) == names
    x, _ = data()
    np.testing.assert_array_equal(tw.load(tmp_path / "deep" / names[1]).predict(x), trainer.model.predict(x))


def test_model_checkpoints_by_steps(tmp_path):
    fit(tw.ModelCheckpoint(tmp_path / "{epoch}-{step}", every_steps=3), epochs=2)
    assert sorted(os.listdir(tmp_path)) == ["1-3", "2-6", "2-9"]
    fit(tw.ModelCheckpoint(tmp_path / "best", monitor="loss", save_best_only=True, every_steps=1))
    assert "best" in os.listdir(tmp_path)


@pytest.mark.parametrize("optimizer", [tw.SGD(lr=0.1, average=0.9), tw.ScheduleFreeAdamW(lr=0.1)], ids=repr)
def test_the_best_model_is_of_the_weights_that_were_judged(optimizer, tmp_path):
    best, last = tw.ModelCheckpoint(tmp_path / "best", save_best_only=True), tw.ModelCheckpoint(tmp_path / "last")
    trainer, history = fit(best, last, trainer=make(optimizer=optimizer), epochs=3, validation_data=data())
    assert tw.load(tmp_path / "best").evaluate(*data())["loss"] == min(history.history["val_loss"])
    assert tw.load(tmp_path / "last").evaluate(*data()) == trainer.model.evaluate(*data())
    twin, _ = fit(trainer=make(optimizer=optimizer), epochs=3, validation_data=data())
    assert bits(twin) == bits(trainer)


def test_lambda_hears_all():
    events = []
    names = ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_test_begin", "on_test_end", "on_epoch_end",
             "on_train_end"]  # fmt: skip
    functions = {name: lambda *what, name=name: events.append((name, len(what))) for name in names}
    fit(tw.LambdaCallback(**functions, every_steps=5), validation_data=data())
    assert [name for name, _ in events] == names
    assert [count for _, count in events] == [1, 2, 2, 1, 1, 2, 1]


def test_everything_is_at_the_top_and_on_its_shelf():
    for name in tw.callbacks.__all__:
        if name not in ("Logs", "State"):
            assert getattr(tw, name) is getattr(tw.callbacks, name)
            assert name in tw.__all__
