"""The error of the core's tanh and sigmoid in ulp, over every finite normal float32 and over many float64.

python benchmarks/ulp.py [--isa avx512] [--stride 1]     (2^32 arguments take some minutes; --stride 101 takes seconds)
"""

import argparse

import numpy as np
import numpy.typing as npt

import thalweg as tw

EXACT = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


def ulps(got: npt.NDArray, exact: npt.NDArray, dtype: type) -> npt.NDArray:
    """|got - exact| in units in the last place of exact, where exact is a normal number."""
    spacing = np.spacing(np.abs(exact).astype(dtype)).astype(exact.dtype)
    return np.where(np.abs(exact) >= np.finfo(dtype).tiny, np.abs(got - exact) / spacing, 0)


def worst(name: str, x: npt.NDArray, wider: type, isa: str) -> tuple[float, float]:
    """Largest error over x, and where it is. `wider`: the dtype of the exact values."""
    x = x[: len(x) // 64 * 64].reshape(-1, 64)
    with np.errstate(over="ignore"):
        error = ulps(tw.kernels.activation_forward(x, name, isa=isa), EXACT[name](x.astype(wider)), x.dtype.type)
    at = np.unravel_index(error.argmax(), error.shape)
    return float(error[at]), float(x[at])


def float32_blocks(stride: int):
    """All finite normal float32, every stride-th bit pattern, a block at a time."""
    block = stride << 22
    for first in range(0, 1 << 32, block):
        bits = np.arange(first, min(first + block, 1 << 32), stride, dtype=np.uint64).astype(np.uint32)
        x = bits.view(np.float32)
        x = x[np.isfinite(x) & (np.abs(x) >= np.finfo(np.float32).tiny)]
        if len(x) >= 64:
            yield x


def many_float64(n: int) -> npt.NDArray:
    """Float64 of every size that matters, of both signs."""
    rng = np.random.default_rng(0)
    spread = np.ldexp(rng.uniform(1, 2, n), rng.integers(-60, 10, n))
    return np.concatenate([spread, -spread, rng.uniform(-40, 40, n), rng.uniform(-1, 1, n)])


def main() -> None:
    """Print the largest error of each function and dtype."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", default=tw.info()["isa"])
    parser.add_argument("--stride", type=int, default=1)
    options = parser.parse_args()
    for name in EXACT:
        error, x = max(worst(name, block, np.float64, options.isa) for block in float32_blocks(options.stride))
        print(f"{name:8} float32 {error:.4f} ulp at {x!r}", flush=True)
        error, x = worst(name, many_float64(5_000_000), np.longdouble, options.isa)
        print(f"{name:8} float64 {error:.4f} ulp at {x!r}", flush=True)


if __name__ == "__main__":
    main()
