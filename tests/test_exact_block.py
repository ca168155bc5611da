"""Exact-block SGD: plain SGD to rounding, bits that depend on nothing else, and where it is used."""

import ctypes
import mmap
import os
import re
import signal
import threading
from contextlib import suppress

import numpy as np
import pytest
import reference
from bits import isas_of_same_bits

import thalweg as tw
from thalweg.programs import Job, Shape, make_plan
from thalweg.system import Machine

INPUTS, UNITS, OUTPUTS = 150, 40, 5
ROWS = 207  # whole blocks and a part of one for every batch, and a tail for most
ROUNDING = {"float32": 1e-5, "float64": 1e-12}  # of the largest weight
LOSSES = {
    "cross_entropy": "labels", "mse": "values", "binary_cross_entropy": "yes_no", "huber": "values", "hinge": "yes_no",
}  # fmt: skip
NETWORKS = {  # eps 0.1, since batch norm of two or three rows makes rounding a thousand times larger in a few steps
    "two": lambda act="tanh", bias=True: [tw.Dense(UNITS, act, bias=bias), tw.Dense(OUTPUTS, bias=bias)],
    "one": lambda: [tw.Dense(UNITS)],
    "one, tanh": lambda: [tw.Dense(UNITS, "tanh")],
    "wide": lambda: [tw.Dense(150, "gelu"), tw.Dense(70, "relu"), tw.Dense(OUTPUTS)],
    "residual": lambda: [tw.Dense(UNITS, "silu"), tw.Residual([tw.Dense(UNITS, "tanh")]), tw.Dense(OUTPUTS)],
    "dropout": lambda: [tw.Dense(UNITS, "gelu"), tw.Dropout(0.3), tw.Dense(OUTPUTS)],
    "layer norm": lambda: [tw.Dense(UNITS), tw.LayerNorm(), tw.Activation("relu"), tw.Dense(OUTPUTS)],
    "batch norm": lambda: [tw.Dense(UNITS), tw.BatchNorm(eps=0.1), tw.Activation("tanh"), tw.Dense(OUTPUTS)],
    "softmax": lambda: [tw.Dense(UNITS, "softmax"), tw.Dense(OUTPUTS)],
    "frozen above": lambda: [tw.Dense(UNITS, "tanh"), frozen(tw.Dense(33, "relu")), tw.Dense(OUTPUTS)],
    "normalize": lambda: [tw.Normalize(), tw.Dense(UNITS, "tanh"), tw.Dense(OUTPUTS)],
}


def frozen(layer):
    """The layer, not to be trained."""
    layer.trainable = False
    return layer


