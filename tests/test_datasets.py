"""Data sets: what files hold is read right, learned from rows to train on alone, and damaged files are refused."""

import gzip
import json
import pickle

import numpy as np
import pytest

import thalweg as tw
from thalweg import datasets, preparation, tables, targets


def idx(array):
    """An array of bytes in the IDX format."""
    array = np.asarray(array, np.uint8)
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def csv(tmp_path, text, name="table.csv"):
    """A CSV file with this text."""
    path = tmp_path / name
    path.write_text(text)
    return path


# ---- digits and splitting -------------------------------------------------------------------------------------------


def test_digits_are_the_uci_test_set():
    source = datasets.digits()
    assert source.x.shape == (1797, 64) and source.x.dtype == np.uint8 and source.x.max() == 16
    assert np.bincount(source.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert source.x[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


@pytest.mark.parametrize(("rows", "fraction", "held"), [(10, 0.2, 2), (3, 0.01, 1), (10, 0, 0), (2, 0.5, 1)])
def test_split_parts_all_rows_in_order_and_always_the_same(rows, fraction, held):
    train, test = datasets.split(rows, fraction)
    assert len(test) == held
    assert sorted([*train, *test]) == list(range(rows))
    assert train.tolist() == sorted(train) and test.tolist() == sorted(test)
    np.testing.assert_array_equal(test, datasets.split(rows, fraction)[1])


def test_split_of_too_few_rows_is_refused():
    with pytest.raises(ValueError, match=r"too few rows to hold out .* for testing: 1"):
        datasets.split(1, 0.2)


# ---- IDX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", "-.")
@pytest.mark.parametrize("packed", [False, True])
def test_idx_folder_is_read_packed_or_not(tmp_path, rng, separator, packed):
    parts = {"train-images": rng.integers(0, 256, (9, 4, 3)), "train-labels": np.arange(9) % 3}
    parts |= {"t10k-images": rng.integers(0, 256, (6, 4, 3)), "t10k-labels": np.arange(6) % 3}
    for name, array in parts.items():
        content = idx(array)
        path = tmp_path / f"{name}{separator}idx{array.ndim}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    data = preparation.prepare(preparation.open_source(tmp_path, None))
    assert data.x.dtype == np.float32
    largest = parts["train-images"].max()
    np.testing.assert_allclose(data.x, parts["train-images"].reshape(9, 12) / largest, rtol=1e-6)
    np.testing.assert_allclose(data.x_test, parts["t10k-images"].reshape(6, 12) / largest, rtol=1e-6)
    np.testing.assert_array_equal(data.y_test, parts["t10k-labels"])
    assert data.target.classes == ["0", "1", "2"] and data.target.loss == "cross_entropy"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08\x01" + bytes(12), "begins with 00 00 08 01; expected 00 00 08 03"),
        (b"\0\0\x0d\x03" + bytes(12), "begins with 00 00 0d 03"),
        (b"\0\0\x08\x03\0\0\0\x02", "ends within its header"),
        (idx(np.ones((2, 3, 3)))[:-1], "has 17 bytes of data; its header says 2x3x3 = 18"),
        (idx(np.ones((2, 3, 3))) + b"\0", "has 19 bytes of data"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"= 79,228,162,458,924,105,385,300,197,375"),
        (gzip.compress(idx(np.ones((20, 30, 30))))[:-9], "gzip file is cut short"),
        (b"\x1f\x8b nonsense", "gzip file is cut short or damaged"),
    ],
)
def test_wrong_idx_files_are_refused(tmp_path, content, match):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        datasets.read_idx(path, 3)


# ---- npz ------------------------------------------------------------------------------------------------------------


def test_npz_with_own_test_rows(tmp_path, rng):
    x, y = rng.normal(size=(20, 5)), np.arange(20) % 2 == 0
    np.savez(tmp_path / "d.npz", X=x[:14], y=y[:14], X_test=x[14:], y_test=y[14:])
    data = preparation.prepare(preparation.open_source(tmp_path / "d.npz", None))
    np.testing.assert_array_equal(data.x, x[:14])
    np.testing.assert_array_equal(data.x_test, x[14:])
    assert data.target.classes == ["False", "True"]
    np.testing.assert_array_equal(data.y_test, y[14:])


