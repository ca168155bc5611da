"""ADMM-Adam: Adam for the smooth part of a problem, proximal operators for penalties with a kink and for constraints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from thalweg import prox as proximal
from thalweg.checks import check_count, check_number, check_positive
from thalweg.optimizers import Adam
from thalweg.programs import dense_weights, frozen_parameters
from thalweg.prox import Prox
from thalweg.settings import check_fields, require
from thalweg.splitting import Splitting

if TYPE_CHECKING:
    from thalweg.network import Network
    from thalweg.training import Training


@dataclass(eq=False, repr=False)
class ADMMAdam(Adam):
    r"""Adam with the alternating direction method of multipliers (ADMM): training with a constraint or a non-smooth penalty.

    Minimises :math:`L(w) + g(z)` with :math:`w = z`, where L is the loss and g stands for what `prox` says, by turns:

    .. math::
        w &\leftarrow \text{inner\_steps steps of Adam with the gradient } \nabla L(w) + \rho (w - z + u) \\
        \hat w &\leftarrow \alpha w + (1 - \alpha) z \\
        z &\leftarrow \operatorname{prox}_{g / \rho}(\hat w + u) \\
        u &\leftarrow u + \hat w - z

    z begins as prox(w) and u as 0. w is near to what is wanted, z is exactly that: after training `finalize` puts z into
    the model. The weights of `Dense` layers are split so; biases and normalisation follow the loss alone.

    Parameters
    ----------
    lr : float or schedule, default 1e-3
        Learning rate; a number, or a function of the step: see `thalweg.schedules`.
    rho : float, default 1e-2
        :math:`\rho > 0`, how strongly w is pulled to z; of the size of L's curvature it serves best. Sets that are not
        convex need it large enough, else z changes for ever. When changed between two calls of ``fit``, u is rescaled.
    prox : Prox or sequence of Prox and None
        From `thalweg.prox`: one for every Dense layer alike, or one for each, None for a layer that is left alone.
        Frozen layers are left alone.
    inner_steps : int, default 100
        Steps of Adam between two steps of z. Adam's moments are kept.
    over_relaxation : float, default 1
        :math:`\alpha` in [1, 2); 1.5 to 1.8 often needs fewer iterations.
    adapt_rho : bool, default False
        Residual balancing: where the primal residual is above 10 times the dual one rho is doubled, and halved where it is
        the other way round; u is rescaled. No more than 50 times.
    early_stopping : bool, default False
        Stop after the epoch whose last iteration met Boyd's criteria:
        :math:`r \le \sqrt n\,\epsilon_a + \epsilon_r \max(\|w\|, \|z\|)` and
        :math:`s \le \sqrt n\,\epsilon_a + \epsilon_r \|\rho u\|`, over all n weights together.
    eps_abs, eps_rel : float, default 1e-4, 1e-2
        :math:`\epsilon_a, \epsilon_r \ge 0`.
    betas, eps, weight_decay, amsgrad
        As in `Adam`.

    Notes
    -----
    The history has "primal_residual" :math:`r = \|w - z\|`, "dual_residual" :math:`s = \rho \|z - z_{before}\|` (of the
    last iteration, NaN before the first) and "rho" for every epoch. z, u, rho and the count of steps belong to the
    training, are saved with it, and a resumed training goes on with the same bits. Every step passes through Python.
    clip_value and clip_norm clip the sum of the loss's gradient and the pull. The pull goes through Adam's moments, as the
    formula says; Microsoft's NNI subtracts it beside them, and has another fixed point for penalties.

    Sources: Boyd et al. 2011, Distributed Optimization and Statistical Learning via ADMM, 3.1 to 3.4; Zhang et al. 2018,
    arXiv 1807.11091 (ADAM-ADMM).

    Raises
    ------
    ValueError
        A setting makes no sense, or prox does not fit the model, such as `TopK` with more entries than a layer has.

    Examples
    --------
    >>> import numpy as np
    >>> import thalweg as tw
    >>> x = np.random.default_rng(0).normal(size=(256, 8))
    >>> y = 2 * x[:, 3] - x[:, 5]
    >>> model = tw.Sequential([tw.Dense(1)], input_size=8, seed=0)
    >>> optimizer = tw.ADMMAdam(lr=0.01, rho=1.0, prox=tw.prox.TopK(2), inner_steps=10)
    >>> history = model.fit(x, y, loss="mse", optimizer=optimizer, epochs=60)
    >>> optimizer.finalize(model)
    >>> _ = model.fit(x, y, loss="mse", optimizer=optimizer, epochs=20)  # retrains the two weights that are left
    >>> model.layers[0].weight[:, 0].round(2).tolist()
    [0.0, 0.0, 0.0, 2.0, 0.0, -1.0, 0.0, 0.0]
    """

    rho: float = 1e-2
    betas: tuple[float, float] = field(default=(0.9, 0.999), kw_only=True)
    eps: float = field(default=1e-8, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)
    amsgrad: bool = field(default=False, kw_only=True)
    prox: Prox | Sequence[Prox | None] = field(kw_only=True)
    inner_steps: int = field(default=100, kw_only=True)
    over_relaxation: float = field(default=1.0, kw_only=True)
    adapt_rho: bool = field(default=False, kw_only=True)
    early_stopping: bool = field(default=False, kw_only=True)
    eps_abs: float = field(default=1e-4, kw_only=True)
    eps_rel: float = field(default=1e-2, kw_only=True)

    stepwise = True
    python_state_names = ("z", "u")

    def check(self) -> None:
        """Raise ValueError for settings that make no sense."""
        super().check()
        several = isinstance(self.prox, (list, tuple)) and any(self.prox)
        right = several and all(each is None or isinstance(each, Prox) for each in self._listed())
        require(
            right or isinstance(self.prox, Prox), self, "prox", "an operator of tw.prox, or one for each Dense layer"
        )
        check_fields(self, check_positive, "rho")
        check_fields(self, check_count, "inner_steps")
        check_fields(self, check_number, "over_relaxation", least=1, below=2)
        check_fields(self, check_number, "eps_abs", "eps_rel", least=0)
        require(self.average is None, self, "average", "None, as an average of w is not what prox asks for")

    def check_model(self, model: "Network") -> None:
        """Raise ValueError unless each prox fits the weight that it is for."""
        self._touched(model)

    def _listed(self) -> list[Prox | None]:
        return [self.prox] if isinstance(self.prox, Prox) else list(self.prox)

    def _touched(self, model: "Network") -> dict[int, Prox]:
        """Return the operators by the number of the parameter that they are for."""
        shape = model.shape
        dense = [number for number, is_dense in enumerate(dense_weights(shape)) if is_dense]
        proxes = [self.prox] * len(dense) if isinstance(self.prox, Prox) else self._listed()
        if len(proxes) != len(dense):
            raise ValueError(f"ADMMAdam: prox has {len(proxes)} entries; the model has {len(dense)} Dense layers")
        frozen = frozen_parameters(shape)
        touched: dict[int, Prox] = {}
        for layer, (number, prox) in enumerate(zip(dense, proxes, strict=True)):
            if prox is not None and not frozen[number]:
                prox.check_shape(model.parameters[number].shape, f"ADMMAdam: the weight of Dense layer {layer}")
                touched[number] = prox
        if not touched:
            raise ValueError("ADMMAdam: the model has no Dense layer to train that prox is for")
        return touched

    def config(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        described = [None if each is None else each.config() for each in self._listed()]
        return super().config() | {"prox": described[0] if isinstance(self.prox, Prox) else described}

    def with_config(self, config: dict[str, Any]) -> Self:
        """Return such an optimizer with the settings of a `config`; an operator of your own is this one's."""
        own = [each for each in self._listed() if each is not None]
        kept = config["prox"]
        one = isinstance(kept, dict)
        restored = [proximal.from_config(each, own) for each in ([kept] if one else kept)]
        return super().with_config(config | {"prox": restored[0] if one else tuple(restored)})

    # ---- what happens in training ---------------------------------------------------------------------------------

    def splitting(self, training: "Training") -> Splitting:
        """Return the variables of a training's ADMM."""
        touched = self._touched(training.model)
        views = (training.model.parameters, training.slot_views("z"), training.slot_views("u"))
        w, z, u = ([parameters[number] for number in touched] for parameters in views)
        return Splitting(self, list(touched.values()), w, z, u, training.notes)

    def before_update(self, training: "Training") -> None:
        """Add the pull to the gradients of the loss."""
        gradients = training.gradient_views()
        self.splitting(training).pull([gradients[number] for number in self._touched(training.model)])

    def after_update(self, training: "Training") -> None:
        """Count the step, and make the steps of z and u when they are due."""
        self.splitting(training).advance()

    def end_epoch(self, training: "Training") -> dict[str, float]:
        """Return residuals and rho; stop training if the criteria are met and that is wanted."""
        notes = training.notes
        if notes.get("frozen"):
            return {}
        if self.early_stopping and notes.get("converged"):
            training.stop_training = True
        names = ("primal_residual", "dual_residual")
        return {name: notes.get(name, np.nan) for name in names} | {"rho": notes.get("rho", self.rho)}

    def finalize(self, model: Any) -> None:
        """Set w := z and freeze what is 0: training that goes on with this optimizer retrains the rest, without ADMM.

        From then on entries that are 0 stay 0; weights under `L2` and `Box` move (within the bounds), those of
        `NonNegative` stay >= 0, and those under `LowRank` and `Levels` stand still, while biases go on.

        Parameters
        ----------
        model : Sequential or Trainer
            Trained with this optimizer.

        Raises
        ------
        ValueError
            It was not.
        """
        training = getattr(model, "_trainer", model)
        if getattr(training, "optimizer", None) is not self or "rho" not in training.notes:
            raise ValueError(
                "ADMMAdam: finalize comes after training: this model has not been trained with this optimizer"
            )
        training.model.guard.check("finalize")
        split = self.splitting(training)
        for w, z in zip(split.w, split.z, strict=True):
            w[...] = z
        split.notes["frozen"] = True
