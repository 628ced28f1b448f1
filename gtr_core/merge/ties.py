"""TIES: trim, elect sign, disjoint mean (PAPER.md 1.4, arXiv 2306.01708)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.method import Draw
from gtr_core.merge.trim import trim


def ties(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """The disjoint mean of the task vectors, each trimmed to its `config.density` largest entries."""
    return disjoint_mean([trim(tau, config.density) for tau in taus], weights, normalize=config.normalize)


def disjoint_mean(taus: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """The mean over those members that have the elected sign, entry by entry.

        elected = sign(sum_i w_i tau_i), +1 where the sum is 0
        merged  = sum over agreeing i of w_i tau_i, divided by the sum of their w_i if `normalize`; 0 where none agrees

    Dividing by the weights that agree makes alike members merge to themselves; by their number, as peft does, to a
    fraction of themselves (PAPER.md 6.1.2).
    """
    vote = torch.zeros_like(taus[0])
    for tau, w in zip(taus, weights, strict=True):
        vote.add_(tau, alpha=w)
    positive = vote >= 0
    total, divisor = torch.zeros_like(vote), torch.zeros_like(vote)
    for tau, w in zip(taus, weights, strict=True):
        agrees = torch.where(positive, tau > 0, tau < 0)
        total.add_(agrees * tau, alpha=w)
        divisor.add_(agrees, alpha=w)
    return total / torch.where(divisor == 0, 1.0, divisor) if normalize else total
