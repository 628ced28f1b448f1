"""Spherical interpolation of task vectors."""

from collections.abc import Sequence
from math import acos, sin

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.deltas.errors import MergeError
from gtr_core.merge.method import Draw

STRAIGHT = 0.9995  # |cosine| above which an arc is taken for a line


def slerp(taus: Sequence[Tensor], weights: Sequence[float], config: MergeConfig, draw: Draw) -> Tensor:
    """Two members: the point at w_2 / (w_1 + w_2) of the arc from tau_1 to tau_2. One: itself.

    More are folded from the oldest on, each arc ending at w_i / (w_1 + ... + w_i): a running mean on arcs, which
    depends on their order. Only the weights' ratios count, so `normalize` plays no part.
    """
    merged, total = taus[0], weights[0]
    for tau, w in zip(taus[1:], weights[1:], strict=True):
        total += w
        if total == 0:
            raise MergeError("slerp needs weights whose running sum is not 0: the oldest checkpoints have none.")
        merged = arc(merged, tau, w / total)
    return merged


def arc(a: Tensor, b: Tensor, t: float) -> Tensor:
    """sin((1-t) theta) / sin(theta) a + sin(t theta) / sin(theta) b, theta the angle between a and b.

    A straight line where they are almost parallel, almost opposite, or one of them is 0.
    """
    norms = float(torch.linalg.vector_norm(a)) * float(torch.linalg.vector_norm(b))
    cosine = float(torch.dot(a.flatten(), b.flatten())) / norms if norms else 1.0
    if abs(cosine) > STRAIGHT:
        return (1 - t) * a + t * b
    theta = acos(cosine)
    return (sin((1 - t) * theta) * a + sin(t * theta) * b) / sin(theta)
