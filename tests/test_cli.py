"""The command line: what it prints, what it saves, and one line with exit status 2 for whatever is wrong."""

import gzip
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import thalweg as tw
from thalweg import cli, comparison, preparation

ENVIRONMENT = {**os.environ, "SKBUILD_EDITABLE_VERBOSE": "0"}  # an editable install may build as it is imported
QUICK = ["--epochs", "1", "--hidden", "none"]


def run(*arguments):
    """Exit status of a command."""
    return cli.main([str(argument) for argument in arguments])


def python(folder, *arguments, **options):
    """A process of this Python."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT, "timeout": 120}
    return subprocess.run([sys.executable, *arguments], check=False, cwd=folder, **(pipes | options))


def table_of(output):
    """The lines of the printed table, split into columns."""
    return [re.split(r"  +", line) for line in output.partition("\n\n")[2].strip().split("\n\n")[0].splitlines()]


def idx(array):
    """An array of bytes in the IDX format."""
    array = np.asarray(array, np.uint8)
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def houses(tmp_path, rng):
    """A CSV file with numbers, texts and gaps in both, a price that follows from them, and a class."""
    pytest.importorskip("pandas")
    rows = 300
    rooms, age = rng.integers(1, 9, rows), rng.normal(40, 15, rows)
    sea = rng.choice(["near", "far", ""], rows)
    price = 50_000.5 * rooms + 100_000 * (sea == "near") - 500 * age
    kind = np.where(price > np.median(price), "dear", "cheap")
    lines = ["rooms,age,sea,price,kind"]
    lines += [f"{r},{'' if i % 10 == 0 else a},{s},{p},{k}"
              for i, (r, a, s, p, k) in enumerate(zip(rooms, age, sea, price, kind, strict=True))]  # fmt: skip
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def images(tmp_path, rng):
    """A folder of IDX files: bright images are of class 1."""
    folder = tmp_path / "images"
    folder.mkdir()
    for part, rows in (("train", 200), ("t10k", 50)):
        labels = rng.integers(0, 2, rows)
        pixels = rng.integers(0, 100, (rows, 3, 3)) + 150 * labels[:, None, None]
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(pixels)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


# ---- train ----------------------------------------------------------------------------------------------------------


def test_train_without_arguments_compares_three_methods_on_digits(capsys, monkeypatch):
    outcomes, train = [], comparison.train

    def noted(*arguments):
        outcomes.append(train(*arguments))
        return outcomes[-1]

    monkeypatch.setattr(comparison, "train", noted)
    assert run("train") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "1,438 to train, 359 to test" in captured.out and "64-64-10, relu, 4,810 parameters" in captured.out
    head, *rows = table_of(captured.out)
    assert head[:6] == ["method", "steps", "training loss", "test accuracy", "seconds", "samples/s"]
    assert head[6].startswith("seconds to loss ")
    assert [row[0].partition(",")[0] for row in rows] == ["full batch", "stochastic", "mini-batch of 32"]
    steps = [int(row[1].replace(",", "")) for row in rows]
    assert steps == [300, 20 * 1438, 40 * 45]
    assert all(float(row[3]) >= 0.95 for row in rows)
    assert all(0 <= float(row[6]) <= float(row[4]) + 1e-3 for row in rows)
    goal = float(head[6].split()[-1])
    lowest = [min(outcome.losses) for outcome in outcomes]  # which need not be that of the last epoch
    assert goal == pytest.approx(max(lowest), rel=1e-3)


def test_train_gives_the_same_numbers_again(capsys):
    def numbers():
        assert run("train", "--epochs", 2) == 0
        return [row[:4] for row in table_of(capsys.readouterr().out)]

    assert numbers() == numbers()


@pytest.mark.parametrize(("size", "name", "steps"), [("full", "full batch", 2), (1, "stochastic", 2876), (100, "", 30)])
def test_batch_size_chooses_one_method(capsys, size, name, steps):
    assert run("train", "--batch-size", size, "--epochs", 2) == 0
    head, row = table_of(capsys.readouterr().out)
    assert len(head) == 6
    assert row[0].startswith(name or "mini-batch of 100") and int(row[1].replace(",", "")) == steps


def test_options_reach_the_model_and_the_optimizer(capsys, tmp_path):
    path = tmp_path / "m.npz"
    options = ["--hidden", "12,7", "--optimizer", "adamw", "--lr", "0.004", "--batch-size", "64", "--epochs", "3"]
    assert run("train", *options, "--seed", "5", "--test-fraction", "0", "--save", path) == 0
    output = capsys.readouterr().out
    assert "64-12-7-10" in output and "1,797 to train, 0 to test" in output
    assert table_of(output)[1][:4] == ["mini-batch of 64, adamw, lr 0.004", "87", table_of(output)[1][2], "-"]
    model = tw.load(path)
    assert model.seed == 5 and [layer.units for layer in model.layers] == [12, 7, 10]


@pytest.mark.parametrize("optimizer", comparison.OPTIMIZERS)
@pytest.mark.parametrize("size", [*comparison.BATCH_SIZES])
def test_default_learning_rates_train(size, optimizer):
    method = comparison.Method.choose(size, optimizer)
    assert type(method.make_optimizer()).__name__.lower() == {"momentum": "sgd"}.get(optimizer, optimizer)
    half = replace(method, epochs=method.epochs // 2)
    data = preparation.prepare(preparation.open_source(None, None))
    assert comparison.train(data, half, [64], seed=0).score >= 0.9
    assert comparison.Method.choose(size, "sgd", loss="mse").lr < comparison.Method.choose(size, "sgd").lr
    assert comparison.Method.choose(size, optimizer, lr=2.0, epochs=9) == comparison.Method(size, optimizer, 2.0, 9)


def test_seconds_to_a_loss_end_with_the_first_epoch_that_reaches_it():
    def outcome(losses):
        return comparison.Outcome(None, None, 3, losses, [1.0, 2.0, 3.0], 3, None)

    outcomes = [outcome([3.0, 0.5, 1.0]), outcome([2.0, 1.5, 0.7])]
    assert comparison.common_loss(outcomes) == 0.7
    assert [o.seconds_to(0.7) for o in outcomes] == [2.0, 3.0]
    assert comparison.best(outcomes) is outcomes[1]
    outcomes[0].score, outcomes[1].score = 0.9, 0.8
    assert comparison.best(outcomes) is outcomes[0]


# ---- train, save, predict -------------------------------------------------------------------------------------------


def test_csv_regression_predicts_in_the_units_of_the_target(houses, tmp_path, capsys):
    model = tmp_path / "m.npz"
    assert run("train", "--data", houses, "--target", "price", "--save", model, "--hidden", 16) == 0
    output = capsys.readouterr().out
    assert "2 of text, one-hot (sea, kind)" in output and "price, standardised: mean" in output
    assert table_of(output)[0][3] == "test R2" and all(float(row[3]) > 0.9 for row in table_of(output)[1:])
    assert re.search(r"saved .*m.npz \((full batch|stochastic|mini-batch of 32)\)", output)

    assert run("predict", model, houses) == 0
    predicted = np.array(capsys.readouterr().out.split(), float)
    price = np.array([line.split(",")[3] for line in houses.read_text().splitlines()[1:]], float)
    assert np.corrcoef(predicted, price)[0, 1] > 0.95 and abs(predicted - price).mean() < 0.3 * price.std()


def test_csv_prediction_needs_no_target_and_bears_gaps_unseen_categories_and_other_columns(houses, tmp_path, capsys):
    model, raw = tmp_path / "m.npz", tmp_path / "raw.csv"
    common = ["--data", houses, "--target", "kind", "--save", model]
    assert run("train", *common, "--batch-size", 32, "--loss", "binary_cross_entropy") == 0
    capsys.readouterr()
    raw.write_text("other,sea,age,rooms,price\n-,near,20,8,600000\n-,on the moon,,1,20000\n-,,?,,\n")
    assert run("predict", model, raw) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["dear", "cheap"] and lines[2] in ("dear", "cheap")
    assert run("predict", model, raw, "--proba") == 0
    assert capsys.readouterr().out.splitlines()[0] == "dear"


@pytest.mark.parametrize(
    ("loss", "target"), [("hinge", "kind"), ("squared_hinge", "kind"), ("mae", "price"), ("huber", "price")]
)
def test_other_losses_of_two_classes_and_of_quantities(loss, target, houses, tmp_path, capsys):
    model = tmp_path / "m.npz"
    common = ["--data", houses, "--target", target, "--save", model, "--batch-size", 32, "--seed", 1]
    assert run("train", *common, "--loss", loss) == 0
    assert float(table_of(capsys.readouterr().out)[1][3]) > 0.85
    assert run("predict", model, houses) == 0
    predicted = capsys.readouterr().out.split()
    assert set(predicted) == {"dear", "cheap"} if target == "kind" else np.isfinite(np.array(predicted, float)).all()
    check_error(capsys, "predict", model, houses, "--proba", match="probabilities come with cross_entropy")


def test_text_that_looks_like_numbers_stays_text_in_prediction(tmp_path, capsys):
    pytest.importorskip("pandas")
    table, model, raw = (tmp_path / name for name in ("t.csv", "m.npz", "raw.csv"))
    table.write_text("code,y\n" + "1,a\nx,b\n" * 50)
    assert run("train", "--data", table, "--target", "y", "--save", model, "--batch-size", 1) == 0
    capsys.readouterr()
    raw.write_text("code\n1\n1\n")
    assert run("predict", model, raw) == 0
    assert capsys.readouterr().out == "a\na\n"


def test_idx_images_train_and_predict(images, tmp_path, capsys):
    model = tmp_path / "m.npz"
    assert run("train", "--data", images, "--save", model, "--batch-size", 32) == 0
    output = capsys.readouterr().out
    assert "200 to train, 50 to test\n" in output and float(table_of(output)[1][3]) == 1
    assert run("predict", model, images / "t10k-images-idx3-ubyte.gz") == 0
    labels = np.frombuffer((images / "t10k-labels-idx1-ubyte").read_bytes()[8:], np.uint8)
    assert capsys.readouterr().out.split() == [str(label) for label in labels]
    assert run("predict", model, images / "t10k-images-idx3-ubyte.gz", "--proba") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == "0,1" and len(rows) == 50
    np.testing.assert_allclose([sum(map(float, row.split(","))) for row in rows], 1, rtol=1e-5)


def test_npz_trains_and_npy_predicts(tmp_path, rng, capsys):
    x = rng.normal(size=(100, 3))
    np.savez(tmp_path / "d.npz", X=x, y=np.stack([x[:, 0], 5 + x[:, 1]], axis=1))
    np.save(tmp_path / "x.npy", x[:4])
    common = ["--data", tmp_path / "d.npz", "--hidden", "none", "--batch-size", 1]
    assert run("train", *common, "--save", tmp_path / "m.npz") == 0
    assert "y, standardised, 2 columns" in capsys.readouterr().out
    for name in ("x.npy", "d.npz"):
        assert run("predict", tmp_path / "m.npz", tmp_path / name) == 0
        rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
        np.testing.assert_allclose(np.array(rows[:4], float), np.stack([x[:4, 0], 5 + x[:4, 1]], axis=1), atol=0.01)


def test_predict_with_a_model_saved_from_python(tmp_path, rng, capsys):
    tw.Sequential([tw.Dense(2)], input_size=3, seed=0).save(tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    assert run("predict", tmp_path / "m.npz", tmp_path / "x.npy") == 0
    assert capsys.readouterr().out == "0,0\n0,0\n"


def test_info_and_version(capsys):
    assert run("info") == 0
    output = capsys.readouterr().out
    assert f"version  {tw.__version__}\n" in output and f"isa      {tw.info()['isa']}\n" in output
    with pytest.raises(SystemExit, match="0"):
        run("--version")
    assert capsys.readouterr().out == f"thalweg {tw.__version__}\n"


# ---- one line and exit status 2 -------------------------------------------------------------------------------------


def check_error(capsys, *arguments, match):
    """Run a command that must fail with one line."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("thalweg: ") and captured.err.count("\n") == 1 and captured.err.endswith("\n")
    assert re.search(match, captured.err), captured.err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("train --batch 3", "unrecognized arguments: --batch 3"),
        ("train --batch-size 0", "--batch-size: expected a positive integer or full, got '0'"),
        ("train --batch-size half", "--batch-size: expected a positive integer or full, got 'half'"),
        ("train --epochs 0", "--epochs: expected a positive integer, got '0'"),
        ("train --epochs 1.5", "--epochs: expected a positive integer, got '1.5'"),
        ("train --lr 0", "--lr: expected a number above 0, got '0'"),
        ("train --lr nan", "--lr: expected a number above 0"),
        ("train --hidden 64,x", "--hidden: expected sizes such as 128,64 or none, got '64,x'"),
        ("train --hidden 64,-1", "--hidden: expected sizes"),
        ("train --seed -1", "--seed: expected an integer from 0"),
        ("train --test-fraction 1", "--test-fraction: expected a number from 0 to below 1, got '1'"),
        ("train --optimizer lbfgs", "--optimizer: invalid choice: 'lbfgs'"),
        ("train --loss poisson", "--loss: invalid choice: 'poisson'"),
        ("train --loss binary_cross_entropy", "needs 2 classes, but digit has 10"),
        ("train --target y", "--target names a column of a CSV file, but the data are the digits"),
        ("train --data nowhere.csv", "nowhere.csv: No such file or directory"),
        ("train --save nowhere/m.npz", "--save: the folder nowhere does not exist"),
        ("train --save .", "--save: . is a folder"),
        ("train --lr 1e30 --batch-size 32", r"mini-batch of 32, sgd, lr 1e\+30: loss is .* in epoch 0"),
        ("predict m.npz", "required: FILE"),
        ("predict nowhere.npz x.npy", "nowhere.npz: No such file or directory"),
    ],
)
def test_wrong_options_are_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, match):
    monkeypatch.chdir(tmp_path)
    check_error(capsys, *arguments.split(), match=match)


