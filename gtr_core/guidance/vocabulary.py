"""KL between agent and teacher summed over the vocabulary, at each place of an answer that the agent sampled.

    reverse: KL(agent || teacher) = sum_v p(v) (log p(v) - log q(v))
    forward: KL(teacher || agent) = sum_v q(v) (log q(v) - log p(v)),  p the agent's distribution, q the teacher's

Exact at each place where the estimators of `kl` have one sample. It takes one pass more, the agent's own, since a
rollout stores the log-probs of the sampled tokens alone. Only hidden states are kept between the passes; the output
layer is applied to POSITIONS places at a time, so that memory does not grow with batch times vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.agent.sampling import log_probs
from gtr_core.rollout.types import Rollout

POSITIONS = 512  # two fp32 arrays of POSITIONS x 152,064 words are 0.6 GB


@torch.no_grad()
def vocabulary_kl(
    policy: Policy, teacher: Mapping[str, Tensor], rollout: Rollout, estimator: str, batch_size: int
) -> list[tuple[Tensor, Tensor]]:
    """For each turn: the KL at each token's place, and the teacher's log-prob of the token; fp32, (R,), on the CPU.

    Args:
        policy: with the agent's own weights, those that played the rollout.
        teacher: dense weights, swapped in for the second pass; the output layer is not among them.
        rollout: the agent's turns.
        estimator: `reverse` or `forward`.
        batch_size: answers read at once.
    """
    batches = [range(i, min(i + batch_size, rollout.size)) for i in range(0, rollout.size, batch_size)]
    agent = [_hidden(policy, rollout, index).cpu() for index in batches]
    turns: list[tuple[Tensor, Tensor]] = []
    with policy.swapped(teacher):
        for index, own in zip(batches, agent, strict=True):
            taught = _hidden(policy, rollout, index)
            ids = torch.tensor([token for n in index for token in rollout.answers_N[n]], device=policy.device)
            parts = [
                _compare(policy, *chunk, estimator)
                for chunk in zip(own.split(POSITIONS), taught.split(POSITIONS), ids.split(POSITIONS), strict=True)
            ]
            lengths = [len(rollout.answers_N[n]) for n in index]
            kl, logp = (torch.cat(column).cpu().split(lengths) for column in zip(*parts, strict=True))
            turns += zip(kl, logp, strict=True)
    return turns


def _hidden(policy: Policy, rollout: Rollout, index: Sequence[int]) -> Tensor:
    """The hidden states behind the answers' tokens, end to end without padding, (P, D)."""
    prompts = [policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in index]
    reading = policy.read(prompts, [rollout.answers_N[n] for n in index])
    return reading.hidden_B_R_D[reading.mask_B_R]


def _compare(
    policy: Policy, own_P_D: Tensor, taught_P_D: Tensor, ids_P: Tensor, estimator: str
) -> tuple[Tensor, Tensor]:
    agent, teacher = (
        log_probs(policy.head(hidden.to(policy.device)), policy.banned, policy.sampling.temperature)
        for hidden in (own_P_D, taught_P_D)
    )
    logp = teacher.gather(-1, ids_P[:, None])[:, 0]
    p, q = (agent, teacher) if estimator == "reverse" else (teacher, agent)
    # A banned token has probability 0 in both and no share; -inf less -inf would be NaN.
    kl = (p.exp() * (p - q).index_fill(-1, policy.banned, 0.0)).sum(-1)
    return kl.clamp_min(0.0), logp