def data(loss="cross_entropy", outputs=OUTPUTS, rows=ROWS):
    """Inputs and targets."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, INPUTS)) / np.sqrt(INPUTS) * 2
    if LOSSES[loss] == "labels":
        return x, rng.integers(0, outputs, rows)
    y = rng.random((rows, outputs))
    return x, (y > 0.5).astype(float) if LOSSES[loss] == "yes_no" else y


def make(layers=None, loss="cross_entropy", dtype="float64", lr=0.05, inputs=INPUTS, optimizer=None, **settings):
    """A trainer."""
    model = tw.Sequential(layers or NETWORKS["two"](), inputs, seed=3, dtype=dtype)
    for parameter in model.parameters:
        if parameter.ndim == 1:
            parameter[...] += np.linspace(-0.3, 0.3, len(parameter))
    return tw.Trainer(model, loss, optimizer or tw.SGD(lr=lr), **settings)


def state(trainer):
    """Weights and statistics, copied."""
    return [np.array(view) for view in (*trainer.model.parameters, *trainer.model.statistics)]


def bits(trainer):
    """The same as bytes, and where the training stands."""
    return b"".join(view.tobytes() for view in state(trainer)), trainer.position


def blocks_of(trainer):
    """How many steps a block has in each program that ran; plain ones are left out."""
    plans = [runner.program.plan.describe() for runner in trainer._runners.values()]
    return {int(found[1]) for plan in plans if (found := re.search(r"blocks of (\d+) steps", plan))}


def trained(batch=1, layers=None, loss="cross_entropy", rows=ROWS, slice_steps=None, settings=None, **fit):
    """Train for two epochs, or what is said; return the trainer and the losses of its epochs."""
    trainer = make(layers, loss, **(settings or {}))
    trainer.slice_steps = slice_steps
    x, y = data(loss, trainer.model.shape.outputs, rows)
    history = trainer.fit(x, y, **{"batch_size": batch, "epochs": 2} | fit)
    return trainer, history.history["loss"]


def assert_same_but_rounding(trainer, other, dtype="float64"):
    """Demand equal weights and statistics to within the rounding of a short training."""
    for got, expected in zip(state(trainer), state(other), strict=True):
        bound = ROUNDING[str(dtype)] * max(1.0, np.abs(expected).max())
        assert np.abs(got - expected).max() <= bound, f"{np.abs(got - expected).max():.3g} > {bound:.3g}"


# ---- what is computed -----------------------------------------------------------------------------------------------


def twin_block(pairs, activations, loss, batches, rates, bias):
    """Train a block of steps in float64: the first layer by `reference.exact_block`, what is above step by step."""
    above, losses = pairs[1:], []

    def gradient(step, z):
        y = reference.ACTIVATIONS[activations[0]][0](z)
        value, updates, dy = reference.gradients(above, activations[1:], y, batches[step][1], loss)
        losses.append(value)
        above[:] = [
            (w - rates[step] * dw, b - bias * rates[step] * db) for (w, b), (dw, db) in zip(above, updates, strict=True)
        ]
        return reference.activation_backward(dy, z, activations[0])

    w, b = pairs[0]
    w, moved = reference.exact_block(w, b if bias else None, [x for x, _ in batches], gradient, rates)
    pairs[:] = [(w, moved if bias else b), *above]
    return losses


def twin_of(trainer):
    """The model's parameters and activations for the reference."""
    layers = trainer.model.layers
    pairs = [
        (np.array(layer.weight, float), np.zeros(layer.units) if layer.bias is None else np.array(layer.bias, float))
        for layer in layers
    ]
    return pairs, [layer.activation for layer in layers]


def steps_of(x, y, batch):
    """Cut data into batches."""
    return [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3, 8])
def test_the_twin_is_plain_sgd(batch, bias):
    trainer = make(NETWORKS["two"]("gelu", bias))
    pairs, activations = twin_of(trainer)
    batches = steps_of(*data(rows=24), batch)
    rates = 0.05 / np.arange(1, len(batches) + 1)
    plain = list(pairs)
    for (x, y), rate in zip(batches, rates, strict=True):
        _, gradients, _ = reference.gradients(plain, activations, x, y, "cross_entropy")
        plain = [(w - rate * dw, b - bias * rate * db) for (w, b), (dw, db) in zip(plain, gradients, strict=True)]
    twin_block(pairs, activations, "cross_entropy", batches, rates, bias)
    for pair, expected in zip(pairs, plain, strict=True):
        for got, wanted in zip(pair, expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["gelu", "relu", "tanh", "identity"])
def test_a_block_is_that_of_the_twin(activation, bias, loss, dtype, isa):
    for batch in range(1, 9):
        steps = 32 // batch
        trainer = make(NETWORKS["two"](activation, bias), loss, dtype, isa=isa, optimizer=tw.SGD(lr=slowing))
        pairs, activations = twin_of(trainer)
        x, y = data(loss, rows=steps * batch)
        x = x.astype(dtype)
        expected = twin_block(pairs, activations, loss, steps_of(x, y, batch), slowing(np.arange(steps)), bias)
        history = trainer.fit(x, y, batch_size=batch, shuffle=False)
        assert blocks_of(trainer) == {steps}
        rounding = ROUNDING[str(dtype)]
        np.testing.assert_allclose(history.history["loss"], [np.mean(expected)], rtol=rounding)
        for layer, (w, b) in zip(trainer.model.layers, pairs, strict=True):
            np.testing.assert_allclose(layer.weight, w, rtol=0, atol=rounding)
            if bias:
                np.testing.assert_allclose(layer.bias, b, rtol=0, atol=rounding)


