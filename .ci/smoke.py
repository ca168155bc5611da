"""Trains small networks in every way that the core has, for sanitizers, emulators and fresh wheels.

Asserts what must hold on every machine: the loss falls, and the bits are the same for any number of threads, fused or
not, and for every ISA with fused multiply-add. Exact-block SGD has bits of its own, the same in every way as well.

    python smoke.py              everything, seconds
    python smoke.py --quick      a part of it, for emulators
    python smoke.py --steps 500  also so many small steps on 4 threads, for the barrier
    python smoke.py --isas scalar,avx2    these and no others must be there
"""

import argparse
import itertools
import zlib

import numpy as np

import thalweg as tw

OPTIMIZERS = {
    "blocks": lambda: tw.SGD(lr=0.05),
    "sgd": lambda: tw.SGD(lr=0.05),
    "momentum": lambda: tw.SGD(lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda: tw.Adam(lr=0.01),
    "amsgrad": lambda: tw.AdamW(lr=0.01, amsgrad=True),
    "regulated": lambda: tw.Adam(lr=0.01, clip_value=0.5, average=0.9),
    "in python": lambda: tw.Adam(lr=0.01, clip_norm=1.0, accumulate=2),
}
THREADS = (1, 2, 3, 4) if tw.info()["openmp"] else (1,)
INPUTS, ROWS = 37, 75  # no multiple of a tile, a vector or a batch
INPUTS_OF_BLOCKS = 131  # so many that every batch up to 8 is trained in blocks


def data(loss: str, outputs: int, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw inputs, and targets that depend on them."""
    generator = np.random.default_rng(7)
    x = generator.standard_normal((ROWS, inputs))
    z = x[:, :outputs] + 0.1 * generator.standard_normal((ROWS, outputs))
    if loss == "cross_entropy":
        return x, z.argmax(axis=1)
    return x, (z > 0).astype(float) if loss == "binary_cross_entropy" else z


def plain(outputs: int) -> list[tw.layer.Layer]:
    """Return dense layers."""
    return [tw.Dense(70, activation="relu"), tw.Dense(33, activation="tanh"), tw.Dense(outputs)]


def whole(outputs: int) -> list[tw.layer.Layer]:
    """Return layers of every kind."""
    block = [tw.LayerNorm(), tw.Dense(48, activation="gelu"), tw.Dropout(0.2), tw.Dense(70, bias=False)]
    return [tw.Normalize(), tw.Dense(70, activation="elu", l1=1e-5, no_decay=["bias"]), tw.BatchNorm(),
            tw.Activation("relu"), tw.Residual(block), tw.Dense(33, activation="softmax"), tw.Dense(outputs)]  # fmt: skip


def train(
    net: str, loss: str, optimizer: str, batch: int | str, dtype: str, **how: object
) -> tuple[list[float], bytes]:
    """Train three epochs; return their losses and the bytes of the weights."""
    outputs = {"mse": 1, "cross_entropy": 20 if batch == 32 else 5, "binary_cross_entropy": 3}[loss]
    layers = {"plain": plain, "whole": whole}[net](outputs)
    in_blocks = optimizer == "blocks"
    inputs = INPUTS_OF_BLOCKS if in_blocks else INPUTS
    model = tw.Sequential(layers, input_size=inputs, seed=3, dtype=dtype)
    x, y = data(loss, outputs, inputs)
    trainer = tw.Trainer(model, loss=loss, optimizer=OPTIMIZERS[optimizer](), exact_block=in_blocks, **how)
    history = trainer.fit(x.astype(dtype), y, batch_size=batch, epochs=3, verbose=0, validation_split=0.1)
    losses = history.history["loss"]
    assert losses[-1] < losses[0], (net, loss, optimizer, batch, losses)
    assert np.isfinite(model.predict(x)).all()  # by the process's own ISA
    return losses, b"".join(view.tobytes() for view in (*model.parameters, *model.statistics))


def smoke(quick: bool) -> tuple[int, dict[str, int]]:
    """Train with every loss and optimizer, batches from one row to all, on every ISA.

    Returns how often, and a checksum of the results of each kind of arithmetic, for comparing machines by eye.
    """
    runs = 0
    checksums: dict[str, int] = {}
    threads_tried = THREADS[:: len(THREADS) - 1 or 1] if quick else THREADS
    cases = [
        *(("plain", "cross_entropy", "blocks", batch) for batch in ((1, 8) if quick else range(1, 9))),
        ("plain", "cross_entropy", "sgd", 1),
        ("plain", "cross_entropy", "adam", 32),
        ("plain", "binary_cross_entropy", "momentum", 8),
        ("plain", "mse", "amsgrad", 25),
        ("plain", "mse", "sgd", "full"),
        ("whole", "cross_entropy", "regulated", 16),
        ("whole", "mse", "in python", 9),
    ]
    for (net, loss, optimizer, batch), dtype in itertools.product(cases, ("float32", "float64")[: 2 - quick]):
        seen = {}
        ways = (True,) if optimizer == "blocks" else (True, False)
        for isa, threads, fused in itertools.product(tw.info()["isas"], threads_tried, ways):
            result = train(net, loss, optimizer, batch, dtype, isa=isa, num_threads=threads, fused=fused)
            group = "scalar" if isa == "scalar" else "fma"
            assert seen.setdefault(group, result) == result, (net, loss, optimizer, batch, dtype, isa, threads, fused)
            runs += 1
        for group, (losses, weights) in seen.items():
            checksums[group] = zlib.crc32(np.array(losses).tobytes() + weights, checksums.get(group, 0))
    return runs, checksums


def many_small_steps(steps: int) -> None:
    """Take many steps of a small network on 4 threads: barriers above all."""
    generator = np.random.default_rng(1)
    ways = ((8, True), (8, False), (4, True))  # rows a step, fused; the last in blocks where the first layer is wide
    for (batch, fused), layers in itertools.product(
        ways, ([tw.Dense(10)], [tw.Dense(160, activation="relu"), tw.Dense(10)])
    ):
        x, y = generator.random((batch * steps, 64)), generator.integers(0, 10, batch * steps)
        model = tw.Sequential(layers, input_size=64, seed=0)
        trainer = tw.Trainer(
            model, loss="cross_entropy", optimizer=tw.SGD(lr=0.1), fused=fused, num_threads=THREADS[-1]
        )
        trainer.fit(x, y, batch_size=batch, verbose=0)
        assert trainer.position.step == steps


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=0, help="take so many small steps too")
    parser.add_argument("--quick", action="store_true", help="leave most numbers of threads and float64 out")
    parser.add_argument("--isas", help="which ISAs must be there, best first")
    options = parser.parse_args()
    isas = ",".join(tw.info()["isas"])
    assert options.isas in (None, isas), f"the ISAs here are {isas}"
    runs, checksums = smoke(options.quick)
    if options.steps:
        many_small_steps(options.steps)
    sums = ", ".join(f"{group} {checksum:08x}" for group, checksum in checksums.items())
    print(f"smoke: {runs} trainings, ISAs {isas}, up to {THREADS[-1]} threads, checksums {sums}: ok")


if __name__ == "__main__":
    main()
