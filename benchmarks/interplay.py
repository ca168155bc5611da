"""How a training gets on with the rest of its process, in numbers: python benchmarks/interplay.py.

Each promise is measured in a process of its own and printed with PASS or FAIL; the exit status is 1 on a FAIL. For a
machine that does nothing else meanwhile.
"""

import statistics
import subprocess
import sys
import textwrap

PRELUDE = """
import os, signal, sys, threading, time
import numpy as np
import thalweg as tw

def net(inputs, *hidden, outputs=10, seed=0):
    return tw.Sequential([*(tw.Dense(n, "relu") for n in hidden), tw.Dense(outputs)], inputs, seed=seed)

def data(rows, inputs, outputs=10):
    rng = np.random.default_rng(0)
    return rng.random((rows, inputs), np.float32), rng.integers(0, outputs, rows)
"""

COUNTING = """
def counting(seconds):
    end, n = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        n += 1
    return n / seconds

x, y = data(20000, 784)
model, adam, results = net(784, 128), tw.SGD(lr=0.01), []
model.fit(x, y, loss="cross_entropy", optimizer=adam, num_threads=1)
alone = max(counting(0.5) for _ in range(3))
counter = threading.Thread(target=lambda: results.append(counting(2.0)))
counter.start()
while counter.is_alive():
    model.fit(x, y, loss="cross_entropy", optimizer=adam, epochs=5, num_threads=1)
print(results[0] / alone)
"""

TWO_FITS = """
x, y = data(20000, 784)
def fit(model):
    model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.01), epochs=8, num_threads=1)
def seconds(models):
    threads = [threading.Thread(target=fit, args=(model,)) for model in models]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began
fit(net(784, 128))
print(min(seconds([net(784, 128), net(784, 128, seed=1)]) for _ in range(3)) / min(seconds([net(784, 128)]) for _ in range(3)))
"""

MATMUL_AFTER = """
a = np.random.default_rng(0).random((256, 256), np.float32)
def matmul():
    best = []
    for _ in range(40):
        began = time.perf_counter()
        a @ a
        best.append(time.perf_counter() - began)
    return sorted(best)[len(best) // 2]
matmul()
before = matmul()
x, y = data(20000, 784)
model, after = net(784, 128), []
for _ in range(7):
    model.fit(x, y, loss="cross_entropy", optimizer=tw.SGD(lr=0.01), epochs=4)
    after.append(matmul())
print(sorted(after)[3] / before)
"""

CTRL_C = """
x, y = data(60000, 784)
model = net(784, 512, 512, 512)
sent = []
def interrupt():
    time.sleep({after})
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
trainer = tw.Trainer(model, "cross_entropy", tw.SGD(lr=1e-3), num_threads={threads})
threading.Thread(target=interrupt).start()
try:
    trainer.fit(x, y, batch_size={batch!r}, epochs=100000)
except KeyboardInterrupt:
    waited = time.perf_counter() - sent[0]
assert all(np.isfinite(p).all() for p in model.parameters)
print(waited)
"""

MEMORY = """
def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024
x, y = data(60000, 784)
model, peak, stop = net(784, 512), [0.0], threading.Event()
model.predict(x[:10])
before = anonymous()
def watch():
    while not stop.wait(0.002):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
model.fit(x, y, loss="cross_entropy", optimizer=tw.Adam(), batch_size=128)
stop.set()
watcher.join()
print(peak[0] - before)
"""

IMPORTING = """
import time
began = time.perf_counter()
import numpy
middle = time.perf_counter()
import thalweg
print(time.perf_counter() - middle)
"""


def measure(code: str, repeats: int = 3) -> list[float]:
    """Run a script some times, each in a new process; it prints a number."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        for _ in range(repeats)
    ]


def promises() -> list[tuple[str, list[float], float, bool]]:
    """Measure what is promised: its name, the measurements, the bound, and whether it is a lower bound."""
    stops = [
        number
        for batch, threads, after in (
            ("full", 2, 0.5),
            ("full", 2, 1.3),
            ("full", 1, 1.0),
            (7000, 1, 1.0),
            (32, 2, 0.4),
            (1, 1, 0.4),
        )
        for number in measure(PRELUDE + CTRL_C.format(batch=batch, threads=threads, after=after), 1)
    ]
    return [
        ("another thread's counting while fit runs, share of its speed alone", measure(PRELUDE + COUNTING), 0.8, True),
        ("two fits in two threads, one thread each, x the time of one", measure(PRELUDE + TWO_FITS), 1.3, False),
        ("NumPy's 256x256 product after a fit, x its time before", measure(PRELUDE + MATMUL_AFTER), 1.3, False),
        ("Ctrl-C to KeyboardInterrupt, s, the longest", [max(stops)], 0.2, False),
        ("peak anonymous memory of fit on 60,000 x 784, MB", measure(PRELUDE + MEMORY), 60, False),
        ("import thalweg after import numpy, s", measure(IMPORTING, 7), 0.15, False),
    ]


def main() -> int:
    """Print a line for each promise."""
    failed = False
    for name, numbers, bound, at_least in promises():
        value = statistics.median(numbers)
        good = value >= bound if at_least else value <= bound
        failed |= not good
        print(f"{'PASS' if good else 'FAIL'}  {value:8.3f}  ({'>=' if at_least else '<='} {bound})  {name}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
