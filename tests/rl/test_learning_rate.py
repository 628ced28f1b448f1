"""The learning rate falls over the whole run and never rises again (against PAPER.md 6.1.14)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.config import ConfigError, PPOConfig
from gtr_core.rl.ppo import learning_rate

SCHEDULES = st.sampled_from(["cosine", "linear"])


@given(SCHEDULES, st.integers(1, 80))
def test_it_starts_at_lr_ends_at_lr_final_and_never_rises(schedule: str, updates: int) -> None:
    config = PPOConfig(lr=1e-3, lr_final=1e-6, schedule=schedule)
    rates = [learning_rate(config, u, updates) for u in range(updates)]
    assert rates[0] == pytest.approx(1e-3)
    assert updates == 1 or rates[-1] == pytest.approx(1e-6)
    assert all(later < earlier for earlier, later in pairwise(rates))


@given(SCHEDULES, st.integers(2, 60), st.integers(1, 10))
def test_a_warm_up_rises_in_equal_parts_and_then_it_is_the_plain_schedule(
    schedule: str, updates: int, warmup: int
) -> None:
    plain = PPOConfig(lr=1e-3, lr_final=1e-5, schedule=schedule)
    warm = PPOConfig(lr=1e-3, lr_final=1e-5, schedule=schedule, warmup=warmup)
    for u in range(updates):
        share = min(1.0, (u + 1) / (warmup + 1))
        assert learning_rate(warm, u, updates) == pytest.approx(share * learning_rate(plain, u, updates))


def test_halfway_both_schedules_are_halfway() -> None:
    for schedule in ("cosine", "linear"):
        config = PPOConfig(lr=1.0, lr_final=0.5, schedule=schedule)
        assert learning_rate(config, 5, 11) == pytest.approx(0.75)


def test_thirty_updates_end_at_the_lowest_rate_where_the_released_code_rises_again() -> None:
    config = PPOConfig(lr=1e-5, lr_final=1e-9)
    rates = [learning_rate(config, u, 30) for u in range(30)]
    assert min(rates) == rates[29] and rates[25] > rates[29]


def test_a_final_rate_above_the_first_is_refused() -> None:
    """Else the rate would rise through the whole run."""
    with pytest.raises(ConfigError, match="lr_final"):
        PPOConfig(lr=1e-5, lr_final=1e-3)
