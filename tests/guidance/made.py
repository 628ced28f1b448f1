"""Teachers, and brute-force scoring to hold guidance against."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gtr_core.agent.loading import base_tensors
from gtr_core.agent.policy import Policy
from gtr_core.agent.sampling import log_probs
from gtr_core.rollout.types import Rollout

Weights = Mapping[str, Tensor]


def teacher_of(policy: Policy, seed: int = 5, scale: float = 0.05) -> Weights:
    """A policy somewhat different from the start."""
    generator = torch.Generator().manual_seed(seed)
    return {n: t + scale * torch.randn(t.shape, generator=generator) for n, t in base_tensors(policy).items()}


@torch.no_grad()
def next_log_probs(policy: Policy, rollout: Rollout, n: int, prefix: Sequence[int]) -> Tensor:
    """Log-probs (V,) of the token after `prefix`: one unpadded pass of the bare model, the last place's logits."""
    encoded = dict(policy.encode(rollout.image(n), rollout.prompts_N[n]))
    encoded["input_ids"] = torch.cat([encoded["input_ids"], torch.tensor([list(prefix)], dtype=torch.int64)], 1)
    encoded["attention_mask"] = torch.ones_like(encoded["input_ids"])
    kinds = encoded["mm_token_type_ids"]
    encoded["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, len(prefix))], 1)
    logits = policy.model(**encoded).logits[0, -1]
    return log_probs(logits, policy.banned, policy.sampling.temperature)


def token_by_token(policy: Policy, rollout: Rollout, n: int) -> Tensor:
    """Log-probs (R, V) at each place of answer n, each from a pass of its own over what stands before it."""
    answer = rollout.answers_N[n]
    return torch.stack([next_log_probs(policy, rollout, n, answer[:i]) for i in range(len(answer))])


def first(rollout: Rollout, *, valid: bool) -> int:
    """The first turn with a valid, or an invalid, answer."""
    return rollout.valid_T_E.flatten().tolist().index(valid)
