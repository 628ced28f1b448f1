"""A trainer on the small agent, and short words for what it did."""

from dataclasses import replace

import torch
from torch import Tensor

from gtr_core.config import PPOConfig
from gtr_core.rl.terms import Terms
from gtr_core.rl.trainer import Trainer
from gtr_core.rollout.types import Rollout
from tests.agent.small import small_critic, small_policy

# One optimiser step on all turns, no clipping of the gradient: what a test starts from.
ONCE = PPOConfig(epochs=1, minibatch=16, microbatch=16, lr=1e-3, max_grad_norm=1e9, format_bonus=0.5)


def trainer(config: PPOConfig = ONCE, train: str = "language", *, head: bool = True) -> Trainer:
    policy = small_policy(train)
    return Trainer(policy, small_critic(policy), config, joint_critic=head)


def train(
    who: Trainer, rollout: Rollout, *, seed: int = 0, lr: float = 1e-3, guidance: Terms | None = None
) -> dict[str, float]:
    return who.update(rollout, guidance or Terms(), lr, torch.Generator().manual_seed(seed))[0]


def gradients(who: Trainer) -> dict[str, Tensor]:
    """What the last optimiser step was made of."""
    return {n: p.grad.clone() for n, p in who.parameters.items() if p.grad is not None}


def parameters(who: Trainer) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in who.parameters.items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Largest difference, as a share of the largest entry."""
    assert first.keys() == second.keys()
    largest = max(float(t.abs().max()) for t in first.values())
    return max(float((first[n] - second[n]).abs().max()) for n in first) / largest


def with_logp(rollout: Rollout, rows: list[list[float]]) -> Rollout:
    """The rollout as if an older policy had sampled it."""
    return replace(rollout, logp_N=rows)
