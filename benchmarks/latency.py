"""How long a user waits for predictions, and for the first step of a training: python benchmarks/latency.py.

784-128-10 in float32. `predict` of one row and of 10,000, beside PyTorch (inference mode), JAX (jit) and scikit-learn with
the same weights; each has its rows in its own kind of array already, and the call is over when the numbers are there. And
what a call of `fit` costs before its first step, where its plan exists already: from the call to the moment in which its
program is told to run, X being 60,000 rows in C order; the program is a stand-in that ends the training there. The
default, and with the shuffling of 60,000 rows left out.

Contestants play in turn, each in a process of its own; figures are medians. PASS or FAIL; the status is 1 on a FAIL.
"""

import argparse
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turns import Figures, Verdict, installed, play, play_in_turn, repeated, report, show

INPUTS, HIDDEN, OUTPUTS, MANY = 784, 128, 10, 10_000
PEERS = {"torch": "torch", "jax": "jax", "scikit-learn": "sklearn"}
Predict = Callable[[Any], Any]


def weights() -> list[NDArray[np.float32]]:
    """Return the weights of everyone: (in, out), bias, (in, out), bias."""
    rng = np.random.default_rng(0)
    sizes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, OUTPUTS), (OUTPUTS,)]
    return [rng.normal(0, 0.05, size).astype(np.float32) for size in sizes]


def rows(n: int) -> NDArray[np.float32]:
    """Return rows to predict from."""
    return np.random.default_rng(1).random((n, INPUTS), dtype=np.float32)


# ---- the contestants: (how to hand over rows, how to predict) ---------------------------------------------------------


def thalweg() -> tuple[Predict, Predict]:
    """Predict with thalweg, from NumPy to NumPy."""
    import thalweg as tw

    model = tw.Sequential([tw.Dense(HIDDEN, activation="relu"), tw.Dense(OUTPUTS)], input_size=INPUTS, seed=0)
    model.set_weights(weights())
    return np.asarray, model.predict


def torch() -> tuple[Predict, Predict]:
    """Predict with PyTorch, from tensor to tensor."""
    import torch
    from torch import nn

    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, OUTPUTS)).eval()
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), weights(), strict=True):
            parameter.copy_(torch.from_numpy(array.T))
    torch.set_float32_matmul_precision("medium")
    return torch.from_numpy, torch.inference_mode()(model.forward)


def jax() -> tuple[Predict, Predict]:
    """Predict with JAX, compiled, from device array to device array."""
    import jax

    arrays = [jax.numpy.asarray(array) for array in weights()]

    @jax.jit
    def outputs(arrays: list[Any], x: Any) -> Any:
        return jax.nn.relu(x @ arrays[0] + arrays[1]) @ arrays[2] + arrays[3]

    return jax.numpy.asarray, lambda x: outputs(arrays, x).block_until_ready()


def scikit_learn() -> tuple[Predict, Predict]:
    """Predict with scikit-learn's regressor, which puts out what the last layer does."""
    from sklearn.neural_network import MLPRegressor

    model = MLPRegressor(hidden_layer_sizes=(HIDDEN,))
    model.partial_fit(rows(2), np.zeros((2, OUTPUTS), np.float32))
    first, first_bias, second, second_bias = weights()
    model.coefs_, model.intercepts_ = [first, second], [first_bias, second_bias]
    return np.asarray, model.predict


CONTESTANTS = {"thalweg": thalweg, "torch": torch, "jax": jax, "scikit-learn": scikit_learn}


def measure_predictions(name: str, seconds: float) -> Figures:
    """Return microseconds of one row and of many, after their outputs were found to be right."""
    hand_over, predict = CONTESTANTS[name]()
    first, first_bias, second, second_bias = (array.astype(np.float64) for array in weights())
    figures = {}
    for n in (1, MANY):
        x = rows(n)
        expected = np.maximum(x @ first + first_bias, 0) @ second + second_bias
        given = hand_over(x)
        np.testing.assert_allclose(np.asarray(predict(given)), expected, rtol=1e-3, atol=1e-3)
        took = repeated(lambda given=given: predict(given), time.perf_counter, seconds, 100 if n == 1 else 1)
        figures[f"us of {n:,} rows"] = 1e6 * median(took)
    return figures


# ---- the first step of a training -------------------------------------------------------------------------------------


class Begun(Exception):
    """The first step would begin now."""


class StandIn:
    """Takes a program's place, and notes when it is told to run."""

    def __init__(self, program: Any, noted: list[float]) -> None:
        self.plan, self.noted, self.asked = program.plan, noted, None

    def run(self, **_: object) -> None:
        """Note the time, and end the training."""
        self.noted.append(time.perf_counter())
        raise Begun


def replace_programs(model: Any, noted: list[float]) -> None:
    """Put a stand-in in the place of each program that a model trains with."""
    for runner in model._trainer._runners.values():
        if not isinstance(runner.program, StandIn):
            runner.program = StandIn(runner.program, noted)


def measure_beginnings(seconds: float) -> Figures:
    """Return microseconds from the call of fit to its first step."""
    import thalweg as tw

    x, y = rows(60_000), np.random.default_rng(2).integers(0, OUTPUTS, 60_000)
    figures = {}
    for optimizer in (tw.SGD(lr=0.01), tw.Adam()):
        for shuffle in (False, True):
            model = tw.Sequential([tw.Dense(HIDDEN, activation="relu"), tw.Dense(OUTPUTS)], input_size=INPUTS, seed=0)
            settings = {"loss": "cross_entropy", "optimizer": optimizer, "batch_size": 128, "shuffle": shuffle}
            model.fit(x[:1024], y[:1024], **settings)
            noted: list[float] = []
            replace_programs(model, noted)
            took = []
            end = time.perf_counter() + seconds / 2
            while (began := time.perf_counter()) < end:
                try:
                    model.fit(x, y, **settings)
                    replace_programs(model, noted)  # the cores have moved apart or together since: another plan
                except Begun:
                    took.append(noted[-1] - began)
            figures[f"{type(optimizer).__name__}{'' if shuffle else ', not shuffled'}"] = 1e6 * median(took)
    return figures


def judge(played: dict[str, list[Figures]], beginnings: Figures) -> list[Verdict]:
    """Hold all figures against their bars."""
    one, many = ("us of 1 rows", f"us of {MANY:,} rows")
    verdicts = [Verdict("us: predict of one row", median(f[one] for f in played["thalweg"]), 5, False)]
    peers = [name for name in played if name != "thalweg"]
    if peers:
        by_round = [
            min(played[peer][number][many] for peer in peers) / played["thalweg"][number][many]
            for number in range(len(played["thalweg"]))
        ]
        verdicts.append(Verdict(f"x the best peer: predict of {MANY:,} rows", median(by_round), 1.25, True))
    started = "us: a call of fit before its first step"
    return verdicts + [Verdict(f"{started}, {name}", value, 50, False) for name, value in beginnings.items()]


def main() -> int:
    """Measure in turn and judge; or play one contestant."""
    parser = argparse.ArgumentParser(description="Latency of predict and of fit.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement in a round")
    parser.add_argument("--play", choices=[*CONTESTANTS, "fit"], help="be one contestant, and print its figures")
    options = parser.parse_args()
    if options.play == "fit":
        show(measure_beginnings(options.seconds))
    elif options.play:
        show(measure_predictions(options.play, options.seconds))
    else:
        played = play_in_turn(["thalweg", *installed(PEERS)], options.rounds, "--seconds", options.seconds)
        return report(judge(played, play("fit", "--seconds", options.seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
