"""Model stock (arXiv 2403.19522): how far to go from the start to the mean, told by the angle between members."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.linear import weighted_sum
from gtr_core.merge.method import Draw


def model_stock(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """t * mean(tau), t = n c / (1 + (n - 1) c), c the mean cosine of two members, tensor by tensor.

    t is kept in [0, 1], since members that disagree (c < 0) say nothing beyond the start; one member is merged to
    itself. The mean is the plain one: weights and `normalize` play no part.
    """
    n = len(taus)
    mean = weighted_sum(taus, [1.0] * n, normalize=True)
    if n == 1:
        return mean
    norms = [float(torch.linalg.vector_norm(tau)) for tau in taus]
    cosines = [
        float(torch.dot(taus[i].flatten(), taus[j].flatten())) / max(norms[i] * norms[j], 1e-30)
        for i, j in combinations(range(n), 2)
    ]
    c = max(0.0, sum(cosines) / len(cosines))
    return min(1.0, n * c / (1 + (n - 1) * c)) * mean