def test_whole_numbers_are_divided_by_the_largest_trained_on(tmp_path):
    x = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
    np.savez(tmp_path / "d.npz", X=x, y=[0, 1, 0, 1, 0])
    data = preparation.prepare(preparation.open_source(tmp_path / "d.npz", None), fraction=0)
    np.testing.assert_array_equal(data.x, x.reshape(5, 12) / np.float32(59))
    assert data.metadata["preparation"]["inputs"] == {"divisor": 59}
    assert len(data.x_test) == 0


@pytest.mark.parametrize(
    ("stored", "match"),
    [
        ({"x": np.ones((3, 2)), "y": np.ones(3)}, "has no array 'X'; expected X and y"),
        ({"X": np.ones((3, 2))}, "has no array 'y'"),
        ({"X": np.ones((3, 2)), "y": np.ones(3), "X_test": np.ones((3, 2))}, "one of X_test and y_test"),
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "X has 3 rows, y has 4"),
        ({"X": np.ones((3, 2)), "y": np.float64(1)}, "X has 3 rows, y has none"),
        ({"X": np.ones(3), "y": np.ones(3)}, r"X has shape \(3,\); expected \(rows, columns\)"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, r"X has shape \(0, 2\)"),
        ({"X": np.array(["a", "b"]), "y": np.ones(2)}, "X has dtype <U1"),
        ({"X": np.array([[1.0], [np.nan]]), "y": np.ones(2)}, "X is nan at row 1, column 0"),
        ({"X": np.ones((2, 1)), "y": np.array([1.0, np.inf])}, "y is inf at row 1"),
        ({"X": np.ones((3, 2)), "y": np.arange(3), "X_test": np.ones((3, 4)), "y_test": np.ones(3)}, "have shapes"),
        ({"X": np.ones((3, 2)), "y": np.ones((3, 2, 2))}, r"y has shape \(3, 2, 2\)"),
        ({"X": np.ones((3, 2)), "y": np.ones(3, complex)}, "y has dtype complex128"),
        ({"X": np.ones((1, 2)), "y": np.ones(1)}, "too few rows to hold out"),
    ],
)
def test_wrong_npz_files_are_refused(tmp_path, stored, match):
    np.savez(tmp_path / "d.npz", **stored)
    with pytest.raises((ValueError, TypeError), match=match):
        preparation.prepare(preparation.open_source(tmp_path / "d.npz", None))


def test_npz_of_objects_and_damaged_npz_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, X=np.ones((2, 2)), y=np.array(["a", None], dtype=object))
    with pytest.raises(ValueError, match="'y' holds Python objects"):
        datasets.read_npz(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="cut short or damaged"):
        datasets.read_npz(path)


# ---- targets --------------------------------------------------------------------------------------------------------

EVERY = np.arange(6)


@pytest.mark.parametrize(
    ("y", "loss", "classes"),
    [
        (np.array([3, 5, 3, 5, 9, 9]), "cross_entropy", ["3", "5", "9"]),
        (np.array([[3], [5], [3], [5], [9], [9]]), "cross_entropy", ["3", "5", "9"]),
        (np.array(list("abcabc")), "cross_entropy", ["a", "b", "c"]),
        (np.array([0.5, 1, 2, 1, 1, 1]), "mse", []),
        (np.array([1.0, 2, 1, 2, 1, 2]), "mse", []),
        (np.eye(3)[[0, 1, 2, 0, 1, 2]], "cross_entropy", ["0", "1", "2"]),
        (np.arange(12.0).reshape(6, 2), "mse", []),
    ],
)
def test_loss_follows_from_the_target(y, loss, classes):
    target, _ = targets.learn("y", y, EVERY, None)
    assert (target.loss, target.classes) == (loss, classes)


def test_many_different_whole_numbers_are_quantities():
    y = np.arange(targets.FEW_CLASSES + 1)
    assert targets.learn("y", np.tile(y, 2), EVERY, None)[0].loss == "mse"
    assert targets.learn("y", np.tile(y[1:], 2), EVERY, None)[0].loss == "cross_entropy"
    assert targets.learn("y", np.tile(y, 2), EVERY, "cross_entropy")[0].outputs == len(y)


