"""Small random task vectors and checkpoints."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.config.choices import MERGE_METHODS, load
from gtr_core.merge import Method
from gtr_core.seeding.streams import torch_generator

# by name, those that work tensor by tensor
MERGE_FUNCTIONS: dict[str, Method] = {
    name: load(found.merge) for name, found in MERGE_METHODS.items() if not found.select
}
SHAPES = ((7,), (1,), (5, 6), (3, 4, 5), (40, 25))
EXACT = ("ties", "linear", "slerp", "task_arithmetic", "breadcrumbs", "model_stock")  # those that draw nothing
RANDOM = ("dare_linear", "dare_ties", "della")

quick = settings(max_examples=25, deadline=None, derandomize=True)  # the same examples in every run
shapes = st.sampled_from(SHAPES)
counts = st.integers(1, 5)
seeds = st.integers(0, 10**6)
densities = st.sampled_from([0.05, 0.2, 0.5, 0.8, 1.0])


def random_taus(n: int, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator) for _ in range(n)]


def random_weights(n: int, seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return [0.1 + float(w) for w in torch.rand(n, generator=generator)]


def merged(taus: Sequence[Tensor], weights: Sequence[float], method: str = "ties", **settings: Any) -> Tensor:
    """The method itself on one tensor; density 1 unless told."""
    config = MergeConfig(**({"method": method, "density": 1.0} | settings))
    return MERGE_FUNCTIONS[method](taus, weights, config, partial(torch_generator, "made"))


def checkpoint(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A start: matrices, a vector, a scalar, and an integer buffer."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"b.weight": (6, 5), "a.weight": (4, 6), "a.bias": (4,), "scale": ()}
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return {**tensors, "positions": torch.arange(5)}


def trained(start: dict[str, Tensor], n: int, seed: int = 0, scale: float = 0.1) -> list[dict[str, Tensor]]:
    """Checkpoints that training moved away from a start."""
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            name: (t.float() + scale * torch.randn(t.shape, generator=generator)).to(t.dtype)
            if t.is_floating_point()
            else t.clone()
            for name, t in start.items()
        }
        for _ in range(n)
    ]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Equal names, number types and bits."""
    return a.keys() == b.keys() and all(a[n].dtype == b[n].dtype and torch.equal(a[n], b[n]) for n in a)
