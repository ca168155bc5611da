"""Who takes part: the names of the contestants, how each is set, and what it needs."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from thalweg.bench.contestants.base import Contestant

EXTRA = "pip install 'thalweg[bench]'"


@dataclass(frozen=True)
class Entry:
    """A contestant: where its class stands, the packages it needs, and how it is set, in words."""

    module: str
    kind: str
    needs: tuple[str, ...]
    setting: str


_ENTRIES = {
    "thalweg": Entry("thalweg_", "Thalweg", ("thalweg",), "default: Trainer.fit"),
    "jax": Entry("jax_", "Jax", ("jax", "optax"), "strongest: the epoch as one compiled scan, the fastest of four forms"),
    "jax-step": Entry("jax_", "SteppedJax", ("jax", "optax"), "default: a compiled step, called for each batch"),
    "torch": Entry("torch_", "Torch", ("torch",), "default: the plain loop over slices"),
    "torch-tuned": Entry("torch_", "TunedTorch", ("torch",), "strong: medium precision, fused optimizer, no denormals"),
    "torch-compiled": Entry("torch_", "CompiledTorch", ("torch",), "strongest: tuned, torch.compile of loss or whole step"),
    "scikit-learn": Entry("sklearn_", "ScikitLearn", ("sklearn",), "default and strongest: all epochs in one fit"),
}  # fmt: skip
NAMES = tuple(_ENTRIES)


def setting(name: str) -> str:
    """Return how a contestant is set."""
    return _ENTRIES[name].setting


def missing(name: str) -> list[str]:
    """Return the packages that a contestant needs and that are not installed."""
    return [package for package in _ENTRIES[name].needs if find_spec(package) is None]


def load(name: str) -> type[Contestant]:
    """Import a contestant's library; return its class, which a work makes ready to train."""
    entry = _ENTRIES[name]
    kind: type[Contestant] = getattr(import_module(f"thalweg.bench.contestants.{entry.module}"), entry.kind)
    return kind