def slowing(step):
    """A learning rate of its own for each step."""
    return 0.1 / (1 + 0.05 * step)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_whole_trainings_are_plain_sgd_but_for_rounding(name, threads, dtype):
    for batch in range(2 if name == "batch norm" else 1, 9):
        rows = ROWS - (ROWS % batch == 1)
        exact, plain = (
            trained(
                batch,
                NETWORKS[name](),
                rows=rows,
                settings={"dtype": dtype, "num_threads": threads},
                exact_block=wanted,
            )
            for wanted in (True, False)
        )
        assert [blocks_of(trainer) for trainer, _ in (exact, plain)] == [{32 // batch}, set()]
        assert_same_but_rounding(exact[0], plain[0], dtype)
        np.testing.assert_allclose(exact[1], plain[1], rtol=ROUNDING[str(dtype)])


def turns(trainer):
    """Whether programs that ran had weights turned."""
    return any("narrow layers turned" in runner.program.plan.describe() for runner in trainer._runners.values())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 3, 15, 16, 17])
@pytest.mark.parametrize("units", [1, 15, 16, 65, 127, 300])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu"])
def test_narrow_layers_are_turned(activation, units, outputs, bias, dtype, isa):
    """Of a sigmoid pads are not zero; 300 inputs are three chunks of a dot product. In the middle, and at the end."""

    def run(threads=1, exact_block=True):
        narrow = tw.Dense(outputs, activation, bias=bias)
        layers = [tw.Dense(32, "tanh"), tw.Dense(units, activation), narrow, tw.Dense(20, "tanh"), tw.Dense(2)]
        trainer = make(layers, dtype=dtype, isa=isa, inputs=30, num_threads=threads)
        trainer.fit(x.astype(dtype), y, batch_size=1, exact_block=exact_block)
        assert turns(trainer) == exact_block
        return trainer

    x, y = np.random.default_rng(6).normal(size=(70, 30)), np.arange(70) % 2
    exact = run()
    assert_same_but_rounding(exact, run(exact_block=False), dtype)
    assert bits(exact) == bits(run(threads=2))


