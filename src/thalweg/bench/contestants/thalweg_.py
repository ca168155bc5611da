"""thalweg: a `Trainer` as any user makes one."""

import thalweg as tw
from thalweg.bench.contestants.base import Contestant
from thalweg.bench.works import Floats, Work, first_weights, make_data


class Thalweg(Contestant):
    """`Trainer.fit`, all epochs in one call."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        *hidden, outputs = work.layers[1:]
        layers = [*(tw.Dense(units, activation="relu") for units in hidden), tw.Dense(outputs)]
        self.model = tw.Sequential(layers, input_size=work.layers[0], seed=0, dtype=work.dtype)
        self.x, self.y = make_data(work)

    def reset(self) -> None:
        """Go back to the first weights; a new trainer has a fresh optimizer."""
        optimizer = {"sgd": tw.SGD, "adam": tw.Adam}[self.work.optimizer](lr=self.work.lr)
        self.model.set_weights(first_weights(self.work))
        self.trainer = tw.Trainer(self.model, loss=self.work.loss, optimizer=optimizer)

    def train(self, epochs: int) -> None:
        """Train for some epochs."""
        batch = "full" if self.work.full else self.work.batch
        self.trainer.fit(self.x, self.y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0)

    def weights(self) -> list[Floats]:
        """Return copies of the weights."""
        return self.model.get_weights()

    def about(self) -> dict[str, object]:
        """Return version, ISA and threads."""
        info = tw.info()
        return {name: info[name] for name in ("version", "isa", "threads")}
