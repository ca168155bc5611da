"""Large batches of small networks in chunks of 512 rows, which threads take one after another: the bits of the whole batch."""

import numpy as np
import pytest
from bits import everything

import thalweg as tw

INPUTS, CLASSES = 11, 3


def frozen(layer):
    """A layer that training leaves alone."""
    layer.trainable = False
    return layer


NETWORKS = {
    "dense": lambda: [tw.Dense(40, "relu"), tw.Dense(CLASSES)],
    "dropout": lambda: [tw.Dense(33, "gelu"), tw.Dropout(0.3), tw.Dense(24, "tanh"), tw.Dense(CLASSES)],
    "residual": lambda: [tw.Dense(32, "silu"), tw.Residual([tw.Dense(32, "tanh"), tw.Dropout(0.2)]), tw.Dense(CLASSES)],
    "frozen": lambda: [frozen(tw.Dense(32, "relu")), tw.Dense(16, "relu"), tw.Dense(CLASSES)],
    "softmax": lambda: [tw.Dense(24, "softmax"), tw.Dense(CLASSES, bias=False)],
    "normalize": lambda: [tw.Normalize(), tw.Dense(24, "relu"), tw.Dense(CLASSES)],
    "dropout first": lambda: [tw.Dropout(0.1), tw.Dense(24, "relu"), tw.Dense(CLASSES)],
}
OPTIMIZERS = {
    "sgd": lambda: tw.SGD(lr=0.05, momentum=0.9),
    "adam": lambda: tw.Adam(lr=1e-3, weight_decay=0.01, clip_value=0.3, average=0.9),
}


def data(rows, kind="labels"):
    generator = np.random.default_rng(rows)
    x = generator.normal(size=(rows, INPUTS))
    labels = generator.integers(0, CLASSES, rows)
    return x, labels if kind == "labels" else np.eye(CLASSES)[labels], generator.uniform(0, 2, rows)


def trained(
    network, batch, threads, *, optimizer="sgd", kind="labels", weighted=False, dtype="float32", fused=True, isa=None,
    shuffle=True, batches=1,
):  # fmt: skip
    """Two epochs of some batches, in one run, and a smaller one. Of the weights the second batch's are zero."""
    x, y, weight = data(batches * batch + 300, kind)
    weight[batch : 2 * batch] = 0
    model = tw.Sequential(NETWORKS[network](), INPUTS, dtype=dtype, seed=1)
    trainer = tw.Trainer(model, "cross_entropy", OPTIMIZERS[optimizer](), fused=fused, num_threads=threads, isa=isa)
    trainer.slice_steps = batches
    fit = {"batch_size": batch, "epochs": 2, "shuffle": shuffle, "verbose": 0}
    history = trainer.fit(x.astype(dtype), y, **fit, **({"sample_weight": weight} if weighted else {}))
    return trainer, history.history["loss"]


def plans(trainer):
    return [runner.program.plan.describe().splitlines()[0] for runner in trainer._runners.values()]


def in_chunks(trainer):
    return any("512 rows a chunk" in plan for plan in plans(trainer))


def assert_same(a, b):
    (one, losses), (other, other_losses) = a, b
    assert losses == other_losses
    for x, y in zip(everything(one), everything(other), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", [8192, 8193, 8703])
@pytest.mark.parametrize("network", NETWORKS)
def test_chunks_keep_the_bits_of_the_whole_batch(network, batch, threads):
    """The last chunk has 512 rows, one row, which would be a batch with another order of sums, or 511."""
    chunks = trained(network, batch, threads)
    whole = trained(network, batch, 1, fused=False)
    assert in_chunks(chunks[0])
    assert not in_chunks(whole[0])
    assert_same(chunks, whole)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["labels", "one-hot"])
def test_targets_weights_and_dtypes(kind, weighted, dtype):
    settings = {"kind": kind, "weighted": weighted, "dtype": dtype, "optimizer": "adam"}
    chunks = [trained("dropout", 4500, threads, **settings) for threads in (1, 2)]
    assert all(in_chunks(trainer) for trainer, _ in chunks)
    whole = trained("dropout", 4500, 2, fused=False, **settings)
    for other in chunks:
        assert_same(other, whole)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("shuffle", [False, True])
def test_many_steps_in_one_run(shuffle, threads):
    """Threads meet again and again; rows are read in place where they are not shuffled; one batch makes no step."""
    settings = {"weighted": True, "shuffle": shuffle, "batches": 5}
    chunks = trained("dropout", 8500, threads, **settings)
    assert in_chunks(chunks[0])
    assert_same(chunks, trained("dropout", 8500, 1, fused=False, **settings))