def test_wrong_data_are_told_in_one_line(tmp_path, images, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "picture").write_bytes(b"\x89PNG\0\0\0")
    np.save(tmp_path / "x.npy", np.zeros(3))
    np.savez(tmp_path / "d.npz", X=np.zeros((4, 2)))
    for name, match in [
        ("empty", "has no file train-images-idx3-ubyte"),
        ("picture", "is no CSV, npz, npy or IDX file"),
        ("x.npy", "is one npy file; expected a folder of IDX files"),
        ("d.npz", "has no array 'y'"),
        ("images/t10k-labels-idx1-ubyte", "is one idx file"),
    ]:
        check_error(capsys, "train", "--data", tmp_path / name, match=match)
    check_error(capsys, "train", "--data", images, "--test-fraction", 0.5, match="--test-fraction does not apply")
    labels = images / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    check_error(capsys, "train", "--data", images, match="has 199 bytes of data; its header says 200 = 200")
    labels.write_bytes(idx(np.zeros(199)))
    check_error(capsys, "train", "--data", images, match="X has 200 rows, y has 199")


def test_wrong_tables_are_told_in_one_line(houses, tmp_path, capsys):
    check_error(capsys, "train", "--data", houses, match="--target is missing.*rooms, age, sea, price, kind")
    check_error(capsys, "train", "--data", houses, "--target", "cost", match="no column 'cost'; its columns are rooms")
    quantity = ["train", "--data", houses, "--target", "price", "--loss", "cross_entropy"]
    check_error(capsys, *quantity, match="needs classes, but price holds real numbers")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("a,b\n1,2\n1,2,3\n")
    check_error(capsys, "train", "--data", ragged, "--target", "b", match="Expected 2 fields in line 3, saw 3")


