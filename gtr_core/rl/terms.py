"""What a method's guidance adds to the update: a penalty in the advantage, or examples beside the PPO loss."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gtr_core.config import KLConfig
from gtr_core.rollout.types import SFTExample


@dataclass(frozen=True)
class Terms:
    """The terms of one update; all empty for plain PPO."""

    kl: KLConfig | None = None  # where and how the penalty acts
    penalty_N: Tensor | None = None
    penalty_tokens: list[list[float]] | None = None
    examples: Sequence[SFTExample] = ()
    sft_weight: float = 0.0
    rl: bool = True  # False: no reward, no value loss; the update follows guidance alone
