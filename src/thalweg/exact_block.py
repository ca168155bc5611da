"""Exact-block SGD: how many small steps share one update of the first layer.

The rows of the steps to come are known, so what they do to the first layer can be told before it is done: see
csrc/kernels/block_arguments.hpp. What comes out is plain SGD up to rounding, in matrix products instead of vectors.
"""

from typing import TYPE_CHECKING

from thalweg.optimizers import SGD
from thalweg.programs import Shape, parameter_bytes

if TYPE_CHECKING:
    from thalweg.trainer import Trainer

ROWS = 32  # of a block
LARGEST_BATCH = 8
# With fewer, the rows' products with each other cost more than they save: docs/speed.md.
FEWEST_UNITS = 32  # of the first layer
FEWEST_INPUTS = 16  # for each row of a step
# Ctrl-C waits for a block's end, so one takes a tenth of a second at most: bytes of the first layer, which is read and
# updated once a block, and those of the other layers times the steps that read and update them.
MOST_OF_FIRST, MOST_OF_OTHERS = 2**25, 2**28


def steps_of_block(trainer: "Trainer", batch: int | None, weighted: bool) -> int:
    """Return how many steps of so many rows make a block; 1 where steps are made one by one.

    The answer follows from the model, the optimizer's settings, `fused`, the batch and whether rows have weights, and so do
    the bits; never from threads or slices.
    """
    if batch is None or batch > LARGEST_BATCH or weighted or not trainer.fused or trainer.stepwise:
        return 1
    optimizer, shape = trainer.optimizer, trainer.model.shape
    plain = isinstance(optimizer, SGD) and not (optimizer.momentum or optimizer.weight_decay)
    if not plain or optimizer.regulates or shape.regulated:
        return 1
    suits = shape.inputs >= FEWEST_INPUTS * batch and _has_first_layer(shape) and _is_short(shape, ROWS // batch)
    return ROWS // batch if suits else 1


def _is_short(shape: Shape, steps: int) -> bool:
    """Whether a block of so many steps is over soon."""
    first = shape.inputs * shape.layers[0].units * shape.dtype.itemsize
    return first <= MOST_OF_FIRST and steps * (parameter_bytes(shape) - first) <= MOST_OF_OTHERS


def _has_first_layer(shape: Shape) -> bool:
    """Whether a dense layer that is trained, and wide enough, is the only reader of x."""
    if not shape.layers or any(0 in (layer.input, layer.other) for layer in shape.layers[1:]):
        return False
    first = shape.layers[0]
    return first.kind == "dense" and not first.frozen and first.units >= FEWEST_UNITS


def steps_to_take(done: int, most: int, block: int) -> int:
    """Return how many steps a slice takes: whole blocks, counted from the epoch's start, or the rest of one begun."""
    return block - done % block if done % block else -(-most // block) * block
