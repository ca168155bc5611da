"""Arrays in .npy files: read as if they were in memory, and never brought there as a whole."""

import subprocess
import sys

import numpy as np
import pytest

import thalweg as tw


def model_of(units=3, **how):
    """A small model."""
    return tw.Sequential([tw.Dense(8, "relu"), tw.Dense(units)], input_size=4, seed=0, **how)


@pytest.fixture
def stored(rng, tmp_path):
    """X, labels and weights, and a folder with a file of each."""
    arrays = {"x": rng.normal(size=(90, 4)).astype("f"), "y": rng.integers(0, 3, 90), "w": rng.random(90)}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return *arrays.values(), tmp_path


@pytest.mark.parametrize("how", [str, lambda path: path, lambda path: np.load(path, mmap_mode="r"), np.load])
@pytest.mark.parametrize("batch", [16, "full"])
def test_a_file_trains_as_its_array_does(how, batch, stored):
    x, y, weight, folder = stored
    files = [how(folder / f"{name}.npy") for name in "xyw"]
    results = []
    for given in (files, (x, y, weight)):
        model = model_of()
        history = model.fit(
            given[0], given[1], sample_weight=given[2], loss="cross_entropy", optimizer=tw.Adam(), epochs=2,
            batch_size=batch, validation_data=tuple(given),
        )  # fmt: skip
        scores = model.evaluate(given[0], given[1], sample_weight=given[2])
        results.append(
            (history.history, scores, model.predict(given[0]).tolist(), model.predict_proba(given[0]).tolist())
        )
    assert results[0] == results[1]


def test_a_trainers_step_reads_files_too(stored):
    x, y, _, folder = stored
    one, other = (tw.Trainer(model_of(), "cross_entropy", tw.Adam()) for _ in range(2))
    assert one.step(folder / "x.npy", folder / "y.npy") == other.step(x, y)
    np.testing.assert_array_equal(one.forward(folder / "x.npy"), other.forward(x))


@pytest.mark.parametrize("form", [np.asfortranarray, lambda x: x.astype(">f4"), lambda x: (x * 9).astype("int8")])
def test_files_of_every_layout(form, stored):
    x, _, _, folder = stored
    np.save(folder / "other.npy", form(x))
    np.testing.assert_array_equal(model_of().predict(folder / "other.npy"), model_of().predict(form(x)))


def test_a_file_is_not_written_to(stored):
    _, _, _, folder = stored
    before = (folder / "x.npy").read_bytes()
    model_of().fit(folder / "x.npy", folder / "y.npy", loss="cross_entropy", optimizer=tw.Adam(), epochs=2)
    assert (folder / "x.npy").read_bytes() == before


def wrong_files(folder):
    """Files that hold no array of numbers."""
    (folder / "text.npy").write_text("a,b,c\n1,2,3\n")
    (folder / "empty.npy").write_bytes(b"")
    np.savez(folder / "several.npz", X=np.ones((3, 4)))
    np.save(folder / "objects.npy", np.array([None] * 3), allow_pickle=True)
    (folder / "short.npy").write_bytes((folder / "x.npy").read_bytes()[:200])


@pytest.mark.parametrize("name", ["text.npy", "empty.npy", "several.npz", "objects.npy", "short.npy"])
def test_a_file_that_is_none_is_named(name, stored):
    folder = stored[-1]
    wrong_files(folder)
    with pytest.raises(ValueError, match=rf"X: '.*{name}' cannot be read as a .npy file of numbers: "):
        model_of().predict(folder / name)
    with pytest.raises(ValueError, match=rf"y: '.*{name}' cannot be read"):
        model_of().fit(folder / "x.npy", str(folder / name), loss="cross_entropy", optimizer=tw.SGD())


def test_a_file_that_is_not_there(stored):
    with pytest.raises(FileNotFoundError, match=r"y: there is no file 'label'; expected an array or a \.npy file"):
        model_of().fit(stored[0], "label", loss="cross_entropy", optimizer=tw.SGD())


MEASURE = """
import sys, threading
import numpy as np
import thalweg as tw

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

x, y = sys.argv[1:3]
model = tw.Sequential([tw.Dense(16, "relu"), tw.Dense(2)], 512, seed=0)
model.predict(np.zeros((2, 512), np.float32))
peak, stop, before = [0.0], threading.Event(), anonymous()
def watch():
    while not stop.wait(0.001):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
{call}
stop.set()
watcher.join()
print(peak[0] - before)
"""

CALLS = {
    "fit": "model.fit(x, y, loss='cross_entropy', optimizer=tw.SGD(), batch_size=256)",
    "full batch": "model.fit(x, y, loss='cross_entropy', optimizer=tw.SGD(), batch_size='full')",
    "split": "model.fit(np.load(x, mmap_mode='r'), y, loss='cross_entropy', optimizer=tw.SGD(), validation_split=0.5)",
    "predict": "model.predict(x)",
    "evaluate": "model.evaluate(x, y, loss='cross_entropy')",
    "fault": "try: model.fit(x + '.nan.npy', y, loss='cross_entropy', optimizer=tw.SGD(), batch_size='full')\n"
    "except tw.NonFiniteLoss as error: assert 'row 99999, column 511' in str(error)",
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Files of 100,000 rows, 205 MB each, that take no room on the disk; the second ends with a NaN."""
    x = str(tmp_path_factory.mktemp("large") / "x.npy")
    for name, last in ((x, 1.0), (x + ".nan.npy", np.nan)):
        np.lib.format.open_memmap(name, mode="w+", dtype=np.float32, shape=(100_000, 512))[-1, -1] = last
    np.save(x + ".y.npy", np.arange(100_000) % 2)
    return x, x + ".y.npy"


def grown(call, files):
    """Megabytes by which a process's own memory grew at most while it made a call."""
    done = subprocess.run([sys.executable, "-c", MEASURE.format(call=call), *files], check=True, capture_output=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", list(CALLS))
def test_a_large_file_stays_where_it_is(name, large):
    # a copy of X would be 205 MB, one of its rows' half 102; a full batch's activations are 100,000 x 18 floats, twice
    assert grown(CALLS[name], large) < 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_measure_of_memory_bites(large):
    assert grown("copy = np.array(np.load(x, mmap_mode='r'))", large) > 190