def test_quantities_are_standardised_by_rows_trained_on_and_decoded_again():
    y = np.array([[10.0, 1], [20, 1], [30, 1], [1000, 1]])
    target, encoded = targets.learn("y", y, np.arange(3), None)
    np.testing.assert_allclose(encoded[:3].mean(axis=0), 0, atol=1e-7)
    assert target.mean == [20, 1] and target.std[1] == 1
    assert target.decode(encoded) == ["10,1", "20,1", "30,1", "1000,1"]


def test_classes_are_decoded_by_their_names():
    target, codes = targets.learn("y", np.array(["no", "yes", "no"]), EVERY, None)
    assert codes.tolist() == [0, 1, 0] and target.outputs == 2
    assert target.decode(np.array([[1.0, 2.0], [0.0, -1.0]])) == ["yes", "no"]
    binary, codes = targets.learn("y", np.array(["no", "yes", "no"]), EVERY, "binary_cross_entropy")
    assert codes.tolist() == [0, 1, 0] and binary.outputs == 1
    assert binary.decode(np.array([[1.0], [-1.0]])) == ["yes", "no"]


@pytest.mark.parametrize(
    ("y", "loss", "match"),
    [
        ([0.5, 0.5, 1.5], "cross_entropy", "needs classes, but y holds real numbers"),
        ([[0.5, 1], [2, 3]], "cross_entropy", "holds several columns"),
        (["a", "a", "a"], None, "needs 2 or more classes, but y has 1"),
        ([0, 1, 2, 1], "binary_cross_entropy", "needs 2 classes, but y has 3"),
        (["$1", "$2", "$3"], None, r"all 3 values of y differ, such as '\$1'"),
        (["a", "b"], "mse", "holds text such as 'a'"),
    ],
)
def test_targets_that_do_not_fit_the_loss_are_refused(y, loss, match):
    with pytest.raises(ValueError, match=match):
        targets.learn("y", np.array(y), EVERY, loss)


# ---- tables ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pandas():
    """Skip without pandas."""
    return pytest.importorskip("pandas")


@pytest.mark.parametrize("separator", [",", ";", "\t", ", "])
def test_csv_columns_are_numbers_or_texts(tmp_path, pandas, separator):
    text = "a,b,c,d\n1,x,True,0.5\n?,y,,\n3,,False,2\n".replace(",", separator)
    columns = tables.read_csv(csv(tmp_path, text), ["d"])
    assert np.isnan(columns["a"][1]) and columns["a"][[0, 2]].tolist() == [1, 3]
    assert columns["b"].tolist() == ["x", "y", ""]
    assert columns["c"].tolist() == ["True", "", "False"]
    assert columns["d"].tolist() == ["0.5", "", "2"]


def test_csv_may_be_packed_and_have_a_byte_order_mark(tmp_path, pandas):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress("\ufeffname\nü\n".encode()))
    assert tables.read_csv(path)["name"].tolist() == ["ü"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "No columns to parse"),
        (b"a,b\n", "has no rows"),
        (b"a,b\n1,2,3\n", "more fields than the first line"),
        (b"a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        (b"a,b\n\xff\xfe,2\n", "no CSV file in UTF-8"),
    ],
)
def test_wrong_csv_files_are_refused(tmp_path, pandas, content, match):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=match) as raised:
        tables.read_csv(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "kind"), [("1 2 1 2", "i"), ("1.0 2.0 1.0 2.0", "f"), ("1 a 1 a", "O"), ("True False True False", "O")]
)
def test_csv_target_is_what_its_texts_are_and_rows_without_are_left_out(tmp_path, pandas, values, kind):
    first, *others = values.split()
    path = csv(tmp_path, f"x,t\n0,{first}\n1,\n" + "".join(f"{i + 2},{value}\n" for i, value in enumerate(others)))
    source = tables.read_source(path, "t")
    assert source.y.dtype.kind == kind and source.x["x"].tolist() == [0, 2, 3, 4]
    assert "left out without t: 1" in source.name