def test_wrong_files_to_predict_from_are_told_in_one_line(houses, images, tmp_path, capsys):
    by_table, by_image = tmp_path / "t.npz", tmp_path / "i.npz"
    assert run("train", "--data", houses, "--target", "price", "--batch-size", "full", *QUICK, "--save", by_table) == 0
    assert run("train", "--data", images, "--batch-size", "full", *QUICK, "--save", by_image) == 0
    capsys.readouterr()
    other, wide = tmp_path / "other.csv", tmp_path / "wide.npy"
    other.write_text("rooms,age\n1,2\n")
    np.save(wide, np.zeros((2, 10)))
    pixels = images / "t10k-images-idx3-ubyte.gz"
    check_error(capsys, "predict", by_table, other, match=r"other.csv: there is no column sea, kind")
    other.write_text("rooms,age,sea,kind\n1,2,near,dear\nmany,2,near,dear\n")
    check_error(capsys, "predict", by_table, other, match="column 'rooms' has many in data row 2; expected a number")
    check_error(capsys, "predict", by_table, pixels, match="is no CSV file, and the model was trained on one")
    check_error(capsys, "predict", by_table, houses, "--proba", match="was trained with mse")
    check_error(capsys, "predict", by_image, houses, match="houses.csv is text; this model takes an npz file with X")
    check_error(capsys, "predict", by_image, images, match="is a folder")
    check_error(capsys, "predict", by_image, wide, match="got X with 10 columns")
    check_error(capsys, "predict", by_image, by_image, match="has no array 'X'")
    check_error(capsys, "predict", wide, wide, match="is no thalweg model file")


