"""The slow twin of everything that the core computes: plain NumPy in float64, one formula a line.

Nothing here is shared with the package, so that an error would have to be made twice. tests/test_reference.py proves
that the comparisons notice an error.
"""

import numpy as np

# ---- activations: value of the input z, and derivative in terms of the value, or of the input (KEEPS_INPUT) ------------
#
# All work in the dtype that they are given: the error of the core's float64 is measured with 80-bit floats.


def normal_density(z):
    """exp(-z^2/2) / sqrt(2 pi), z = high + low cut so that no rounding of z^2 is magnified."""
    z = np.clip(z, -300, 300)
    high = np.round(z * 2**16) / 2**16
    return (
        np.exp(-high * high / 2)
        * np.exp(-(z - high) * (z + high) / 2)
        * z.dtype.type("0.398942280401432677939946059934381868476")
    )


def normal_distribution(z):
    """Phi(z): the power series of Phi - 1/2 near zero, Laplace's continued fraction in the tail."""
    a = np.abs(z)
    near, term = np.zeros_like(a), np.where(a < 2, a, 0)
    for k in range(60):
        near, term = near + term, term * a * a / (2 * k + 3)
    far = np.maximum(a, 2)
    for k in range(150, 0, -1):
        far = np.maximum(a, 2) + k / far
    tail = np.where(a < 2, 0.5 - normal_density(a) * near, normal_density(a) / far)
    return np.where(z < 0, tail, 1 - tail)


def sigmoid(z):
    """1 / (1 + exp(-z)), of the exponential that does not overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


def softplus(z):
    """log(1 + exp(z))."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def twice_u(z):
    """2 sqrt(2/pi) (z + 0.044715 z^3), of which gelu_tanh is z sigmoid(2u), and its derivative."""
    c = z.dtype.type("1.5957691216057307117597842397375274739035")
    k = z.dtype.type("0.044715")
    return c * (z + k * z**3), c * (1 + 3 * k * z**2)


def gelu_tanh_derivative(z):
    """sigmoid(2u) + z sigmoid(2u) sigmoid(-2u) d(2u)/dz."""
    u, du = twice_u(z)
    return sigmoid(u) + z * sigmoid(u) * sigmoid(-u) * du


def mish_derivative(z):
    """Return t + z (1 - t^2) sigmoid(z), t = tanh(softplus(z))."""
    t = np.tanh(softplus(z))
    return t + z * (1 - t * t) * sigmoid(z)


def selu_constants(dtype):
    """Scale, and scale times alpha."""
    scale = dtype.type("1.0507009873554804934193349852946")
    return scale, scale * dtype.type("1.6732632423543772848170429916717")


def selu(z):
    """Scale z, or scale alpha expm1(z)."""
    scale, scale_alpha = selu_constants(z.dtype)
    return np.where(z > 0, scale * z, scale_alpha * np.expm1(np.minimum(z, 0)))


def selu_derivative(y):
    """In terms of the value."""
    scale, scale_alpha = selu_constants(y.dtype)
    return np.where(y > 0, scale, y + scale_alpha)


ACTIVATIONS = {
    "identity": (lambda z: z, lambda y: np.ones_like(y)),
    "relu": (lambda z: np.where(z > 0, z, 0.0), lambda y: (y > 0).astype(float)),
    "tanh": (np.tanh, lambda y: 1 - y**2),
    "sigmoid": (sigmoid, lambda y: y * (1 - y)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda y: np.where(y > 0, 1, 0.01)),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda y: ((y > 0) & (y < 6)).astype(float)),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), lambda y: np.where(y > 0, 1, y + 1)),
    "selu": (selu, selu_derivative),
    "softplus": (softplus, lambda y: -np.expm1(-y)),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda y: (np.abs(y) < 1).astype(float)),
    "hard_sigmoid": (lambda z: np.clip(z + 3, 0, 6) / 6, lambda y: ((y > 0) & (y < 1)) / 6),
    "gelu": (lambda z: z * normal_distribution(z), lambda z: normal_distribution(z) + z * normal_density(z)),
    "gelu_tanh": (lambda z: z * sigmoid(twice_u(z)[0]), gelu_tanh_derivative),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * sigmoid(-z))),
    "mish": (lambda z: z * np.tanh(softplus(z)), mish_derivative),
    "hard_swish": (
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z <= -3, 0, np.where(z < 3, z / 3 + 0.5, 1)),
    ),
}
KEEPS_INPUT = ("gelu", "gelu_tanh", "silu", "mish", "hard_swish")
DENSE = tuple(ACTIVATIONS)  # those that tests give to dense layers
KINKS = {"relu": [0], "elu": [0], "leaky_relu": [0], "relu6": [0, 6], "selu": [0], "hard_tanh": [-1, 1], "hard_sigmoid": [-3, 3],
         "hard_swish": [-3, 3]}  # fmt: skip


