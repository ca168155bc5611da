"""Wrong inputs: the error names the argument, what it got and what was expected; model and trainer are as they were.

A case is a tuple: what to call with a `Bench`, the error, and three parts of its message.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import thalweg as tw

X, Y, W = np.linspace(-1, 1, 80).reshape(20, 4), np.arange(20) % 3, np.ones(20)
GOOD = [(X[:10], Y[:10]), (X[10:], Y[10:])]
NOT_FOUND = "/no/such/file.npy"


class Bench:
    """A model that has been trained a little, its trainer, and short ways to call them."""

    def __init__(self):
        self.model = tw.Sequential([tw.Dense(8, "relu"), tw.Dense(3)], input_size=4, seed=0)
        self.adam = tw.Adam(lr=0.01)
        self.fit(X, Y)
        self.trainer = self.model._trainer
        self.predict, self.evaluate = self.model.predict, self.model.evaluate

    def fit(self, *data, **how):
        """Train the model with its trainer, if nothing else is said."""
        return self.model.fit(*data, **{"loss": "cross_entropy", "optimizer": self.adam} | how)

    def state(self):
        """All that must not change: weights, state of the optimizer, counters, seed, loss, names."""
        trainer = self.model._trainer
        return {
            "weights": [weight.tobytes() for weight in self.model.get_weights()],
            "trainer": id(trainer),
            "slots": {name: bytes(memoryview(block)) for name, block in trainer._slots.items()},
            "position": asdict(trainer.position),
            "seed": trainer.seed,
            "loss": self.model.loss.name,
            "names": self.model.feature_names,
            "optimizer": trainer.optimizer.config(),
        }


class Sparse:
    """Like a sparse matrix: no array, but with a way to become one."""

    def toarray(self):
        """The array."""


def spent():
    """An iterator that has given all it had."""
    return iter(())


CASES = {
    # ---- arrays that are none ----
    "X None": (lambda b: b.predict(None), TypeError, "X", "NoneType", "expected an array"),
    "X dict": (lambda b: b.predict({"a": X}), TypeError, "X", "dict", "expected an array"),
    "X sparse": (lambda b: b.predict(Sparse()), TypeError, "X", "Sparse", "expected an array: .toarray() makes one"),
    "X ragged": (lambda b: b.predict([[1, 2, 3, 4], [1, 2]]), ValueError, "X is no array of numbers", "inhomogeneous", ""),
    "X number": (lambda b: b.predict(3.0), ValueError, "X has shape", "()", "expected (rows, 4)"),
    "X dates": (lambda b: b.predict(X.astype("M8[s]")), TypeError, "X has dtype", "datetime64[s]", "expected float32"),
    "X records": (lambda b: b.predict(np.zeros(3, "f4,i4")), TypeError, "X has dtype", "'f0'", "expected float32"),
    "X bytes": (lambda b: b.predict(np.array([[b"1"] * 4])), TypeError, "X has dtype", "S1", "expected float32"),
    "X file": (lambda b: b.predict(NOT_FOUND), FileNotFoundError, "X: there is no file", NOT_FOUND, "a .npy file"),
    "y file": (lambda b: b.fit(X, "label"), FileNotFoundError, "y: there is no file", "'label'", "an array or a .npy file"),
    "y dict": (lambda b: b.fit(X, {"a": Y}), TypeError, "y", "dict", "expected an array"),
    "y generator": (lambda b: b.fit(X, (i for i in Y)), TypeError, "y", "generator", "expected an array"),
    "y text": (lambda b: b.fit(X, ["cat"] * 20), TypeError, "y has dtype", "<U3", "expected float32"),
    "X beside y": (lambda b: b.fit(iter(GOOD), Y), TypeError, "X", "iterator", "given to fit without y"),
    "X function beside y": (lambda b: b.fit(lambda: GOOD, Y), TypeError, "X", "function", "given to fit without y"),
    "y missing": (lambda b: b.fit(X), ValueError, "y is missing", "ndarray", "needs y"),
    "y missing, frame": (lambda b: b.fit(pd.DataFrame(X)), ValueError, "y is missing", "DataFrame", "needs y"),
    "y missing, file": (lambda b: b.fit("X.npy"), ValueError, "y is missing", "str", "needs y"),
    "y missing, lists": (lambda b: b.fit(X.tolist()), TypeError, "batch 0 of X", "4 parts", "expected (x, y)"),
    "y missing, evaluate": (lambda b: b.evaluate(X), ValueError, "y is missing", "ndarray", "needs y"),
    "columns of a frame": (lambda b: b.predict(pd.DataFrame({"c": ["x"]})), TypeError, "X has columns", "'c'", "expected numbers"),
    # ---- fit ----
    "batch_size": (lambda b: b.fit(X, Y, batch_size=True), ValueError, "batch_size", "True", "positive integer or 'full'"),
    "batch_size name": (lambda b: b.fit(X, Y, batch_size="Full"), ValueError, "batch_size", "'Full'", "positive integer or 'full'"),
    "batch_size array": (
        lambda b: b.fit(X, Y, batch_size=np.array([3])), ValueError, "batch_size", "array([3])", "positive integer or 'full'"),
    "epochs array": (lambda b: b.fit(X, Y, epochs=np.array([3])), ValueError, "epochs", "array([3])", "an integer >= 0"),
    "shuffle array": (lambda b: b.fit(X, Y, shuffle=np.array([1, 2])), ValueError, "shuffle", "array([1, 2])", "True or False"),
    "shuffle number": (lambda b: b.fit(X, Y, shuffle=2), ValueError, "shuffle", "2", "True or False"),
    "split array": (
        lambda b: b.fit(GOOD, validation_split=np.array([0.1, 0.2])), ValueError, "validation_split", "array", "0 to below 1"),
    "class_weight array": (
        lambda b: b.fit(X, Y, class_weight=np.array([1.0, 2.0])), TypeError, "class_weight", "array([1., 2.])", "a dict"),
    "class_weight name": (lambda b: b.fit(X, Y, class_weight="even"), TypeError, "class_weight", "'even'", "or 'balanced'"),
    "class_weight large": (
        lambda b: b.fit(X, Y, class_weight={1: 1e39}), ValueError, "class_weight[y][1]", "1e+39", "at most 3.40282e+38"),
    "class_weight of weights": (
        lambda b: b.fit(X, Y, sample_weight=W * 1e20, class_weight={1: 1e20}),
        ValueError, "sample_weight * class_weight[y][1]", "1e+40", "infinite in float32"),
    "callbacks number": (lambda b: b.fit(X, Y, callbacks=3), TypeError, "callbacks", "got 3", "objects of tw.Callback"),
    "callbacks class": (
        lambda b: b.fit(X, Y, callbacks=tw.EarlyStopping), TypeError, "callbacks", "EarlyStopping'>", "make one of the class"),
    "callbacks text": (lambda b: b.fit(X, Y, callbacks=["a"]), TypeError, "callbacks", "'a'", "objects of tw.Callback"),
    "epochs": (lambda b: b.fit(X, Y, epochs=1.5), ValueError, "epochs", "1.5", "an integer >= 0"),
    "epochs text": (lambda b: b.fit(X, Y, epochs="3"), ValueError, "epochs", "'3'", "an integer >= 0"),
    "epochs None": (lambda b: b.fit(X, Y, epochs=None), ValueError, "epochs", "None", "an integer >= 0"),
    "shuffle": (lambda b: b.fit(X, Y, shuffle="batch"), ValueError, "shuffle", "'batch'", "True or False"),
    "steps of arrays": (lambda b: b.fit(X, Y, steps_per_epoch=3), ValueError, "steps_per_epoch", "3", "goes with batches"),
    "split text": (lambda b: b.fit(X, Y, validation_split="0.2"), ValueError, "validation_split", "'0.2'", "0 to below 1"),
    "split negative": (lambda b: b.fit(X, Y, validation_split=-0.1), ValueError, "validation_split", "-0.1", "0 to below 1"),
    "split NaN": (lambda b: b.fit(X, Y, validation_split=np.nan), ValueError, "validation_split", "nan", "0 to below 1"),
    "validation array": (lambda b: b.fit(X, Y, validation_data=X), ValueError, "validation_data", "ndarray", "needs y beside it"),
    "validation parts": (
        lambda b: b.fit(X, Y, validation_data=(X, Y, W, W)), ValueError, "validation_data", "4 parts", "expected (X, y)"),
    "validation rows": (
        lambda b: b.fit(X, Y, validation_data=(X, Y[:9])), ValueError, "validation y", "9 rows", "20"),
    "validation weight": (
        lambda b: b.fit(X, Y, validation_data=(X, Y, W[:9])), ValueError, "validation sample_weight", "(9,)", "(20,)"),
    "validation iterator": (
        lambda b: b.fit(X, Y, validation_data=iter(GOOD)), ValueError, "validation_data", "iterator", "expected an iterable"),
    "validation empty": (lambda b: b.fit(X, Y, validation_data=[]), ValueError, "validation_data", "no batch", "empty"),
    "validation batch": (
        lambda b: b.fit(X, Y, validation_data=[(X[:, :2], Y)]), ValueError, "x of batch 0 of validation_data", "2 columns", "4"),
    "validation number": (lambda b: b.fit(X, Y, validation_data=0.2), TypeError, "validation_data", "float", "(x, y)"),
    "weight text": (lambda b: b.fit(X, Y, sample_weight=["a"] * 20), TypeError, "sample_weight", "<U1", "expected float32"),
    "weight columns": (lambda b: b.fit(X, Y, sample_weight=W[:, None]), ValueError, "sample_weight", "(20, 1)", "expected (20,)"),
    "weight infinite": (lambda b: b.fit(X, Y, sample_weight=W * np.inf), ValueError, "sample_weight[0]", "inf", "must be finite"),
    "weight large": (
        lambda b: b.fit(X, Y, sample_weight=W * 1e39), ValueError, "sample_weight[0]", "1e+39, which is infinite in float32",
        "at most 3.40282e+38"),
    "step's weight large": (
        lambda b: b.trainer.step(X, Y, W * 1e39), ValueError, "sample_weight[0]", "1e+39", "infinite in float32"),
    "weight number": (lambda b: b.fit(X, Y, sample_weight=2.0), ValueError, "sample_weight", "()", "expected (20,)"),
    "seed": (lambda b: b.fit(X, Y, seed=1.5), ValueError, "seed", "1.5", "an integer from 0"),
    "seed large": (lambda b: b.fit(X, Y, seed=2**64), ValueError, "seed", "18446744073709551616", "to 2**64 - 1"),
    "num_threads": (lambda b: b.fit(X, Y, num_threads=1.5), ValueError, "num_threads", "1.5", "positive integer or None"),
    "num_threads large": (
        lambda b: b.fit(X, Y, num_threads=10**5), ValueError, "num_threads is 100000", "OMP_THREAD_LIMIT allows"),
    "one-hot": (lambda b: b.fit(X, np.ones((20, 4))), ValueError, "y has shape", "(20, 4)", "probabilities of shape (20, 3)"),
    "loss of other targets": (
        lambda b: b.fit(X, Y, loss="mse", optimizer=tw.SGD()), ValueError, "y has shape", "(20,)", "expects (20, 3)"),
    # ---- batches ----
    "batch_size of batches": (lambda b: b.fit(GOOD, batch_size=32), ValueError, "batch_size", "y is missing", "goes with arrays"),
    "weight of batches": (lambda b: b.fit(GOOD, sample_weight=W), ValueError, "sample_weight", "y is missing", "third part"),
    "split of batches": (lambda b: b.fit(GOOD, validation_split=0.5), ValueError, "validation_split", "y is missing", "with arrays"),
    "steps_per_epoch": (lambda b: b.fit(GOOD, steps_per_epoch=0), ValueError, "steps_per_epoch", "got 0", "positive integer"),
    "steps real": (lambda b: b.fit(GOOD, steps_per_epoch=2.0), ValueError, "steps_per_epoch", "2.0", "positive integer"),
    "X nothing": (lambda b: b.fit(None), TypeError, "X", "NoneType", "an iterable of (x, y)"),
    "X of no batches": (lambda b: b.fit(7), TypeError, "X", "int", "an iterable of (x, y)"),
    "X of an odd function": (lambda b: b.fit(lambda: None), TypeError, "X returned", "NoneType", "an iterable of (x, y)"),
    "no batch": (lambda b: b.fit([]), ValueError, "X", "no batch", "empty"),
    "no batch left": (lambda b: b.fit(spent()), ValueError, "X", "no batch", "given all it had"),
    "twice over an iterator": (lambda b: b.fit(iter(GOOD), epochs=2), ValueError, "epochs is 2", "iterator", "steps_per_epoch"),
    "batch of one part": (lambda b: b.fit([(X,)]), TypeError, "batch 0 of X", "1 parts", "expected (x, y)"),
    "batch of four": (lambda b: b.fit([(X, Y, W, W)]), TypeError, "batch 0 of X", "4 parts", "expected (x, y)"),
    "batch array": (lambda b: b.fit([X, X]), TypeError, "batch 0 of X", "ndarray", "expected (x, y)"),
    "batch dict": (lambda b: b.fit([{"x": X, "y": Y}]), TypeError, "batch 0 of X", "dict", "expected (x, y)"),
    "batch's columns": (lambda b: b.fit([(X[:, :3], Y)]), ValueError, "x of batch 0", "3 columns", "4"),
    "batch's rows": (lambda b: b.fit([(X, Y[:9])]), ValueError, "y of batch 0", "9 rows", "20"),
    "batch's weight": (lambda b: b.fit([(X, Y, W[:9])]), ValueError, "sample_weight of batch 0", "(9,)", "expected (20,)"),
    "batch without rows": (lambda b: b.fit([(X[:0], Y[:0])]), ValueError, "x of batch 0", "no rows", ""),
    "a sample": (lambda b: b.fit([(X[0], Y[0])]), ValueError, "x of batch 0", "(4,)", "expected (rows, 4)"),
    # ---- predict and evaluate ----
    "predict no batch": (lambda b: b.predict(spent()), ValueError, "X", "no batch", "given all it had"),
    "predict a batch": (lambda b: b.predict(iter([X, X[:, 1:]])), ValueError, "x of batch 1", "3 columns", "4"),
    "predict pairs": (lambda b: b.predict(iter([(X, Y)])), ValueError, "x of batch 0", "inhomogeneous", "no array of numbers"),
    "predict threads large": (
        lambda b: b.predict(X, num_threads=10**5), ValueError, "num_threads is 100000", "OMP_THREAD_LIMIT allows"),
    "predict threads": (lambda b: b.predict(X, num_threads="2"), ValueError, "num_threads", "'2'", "positive integer or None"),
    "evaluate rows": (lambda b: b.evaluate(X, Y[:9]), ValueError, "y", "9 rows", "X has 20"),
    "evaluate weight": (lambda b: b.evaluate(X, Y, sample_weight=-W), ValueError, "sample_weight[0]", "-1.0", "not negative"),
    "evaluate loss": (lambda b: b.evaluate(X, Y, loss=3), ValueError, "loss", "3", "there are: mse"),
    "evaluate batches' weight": (lambda b: b.evaluate(GOOD, sample_weight=W), ValueError, "sample_weight", "y", "part of a batch"),
    "evaluate a batch": (lambda b: b.evaluate([*GOOD, (X, Y * 1.0)]), ValueError, "y of batch 2", "float64", "expects integer labels"),
    "evaluate nothing": (lambda b: b.evaluate([]), ValueError, "X", "no batch", "empty"),
    # ---- layers and callbacks ----
    "no_decay number": (lambda b: tw.Dense(3, no_decay=3), ValueError, "Dense: no_decay", "got 3", "(weight, bias)"),
    "no_decay list": (lambda b: tw.LayerNorm(no_decay=[None]), ValueError, "LayerNorm: no_decay", "None", "(weight, bias)"),
    "momentum": (lambda b: tw.BatchNorm(momentum=2), ValueError, "BatchNorm: momentum", "got 2", "a number from 0 to 1,"),
    "momentum NaN": (lambda b: tw.BatchNorm(momentum=np.nan), ValueError, "BatchNorm: momentum", "nan", "from 0 to 1,"),
    "Normalize text": (lambda b: tw.Normalize(0, "a"), TypeError, "Normalize: std", "'a'", "a number or one a column"),
    "Normalize path": (lambda b: tw.Normalize(Path("a"), 1), TypeError, "Normalize: mean", "Path('a')", "one a column"),
    "units array": (lambda b: tw.Dense(np.array([3])), ValueError, "Dense: units", "array([3])", "positive integer"),
    "Checkpoint": (lambda b: tw.Checkpoint(3), TypeError, "Checkpoint: folder", "got 3", "a path"),
    "CSVLogger": (lambda b: tw.CSVLogger(None), TypeError, "CSVLogger: path", "None", "a path"),
    "ModelCheckpoint": (lambda b: tw.ModelCheckpoint(None), TypeError, "ModelCheckpoint: path", "None", "a path"),
    "ModelCheckpoint bytes": (lambda b: tw.ModelCheckpoint(b"a"), TypeError, "ModelCheckpoint: path", "b'a'", "a path"),
    # ---- Trainer ----
    "model": (lambda b: tw.Trainer("model", "mse", b.adam), TypeError, "model", "'model'", "tw.Sequential"),
    "step's columns": (lambda b: b.trainer.step(X[:, :3], Y), ValueError, "got x", "3 columns", "Dense(4"),
    "step's rows": (lambda b: b.trainer.step(X, Y[:9]), ValueError, "y", "9 rows", "20"),
    "step's weight": (lambda b: b.trainer.step(X, Y, W[:9]), ValueError, "sample_weight", "(9,)", "expected (20,)"),
    "step without rows": (lambda b: b.trainer.step(X[:0], Y[:0]), ValueError, "x", "no rows", ""),
    "forward's axes": (lambda b: b.trainer.forward(X[0]), ValueError, "x has shape", "(4,)", "expected (rows, 4)"),
    "gradients' labels": (lambda b: b.trainer.gradients(X, Y + 1), ValueError, "y[2]", "3", "from 0 to 2"),
    "backward's shape": (
        lambda b: (b.trainer.forward(X), b.trainer.backward(X)), ValueError, "dy has shape", "(20, 4)", "expected (20, 3)"),
    "backward's dtype": (
        lambda b: (b.trainer.forward(X), b.trainer.backward(X * 1j)), TypeError, "dy has dtype", "complex128", "expected float32"),
    "apply's dtype": (
        lambda b: b.trainer.apply([*b.model.get_weights()[:3], ["a"] * 3]), TypeError, "gradients[3]", "<U1", "expected float32"),
    "apply's shape": (
        lambda b: b.trainer.apply([*b.model.get_weights()[:3], W]), ValueError, "gradients[3]", "(20,)", "expected (3,)"),
    "trainer fit": (lambda b: b.trainer.fit(X), ValueError, "y is missing", "ndarray", "needs y"),
    "trainer split": (lambda b: b.trainer.fit(X, Y, validation_split=2), ValueError, "validation_split", "2", "0 to below 1"),
    "load nothing": (lambda b: b.trainer.load(NOT_FOUND), FileNotFoundError, "No such file", NOT_FOUND, ""),
    "weights' dtype": (
        lambda b: b.model.set_weights([*b.model.get_weights()[:3], ["a"] * 3]), TypeError, "weights[3]", "<U1", "expected float32"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_it_is_named_and_nothing_has_changed(case):
    call, error, *parts = CASES[case]
    bench = Bench()
    before = bench.state()
    with pytest.raises(error) as caught:
        call(bench)
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert bench.state() == before
    bench.fit(GOOD)  # and it still trains
    assert bench.state()["position"]["step"] == before["position"]["step"] + 2


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.fit(X, Y),
        lambda b: b.trainer.step(X, Y),
        lambda b: b.fit(X, Y, epochs=0, seed=5),
        lambda b: b.fit(X, Y, epochs=0, optimizer=tw.SGD()),
        lambda b: b.model.parameters[1].__setitem__(0, -0.0 if b.model.parameters[1][0] == 0 else 0),
        lambda b: b.fit(pd.DataFrame(X, columns=[*"abcd"]), Y, epochs=0),
    ],
)
def test_the_comparison_of_states_bites(change):
    bench = Bench()
    before = bench.state()
    change(bench)
    assert bench.state() != before


@pytest.mark.parametrize(
    "how",
    [
        {"batch_size": np.int64(3)},
        {"batch_size": np.array(3)},
        {"epochs": np.uint8(1)},
        {"shuffle": np.True_},
        {"shuffle": 0},
        {"validation_split": np.float32(0.2)},
        {"validation_split": np.float64(0)},
        {"class_weight": np.str_("balanced")},
        {"sample_weight": W * 1e38},
        {"callbacks": None},
        {"callbacks": tw.EarlyStopping("loss")},
        {"callbacks": (tw.Callback() for _ in range(2))},
    ],
    ids=str,
)
def test_what_looks_odd_but_is_right(how):
    Bench().fit(X, Y, **how)


def test_one_callback_is_heard():
    heard = []
    Bench().fit(X, Y, epochs=2, callbacks=tw.LambdaCallback(on_epoch_end=lambda epoch, logs: heard.append(epoch)))
    assert len(heard) == 2


def test_large_weights_are_right_in_a_dtype_that_holds_them():
    model = tw.Sequential([tw.Dense(1)], input_size=4, seed=0, dtype="float64")
    loss = model.evaluate(X, W, loss="mse", sample_weight=W * 1e39)["loss"]
    assert loss == pytest.approx(model.evaluate(X, W, loss="mse")["loss"])
    with pytest.raises(ValueError, match=r"sample_weight\[0\] is 1e\+39, which is infinite in float32"):
        tw.kernels.mse(np.ones((20, 1), np.float32), np.ones((20, 1)), W * 1e39)
