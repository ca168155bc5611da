"""Errors that a caller may want to catch by name."""


class NonFiniteLoss(ArithmeticError):
    """The loss of a step was NaN or infinite. Raised before that step's update: the weights are those of before.

    Attributes
    ----------
    epoch, step : int
        Where it happened: epoch, and step within the epoch, both from 0.
    """

    def __init__(self, message: str, epoch: int = 0, step: int = 0) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
