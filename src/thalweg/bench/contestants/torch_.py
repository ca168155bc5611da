"""PyTorch: as most people use it, tuned, and compiled."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no idle compilers beside those who are measured

import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.bench.contestants.base import Contestant, fastest
from thalweg.bench.works import Floats, Work, first_weights, make_data

Step = Callable[[Tensor, Tensor], Any]


class Torch(Contestant):
    """The plain loop with default settings. Batches are slices: no DataLoader, no copies."""

    fused = False

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        x, y = (torch.from_numpy(array) for array in make_data(work))
        self.batches = list(zip(x.split(work.batch), y.split(work.batch), strict=True))
        sizes = list(zip(work.layers, work.layers[1:], strict=False))
        layers = [part for size in sizes for part in (nn.Linear(*size), nn.ReLU())]
        self.model = nn.Sequential(*layers[:-1]).to(x.dtype)
        self.step: Step = self._step
        self.reset()

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return self._measure(self.model(x), y)

    def _measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        if self.work.loss == "mse":
            return functional.mse_loss(outputs[:, 0], y)
        return functional.cross_entropy(outputs, y)

    def _step(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        self.loss(x, y).backward()
        self.optimizer.step()

    def reset(self) -> None:
        """Go back to the first weights, in place, and a fresh optimizer."""
        with torch.no_grad():
            for parameter, array in zip(self.model.parameters(), first_weights(self.work), strict=True):
                parameter.copy_(torch.from_numpy(array.T))
        kind = torch.optim.SGD if self.work.optimizer == "sgd" else torch.optim.Adam
        settings = {"fused": True} if self.fused else {}
        self.optimizer = kind(self.model.parameters(), lr=self.work.lr, **settings)

    def train(self, epochs: int) -> None:
        """Train for some epochs."""
        step = self.step
        for _ in range(epochs):
            for x, y in self.batches:
                step(x, y)

    def weights(self) -> list[Floats]:
        """Return copies of the weights."""
        return [np.array(parameter.detach().numpy().T) for parameter in self.model.parameters()]

    def about(self) -> dict[str, object]:
        """Return version and threads, and how exact a matrix product is: reduced precision would show here."""
        a, b = (np.random.default_rng(seed).standard_normal((512, 512)) for seed in (1, 2))
        product = (torch.from_numpy(a).float() @ torch.from_numpy(b).float()).double().numpy()
        error = np.abs(product - a @ b).max() / np.abs(a @ b).max()
        return {"version": torch.__version__, "threads": torch.get_num_threads(), "product_error": f"{error:.1e}"}


class TunedTorch(Torch):
    """The same loop with what experts set: oneDNN's products, fused optimizers, denormals flushed."""

    fused = True

    def __init__(self, work: Work) -> None:
        torch.set_float32_matmul_precision("medium")
        torch.set_flush_denormal(True)
        super().__init__(work)


class CompiledTorch(TunedTorch):
    """Tuned and compiled: the faster of the loss alone, with a fused optimizer, and the whole step as one graph."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.compiled_loss = torch.compile(self.loss, dynamic=False)
        self.whole = torch.compile(self._whole_step, dynamic=False)
        choices: dict[str, Step] = {"loss": self._step_compiled_loss, "whole step": self._step_whole}
        self.way = fastest(choices, self._use, partial(self.train, 1))
        self._use(choices[self.way])

    def _use(self, step: Step) -> None:
        self.step = step
        self.reset()

    def reset(self) -> None:
        """Go back to the first weights and a fresh optimizer, in place: what was compiled stays valid."""
        super().reset()
        if not hasattr(self, "state"):
            self.state = [[torch.zeros_like(p) for p in self.model.parameters()] for _ in range(2)]
            self.steps_done = torch.zeros((), dtype=self.batches[0][0].dtype)
        for part in (*self.state[0], *self.state[1], self.steps_done):
            part.zero_()

    def _step_compiled_loss(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        self.compiled_loss(x, y).backward()
        self.optimizer.step()

    def _step_whole(self, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            self.whole(x, y)

    def _whole_step(self, x: Tensor, y: Tensor) -> None:
        """Forward, backward and update, for `torch.compile` to see at once."""
        named = dict(self.model.named_parameters())
        frozen = {name: parameter.detach() for name, parameter in named.items()}
        gradients = torch.func.grad(self._functional_loss)(frozen, x, y)
        self.steps_done.add_(1)
        for (name, parameter), m, v in zip(named.items(), *self.state, strict=True):
            self._update(parameter, gradients[name], m, v)

    def _functional_loss(self, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self._measure(torch.func.functional_call(self.model, parameters, (x,)), y)

    def _update(self, parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor) -> None:
        if self.work.optimizer == "sgd":
            parameter.sub_(self.work.lr * gradient)
            return
        m.mul_(0.9).add_(gradient, alpha=0.1)
        v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (v / (1 - 0.999**self.steps_done)).sqrt() + 1e-8
        parameter.sub_(self.work.lr / (1 - 0.9**self.steps_done) * m / root)

    def about(self) -> dict[str, object]:
        """Return the facts of the tuned loop, and what is compiled."""
        return super().about() | {"compiled": self.way}
