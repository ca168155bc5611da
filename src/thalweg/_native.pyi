"""The door's types: what crosses it, in the words of csrc/program. Checks of what a user wrote live above."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer, disjoint_base

from thalweg.programs import Shape

_Array: TypeAlias = npt.NDArray[Any]
_Mark: TypeAlias = Literal["begin", "forwarded", "measured", "differentiated", "committed", "recorded", "updated"]
_Status: TypeAlias = Literal["done", "not_finite", "stopped"]

# Names and their numbers in the core.
ACTIVATIONS: dict[str, int]
KINDS: dict[str, int]
LOSSES: dict[str, int]
RULES: dict[str, int]
TARGETS: dict[str, int]
MARKS: dict[str, int]
PADDING: int
KEEPS_INPUT: frozenset[str]  # activations whose derivative needs the input
STATUSES: dict[int, str]
DTYPES: dict[str, int]

@disjoint_base
class Block:
    """Zeroed bytes, 64-byte aligned, that export the buffer protocol."""

    def __new__(cls, size: int) -> Self: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@disjoint_base
class View:
    """A buffer of a program's arena, (rows, columns), that keeps the program alive."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

@disjoint_base
class Source:
    """A user's array, held while a program reads it: one or two axes, any strides, any real dtype."""

    def __new__(cls, array: _Array | Buffer) -> Self: ...
    @property
    def rows(self) -> int: ...
    def is_readable_in_place(self, code: str) -> bool:
        """Whether kernels that compute in a dtype can read the rows as they lie."""

@disjoint_base
class Plan:
    """A plan made from a spec's flat numbers; see csrc/program/plan.hpp."""

    def __new__(
        cls,
        shape: Shape,
        *,
        isa: str,
        batch: int,
        loss: str = "",
        targets: str = "",
        smoothing: float = 0.0,
        weighted: bool = False,
        rule: str = "",
        regulated: bool = False,
        averaged: bool = False,
        backward: bool = False,
        fused: bool = False,
        input_gradient: bool = False,
        in_place: bool = False,
        block: int = 1,
        many_steps: bool = False,
        flat: int = 0,
        threads: int = 1,
        exactly: bool = False,
        barrier_ns: float = 50,
    ) -> Self: ...
    @property
    def fused(self) -> bool: ...
    @property
    def own_columns(self) -> bool: ...
    @property
    def regulated(self) -> bool: ...
    @property
    def layers(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def schedule(self) -> str: ...
    def describe(self) -> str: ...

@disjoint_base
class Program:
    """A plan with memory. Runs without the GIL; one run at a time."""

    asked: Callable[[], bool] | None  # called now and then in a long step: whether to stop it
    def __new__(
        cls,
        plan: Plan,
        parameters: Block | _Array | None = None,
        gradients: Block | _Array | None = None,
        slots: Sequence[Block | _Array] = (),
        statistics: Block | None = None,
        loss_parameter: Block | None = None,
    ) -> Self: ...
    @property
    def plan(self) -> Plan: ...
    def run(
        self,
        x: Source | None = None,
        y: Source | None = None,
        weight: Source | None = None,
        order: npt.NDArray[np.int64] | None = None,
        first: int = 0,
        steps: int = 1,
        passes: int = 1,
        scalars: npt.NDArray[np.float64] | None = None,
        tally: npt.NDArray[np.float64] | None = None,
        seed: int = 0,
        step: int = 0,
        rows_before: int = 0,
        since: _Mark = "begin",
        until: _Mark = "updated",
    ) -> tuple[int, _Status]:
        """Run `steps` rounds between two marks, `passes` times. Returns (whole rounds done, how it ended)."""

    def gradient_squares(self) -> float:
        """Return the sum of squares of all gradients in the storage, in float64."""

    def buffer(self, name: str) -> View | None:
        """Return a buffer of the arena by its name in the plan, as an object with the buffer protocol, or None."""

@disjoint_base
class Forward:
    """Programs that predict, kept by rows. Each call takes idle ones, so that several threads may call at once."""

    def __new__(cls, make: Callable[[int, bool], View], code: str, block: int) -> Self: ...
    def run(self, x: Source, first: int, outputs: _Array) -> int:
        """Predict a block of rows from `first` on into their place in a C-contiguous array. Returns how many they are."""

def hold_rows(x: Any, columns: int) -> Source | None:
    """Hold what is an array of so many columns at first sight; return None for what needs a closer look."""

def parameter_layout(shape: Shape) -> list[tuple[int, int, int, int, bool, int]]:
    """Where parameters lie in their block, in elements: (offset, inputs, outputs, leading dimension, bias, layer)."""

def statistics_layout(shape: Shape) -> list[tuple[int, int, int, int]]:
    """Where statistics lie in their block, in elements: (offset, units, leading dimension, layer)."""

def supported_isas() -> list[str]:
    """Names of the ISAs that this build and this CPU have, best first."""

def shuffle(
    order: npt.NDArray[np.int64], seed: int, stream: int, count: int | None = None, isa: str | None = None
) -> int:
    """Fill `order` with the permutation of (seed, stream), or at least its first `count` places; return how many."""

def thread_limit() -> int:
    """Return the most threads that OpenMP gives; 1 in a build without OpenMP."""

def measure_barrier() -> float:
    """Nanoseconds of a barrier between two threads."""

def release_threads() -> None:
    """Give back this thread's pool of workers, which would spin on for milliseconds."""
