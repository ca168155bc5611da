"""Time until 98.0 % of the MNIST test images are right, of thalweg, JAX and PyTorch: python benchmarks/time_to_accuracy.py FOLDER.

784-512-10, Adam(lr=1e-3), batches of 128, the accuracy on all test images after each epoch being part of the time. FOLDER
holds the four IDX files, packed or not. For each seed all begin with the same weights and see the same rows in the same
order, the smaller last batch among them; each plays in a process of its own, in turn. Reading and imports do not count.
JAX gets a whole epoch as one compiled scan; its compilation counts, and is told apart too. PyTorch is tuned: fused Adam,
oneDNN's products, denormals flushed, on all cores.

Medians over the seeds; ratios are medians of each seed's ratio. PASS or FAIL; the status is 1 on a FAIL.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turns import Figures, Verdict, installed, play, report, show

BATCH, HIDDEN, LR, TARGET, MOST_EPOCHS = 128, 512, 1e-3, 0.98, 40
PEERS = {"jax": "jax", "torch tuned": "torch"}
Race = dict[str, NDArray[Any]]  # x, y, x_test, y_test, the first weights w0 b0 w1 b1, an epoch's order in each row


def prepare(folder: Path, to: Path, seed: int) -> None:
    """Write what a race is run with: pixels, labels, first weights, and the orders that thalweg draws."""
    import thalweg as tw
    from thalweg import _native
    from thalweg.datasets import read_idx_folder

    source = read_idx_folder(folder)
    orders = np.empty((MOST_EPOCHS, len(source.x)), np.int64)
    for epoch, order in enumerate(orders):
        _native.shuffle(order, seed, epoch)
    model = tw.Sequential([tw.Dense(HIDDEN, activation="relu"), tw.Dense(10)], input_size=784, seed=seed)
    weights = dict(zip(("w0", "b0", "w1", "b1"), model.get_weights(), strict=True))
    np.savez(to, x=source.x, y=source.y, x_test=source.x_test, y_test=source.y_test, orders=orders, **weights)


def load(path: Path) -> Race:
    """Read it, pixels as float32 in [0, 1]."""
    with np.load(path) as stored:
        race = dict(stored)
    for name in ("x", "x_test"):
        race[name] = race[name].reshape(len(race[name]), 784) / np.float32(255)
    for name in ("y", "y_test"):
        race[name] = race[name].astype(np.int64)
    return race


# ---- the contestants: each returns seconds of training, of compiling before it, and epochs -------------------------------


def thalweg(race: Race, seed: int) -> Figures:
    """Train with one call of fit that a callback stops."""
    import thalweg as tw

    class Stop(tw.Callback):
        """Stops at the target."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            """Look."""
            self.trainer.stop_training = logs["val_accuracy"] >= TARGET

    model = tw.Sequential([tw.Dense(HIDDEN, activation="relu"), tw.Dense(10)], input_size=784, seed=seed)
    model.set_weights([race[name] for name in ("w0", "b0", "w1", "b1")])
    began = time.perf_counter()
    history = model.fit(
        race["x"], race["y"], loss="cross_entropy", optimizer=tw.Adam(lr=LR), batch_size=BATCH, epochs=MOST_EPOCHS,
        validation_data=(race["x_test"], race["y_test"]), seed=seed, callbacks=Stop(), verbose=0,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return results(seconds, 0.0, history.history["val_accuracy"])


def jax(race: Race, seed: int) -> Figures:
    """Train with an epoch, its evaluation included, as one compiled function."""
    import jax
    import optax
    from jax import numpy as jnp

    adam = optax.adam(LR)
    x, y, x_test, y_test = (jnp.asarray(race[name]) for name in ("x", "y", "x_test", "y_test"))
    weights = tuple(jnp.asarray(race[name]) for name in ("w0", "b0", "w1", "b1"))
    whole = len(x) // BATCH * BATCH

    def outputs(weights: Any, x: Any) -> Any:
        return jax.nn.relu(x @ weights[0] + weights[1]) @ weights[2] + weights[3]

    def loss(weights: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(outputs(weights, x), y).mean()

    def step(carry: Any, rows: Any, x: Any, y: Any) -> tuple[Any, None]:
        weights, state = carry
        changes, state = adam.update(jax.grad(loss)(weights, x[rows], y[rows]), state, weights)
        return (optax.apply_updates(weights, changes), state), None

    def epoch(carry: Any, order: Any, x: Any, y: Any, x_test: Any, y_test: Any) -> Any:
        batches = order[:whole].reshape(-1, BATCH)
        carry, _ = jax.lax.scan(lambda carry, rows: step(carry, rows, x, y), carry, batches)
        if whole < len(order):
            carry, _ = step(carry, order[whole:], x, y)
        return carry, (outputs(carry[0], x_test).argmax(axis=1) == y_test).mean()

    carry = jax.block_until_ready((weights, adam.init(weights)))
    orders = [jnp.asarray(order) for order in race["orders"]]
    began = time.perf_counter()
    compiled = jax.jit(epoch, donate_argnums=0).lower(carry, orders[0], x, y, x_test, y_test).compile()
    compiling = time.perf_counter() - began
    began, accuracies = time.perf_counter(), []
    while not reached(accuracies):
        carry, accuracy = compiled(carry, orders[len(accuracies)], x, y, x_test, y_test)
        accuracies.append(float(accuracy))
    return results(time.perf_counter() - began, compiling, accuracies)


def torch(race: Race, seed: int) -> Figures:
    """Train with the tuned loop."""
    import torch
    from torch import nn

    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    x, y, x_test, y_test = (torch.from_numpy(race[name]) for name in ("x", "y", "x_test", "y_test"))
    model = nn.Sequential(nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), ("w0", "b0", "w1", "b1"), strict=True):
            parameter.copy_(torch.from_numpy(race[name].T))
    adam = torch.optim.Adam(model.parameters(), lr=LR, fused=True)
    orders = [torch.from_numpy(order) for order in race["orders"]]
    began, accuracies = time.perf_counter(), []
    while not reached(accuracies):
        for rows in orders[len(accuracies)].split(BATCH):
            adam.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            adam.step()
        with torch.inference_mode():
            accuracies.append(float((model(x_test).argmax(1) == y_test).float().mean()))
    return results(time.perf_counter() - began, 0.0, accuracies)


CONTESTANTS = {"thalweg": thalweg, "jax": jax, "torch tuned": torch}


def reached(accuracies: list[float]) -> bool:
    """Whether the target is reached, or hope given up."""
    return len(accuracies) == MOST_EPOCHS or (bool(accuracies) and accuracies[-1] >= TARGET)


def results(seconds: float, compiling: float, accuracies: list[float]) -> Figures:
    """Return the figures of a run, which must have reached the target."""
    if accuracies[-1] < TARGET:
        raise SystemExit(f"{TARGET:.1%} was not reached in {len(accuracies)} epochs: {accuracies}")
    return {"seconds": seconds, "compiling": compiling, "epochs": len(accuracies)}


# ---- the race ---------------------------------------------------------------------------------------------------------


def run(folder: Path, seeds: int) -> dict[str, list[Figures]]:
    """Let all run with each seed, in turn."""
    played: dict[str, list[Figures]] = {name: [] for name in ["thalweg", *installed(PEERS)]}
    with tempfile.TemporaryDirectory() as place:
        start = Path(place) / "race.npz"
        for seed in range(seeds):
            prepare(folder, start, seed)
            for name, figures in played.items():
                figures.append(play(name, start, "--seed", seed))
                shown = ", ".join(f"{what} {figure:.4g}" for what, figure in figures[-1].items())
                print(f"seed {seed}  {name:<12}{shown}", flush=True)
    return played


def judge(played: dict[str, list[Figures]]) -> list[Verdict]:
    """Hold all ratios against their bars."""
    ours = [figures["seconds"] for figures in played["thalweg"]]
    print(f"\nmedian seconds: thalweg {median(ours):.2f}", end="")
    ratios: dict[str, float] = {}
    for name in played.keys() - {"thalweg"}:
        for what, parts in ((name, ["seconds", "compiling"]), (f"{name} without compiling", ["seconds"])):
            theirs = [sum(figures[part] for part in parts) for figures in played[name]]
            ratios[what] = median(their / our for their, our in zip(theirs, ours, strict=True))
            print(f", {what} {median(theirs):.2f}", end="")
    bars = {"jax": 1.6, "jax without compiling": 1.45, "torch tuned": 3.0}
    return [
        Verdict(f"x {what}: time to {TARGET:.1%}", ratios[what], bar, True)
        for what, bar in bars.items()
        if what in ratios
    ]


def main() -> int:
    """Run the race; or be one contestant."""
    parser = argparse.ArgumentParser(description="Time to 98.0 % on MNIST.")
    parser.add_argument("folder", type=Path, help="with the four IDX files; of a contestant, what it runs with")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of a contestant")
    parser.add_argument("--play", choices=CONTESTANTS, help="be one contestant, and print its figures")
    options = parser.parse_args()
    if options.play:
        show(CONTESTANTS[options.play](load(options.folder), options.seed))
        return 0
    return report(judge(run(options.folder, options.seeds)))


if __name__ == "__main__":
    sys.exit(main())
