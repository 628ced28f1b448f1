"""Generalised advantage estimation (PAPER.md, invariants 24 and 26)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtr_core.rl.gae import gae, normalise
from tests.rl.made import brute_force, random_rollout

TRUE, FALSE = torch.tensor([[True]]), torch.tensor([[False]])


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_three_turns_by_hand() -> None:
    """gamma 0.5, lambda 0.5, nothing ends: deltas are 1.5, 1.5 and 1; each is carried back at a quarter."""
    done = torch.zeros(3, 1, dtype=torch.bool)
    advantage, returns = gae(column(1.0, 2.0, 0.0), column(0.5, 2.0, 3.0), done, torch.tensor([8.0]), 0.5, 0.5)
    assert advantage.flatten().tolist() == [1.5 + 0.25 * 1.75, 1.75, 1.0]
    assert torch.equal(returns, advantage + column(0.5, 2.0, 3.0))


@given(
    st.integers(1, 9), st.integers(1, 4), st.integers(0, 10_000), st.floats(0, 1, width=32), st.floats(0, 1, width=32)
)
@settings(max_examples=60, deadline=None)
def test_it_is_the_sum_over_the_rest_of_the_episode(turns: int, envs: int, seed: int, gamma: float, lam: float) -> None:
    r = random_rollout(turns, envs, seed)
    advantage, returns = gae(r.reward_T_E, r.value_T_E, r.done_T_E, r.last_value_E, gamma, lam)
    expected = brute_force(r.reward_T_E, r.value_T_E, r.done_T_E, r.last_value_E, gamma, lam)
    torch.testing.assert_close(advantage, torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert torch.equal(returns, advantage + r.value_T_E)


def test_nothing_leaks_over_the_end_of_an_episode() -> None:
    """Turn 1 ends an episode (by winning or by truncation alike): what comes after changes nothing before."""
    r = random_rollout(5, 2, 1)
    done = torch.zeros(5, 2, dtype=torch.bool)
    done[1] = True
    first, _ = gae(r.reward_T_E, r.value_T_E, done, r.last_value_E, 0.9, 0.95)
    reward, value = r.reward_T_E.clone(), r.value_T_E.clone()
    reward[2:] += 100.0
    value[2:] -= 50.0
    second, _ = gae(reward, value, done, r.last_value_E + 30.0, 0.9, 0.95)
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])


def test_the_last_value_stands_for_the_rest_only_where_the_episode_goes_on() -> None:
    args = (torch.tensor([[1.0]]), torch.tensor([[0.25]]))
    going, _ = gae(*args, FALSE, torch.tensor([10.0]), 0.5, 0.9)
    ended, _ = gae(*args, TRUE, torch.tensor([10.0]), 0.5, 0.9)
    assert (going.item(), ended.item()) == (1.0 + 0.5 * 10.0 - 0.25, 0.75)


def test_environments_do_not_see_one_another() -> None:
    r = random_rollout(6, 3, 2)
    together, _ = gae(r.reward_T_E, r.value_T_E, r.done_T_E, r.last_value_E, 0.9, 0.95)
    for e in range(3):
        one = slice(e, e + 1)
        alone, _ = gae(r.reward_T_E[:, one], r.value_T_E[:, one], r.done_T_E[:, one], r.last_value_E[one], 0.9, 0.95)
        assert torch.equal(alone, together[:, one])


def test_lambda_1_is_the_discounted_return_and_lambda_0_the_one_step_error() -> None:
    r = random_rollout(4, 1, 3)
    done = torch.zeros(4, 1, dtype=torch.bool)
    _, returns = gae(r.reward_T_E, r.value_T_E, done, r.last_value_E, 0.5, 1.0)
    plain = sum(0.5**t * r.reward_T_E[t, 0] for t in range(4)) + 0.5**4 * r.last_value_E[0]
    assert returns[0, 0].item() == pytest.approx(float(plain), abs=1e-6)
    short, _ = gae(r.reward_T_E, r.value_T_E, done, r.last_value_E, 0.5, 0.0)
    following = torch.cat([r.value_T_E[1:], r.last_value_E[None]])
    torch.testing.assert_close(short, r.reward_T_E + 0.5 * following - r.value_T_E)


def test_normalised_advantages_have_mean_0_and_deviation_1() -> None:
    a = normalise(torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 7 + 3)
    assert abs(a.mean().item()) < 1e-5 and a.std(unbiased=False).item() == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(a.argsort(), normalise(a).argsort())


@pytest.mark.parametrize("n", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize("value", [0.0, 0.1, -1.0, -13.3, 19.7])
def test_constant_advantages_become_zeros(n: int, value: float) -> None:
    """Not the rounding error of their mean, blown up by a deviation that is nothing else."""
    a = normalise(torch.full((n,), value))
    assert a.isfinite().all() and a.abs().max() < 1e-3


def test_the_clip_bounds_normalised_advantages_and_0_means_none() -> None:
    raw = torch.cat([torch.zeros(99), torch.tensor([100.0])])
    free, bound = normalise(raw), normalise(raw, 2.0)
    assert free.max() > 9 and bound.max() == 2.0
    assert torch.equal(bound, free.clamp(-2, 2)) and torch.equal(normalise(raw, 0.0), free)
