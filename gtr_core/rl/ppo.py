"""PPO's losses, as functions of tensors."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gtr_core.config import PPOConfig

MAX_LOG_RATIO = 80.0  # exp of it is finite in fp32; no ratio guard is so high


@dataclass(frozen=True)
class PolicyLoss:
    """Sum of the surrogate over a microbatch, not yet divided, and what it says about the step."""

    total: Tensor
    ratio: Tensor  # the ratios that count, flat, no gradient
    clipped: Tensor  # bool, which of them lie outside the clip range


def span_weights(mask_B_R: Tensor, thought_B: Tensor, thought_coef: float) -> Tensor:
    """The weight of each token in log pi(a|o): lambda on thought, 1 on action, 0 on padding (PAPER.md 1.2)."""
    is_thought = torch.arange(mask_B_R.shape[1], device=mask_B_R.device) < thought_B[:, None]
    return torch.where(is_thought, thought_coef, 1.0) * mask_B_R


def policy_loss(
    logp_B_R: Tensor,
    old_B_R: Tensor,
    weight_B_R: Tensor,
    advantage_B_R: Tensor,
    config: PPOConfig,
    *,
    clipped_only: bool = False,
) -> PolicyLoss:
    """Clipped surrogate (PAPER.md 1.2), summed over the microbatch.

    `ratio=answer`: r = exp(sum_l w_l (logp_l - old_l)), one term a turn, with the turn's advantage (the weighted
    mean of its tokens'). `ratio=token`: r_l = exp(logp_l - old_l), one term a token, weighted by w_l.

        L = -sum min(r A, clip(r, 1 - c, 1 + c) A);  where any r exceeds the guard, the clipped term alone.

    Args:
        logp_B_R: new log-probs, with gradient.
        old_B_R: those of the policy that sampled.
        weight_B_R: from `span_weights`.
        advantage_B_R: the turn's advantage on every token, less a token's own penalty where there is one.
        config: clip, ratio and guard.
        clipped_only: the guard has spoken elsewhere in the minibatch that this microbatch is a part of.
    """
    if config.ratio == "answer":
        log_ratio = (weight_B_R * (logp_B_R - old_B_R)).sum(1)
        total_weight = weight_B_R.sum(1).clamp_min(1e-8)
        advantage = (weight_B_R * advantage_B_R).sum(1) / total_weight
        weight = torch.ones_like(advantage)
    else:
        on = weight_B_R > 0
        log_ratio, advantage, weight = (logp_B_R - old_B_R)[on], advantage_B_R[on], weight_B_R[on]
    ratio = log_ratio.clamp_max(MAX_LOG_RATIO).exp()
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
    surrogate = clipped * advantage
    if not clipped_only and bool((ratio <= config.ratio_guard).all()):
        surrogate = torch.minimum(ratio * advantage, surrogate)
    return PolicyLoss(-(weight * surrogate).sum(), ratio.detach(), (ratio != clipped).detach())


def value_loss(value_B: Tensor, old_B: Tensor, return_B: Tensor, clip: float) -> Tensor:
    """0.5 * max(unclipped^2, clipped^2), summed (PAPER.md 1.2, invariant 28)."""
    near = old_B + (value_B - old_B).clamp(-clip, clip)
    return 0.5 * torch.maximum((value_B - return_B) ** 2, (near - return_B) ** 2).sum()


def learning_rate(config: PPOConfig, update: int, updates: int) -> float:
    """The rate of update `update` of 0..updates-1: falls from lr to lr_final over the whole run, and never rises again.

    The first `warmup` updates have 1, 2, ... parts in warmup + 1 of it. The released code's period is 25 for 30
    updates, so that its rate rises at the end (PAPER.md 6.1.14).
    """
    progress = update / max(1, updates - 1)
    left = 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1 - progress
    rise = min(1.0, (update + 1) / (config.warmup + 1))
    return rise * (config.lr_final + (config.lr - config.lr_final) * left)
