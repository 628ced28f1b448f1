"""From rewards to what a turn is trained with: format reward and penalty, each at its site."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gtr_core.config import KLConfig, PPOConfig
from gtr_core.rl.advantages import targets
from tests.rl.made import brute_force, random_rollout

PPO = PPOConfig(gamma=0.9, gae_lambda=0.95)


def test_targets_are_normalised_gae_and_its_returns() -> None:
    r = random_rollout()
    found = targets(r, PPO)
    plain = np.array(brute_force(r.reward_T_E, r.value_T_E, r.done_T_E, r.last_value_E, 0.9, 0.95))
    assert np.allclose(found.return_N.numpy(), (plain + r.value_T_E.numpy()).ravel(), atol=1e-5)
    assert np.allclose(found.advantage_N.numpy(), ((plain - plain.mean()) / (plain.std() + 1e-5)).ravel(), atol=1e-4)


def test_the_format_reward_moves_its_own_turn_alone() -> None:
    """PAPER.md 1.7: it enters the returns after GAE, so that no other turn's return knows of it."""
    r = random_rollout()
    plain = targets(r, PPO)
    shaped = targets(r, replace(PPO, format_bonus=3.0, format_penalty=2.0))
    wanted = torch.where(r.valid_T_E.flatten(), 3.0, -2.0)
    assert 0 < int(r.valid_T_E.sum()) < r.size
    torch.testing.assert_close(shaped.return_N - plain.return_N, wanted)
    raw = shaped.return_N - r.value_T_E.flatten()
    torch.testing.assert_close(shaped.advantage_N, (raw - raw.mean()) / (raw.std(unbiased=False) + 1e-5))


def test_the_format_reward_stays_out_of_the_episodes() -> None:
    """PAPER.md, invariant 25: neither rewards nor returns nor wins of the rollout change."""
    r = random_rollout()
    before = (r.reward_T_E.clone(), r.value_T_E.clone(), [dict(e) for e in r.episodes])
    targets(r, replace(PPO, format_bonus=3.0, format_penalty=2.0), torch.ones(r.size), KLConfig())
    assert torch.equal(r.reward_T_E, before[0]) and torch.equal(r.value_T_E, before[1]) and r.episodes == before[2]


def test_reward_scale_scales_rewards_and_format_reward_alike() -> None:
    r = random_rollout()
    small = targets(r, replace(PPO, reward_scale=0.1, format_bonus=3.0, format_penalty=2.0))
    scaled = replace(r, reward_T_E=r.reward_T_E * 0.1)
    by_hand = targets(scaled, replace(PPO, format_bonus=0.3, format_penalty=0.2))
    torch.testing.assert_close(small.return_N, by_hand.return_N)
    torch.testing.assert_close(small.advantage_N, by_hand.advantage_N)


def test_the_clip_bounds_the_advantages() -> None:
    r = random_rollout(40, 3)
    free = targets(r, PPO).advantage_N
    assert free.abs().max() > 1.5
    assert torch.equal(targets(r, replace(PPO, advantage_clip=1.5)).advantage_N, free.clamp(-1.5, 1.5))


@pytest.mark.parametrize("site", ["advantage", "reward", "returns_after_gae"])
def test_beta_0_is_plain_ppo_bit_for_bit(site: str) -> None:
    """PAPER.md, invariant 19."""
    r = random_rollout()
    plain, guided = targets(r, PPO), targets(r, PPO, torch.rand(r.size), KLConfig(beta=0.0, site=site))
    assert torch.equal(plain.advantage_N, guided.advantage_N) and torch.equal(plain.return_N, guided.return_N)


def test_a_penalty_on_the_advantage_moves_that_turn_alone() -> None:
    r = random_rollout()
    penalty = torch.zeros(r.size)
    penalty[4] = 0.5
    plain, guided = targets(r, PPO), targets(r, PPO, penalty, KLConfig(beta=2.0, site="advantage"))
    torch.testing.assert_close(plain.advantage_N - guided.advantage_N, 2 * penalty)
    assert torch.equal(plain.return_N, guided.return_N)


def test_a_penalty_on_the_reward_is_carried_back_by_gae() -> None:
    """Turn 3 of environment 1 is penalised: earlier turns of its episode feel it, later and other ones do not."""
    r = random_rollout(5, 2, 4)
    r = replace(r, done_T_E=torch.tensor([[False, True], *[[False, False]] * 4]))
    penalty = torch.zeros(5, 2)
    penalty[3, 1] = 0.5
    config = KLConfig(beta=2.0, site="reward")
    change = (targets(r, PPO).return_N - targets(r, PPO, penalty.flatten(), config).return_N).view(5, 2)
    carried = torch.tensor([0.0, (0.9 * 0.95) ** 2, 0.9 * 0.95, 1.0, 0.0])
    torch.testing.assert_close(change[:, 1], carried, atol=1e-5, rtol=0)
    assert change[:, 0].abs().max() == 0


def test_a_penalty_on_the_returns_moves_the_value_target_of_that_turn() -> None:
    r = random_rollout()
    penalty = torch.zeros(r.size)
    penalty[4] = 0.5
    plain, guided = targets(r, PPO), targets(r, PPO, penalty, KLConfig(beta=2.0, site="returns_after_gae"))
    torch.testing.assert_close(plain.return_N - guided.return_N, 2 * penalty)