def test_table_learns_from_rows_trained_on_alone():
    nan = np.nan
    given = {
        "n": np.array([1.0, 3.0, nan, 8.0, 100.0]),
        "t": np.array(["a", "b", "", "a", "never seen"], dtype=object),
        "constant": np.ones(5),
        "empty": np.full(5, nan),
        "same": np.array(["s"] * 5, dtype=object),
    }
    table = tables.Table.learn(given, np.arange(4))
    number, text = table.columns
    assert (number.name, number.median, number.mean) == ("n", 3, 3.75)
    assert text.categories == ["", "a", "b"]
    x = table.encode(given)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x[:4, 0].mean(), 0, atol=1e-7)
    np.testing.assert_allclose(x[:4, 0].std(), 1, rtol=1e-6)
    assert x[2, 0] == np.float32((3 - 3.75) / number.std)
    assert x[:, 1:].tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_only_the_most_frequent_categories_are_told_apart():
    names = [f"n{i}" for i in range(tables.MOST_CATEGORIES + 10)]
    texts = np.array(names + names[-3:], dtype=object)
    column = tables.TextColumn.learn("t", texts)
    assert len(column.categories) == tables.MOST_CATEGORIES and set(names[-3:]) <= set(column.categories)


def test_table_survives_json():
    given = {"n": np.array([1.0, 2.0]), "t": np.array(["a", "b"], dtype=object)}
    table = tables.Table.learn(given, np.arange(2))
    assert tables.Table.from_config(json.loads(json.dumps(table.config()))) == table


def test_table_refuses_what_is_not_there_or_no_number(pandas):
    table = tables.Table.learn({"a": np.arange(3.0), "b": np.arange(3.0)}, np.arange(3))
    with pytest.raises(ValueError, match="no column b"):
        table.encode({"a": np.arange(3.0)})
    texts = np.array(["1", "", "two"], dtype=object)
    with pytest.raises(ValueError, match="column 'b' has two in data row 3; expected a number"):
        table.encode({"a": np.arange(3.0), "b": texts})
    with pytest.raises(ValueError, match="column 'a' has inf in data row 1"):
        table.encode({"a": np.full(3, np.inf), "b": np.arange(3.0)})
    with pytest.raises(ValueError, match="'a' has an infinite number"):
        tables.Table.learn({"a": np.array([1.0, np.inf])}, np.arange(2))
    with pytest.raises(ValueError, match="no column has two different values"):
        tables.Table.learn({"a": np.ones(3)}, np.arange(3))


# ---- what is kept with the model ------------------------------------------------------------------------------------


def test_metadata_is_saved_copied_and_pickled_with_the_model(tmp_path):
    model = tw.Sequential([tw.Dense(1)], input_size=2, seed=0)
    assert model.metadata == {}
    model.metadata["classes"] = ["a", "b"]
    model.save(tmp_path / "m.npz")
    copies = [tw.load(tmp_path / "m.npz"), pickle.loads(pickle.dumps(model))]
    copies.append(tw.Sequential.from_config(model.config(), model.get_weights()))
    assert [copy.metadata for copy in copies] == [{"classes": ["a", "b"]}] * 3
    copies[2].metadata["classes"].append("c")
    assert model.metadata == {"classes": ["a", "b"]}


@pytest.mark.parametrize(
    ("units", "loss", "outputs", "expected"),
    [
        (3, "cross_entropy", [[0, 2, 1]], ["1"]),
        (1, "binary_cross_entropy", [[2]], ["1"]),
        (3, "binary_cross_entropy", [[2, -1, 0.5]], ["1,0,1"]),
        (2, "mse", [[0.5, -2]], ["0.5,-2"]),
        (2, None, [[0.5, -2]], ["0.5,-2"]),
    ],
)
def test_predictions_of_models_from_elsewhere(units, loss, outputs, expected):
    model = tw.Sequential([tw.Dense(units)], input_size=2, seed=0)
    model.loss = None if loss is None else tw.losses.resolve(loss)
    assert preparation.target_of(model).decode(np.array(outputs)) == expected
