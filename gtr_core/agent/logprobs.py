"""From hidden states to log-probabilities of given tokens, with bounded memory.

A vocabulary of 152,064 words makes the logits of one batch larger than the model's activations. Only real answer tokens
are computed, so many at a time that their fp32 logits are at most LOGITS_AT_ONCE numbers; with gradients, a part's
logits are computed again in the backward pass rather than kept.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gtr_core.agent.finite import require_finite
from gtr_core.agent.sampling import log_probs

LOGITS_AT_ONCE = 2**25  # 128 MiB in fp32; 220 tokens of Qwen2.5-VL's vocabulary


def token_log_probs(
    head: Any, hidden_N_D: Tensor, ids_N: Tensor, banned: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-prob of each token and entropy (nats, no gradient) of the distribution that it is from, (N,) in fp32.

    Args:
        head: the model's output layer, (N, D) to logits (N, V).
        hidden_N_D: last hidden states of the places before the tokens.
        ids_N: the tokens.
        banned: see `log_probs`.
        temperature: see `log_probs`.

    Raises:
        NonFiniteError: a logit is NaN or infinite.
    """
    size = max(1, LOGITS_AT_ONCE // head.weight.shape[0])
    parts = list(zip(hidden_N_D.split(size), ids_N.split(size), strict=True))
    if len(parts) == 1 or not torch.is_grad_enabled():
        scored = [_score(head, hidden, ids, banned, temperature) for hidden, ids in parts]
    else:
        scored = [
            checkpoint(_score, head, hidden, ids, banned, temperature, use_reentrant=False, preserve_rng_state=False)
            for hidden, ids in parts
        ]
    return torch.cat([logp for logp, _ in scored]), torch.cat([entropy for _, entropy in scored])


def _score(head: Any, hidden: Tensor, ids: Tensor, banned: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    logits = head(hidden)
    require_finite(logits, "the logits of given answers")
    logp_N_V = log_probs(logits, banned, temperature)
    with torch.no_grad():
        entropy = -(logp_N_V.exp() * logp_N_V.clamp_min(-1e4)).sum(-1)
    return logp_N_V.gather(-1, ids[:, None])[:, 0], entropy
