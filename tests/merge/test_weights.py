"""SMA, EMA, explicit weights, and the incremental mode, which is another teacher."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.config import ConfigError, MergeConfig
from gtr_core.merge import ema, full_buffer_weights, incremental_weights, sma
from tests.merge.made import merged, quick, random_taus, seeds

alphas = st.floats(0.01, 1.0)
counts = st.integers(1, 12)


@quick
@given(counts)
def test_sma_is_equal_shares(n: int) -> None:
    """Invariant 9."""
    assert sma(n) == [1 / n] * n and sma(1) == [1.0]


@quick
@given(counts, alphas)
def test_ema_is_the_unrolled_recursion_and_sums_to_one(n: int, alpha: float) -> None:
    """Invariant 9; each checkpoint is the basis vector of its number, so that the recursion's value is its weights."""
    recursion = torch.eye(n, dtype=torch.float64)[0]
    for k in range(1, n):
        recursion = alpha * torch.eye(n, dtype=torch.float64)[k] + (1 - alpha) * recursion
    assert ema(n, alpha) == pytest.approx(recursion.tolist())
    assert sum(ema(n, alpha)) == pytest.approx(1.0)


def test_emas_ends() -> None:
    """Invariant 9: alpha 1 is the newest alone, alpha towards 0 the first, one checkpoint counts 1."""
    assert ema(4, 1.0) == [0, 0, 0, 1]
    assert ema(4, 1e-9) == pytest.approx([1, 0, 0, 0], abs=1e-8)
    assert ema(1, 0.3) == [1.0]
    assert ema(3, 0.5) == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.1, float("nan")])
def test_an_alpha_out_of_range_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        ema(3, bad)
    with pytest.raises(ValueError, match="at least one"):
        sma(0)


def test_explicit_weights_are_the_newest_checkpoints_while_there_are_few() -> None:
    config = MergeConfig(weights="explicit", explicit=[0.1, 0.2, 0.7], window=3)
    assert [full_buffer_weights(config, n) for n in (1, 2, 3)] == [[0.7], [0.2, 0.7], [0.1, 0.2, 0.7]]
    assert full_buffer_weights(MergeConfig(), 4) == sma(4)
    assert full_buffer_weights(MergeConfig(weights="ema", ema_alpha=0.3), 4) == ema(4, 0.3)


@pytest.mark.parametrize("weights", ["sma", "ema"])
@quick
@given(seeds, st.integers(1, 6))
def test_a_linear_merge_made_step_by_step_is_the_one_made_anew(weights: str, seed: int, n: int) -> None:
    config, taus = MergeConfig(weights=weights, ema_alpha=0.3), random_taus(n, (5, 6), seed)
    torch.testing.assert_close(step_by_step(config, taus, "linear"), anew(config, taus, "linear"))


@pytest.mark.parametrize("weights", ["sma", "ema"])
def test_ties_made_step_by_step_is_another_teacher(weights: str) -> None:
    """Invariant 12: the modes have two names because they have two results."""
    config, taus = MergeConfig(weights=weights), random_taus(5, (40, 40), seed=2)
    one, other = step_by_step(config, taus, "ties"), anew(config, taus, "ties")
    cosine = torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0).item()
    assert cosine < 0.95
    assert MergeConfig().mode == "full_buffer"
    with pytest.raises(ConfigError, match="full_buffer, incremental"):
        MergeConfig(mode="recursive")


def step_by_step(config: MergeConfig, taus: list[torch.Tensor], method: str) -> torch.Tensor:
    teacher = taus[0]
    for merges, tau in enumerate(taus[1:], 2):
        teacher = merged([teacher, tau], incremental_weights(config, merges), method, density=0.8)
    return teacher


def anew(config: MergeConfig, taus: list[torch.Tensor], method: str) -> torch.Tensor:
    return merged(taus, full_buffer_weights(config, len(taus)), method, density=0.8)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": "explicit"}, "set both or neither"),
        ({"explicit": [1.0], "window": 1}, "set both or neither"),
        ({"weights": "explicit", "explicit": [0.5, 0.5]}, "set merge.window=2"),
        ({"weights": "explicit", "explicit": [0.5, 0.0], "window": 2}, "newest checkpoint's"),
        ({"weights": "explicit", "explicit": [-0.5, 1.0], "window": 2}, "at least 0"),
        ({"weights": "sme"}, "did you mean 'sma'"),
        ({"window": -1}, "at least 0"),
        ({"lam": 0.0}, "above 0"),
        ({"gamma": 1.5}, "at most 1"),
        ({"method": "della", "density": 0.9}, "below 0.1"),
        ({"method": "dare_tie"}, "did you mean 'dare_ties'"),
        ({"mode": "incremental", "window": 3}, "keeps no buffer"),
        ({"mode": "incremental", "method": "greedy_soup"}, "keeps no buffer"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        MergeConfig(**settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
