"""What every merge method is: a pure function from task vectors to one task vector, one tensor at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gtr_core.config import MergeConfig

Draw = Callable[[int], torch.Generator]
"""The random stream of member 0, 1, ... for this tensor: the same whenever and in whatever order it is asked for."""

Method = Callable[[Sequence[Tensor], Sequence[float], MergeConfig, Draw], Tensor]
"""`method(taus, weights, config, draw)`: fp32 task vectors of one shape on the CPU, one weight each, to one of them."""
