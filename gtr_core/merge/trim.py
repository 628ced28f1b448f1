"""Which entries of a task vector are largest: exact, and fast at any size."""

import numpy as np
import torch
from torch import Tensor


def largest(tau: Tensor, k: int) -> Tensor:
    """A mask of tau's shape that holds for exactly the k entries of largest |tau|, 0 <= k <= n.

    Entries of equal size at the threshold are taken in the order of their position until there are k.
    """
    n = tau.numel()
    if k in (0, n):
        return torch.full_like(tau, bool(k), dtype=torch.bool)
    size = tau.abs().flatten()
    # A partition costs a fraction of a sort, and torch.quantile refuses more than 16 M entries (benchmarks/merge.py).
    threshold = float(np.partition(size.numpy(), n - k)[n - k])
    mask = size > threshold
    at = (size == threshold).nonzero().flatten()
    mask[at[: k - int(mask.sum())]] = True
    return mask.view_as(tau)


def kept(n: int, density: float) -> int:
    """k = max(1, int(density * n)) of n entries, 0 of none (invariant 3)."""
    return min(n, max(1, int(density * n)))


def trim(tau: Tensor, density: float) -> Tensor:
    """Keep exactly k entries of largest |tau| (see `kept`) and zero the rest."""
    return tau * largest(tau, kept(tau.numel(), density))
