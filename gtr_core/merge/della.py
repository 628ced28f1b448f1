"""DELLA (arXiv 2406.11617): DARE whose chance to keep an entry grows with its rank by size, then TIES' election."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.dare import drop
from gtr_core.merge.method import Draw
from gtr_core.merge.ties import disjoint_mean


def della(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """The disjoint mean of the task vectors, each dropped out by `keep_chance` and rescaled entry by entry."""
    dropped = [drop(tau, keep_chance(tau, config.density, config.epsilon), draw(i)) for i, tau in enumerate(taus)]
    return disjoint_mean(dropped, weights, normalize=config.normalize)


def keep_chance(tau: Tensor, density: float, epsilon: float) -> Tensor:
    """From density - epsilon for a row's smallest entry to density + epsilon for its largest, linear in the rank.

    Ranks are those of |tau| within a row, the weights of one output; a vector is one row. At density 1 all are kept.
    """
    if density == 1 or tau.dim() == 0 or tau.shape[-1] == 1:
        return torch.full_like(tau, density)
    rows = tau.abs().reshape(1 if tau.dim() == 1 else tau.shape[0], -1)
    rank = rows.argsort(dim=1, stable=True).argsort(dim=1)
    share = rank / max(1, rows.shape[1] - 1)
    return (density - epsilon + 2 * epsilon * share).view_as(tau)
