"""TIES: trim, elect sign, disjoint mean (PAPER.md 1.4)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def trim(tau: Tensor, density: float) -> Tensor:
    """Keep exactly k = max(1, int(density * n)) entries of largest |tau| and zero the rest (invariant 3).

    Entries of equal magnitude at the threshold are kept in the order of their position until there are k.
    """
    n = tau.numel()
    k = max(1, int(density * n))
    if k >= n:
        return tau
    size = tau.abs().flatten()
    threshold = float(np.partition(size.numpy(), n - k)[n - k])
    keep = size > threshold
    at = (size == threshold).nonzero().flatten()
    keep[at[: k - int(keep.sum())]] = True
    return torch.where(keep.view_as(tau), tau, 0.0)


def ties(taus: Sequence[Tensor], weights: Sequence[float], *, density: float, normalize: bool) -> Tensor:
    """The merged task vector of one tensor.

        elected = sign(sum_i w_i tau_i), +1 where the sum is 0
        merged  = sum over agreeing i of w_i tau_i, divided by the sum of their w_i if `normalize`; 0 where none agrees

    Args:
        taus: theta_i - theta_init, fp32, one shape.
        weights: one a member.
        density: share of entries kept by `trim`.
        normalize: divide by the weights that agree, so that alike members merge to themselves, not to a fraction.
    """
    vote = torch.zeros_like(taus[0])
    trimmed = [trim(tau, density) for tau in taus]
    for tau, w in zip(trimmed, weights, strict=True):
        vote += w * tau
    positive = vote >= 0
    total, divisor = torch.zeros_like(vote), torch.zeros_like(vote)
    for tau, w in zip(trimmed, weights, strict=True):
        agrees = torch.where(positive, tau > 0, tau < 0)
        total += torch.where(agrees, w * tau, 0.0)
        divisor += torch.where(agrees, w, 0.0)
    return total / torch.where(divisor == 0, 1.0, divisor) if normalize else total
