"""A rollout and an update with each family: the policy that is updated is the one that played."""

import pytest
import torch

from gtr_core.agent.critic import Critic
from gtr_core.config import CriticConfig, EnvConfig, LoraSettings, PPOConfig, RolloutConfig
from gtr_core.rl.terms import Terms
from gtr_core.rl.trainer import Trainer
from gtr_core.rollout.collect import collect
from tests.agent.families import FAMILIES, family_policy
from tests.agent.small import stir

ENV = EnvConfig("gtr/NumberLine-v0")  # the reference picture and the paper's prompt
PPO = PPOConfig(epochs=2, minibatch=4, microbatch=2, lr=1e-3, max_grad_norm=1.0)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_ratio_starts_at_1_and_an_update_moves_the_adapters_alone(family: str, recompute: bool) -> None:
    """PAPER.md, invariant 21, from the stored pictures, prompts and tokens of two turns in three environments."""
    policy = family_policy(
        family, lora=LoraSettings(rank=4, alpha=8.0, vision=recompute), gradient_checkpointing=recompute
    )
    stir(policy)
    critic = Critic(policy.hidden_size, CriticConfig(), torch.Generator().manual_seed(1))
    rollout = collect(policy, critic, ENV, RolloutConfig(envs=3, turns=2, batch_size=2), ("rollout", 1, 1))
    assert rollout.size == 6 and rollout.image(0).shape[2] == 3
    frozen = {n: p.detach().clone() for n, p in policy.model.named_parameters() if n not in policy.trainable}
    before = policy.weights()
    trainer = Trainer(policy, critic, PPO, joint_critic=True)
    metrics, _ = trainer.update(rollout, Terms(), PPO.lr, torch.Generator().manual_seed(1))
    assert metrics["ppo/ratio_start_error"] < 1e-5 and metrics["ppo/ratio_max"] > 1
    assert metrics["ppo/grad_norm"] > 0 and not policy.model.training
    assert all(torch.equal(p, frozen[n]) for n, p in policy.model.named_parameters() if n in frozen)
    moved = policy.weights()
    assert all(not torch.equal(moved[n], before[n]) for n in moved)
