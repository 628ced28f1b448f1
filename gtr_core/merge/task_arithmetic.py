"""Task arithmetic (arXiv 2212.04089): task vectors are added up, and lambda scales the sum."""

from collections.abc import Sequence

from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge.linear import weighted_sum
from gtr_core.merge.method import Draw


def task_arithmetic(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """sum_i w_i tau_i. The paper's form is `normalize=False`; with `normalize` it is the mean, as in mergekit."""
    return weighted_sum(taus, weights, normalize=config.normalize)
