"""The weighted mean of task vectors: a model soup (arXiv 2203.05482)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.method import Draw


def linear(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """sum_i w_i tau_i, divided by sum_i w_i if `config.normalize`."""
    return weighted_sum(taus, weights, normalize=config.normalize)


def weighted_sum(taus: Sequence[Tensor], weights: Sequence[float], *, normalize: bool) -> Tensor:
    """sum_i w_i tau_i, divided by sum_i w_i if `normalize`."""
    total = torch.zeros_like(taus[0])
    for tau, w in zip(taus, weights, strict=True):
        total.add_(tau, alpha=w)
    return total / sum(weights) if normalize else total