def test_missing_pandas_is_told_with_the_extra(houses, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pandas", None)
    check_error(capsys, "train", "--data", houses, "--target", "price", match=r"pip install 'thalweg\[data\]'")


def test_lack_of_memory_is_told(monkeypatch, capsys):
    def fail():
        raise MemoryError

    monkeypatch.setattr(cli.thalweg, "info", fail)
    check_error(capsys, "info", match="there is not enough memory")


# ---- as a process ---------------------------------------------------------------------------------------------------


def test_module_runs_and_its_status_is_that_of_the_command(tmp_path):
    good = python(tmp_path, "-m", "thalweg", "info")
    assert good.returncode == 0 and good.stdout.startswith("version") and good.stderr == ""
    bad = python(tmp_path, "-m", "thalweg", "train", "--data", "nowhere")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "thalweg: nowhere: No such file or directory\n"


def test_imports_are_few(tmp_path):
    code = "import sys, thalweg{}; print(sorted({{'pandas', 'argparse', 'thalweg.datasets'}} & set(sys.modules)))"
    assert python(tmp_path, "-c", code.format("")).stdout == "[]\n"
    assert python(tmp_path, "-c", code.format(".cli")).stdout == "['argparse', 'thalweg.datasets']\n"


def test_interrupt_ends_quietly_with_130(tmp_path):
    arguments = [sys.executable, "-m", "thalweg", "train", "--batch-size", "1", "--epochs", "1000000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    with subprocess.Popen(arguments, cwd=tmp_path, **pipes) as process:
        assert process.stdout.readline().startswith("data")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_closed_pipe_is_no_error(tmp_path, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        environment = ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered}
        done = python(tmp_path, "-m", "thalweg", "info", stdout=closed, env=environment)
    assert (done.returncode, done.stderr) == (141, "")
