"""What a contestant offers."""

import time
from collections.abc import Callable
from typing import TypeVar

from thalweg.bench.works import Floats, Work

Choice = TypeVar("Choice")


class Contestant:
    """A library that trains one work. Construction may compile; nothing of it is timed.

    Attributes
    ----------
    resumes : bool
        Whether two calls of `train` are one longer one: then losses compare after any number of epochs.
    """

    resumes = True

    def __init__(self, work: Work) -> None:
        self.work = work

    def reset(self) -> None:
        """Go back to the first weights and a fresh optimizer."""
        raise NotImplementedError

    def train(self, epochs: int) -> None:
        """Train for some epochs over all rows in their order; return when the last update is done."""
        raise NotImplementedError

    def weights(self) -> list[Floats]:
        """Return copies of the weights: weight of shape (inputs, outputs), bias, weight, bias, ..."""
        raise NotImplementedError

    def about(self) -> dict[str, object]:
        """Return facts to print and keep beside the figures: versions, settings."""
        return {}


def fastest(choices: dict[str, Choice], use: Callable[[Choice], None], train: Callable[[], None]) -> str:
    """Return the choice with which one epoch trains fastest: the best of three each, in turn."""
    best = dict.fromkeys(choices, float("inf"))
    for turn in range(4):
        for name, choice in choices.items():
            use(choice)
            began = time.perf_counter()
            train()
            if turn > 0:  # the first compiles
                best[name] = min(best[name], time.perf_counter() - began)
    return min(best, key=lambda name: best[name])
