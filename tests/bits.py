"""What tests hold against each other bit by bit."""

import numpy as np

import thalweg as tw


def everything(trainer):
    """The weights and all of the optimizer's state."""
    slots = [view for name in trainer.optimizer.slot_names for view in trainer.slot_views(name)]
    return [np.array(array) for array in [*trainer.model.parameters, *slots]]


def isas_of_same_bits():
    """The ISAs with fused multiply-adds; scalar, whose bits are its own, on a machine that has no other."""
    return [isa for isa in tw.info()["isas"] if isa != "scalar"] or ["scalar"]
