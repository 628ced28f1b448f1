"""DARE (arXiv 2311.03099): drop entries at random, rescale the rest, then merge as usual."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.linear import weighted_sum
from gtr_core.merge.method import Draw
from gtr_core.merge.ties import disjoint_mean


def dare_linear(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """The weighted mean of the dropped-out task vectors."""
    return weighted_sum(_dropped(taus, config.density, draw), weights, normalize=config.normalize)


def dare_ties(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """The disjoint mean of the dropped-out task vectors."""
    return disjoint_mean(_dropped(taus, config.density, draw), weights, normalize=config.normalize)


def drop(tau: Tensor, chance: Tensor | float, generator: torch.Generator) -> Tensor:
    """Keep each entry with its `chance` and divide it by that, so that the expectation is tau; zero the others."""
    uniform = torch.rand(tau.shape, generator=generator)  # in [0, 1): a chance of 1 keeps all
    return tau / chance * (uniform < chance)


def _dropped(taus: Sequence[Tensor], density: float, draw: Draw) -> list[Tensor]:
    return [drop(tau, density, draw(i)) for i, tau in enumerate(taus)]
