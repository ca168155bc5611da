"""JAX: the whole epoch as one compiled scan, and a compiled step called for each batch."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from thalweg.bench.contestants.base import Contestant, fastest
from thalweg.bench.works import Floats, Work, first_weights, make_data

Epoch = Callable[[Any], Any]


class Jax(Contestant):
    """The epoch in one `jit` and `lax.scan`, data on the device, weights and state donated.

    It is the fastest of four ways to write it: weights as (in, out) or (out, in), the scan unrolled or not.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        jax.config.update("jax_enable_x64", work.dtype == "float64")
        steps = work.rows // work.batch
        x, y = make_data(work)
        self.x = jnp.asarray(x.reshape(steps, work.batch, -1))
        self.y = jnp.asarray(y.reshape(steps, work.batch).astype(np.int32 if y.dtype.kind == "i" else work.dtype))
        self.optimizer = optax.sgd(work.lr) if work.optimizer == "sgd" else optax.adam(work.lr)
        self._choose()

    def _choose(self) -> None:
        unrolls = (1, 4) if len(self.x) >= 4 else (1,)
        choices = {f"({'out, in' if turned else 'in, out'}), unroll {unroll}": (turned, self._compile(turned, unroll))
                   for turned, unroll in product((False, True), unrolls)}  # fmt: skip
        self.way = fastest(choices, self._use, partial(self.train, 1))
        self._use(choices[self.way])

    def _use(self, choice: tuple[bool, Epoch]) -> None:
        self.turned, self.epoch = choice
        self.reset()

    def _step(self, carry: Any, batch: Any, turned: bool) -> Any:
        """Return weights and state after a step, as scans want it."""
        weights, state = carry
        gradients = jax.grad(self._loss)(weights, *batch, turned)
        changes, state = self.optimizer.update(gradients, state, weights)
        return (optax.apply_updates(weights, changes), state), None

    def _compile(self, turned: bool, unroll: int) -> Epoch:
        """Compile an epoch: (weights, state) to those after it."""
        step = partial(self._step, turned=turned)
        epoch = jax.jit(lambda carry, x, y: lax.scan(step, carry, (x, y), unroll=unroll)[0], donate_argnums=0)
        return lambda carry: epoch(carry, self.x, self.y)

    def _loss(self, weights: list[Any], x: Any, y: Any, turned: bool) -> Any:
        for i in range(0, len(weights), 2):
            x = x @ (weights[i].T if turned else weights[i]) + weights[i + 1]
            x = jax.nn.relu(x) if i + 2 < len(weights) else x
        if self.work.loss == "mse":
            return jnp.mean((x[:, 0] - y) ** 2)
        return optax.softmax_cross_entropy_with_integer_labels(x, y).mean()

    def reset(self) -> None:
        """Go back to the first weights and a fresh state."""
        weights = [jnp.asarray(array.T if self.turned else array) for array in first_weights(self.work)]
        self.carry = jax.block_until_ready((weights, self.optimizer.init(weights)))

    def train(self, epochs: int) -> None:
        """Train for some epochs."""
        for _ in range(epochs):
            self.carry = self.epoch(self.carry)
        jax.block_until_ready(self.carry)

    def weights(self) -> list[Floats]:
        """Return copies of the weights."""
        return [np.array(array.T if self.turned else array) for array in self.carry[0]]

    def about(self) -> dict[str, object]:
        """Return versions and the way chosen."""
        return {"version": jax.__version__, "optax": optax.__version__, "weights": self.way}


class SteppedJax(Jax):
    """The loop of tutorials: a compiled step, called for each batch; weights as (in, out)."""

    def _choose(self) -> None:
        self.way = "(in, out)"
        step = jax.jit(lambda carry, x, y: self._step(carry, (x, y), turned=False)[0])
        batches = [(self.x[i], self.y[i]) for i in range(len(self.x))]

        def epoch(carry: Any) -> Any:
            for x, y in batches:
                carry = step(carry, x, y)
            return carry

        self._use((False, epoch))