def activation_backward(dy, z, activation):
    """The gradient of the input z."""
    value, derivative = ACTIVATIONS[activation]
    z = z.astype(float)
    return dy * derivative(z if activation in KEEPS_INPUT else value(z))


def softmax(z):
    """exp(z) / sum exp(z) along each row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(dy, y):
    """The gradient of the input of the softmax y."""
    dy, y = dy.astype(float), y.astype(float)
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


# ---- the dense layer ------------------------------------------------------------------------------------------------


def dense_forward(x, w, b, activation):
    """activation(x w + b)."""
    return ACTIVATIONS[activation][0](x.astype(float) @ w.astype(float) + b)


def dense_backward(dy, x, w, y, activation):
    """dx, dw, db for the gradient dy of the output y; for KEEPS_INPUT y is the activation's input."""
    dz = dy.astype(float) * ACTIVATIONS[activation][1](y.astype(float))
    return dz @ w.astype(float).T, x.astype(float).T @ dz, dz.sum(axis=0)


# ---- losses: mean over rows (weighted), and its gradient ------------------------------------------------------------


def _weights(weight, rows):
    weight = np.ones(rows) if weight is None else np.asarray(weight, float)
    return weight / weight.sum()


def elementwise(of, default=1.0):
    """A loss from of(y, t, p), which gives the loss and the gradient of each element; p: a number a column, or one."""

    def loss(y, t, weight=None, p=default):
        y, t = y.astype(float), np.asarray(t, float).reshape(y.shape)
        share = _weights(weight, len(y))
        value, gradient = of(y, t, np.asarray(p, float))
        return share @ value.mean(axis=1), gradient / y.shape[1] * share[:, None]

    return loss


def mse(y, t, p):
    """(y - t)^2."""
    return (y - t) ** 2, 2 * (y - t)


def mae(y, t, p):
    """|y - t|."""
    return np.abs(y - t), np.sign(y - t)


def huber(y, t, delta):
    """Quadratic up to delta, linear beyond."""
    r = y - t
    inside = np.abs(r) <= delta
    return np.where(inside, r**2 / 2, delta * (np.abs(r) - delta / 2)), np.clip(r, -delta, delta)


def quantile(y, t, q):
    """The larger of q r and (q - 1) r, r = t - y."""
    r = t - y
    return np.maximum(q * r, (q - 1) * r), np.where(r > 0, -q, np.where(r < 0, 1 - q, 0))


def poisson(y, t, p):
    """exp(y) - t y."""
    return np.exp(y) - t * y, np.exp(y) - t


def binary_cross_entropy(y, t, p):
    """-p t log sigmoid(y) - (1 - t) log(1 - sigmoid(y))."""
    return p * t * softplus(-y) + (1 - t) * softplus(y), (1 - t) * sigmoid(y) - p * t * sigmoid(-y)


def hinge(y, t, p):
    """max(0, 1 - s y), s = 1 for a yes and -1 for a no."""
    s = np.where(t > 0, 1, -1)
    return np.maximum(0, 1 - s * y), np.where(s * y < 1, -s, 0)


def squared_hinge(y, t, p):
    """The square of hinge."""
    s = np.where(t > 0, 1, -1)
    return np.maximum(0, 1 - s * y) ** 2, -2 * s * np.maximum(0, 1 - s * y)


def cross_entropy(y, t, weight=None, p=0.0):
    """Mean over rows of -sum t log softmax(y); t labels or probabilities, smoothed by p."""
    y, t = y.astype(float), np.asarray(t)
    if t.ndim == 1:
        t = np.eye(y.shape[1])[t.astype(int)]
    t = (1 - p) * t + p / y.shape[1]
    share = _weights(weight, len(y))
    shifted = y - y.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return share @ -(t * log_p).sum(axis=1), (softmax(y) * t.sum(axis=1, keepdims=True) - t) * share[:, None]


