"""The weighted mean of task vectors: a model soup."""

from collections.abc import Sequence

import torch
from torch import Tensor


def linear(taus: Sequence[Tensor], weights: Sequence[float], *, density: float, normalize: bool) -> Tensor:
    """sum_i w_i tau_i, divided by sum_i w_i if `normalize`; `density` plays no part."""
    total = torch.zeros_like(taus[0])
    for tau, w in zip(taus, weights, strict=True):
        total += w * tau
    return total / sum(weights) if normalize else total