def test_layers_are_turned_for_single_rows_if_narrow():
    for batch, layers, expected in (
        (1, NETWORKS["two"](), True),
        (2, NETWORKS["two"](), False),
        (1, NETWORKS["one"](), False),
        (1, [tw.Dense(UNITS, "tanh"), tw.Dense(16)], True),
        (1, [tw.Dense(UNITS, "tanh"), tw.Dense(17)], False),
    ):
        trainer, _ = trained(batch, layers)
        assert blocks_of(trainer) == {32 // batch}
        assert turns(trainer) == expected


def test_a_step_that_is_not_finite_leaves_turned_weights_as_before():
    x, y = data()
    x[40, 3] = np.nan
    trainers = [make(num_threads=n) for n in (1, 2)]
    for trainer in trainers:
        with pytest.raises(tw.NonFiniteLoss):
            trainer.fit(x, y, batch_size=1, shuffle=False)
        assert turns(trainer)
        assert trainer.position.step == 40
    expected = make()
    expected.fit(x[:40], y[:40], batch_size=1, shuffle=False)
    assert bits(expected)[0] == bits(trainers[0])[0] == bits(trainers[1])[0]


@pytest.mark.parametrize("rows", [1, 2, 5, 31, 32, 33, 64, 71])
@pytest.mark.parametrize("batch", [1, 5, 8])
def test_any_number_of_rows(rows, batch):
    trainer, _ = trained(batch, rows=rows, epochs=3)
    plain, _ = trained(batch, rows=rows, epochs=3, exact_block=False)
    assert_same_but_rounding(trainer, plain)
    assert trainer.position.step == plain.position.step == 3 * -(-rows // batch)


def test_each_step_has_its_own_rate():
    for rate in (slowing, tw.schedules.Cosine(0.1, 50)):
        exact, plain = (
            trained(2, settings={"optimizer": tw.SGD(lr=rate)}, exact_block=wanted)[0] for wanted in (True, False)
        )
        assert_same_but_rounding(exact, plain)


GOLDEN = """\
        gather          every thread     0.008  x (32, 784)
        block product   units 1          0.201  start (32, 128) <- x (32, 784), w1 (785, 128)
-- meanwhile, by another thread
        gram            block rows       0.025  gram (32, 32) <- x (32, 784)
-- for each step, by one thread
        block forward   rows             0.004  y1 (1, 128), fault (1,) <- start (32, 128), gram (32, 32), kept (32, 128)
        forward         rows             0.003  y2 (1, 10) <- y1 (1, 128), w2 (129, 16)
-- forwarded
        gather labels   rows             0.000  labels (1,)
        loss            rows             0.000  dy2 (1, 10), loss (1,) <- y2 (1, 10), labels (1,), fault (1,)
-- measured
        input grad      rows             0.003  dy1 (1, 128) <- dy2 (1, 10), w2 (129, 16), y1 (1, 128)
        commit          rows             0.000  loss (1,)
        weight grad     rows             0.003  w2 (129, 16) <- y1 (1, 128), dy2 (1, 10)
        keep step       rows             0.000  kept (32, 128) <- dy1 (1, 128)
-- differentiated
-- once a block
        block update    units 1          0.201  w1 (785, 128) <- x (32, 784), kept (32, 128)
barriers a step: 0.0625
"""


def test_describe_shows_the_plan_that_fit_uses(capsys):
    model = tw.Sequential([tw.Dense(128, "relu"), tw.Dense(10)], 784, seed=0)
    tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=2).describe(1)
    shown = capsys.readouterr().out
    assert shown.startswith(
        "schedule: steps by one, 2 threads, fused, blocks of 32 steps, own columns, narrow layers turned\n"
    )
    assert GOLDEN in shown
    for batch, settings in ((9, {}), (1, {"exact_block": False}), (1, {"fused": False})):
        tw.Trainer(model, "cross_entropy", tw.SGD(), **settings).describe(batch)
        assert "block" not in capsys.readouterr().out


def test_a_long_block_is_planned_on_every_isa(isa):
    shape = tw.Sequential([tw.Dense(64), tw.Dense(8)], 128, seed=0).shape
    first, last = shape.layers
    huge = Shape("f", 40_000, (first._replace(units=40_000), last))
    job = Job(8, "mse", "values", rule="sgd", backward=True, fused=True, block=4)
    shown = make_plan(huge, job, Machine(2, False, 50.0), isa).describe()
    assert ", blocks of 4 steps" in shown.splitlines()[0]


def test_exact_blocks_are_used_and_can_be_turned_off():
    exact, by_default, plain, as_trainer = (
        trained(settings=settings, **fit)[0]
        for settings, fit in (
            ({}, {"exact_block": True}),
            ({}, {}),
            ({}, {"exact_block": False}),
            ({"exact_block": False}, {}),
        )
    )
    assert bits(exact) == bits(by_default)
    assert bits(plain) == bits(as_trainer)
    assert bits(exact) != bits(plain)
    model = tw.Sequential(NETWORKS["two"](), INPUTS, seed=3)
    for wanted, expected in ((True, {32}), (False, set())):
        model.fit(*data(), loss="cross_entropy", optimizer=tw.SGD(), batch_size=1, exact_block=wanted)
        assert blocks_of(model._trainer) == expected
    with pytest.raises(ValueError, match="exact_block must be True or False, got 'no'"):
        trained(exact_block="no")


# ---- bits -----------------------------------------------------------------------------------------------------------

BITS = [("two", 1), ("wide", 1), ("wide", 8), ("residual", 3), ("dropout", 2), ("batch norm", 6), ("normalize", 4)]
by_network = pytest.mark.parametrize(("name", "batch"), BITS)


def results(name, batch, **more):
    """Bits and losses of a training."""
    trainer, losses = trained(batch, NETWORKS[name](), rows=206, **more)
    assert blocks_of(trainer) == {32 // batch}
    return bits(trainer), losses


@by_network
def test_threads(name, batch, dtype):
    first, *others = (results(name, batch, settings={"dtype": dtype}, num_threads=n) for n in (1, 2, 3, 4))
    assert all(other == first for other in others)


@pytest.mark.parametrize("batch", [1, 3])
def test_steps_by_one_wait_for_their_gram(batch):
    # inputs so many that making gram takes longer than the steps that need it
    def run(threads):
        trainer = make([tw.Dense(32, "relu"), tw.Dense(2)], inputs=4001, dtype="float32", num_threads=threads)
        x = np.random.default_rng(7).normal(size=(150, 4001)).astype(np.float32) / 30
        for _ in range(2):
            trainer.fit(x, np.arange(150) % 2, batch_size=batch, epochs=2)
        schedules = {runner.program.plan.schedule for runner in trainer._runners.values()}
        assert threads == 1 or "steps by one" in schedules
        return bits(trainer)

    assert run(1) == run(2) == run(3)


@by_network
def test_slices(name, batch):
    whole = results(name, batch)
    for steps in (1, 7, 33):
        assert results(name, batch, slice_steps=steps, num_threads=2) == whole


@by_network
def test_isas_with_fma(name, batch, dtype):
    isas = isas_of_same_bits()
    found = [results(name, batch, settings={"dtype": dtype, "isa": isa}) for isa in isas]
    assert all(one == found[0] for one in found)


@by_network
def test_two_fits_are_one(name, batch):
    trainer = make(NETWORKS[name]())
    x, y = data(rows=206)
    losses = [trainer.fit(x, y, batch_size=batch).history["loss"][0] for _ in range(2)]
    assert (bits(trainer), losses) == results(name, batch)


def test_rows_in_place_strided_or_converted_are_the_same():
    x, y = data()
    x = x.astype(np.float32)
    wide = np.zeros((2 * ROWS, INPUTS + 3), np.float32)
    wide[::2, :INPUTS] = x
    found = set()
    for form in (x, x.astype(float), np.asfortranarray(x), wide[::2, :INPUTS]):
        trainer = make(dtype="float32")
        trainer.fit(form, y, batch_size=4, shuffle=False)
        assert blocks_of(trainer) == {8}
        found.add(bits(trainer)[0])
    assert len(found) == 1


@pytest.mark.parametrize("shuffle", [False, True])  # in place only those that are not
@pytest.mark.parametrize("slice_steps", [None, 7])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_blocks_read_in_place_are_the_same(dtype, batch, threads, slice_steps, shuffle):
    inputs = 144  # without pads
    x = np.random.default_rng(3).normal(size=(ROWS, inputs)).astype(dtype)
    y = np.arange(ROWS) % OUTPUTS
    apart, far = np.zeros((ROWS, 2 * inputs), dtype), np.zeros((ROWS, 2048), dtype)
    unaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    for copy in (apart[:, :inputs], far[:, :inputs], unaligned):
        copy[...] = x
    found = set()
    for form in (x, apart[:, :inputs], x[::-1].copy()[::-1], far[:, :inputs], unaligned, np.asfortranarray(x)):
        trainer = make(dtype=dtype, inputs=inputs, num_threads=threads)
        trainer.slice_steps = slice_steps
        trainer.fit(form, y, batch_size=batch, epochs=2, shuffle=shuffle)
        assert blocks_of(trainer) == {32 // batch}
        found.add(bits(trainer)[0])
    assert len(found) == 1


# Rows and batch: a last block that is not whole, one that is, and one of rows that gram takes more of at a time.
IN_PLACE = {"in place, a rest": (88, 4), "in place, whole": (96, 4), "in place, 30": (90, 3)}


@pytest.fixture
def last_bytes_before_a_wall():
    """An array of bytes behind whose last one no memory can be read."""
    page, pages = mmap.PAGESIZE, 64
    memory = mmap.mmap(-1, page * (pages + 1))
    everything = np.frombuffer(memory, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    wall = ctypes.c_void_p(everything.ctypes.data + page * pages)
    assert protect(wall, page, 0) == 0
    yield everything[: page * pages]
    protect(wall, page, mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.skipif(os.name != "posix", reason="memory is protected by mprotect")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", ["rows", "columns", "every third", "backwards", "float32", *IN_PLACE])
def test_no_byte_behind_the_rows_is_read(last_bytes_before_a_wall, form, threads):
    in_place = form in IN_PLACE
    rows, batch = IN_PLACE.get(form, (96, 4))
    inputs = 144 if in_place else INPUTS
    size = rows * inputs * {"every third": 3, "float32": 4}.get(form, 4 if in_place else 1)
    last = last_bytes_before_a_wall[-size:]
    last[:] = np.arange(size) % 3
    x = {
        "rows": lambda: last.reshape(rows, inputs),
        "columns": lambda: last.reshape(inputs, rows).T,
        "every third": lambda: last.reshape(rows, 3 * inputs)[:, 2::3],
        "backwards": lambda: last.reshape(rows, inputs)[::-1, ::-1],
        "float32": lambda: last.view(np.float32).reshape(rows, inputs),
    }["float32" if in_place else form]()
    trainer = make(dtype="float32", inputs=inputs, num_threads=threads)
    trainer.fit(x, np.zeros(rows, int), batch_size=batch, epochs=2, shuffle=not in_place, verbose=0)
    assert blocks_of(trainer) == {32 // batch}


class Steps(tw.Callback):
    """Writes down what it hears, and leaves after so many steps."""

    def __init__(self, every, last=None):
        self.every_steps, self.last, self.heard = every, last, []

    def on_train_batch_end(self, step, logs):
        self.heard.append(step)
        self.trainer.stop_training = self.last is not None and step >= self.last


@pytest.mark.parametrize(("every", "heard"), [(1, [8, 16, 24, 25, 26]), (5, [8, 16, 24, 25]), (16, [16]), (20, [24])])
def test_callbacks_due_inside_a_block_run_at_its_end(every, heard):
    seen = Steps(every)
    trainer, _ = trained(4, rows=103, epochs=1, callbacks=[seen])  # 25 steps and a tail
    assert seen.heard == heard
    assert bits(trainer) == bits(trained(4, rows=103, epochs=1)[0])


def test_resume_in_the_middle_of_an_epoch(tmp_path):
    x, y = data()
    stopped = make()
    stopped.fit(x, y, batch_size=1, epochs=3, callbacks=[Steps(10, last=250)])
    assert (stopped.position.epoch, stopped.position.step_in_epoch) == (1, 64)
    stopped.save(tmp_path / "half.npz")
    resumed = make()
    resumed.load(tmp_path / "half.npz")
    resumed.fit(x, y, batch_size=1, epochs=2)
    assert bits(resumed) == bits(trained(epochs=3)[0])


class Killed(Exception):
    """Ends a training from outside."""


class Kill(tw.Callback):
    """Raises once so many steps are done."""

    every_steps = 9

    def __init__(self, at):
        self.at = at

    def on_train_batch_end(self, step, logs):
        if self.at <= step:
            raise Killed


@pytest.mark.parametrize("at", [20, 103, 230, 10**6])
def test_checkpoints_resume_exactly(tmp_path, at):
    x, y = data()

    def run(at, slice_steps):
        trainer = make()
        trainer.slice_steps = slice_steps
        history = trainer.fit(
            x, y, batch_size=2, epochs=3, callbacks=[tw.Checkpoint(tmp_path, every_steps=7), Kill(at)]
        )
        return trainer, history.history["loss"]

    with suppress(Killed):
        run(at, 5)
    trainer, losses = run(10**6, 11)
    whole, expected = trained(2, epochs=3)
    assert bits(trainer) == bits(whole)
    assert losses == expected


def test_ctrl_c_leaves_whole_blocks():
    x, y = data(rows=999)
    trainer, handler = make(num_threads=2), signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(x, y, batch_size=2, epochs=10**6)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, handler)
    position = trainer.position
    assert position.step > 0
    assert position.step_in_epoch % 16 == 0 or position.step_in_epoch in (499, 500)
    epochs = position.epoch + 1
    trainer.fit(x, y, batch_size=2)
    assert bits(trainer) == bits(trained(2, rows=999, epochs=epochs)[0])


# ---- losses that are not finite -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize(("batch", "row"), [(1, 0), (1, 37), (1, 63), (2, 75), (8, 40), (8, 191), (5, 206)])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_wrong_row_stops_before_its_step(batch, row, activation, value, threads):
    x, y = data()
    right, x[row, 7] = x[row, 7], value
    step = row // batch
    trainer = make(NETWORKS["two"](activation), num_threads=threads)
    with pytest.raises(
        tw.NonFiniteLoss, match=f"in epoch 0, step {step}: X is {value} at row {row}, column 7"
    ) as raised:
        trainer.fit(x, y, batch_size=batch, shuffle=False)
    assert (raised.value.step, trainer.position.step, trainer.position.step_in_epoch) == (step, step, step)
    before = make(NETWORKS["two"](activation))
    if step:
        before.fit(x[: step * batch], y[: step * batch], batch_size=batch, shuffle=False, exact_block=False)
    assert_same_but_rounding(trainer, before)
    x[row, 7] = right
    history = trainer.fit(x, y, batch_size=batch, shuffle=False)
    plain = make(NETWORKS["two"](activation))
    expected = plain.fit(x, y, batch_size=batch, shuffle=False, exact_block=False)
    assert_same_but_rounding(trainer, plain)
    assert trainer.position.epoch == 1
    np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-12)


def test_a_wrong_label_or_target_stops_before_its_step():
    x, y = data()
    y[45] = OUTPUTS
    trainer, before = make(), make()
    with pytest.raises(ValueError, match=r"y\[45\] is 5; expected integer labels from 0 to 4"):
        trainer.fit(x, y, batch_size=2, shuffle=False)
    before.fit(x[:44], y[:44], batch_size=2, shuffle=False, exact_block=False)
    assert trainer.position.step == 22
    assert_same_but_rounding(trainer, before)
    x, y = data("mse")
    y[45, 3] = np.nan
    with pytest.raises(tw.NonFiniteLoss, match="step 22: y is nan at row 45, column 3"):
        make(loss="mse").fit(x, y, batch_size=2, shuffle=False)


def test_after_a_wrong_row_blocks_are_counted_from_the_epochs_start():
    x, y = data()
    x[45] = np.nan
    trainer, seen = make(), Steps(1)
    with pytest.raises(tw.NonFiniteLoss, match="step 22"):
        trainer.fit(x, y, batch_size=2, shuffle=False)
    trainer.fit(*data(), batch_size=2, shuffle=False, callbacks=[seen])
    assert seen.heard == [32, 48, 64, 80, 96, 103, 104]


def test_a_wrong_row_leaves_statistics_alone():
    x, y = data()
    x[21] = np.nan
    trainer, before = make(NETWORKS["batch norm"]()), make(NETWORKS["batch norm"]())
    with pytest.raises(tw.NonFiniteLoss, match="step 5"):
        trainer.fit(x, y, batch_size=4, shuffle=False)
    before.fit(x[:20], y[:20], batch_size=4, shuffle=False, exact_block=False)
    assert_same_but_rounding(trainer, before)


def test_divergence_is_found_in_its_step():
    exact, plain = (make(loss="mse", optimizer=tw.SGD(lr=40.0)) for _ in range(2))
    for trainer, wanted in ((exact, True), (plain, False)):
        with pytest.raises(tw.NonFiniteLoss, match="a smaller learning rate may help"):
            trainer.fit(*data("mse"), batch_size=1, epochs=3, exact_block=wanted)
    assert abs(exact.position.step - plain.position.step) <= 1
    assert all(np.isfinite(view).all() for view in state(exact))


# ---- where steps are plain ------------------------------------------------------------------------------------------

PLAIN = {
    "momentum": {"settings": {"optimizer": tw.SGD(lr=0.05, momentum=0.5)}},
    "weight decay": {"settings": {"optimizer": tw.SGD(lr=0.05, weight_decay=1e-3)}},
    "clip_value": {"settings": {"optimizer": tw.SGD(lr=0.05, clip_value=0.1)}},
    "clip_norm": {"settings": {"optimizer": tw.SGD(lr=0.05, clip_norm=0.1)}},
    "average": {"settings": {"optimizer": tw.SGD(lr=0.05, average=0.9)}},
    "accumulate": {"settings": {"optimizer": tw.SGD(lr=0.05, accumulate=2)}},
    "Adam": {"settings": {"optimizer": tw.Adam()}},
    "penalty": {"layers": lambda: [tw.Dense(UNITS, "tanh"), tw.Dense(OUTPUTS, l2=1e-3)]},
    "no_decay": {"layers": lambda: [tw.Dense(UNITS, "tanh", no_decay=["bias"]), tw.Dense(OUTPUTS)]},
    "sample weights": {"sample_weight": np.linspace(0, 1, ROWS)},
    "class weights": {"class_weight": "balanced"},
    "batch of 9": {"batch": 9},
    "full batch": {"batch": "full"},
    "unfused": {"settings": {"fused": False}},
    "first layer frozen": {"layers": lambda: [frozen(tw.Dense(UNITS, "tanh")), tw.Dense(OUTPUTS)]},
    "first layer no product": {"layers": lambda: [tw.LayerNorm(), tw.Dense(UNITS, "tanh"), tw.Dense(OUTPUTS)]},
    "x read twice": {"layers": lambda: [tw.Residual([tw.Dense(INPUTS, "tanh")]), tw.Dense(OUTPUTS)]},
    "few units": {"layers": lambda: [tw.Dense(31, "tanh"), tw.Dense(OUTPUTS)]},
    "many weights": {"layers": lambda: [tw.Dense(8192), tw.Dense(1024), tw.Dense(OUTPUTS)], "rows": 9},
    "no layers to train": {"layers": lambda: [frozen(tw.Dense(UNITS)), frozen(tw.Dense(OUTPUTS))]},
}


@pytest.mark.parametrize("name", PLAIN)
def test_where_blocks_are_not_used(name):
    case = dict(PLAIN[name])
    layers = case.pop("layers", NETWORKS["two"])
    batch = case.pop("batch", 2)
    exact, losses = trained(batch, layers(), exact_block=True, **case)
    plain, expected = trained(batch, layers(), exact_block=False, **case)
    assert blocks_of(exact) == set()
    assert bits(exact) == bits(plain)
    assert losses == expected


def test_losses_of_ones_own_are_plain():
    def loss(y_pred, y):
        return float(((y_pred - y) ** 2).mean()), 2 * (y_pred - y) / y.size

    found = []
    for wanted in (True, False):
        trainer = tw.Trainer(tw.Sequential(NETWORKS["two"](), INPUTS, seed=3, dtype="float64"), loss, tw.SGD(lr=0.05))
        trainer.fit(*data("mse"), batch_size=1, exact_block=wanted)
        assert blocks_of(trainer) == set()
        found.append(bits(trainer))
    assert found[0] == found[1]


def test_few_inputs_for_a_batch_are_plain():
    x, y = data()
    for batch, expected in ((8, set()), (7, {4})):
        trainer = make(inputs=120)
        trainer.fit(x[:, :120], y, batch_size=batch)
        assert blocks_of(trainer) == expected


def test_batches_and_steps_are_plain():
    x, y = data(rows=64)
    trainers = [make() for _ in range(3)]
    trainers[0].fit(steps_of(x, y, 2))
    for batch in steps_of(x, y, 2):
        trainers[1].step(*batch)
    trainers[2].fit(x, y, batch_size=2, shuffle=False, exact_block=False)
    assert blocks_of(trainers[0]) == blocks_of(trainers[1]) == set()
    assert len({bits(trainer)[0] for trainer in trainers}) == 1
