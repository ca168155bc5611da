"""The contestants of the race: thalweg and its peers, each behind the same four methods, each in its own process."""

from importlib import import_module
from importlib.util import find_spec

from contestants.base import Contestant
from works import Work

# name: module, class, what must be installed
_ENTRIES = {
    "thalweg": ("thalweg_", "Thalweg", ("thalweg",)),
    "jax": ("jax_", "Jax", ("jax", "optax")),
    "torch": ("torch_", "Torch", ("torch",)),
    "torch-tuned": ("torch_", "TunedTorch", ("torch",)),
    "torch-compiled": ("torch_", "CompiledTorch", ("torch",)),
    "scikit-learn": ("sklearn_", "ScikitLearn", ("sklearn",)),
}
NAMES = tuple(_ENTRIES)


def missing(name: str) -> list[str]:
    """Return the packages that a contestant needs and that are not installed."""
    return [package for package in _ENTRIES[name][2] if find_spec(package) is None]


def make(name: str, work: Work) -> Contestant:
    """Import a contestant's library, and make it ready for a work."""
    module, kind, _ = _ENTRIES[name]
    return getattr(import_module(f"contestants.{module}"), kind)(work)
