"""Model breadcrumbs (arXiv 2312.06795): drop the largest entries as outliers and the smallest as noise, then add."""

from collections.abc import Sequence

from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.linear import weighted_sum
from gtr_core.merge.method import Draw
from gtr_core.merge.trim import kept, largest


def breadcrumbs(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """The weighted mean of the task vectors' middles."""
    middles = [middle(tau, config.density, config.gamma) for tau in taus]
    return weighted_sum(middles, weights, normalize=config.normalize)


def middle(tau: Tensor, density: float, gamma: float) -> Tensor:
    """Zero the int(gamma * n) entries of largest |tau| and all but the next k; k as in `kept`.

    Where both do not fit, fewer outliers are dropped: the density holds.
    """
    n = tau.numel()
    k = kept(n, density)
    outliers = min(int(gamma * n), n - k)
    return tau * (largest(tau, outliers + k) & ~largest(tau, outliers))