def test_isas_agree_but_for_scalar(isa):
    if isa == "scalar":
        assert in_chunks(trained("dense", 4096, 2, isa=isa)[0])
    else:
        assert_same(trained("dense", 4096, 2, isa=isa), trained("dense", 4096, 2))


@pytest.mark.parametrize(
    ("layers", "inputs", "batch"),
    [
        ([tw.Dense(40, "relu"), tw.BatchNorm(), tw.Dense(CLASSES)], INPUTS, 8192),
        ([tw.Dense(40, "relu"), tw.LayerNorm(), tw.Dense(CLASSES)], INPUTS, 8192),
        ([tw.Dense(40, "relu"), tw.Dense(CLASSES)], INPUTS, 4095),
        ([tw.Dense(128, "relu"), tw.Dense(CLASSES)], 784, 8192),
    ],
    ids=["batch norm", "layer norm", "few rows for two threads", "many weights"],
)
def test_other_batches_stay_whole(capsys, layers, inputs, batch):
    model = tw.Sequential(layers, inputs, seed=0)
    tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=2).describe(batch)
    assert "chunk" not in capsys.readouterr().out


def test_describe_tells_of_chunks(capsys):
    model = tw.Sequential(NETWORKS["dense"](), INPUTS, seed=0)
    tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=2).describe(8192)
    shown = capsys.readouterr().out
    assert shown.startswith("schedule: chunks, 2 threads, 512 rows a chunk\n")
    assert "-- for each chunk, by one thread\n" in shown
    assert "y1 (512, 40), fault (512,) <- x (512, 11)" in shown
    assert "loss (8192,)" in shown
    assert "barriers a step: 2\n" in shown


def test_memory_does_not_grow_with_the_batch():
    few, many = (trained("dense", rows, 1)[0] for rows in (4096, 65536))

    def arena(trainer):
        return max(int(r.program.plan.describe().split("arena ")[1].split()[0]) for r in trainer._runners.values())

    assert arena(many) - arena(few) == 4 * (65536 - 4096)  # a loss for each row


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("row", [0, 4700, 5119])
@pytest.mark.parametrize("what", ["x", "y"])
def test_a_bad_row_of_any_chunk_leaves_the_weights(what, row, threads):
    x, y, _ = data(5120)
    x[row, 2] = np.nan if what == "x" else x[row, 2]
    y[row] = CLASSES if what == "y" else y[row]
    model = tw.Sequential(NETWORKS["dense"](), INPUTS, seed=1)
    before = model.get_weights()
    error = tw.NonFiniteLoss if what == "x" else ValueError
    with pytest.raises(error, match=rf"\b{row}\b"):
        model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(), batch_size="full", shuffle=False, num_threads=threads)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_without_weight_makes_no_step(threads):
    x, y, _ = data(5000)
    model = tw.Sequential(NETWORKS["dense"](), INPUTS, seed=1)
    before = model.get_weights()
    settings = {"loss": "cross_entropy", "optimizer": tw.SGD(lr=1.0), "batch_size": "full", "num_threads": threads}
    model.fit(x, y, sample_weight=np.zeros(5000), epochs=2, **settings)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_long_step_is_stopped_between_chunks(monkeypatch, threads):
    """Asked once, and the weights are those of before the step."""
    asked = []

    def press(interrupt):
        asked.append(True)
        interrupt.noted = True
        return True

    monkeypatch.setattr(tw.guard.DeferredInterrupt, "was_noted", press)
    x, y, _ = data(500_000)
    model = tw.Sequential([tw.Dense(64, "tanh"), tw.Dense(64, "tanh"), tw.Dense(CLASSES)], INPUTS, seed=1)
    trainer = tw.Trainer(model, "cross_entropy", tw.SGD(), num_threads=threads)
    before = everything(trainer)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(x, y, batch_size="full", epochs=1, verbose=0)
    assert in_chunks(trainer)
    assert len(asked) == 1
    assert trainer.position.step == 0
    for a, b in zip(before, everything(trainer), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_of_any_kind_are_gathered_chunk_by_chunk():
    """Integers with strides, in an order of the epoch's: the bits of the same numbers as floats, laid out plainly."""
    generator = np.random.default_rng(3)
    wide = generator.integers(-9, 9, (5000, 3 * INPUTS)).astype(np.int16)
    _, y, _ = data(5000)
    weights = []
    for x in (wide[:, ::3], np.ascontiguousarray(wide[:, ::3], np.float32)):
        model = tw.Sequential(NETWORKS["dense"](), INPUTS, seed=1)
        settings = {"loss": "cross_entropy", "optimizer": tw.SGD(lr=0.01), "num_threads": 2}
        model.fit(x, y, batch_size=4200, epochs=2, seed=5, **settings)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