ELEMENTWISE = (mse, mae, huber, quantile, poisson, binary_cross_entropy, hinge, squared_hinge)
LOSSES = {of.__name__: elementwise(of) for of in ELEMENTWISE}
LOSSES |= {"cross_entropy": cross_entropy, "quantile": elementwise(quantile, 0.5)}

# ---- optimizers: one update of one array, torch's formulas ----------------------------------------------------------


def sgd(w, g, state, t, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """SGD; t counts from 1; state keeps "b"."""
    g = g + weight_decay * w
    if momentum:
        state["b"] = g.copy() if t == 1 else momentum * state["b"] + (1 - dampening) * g
        g = g + momentum * state["b"] if nesterov else state["b"]
    return w - lr * g


def adam(w, g, state, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False):
    """Adam, AdamW (decoupled) and AMSGrad; state keeps "m", "v", "v_max"."""
    if decoupled:
        w = w * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * w
    zero = np.zeros_like(w)
    state["m"] = betas[0] * state.get("m", zero) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", zero) + (1 - betas[1]) * g**2
    state["v_max"] = np.maximum(state.get("v_max", zero), state["v"])
    v = state["v_max"] if amsgrad else state["v"]
    m_hat, root = state["m"] / (1 - betas[0] ** t), np.sqrt(v / (1 - betas[1] ** t))
    return w - lr * m_hat / (root + eps)


def adamw(w, g, state, t, weight_decay=1e-2, **settings):
    """Adam with decoupled decay."""
    return adam(w, g, state, t, weight_decay=weight_decay, decoupled=True, **settings)


def rmsprop(w, g, state, t, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """RMSprop; state keeps "square_avg", "grad_avg", "momentum_buffer"."""
    g = g + weight_decay * w
    zero = np.zeros_like(w)
    state["square_avg"] = alpha * state.get("square_avg", zero) + (1 - alpha) * g**2
    variance = state["square_avg"]
    if centered:
        state["grad_avg"] = alpha * state.get("grad_avg", zero) + (1 - alpha) * g
        variance = variance - state["grad_avg"] ** 2
    g = g / (np.sqrt(variance) + eps)
    if momentum:
        g = state["momentum_buffer"] = momentum * state.get("momentum_buffer", zero) + g
    return w - lr * g


def adagrad(w, g, state, t, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    """Adagrad; state keeps "sum"."""
    g = g + weight_decay * w
    state["sum"] = state.get("sum", np.full_like(w, initial_accumulator_value)) + g**2
    return w - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(state["sum"]) + eps)


def adadelta(w, g, state, t, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Adadelta; state keeps "square_avg", "acc_delta"."""
    g = g + weight_decay * w
    zero = np.zeros_like(w)
    state["square_avg"] = rho * state.get("square_avg", zero) + (1 - rho) * g**2
    delta = np.sqrt(state.get("acc_delta", zero) + eps) / np.sqrt(state["square_avg"] + eps) * g
    state["acc_delta"] = rho * state.get("acc_delta", zero) + (1 - rho) * delta**2
    return w - lr * delta


def adamax(w, g, state, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    """Adamax; state keeps "m", "u"."""
    g = g + weight_decay * w
    zero = np.zeros_like(w)
    state["m"] = betas[0] * state.get("m", zero) + (1 - betas[0]) * g
    state["u"] = np.maximum(betas[1] * state.get("u", zero), np.abs(g) + eps)
    return w - lr / (1 - betas[0] ** t) * state["m"] / state["u"]


def _moments(w, g, state, betas, lr, weight_decay, decoupled):
    """Decay, then Adam's moments; returns w and g."""
    w, g = (w * (1 - lr * weight_decay), g) if decoupled else (w, g + weight_decay * w)
    zero = np.zeros_like(w)
    state["m"] = betas[0] * state.get("m", zero) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", zero) + (1 - betas[1]) * g**2
    return w, g


def nadam(
    w, g, state, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3,
    decoupled_weight_decay=False,
):  # fmt: skip
    """NAdam; state keeps "m", "v"."""
    w, g = _moments(w, g, state, betas, lr, weight_decay, decoupled_weight_decay)
    mu, after = (betas[0] * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (t, t + 1))
    state["product"] = state.get("product", 1.0) * mu
    root = np.sqrt(state["v"] / (1 - betas[1] ** t)) + eps
    w = w - lr * (1 - mu) / (1 - state["product"]) * g / root
    return w - lr * after / (1 - state["product"] * after) * state["m"] / root


def radam(w, g, state, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False):
    """RAdam; state keeps "m", "v"."""
    w, g = _moments(w, g, state, betas, lr, weight_decay, decoupled_weight_decay)
    m_hat = state["m"] / (1 - betas[0] ** t)
    last = 2 / (1 - betas[1]) - 1
    rho = last - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    if rho <= 5:
        return w - lr * m_hat
    rectification = np.sqrt((rho - 4) * (rho - 2) * last / ((last - 4) * (last - 2) * rho))
    return w - lr * m_hat * np.sqrt(1 - betas[1] ** t) / (np.sqrt(state["v"]) + eps) * rectification


def rprop(w, g, state, t, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50.0)):
    """Rprop; state keeps "prev", "step_size"."""
    agree = np.sign(g) * np.sign(state.get("prev", np.zeros_like(w)))
    factor = np.where(agree > 0, etas[1], np.where(agree < 0, etas[0], 1))
    state["step_size"] = np.clip(state.get("step_size", np.full_like(w, lr)) * factor, *step_sizes)
    state["prev"] = np.where(agree < 0, 0, g)
    return w - np.sign(state["prev"]) * state["step_size"]


def lion(w, g, state, t, lr=1e-4, betas=(0.9, 0.99), weight_decay=1e-3):
    """Lion; state keeps "m"."""
    m = state.get("m", np.zeros_like(w))
    state["m"] = betas[1] * m + (1 - betas[1]) * g
    return w - lr * (np.sign((1 - betas[0]) * g + betas[0] * m) + weight_decay * w)


def schedule_free_adamw(
    w, g, state, t, lr=2.5e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, warmup_steps=0, r=0.0,
    weight_lr_power=2.0,
):  # fmt: skip
    """ScheduleFreeAdamW; w is y; state keeps "v", "z", "x", and two numbers."""
    lr = lr * min(1, t / warmup_steps) if warmup_steps else lr
    state["largest"] = max(state.get("largest", 0.0), lr)
    weight = t**r * state["largest"] ** weight_lr_power
    state["total"] = state.get("total", 0.0) + weight
    c = weight / state["total"] if state["total"] else 0
    state["v"] = betas[1] * state.get("v", np.zeros_like(w)) + (1 - betas[1]) * g**2
    root = np.sqrt(state["v"] / (1 - betas[1] ** t)) + eps
    state["z"] = state.get("z", w) - lr * weight_decay * w - lr * g / root
    state["x"] = (1 - c) * state.get("x", w) + c * state["z"]
    return betas[0] * state["x"] + (1 - betas[0]) * state["z"]


OPTIMIZERS = {
    "SGD": sgd, "Adam": adam, "AdamW": adamw, "RMSprop": rmsprop, "Adagrad": adagrad, "Adadelta": adadelta,
    "Adamax": adamax, "NAdam": nadam, "RAdam": radam, "Rprop": rprop, "Lion": lion,
    "ScheduleFreeAdamW": schedule_free_adamw,
}  # fmt: skip

# ---- networks -------------------------------------------------------------------------------------------------------


def outputs(parameters, activations, x):
    """All activations of a network of (w, b) pairs, the input first."""
    values = [x.astype(float)]
    for (w, b), activation in zip(parameters, activations, strict=True):
        values.append(dense_forward(values[-1], w, b, activation))
    return values


def gradients(parameters, activations, x, y, loss, weight=None, *p):
    """Loss of a batch, the gradient of each (w, b), and that of x. p: the loss's number."""
    values = outputs(parameters, activations, x)
    value, dy = LOSSES[loss](values[-1], y, weight, *p)
    pairs = []
    for (w, b), activation, below, above in reversed(
        list(zip(parameters, activations, values[:-1], values[1:], strict=True))
    ):
        saved = below @ w + b if activation in KEEPS_INPUT else above
        dy, dw, db = dense_backward(dy, below, w, saved, activation)
        pairs.insert(0, (dw, db))
    return value, pairs, dy


def train(parameters, activations, batches, loss, optimizer, settings):
    """Losses of steps on (x, y) batches; the (w, b) pairs are replaced in the list."""
    update, states, losses = OPTIMIZERS[optimizer], [({}, {}) for _ in parameters], []
    for t, (x, y) in enumerate(batches, 1):
        value, pairs, _ = gradients(parameters, activations, x, y, loss)
        losses.append(value)
        for i, (pair, gradient, state) in enumerate(zip(list(parameters), pairs, states, strict=True)):
            parameters[i] = tuple(update(p, g, s, t, **settings) for p, g, s in zip(pair, gradient, state, strict=True))
    return losses


def exact_block(w, b, batches, gradient, rates):
    """The first layer's weights and bias (or None) after a block of steps of SGD, in matrix products.

    batches: the rows of each step; gradient(step, z): dL/dz of the step's rows, after which all above is updated.
    """
    x = np.concatenate(batches).astype(float)
    start = x @ w + (0 if b is None else b)
    gram = x @ x.T + (b is not None)
    kept = np.zeros_like(start)
    first = 0
    for step, (batch, rate) in enumerate(zip(batches, rates, strict=True)):
        rows = slice(first, first + len(batch))
        kept[rows] = -rate * gradient(step, start[rows] + gram[rows, :first] @ kept[:first])
        first += len(batch)
    return w + x.T @ kept, None if b is None else b + kept.sum(axis=0)


# ---- the order of rows ----------------------------------------------------------------------------------------------

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(x):
    """SplitMix64's finaliser."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


def shuffled(n, seed, epoch):
    """The permutation of (seed, epoch): Fisher-Yates."""
    key = mix((mix((seed + _GOLDEN) & _MASK) + epoch * _GOLDEN) & _MASK)
    order = list(range(n))
    for i in range(n):
        j = i + (mix((key + i * _GOLDEN) & _MASK) * (n - i) >> 64)
        order[i], order[j] = order[j], order[i]
    return order


# ---- layers without a product: forward, and the way back ------------------------------------------------------------


def layer_norm(x, gamma, beta, eps, dy=None):
    """Value over the units of each row; with dy the gradients of x, gamma, beta."""
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    return _normalised(x, mean, variance, gamma, beta, eps, dy, axis=1)


def batch_norm(x, gamma, beta, eps, dy=None):
    """Value over the rows of a batch; with dy the gradients of x, gamma, beta."""
    return _normalised(x, x.mean(axis=0), x.var(axis=0), gamma, beta, eps, dy, axis=0)


def _normalised(x, mean, variance, gamma, beta, eps, dy, axis):
    scale = 1 / np.sqrt(variance + eps)
    normal = (x - mean) * scale
    if dy is None:
        return gamma * normal + beta
    g = gamma * dy
    mean_g, mean_gx = g.mean(axis=axis, keepdims=True), (g * normal).mean(axis=axis, keepdims=True)
    return scale * (g - mean_g - normal * mean_gx), (dy * normal).sum(axis=0), dy.sum(axis=0)


def running(mean, variance, batch, momentum):
    """Running statistics after a batch, torch's convention."""
    return (1 - momentum) * mean + momentum * batch.mean(axis=0), (1 - momentum) * variance + momentum * batch.var(
        axis=0, ddof=1
    )


def _mix32(x, key):
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = (x + key) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def dropout_mask(seed, step, layer, rows, units, rate):
    """True where a value is kept: layer counts from 0 in the core's flat list."""
    key = mix((mix((mix(seed) + _GOLDEN) & _MASK) + step * _GOLDEN) & _MASK)
    key = mix((key + layer * _GOLDEN) & _MASK)
    low, high = np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32)
    with np.errstate(over="ignore"):
        first = _mix32(np.arange(rows, dtype=np.uint32) ^ low, np.uint32(0))[:, None]
        second = _mix32(first, high)
        words = _mix32(np.arange(units, dtype=np.uint32)[None, :] * np.uint32(0x9E3779B9) + first, second)
    return (words >> np.uint32(8)) >= rate * 2**24


def regulated(w, g, l1=0.0, l2=0.0, clip=np.inf, scale=1.0):
    """What a gradient is before its rule."""
    return np.clip(scale * g + l1 * np.sign(w) + 2 * l2 * w, -clip, clip)
