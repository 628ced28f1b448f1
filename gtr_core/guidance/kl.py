"""Reverse KL from the agent to its teacher, on the very tokens that the agent sampled (PAPER.md 1.6).

    K1_l = log pi_agent(th_l | th_<l, o, v) - log pi_teacher(th_l | th_<l, o, v)
    clip: max(K1, 0)    abs: |K1|    k3: exp(-K1) - 1 + K1    k1: K1,   each at most `cap`

Positive K1: the agent likes the token more than its teacher does, and is penalised for it. Computed once an iteration,
forward only; the teacher sees picture, prompt and token ids as the agent did, in eval mode, at the same temperature.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.config import KLConfig
from gtr_core.turns import Rollout


@dataclass(frozen=True)
class KLGuidance:
    """The penalty of a rollout."""

    penalty_N: Tensor  # mean over the span, an invalid answer's constant in its place
    penalty_tokens: list[list[float]]  # by turn and token, 0 outside the span
    metrics: dict[str, float]


def estimate(k1: Tensor, estimator: str, cap: float) -> Tensor:
    """The estimator of the module's head applied to K1, at most `cap` a token (and for `k1` at least -cap)."""
    match estimator:
        case "clip":
            return k1.clamp(0.0, cap)
        case "abs":
            return k1.abs().clamp_max(cap)
        case "k3":
            return (torch.expm1(-k1) + k1).clamp(0.0, cap)
        case "k1":
            return k1.clamp(-cap, cap)
        case _:
            raise ValueError(f"unknown KL estimator '{estimator}'")


def span(length: int, thought: int, scope: str) -> slice:
    """The tokens of an answer that guidance looks at."""
    return {"thought": slice(0, thought), "action": slice(thought, length), "all": slice(0, length)}[scope]


def kl_guidance(
    policy: Policy, teacher: Mapping[str, Tensor], rollout: Rollout, config: KLConfig, batch_size: int
) -> KLGuidance:
    """Score the rollout with the teacher's weights and penalise where the agent left it."""
    penalty_N, penalty_tokens, all_k1 = [], [], []
    valid = rollout.valid_T_E.flatten().tolist()
    with policy.swapped(teacher):
        for start in range(0, rollout.size, batch_size):
            index = range(start, min(start + batch_size, rollout.size))
            prompts = [policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in index]
            scores = policy.score(prompts, [rollout.answers_N[n] for n in index])
            for row, n in enumerate(index):
                agent = torch.tensor(rollout.logp_N[n])
                where = span(len(agent), rollout.thought_N[n], config.scope)
                k1 = torch.zeros_like(agent)
                k1[where] = (agent - scores.logp_B_R[row, : len(agent)].cpu())[where]
                tokens = estimate(k1, config.estimator, config.cap)
                mean = float(tokens[where].mean()) if tokens[where].numel() else 0.0
                penalty_N.append(mean if valid[n] else config.invalid)
                penalty_tokens.append(tokens.tolist())
                all_k1.append(k1[where])
    k1 = torch.cat(all_k1)
    penalties = torch.tensor(penalty_N)
    metrics = {
        "guidance/kl_mean": float(penalties.mean()),
        "guidance/kl_max": float(penalties.max()),
        "guidance/k1_mean": float(k1.mean()) if k1.numel() else 0.0,
        "guidance/k1_abs_max": float(k1.abs().max()) if k1.numel() else 0.0,
        "guidance/tokens_scored": float(k1.numel()),
    }
    return KLGuidance(penalties, penalty_tokens, metrics)
