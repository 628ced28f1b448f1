"""The other methods: by hand, and by what each promises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.config import MERGE_METHODS
from gtr_core.merge import MergeError
from gtr_core.merge.della import keep_chance
from tests.merge.made import (
    EXACT,
    MERGE_FUNCTIONS,
    RANDOM,
    counts,
    merged,
    quick,
    random_taus,
    random_weights,
    seeds,
    shapes,
)

SUMS = ("linear", "task_arithmetic", "dare_linear", "breadcrumbs")
A, B = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0])


def test_every_name_of_the_configuration_is_a_method() -> None:
    assert {*MERGE_FUNCTIONS, "greedy_soup"} == set(MERGE_METHODS) == {*EXACT, *RANDOM, "greedy_soup"}


@pytest.mark.parametrize("method", MERGE_FUNCTIONS)
@quick
@given(shapes, counts, seeds)
def test_alike_checkpoints_merge_to_themselves(method: str, shape: tuple[int, ...], n: int, seed: int) -> None:
    """Invariant 1, for every method at density 1 (gamma 0 is implied there)."""
    (tau,) = random_taus(1, shape, seed)
    torch.testing.assert_close(merged([tau] * n, random_weights(n, seed), method), tau)


@pytest.mark.parametrize("method", MERGE_FUNCTIONS)
@quick
@given(shapes, counts, seeds, st.sampled_from([0.5, 4.0]))
def test_only_the_ratios_of_normalised_weights_count(
    method: str, shape: tuple[int, ...], n: int, seed: int, c: float
) -> None:
    """Invariant 5."""
    taus, weights = random_taus(n, shape, seed), random_weights(n, seed)
    result = merged(taus, weights, method, density=0.5)
    torch.testing.assert_close(merged(taus, [c * w for w in weights], method, density=0.5), result)


@pytest.mark.parametrize("method", sorted(set(EXACT) - {"slerp"}))
@quick
@given(shapes, counts, seeds)
def test_the_order_of_members_does_not_count(method: str, shape: tuple[int, ...], n: int, seed: int) -> None:
    """Invariant 5; slerp of more than two depends on it, and random masks belong to a place in the list."""
    taus, weights = random_taus(n, shape, seed), random_weights(n, seed)
    backwards = merged(taus[::-1], weights[::-1], method, density=0.5)
    torch.testing.assert_close(backwards, merged(taus, weights, method, density=0.5))


@pytest.mark.parametrize("method", SUMS)
def test_sums_are_divided_by_the_weights_only_when_asked(method: str) -> None:
    assert merged([A, B], [0.5, 1.5], method).tolist() == [0.75, 0.75]
    assert merged([A, B], [0.5, 1.5], method, normalize=False).tolist() == [1.5, 1.5]


def test_slerp_goes_along_the_arc() -> None:
    """Perpendicular vectors at the middle: each counts sin(45 deg); at a third: sin(60 deg) and sin(30 deg)."""
    assert merged([A, B], [1.0, 1.0], "slerp").tolist() == pytest.approx([3 * math.sqrt(0.5), math.sqrt(0.5)])
    third = merged([A, B], [2.0, 1.0], "slerp").tolist()
    assert third == pytest.approx([3 * math.sin(math.pi / 3), math.sin(math.pi / 6)])


@quick
@given(seeds, st.floats(0.05, 0.95))
def test_slerp_keeps_the_length_of_vectors_of_one_length(seed: int, t: float) -> None:
    a, b = (tau / tau.norm() for tau in random_taus(2, (6, 5), seed))
    middle = merged([a, b], [1 - t, t], "slerp")
    assert middle.norm().item() == pytest.approx(1.0, abs=1e-5)
    backwards = merged([b, a], [t, 1 - t], "slerp")
    torch.testing.assert_close(backwards, middle)


def test_slerp_of_more_than_two_is_folded_from_the_oldest() -> None:
    first, second, third = random_taus(3, (4, 4), seed=1)
    pair = merged([first, second], [0.2, 0.3], "slerp")
    folded = merged([pair, third], [0.5, 0.5], "slerp")
    torch.testing.assert_close(merged([first, second, third], [0.2, 0.3, 0.5], "slerp"), folded)


@pytest.mark.parametrize("other", [2 * A, -A, torch.zeros(2)])
def test_slerp_of_parallel_opposite_or_zero_vectors_is_a_straight_line(other: torch.Tensor) -> None:
    assert torch.equal(merged([A, other], [0.75, 0.25], "slerp"), 0.75 * A + 0.25 * other)


def test_slerp_refuses_weights_with_which_it_cannot_start() -> None:
    with pytest.raises(MergeError, match="running sum is not 0"):
        merged([A, B, A], [0.0, 0.0, 1.0], "slerp")


@pytest.mark.parametrize("method", RANDOM)
def test_random_drops_leave_the_expectation(method: str) -> None:
    """Each kept entry is divided by its chance; 40,000 equal ones have a mean within 5 standard deviations."""
    tau = torch.ones(200, 200)
    result = merged([tau], [1.0], method, density=0.5)
    assert result.mean().item() == pytest.approx(1.0, abs=5 / 200)
    assert 0.45 < (result != 0).float().mean().item() < 0.55


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties"])
def test_dare_keeps_an_entry_whole_or_not_at_all(method: str) -> None:
    (tau,) = random_taus(1, (30, 20), seed=3)
    result = merged([tau], [1.0], method, density=0.25)
    torch.testing.assert_close(result[result != 0], 4 * tau[result != 0])


@pytest.mark.parametrize("method", RANDOM)
def test_members_have_masks_of_their_own(method: str) -> None:
    """Two alike members under one mask would leave as many zeros as one does: half, and not a quarter."""
    tau = torch.ones(100, 100)
    zeros = (merged([tau, tau], [0.5, 0.5], method, density=0.5) == 0).float().mean().item()
    assert 0.2 < zeros < 0.3


def test_dellas_chance_grows_with_the_rank_in_a_row() -> None:
    chance = keep_chance(torch.tensor([[3.0, -1.0, 2.0], [-5.0, 40.0, 0.0]]), density=0.5, epsilon=0.2)
    assert chance.tolist() == [pytest.approx([0.7, 0.3, 0.5]), pytest.approx([0.5, 0.7, 0.3])]
    assert keep_chance(torch.tensor([2.0, 1.0]), 0.5, 0.2).tolist() == pytest.approx([0.7, 0.3])
    assert keep_chance(torch.tensor(1.0), 0.5, 0.2).item() == 0.5


def test_della_keeps_large_entries_more_often() -> None:
    tau = torch.linspace(1, 2, 4000)
    kept = merged([tau], [1.0], "della", density=0.5, epsilon=0.4) != 0
    assert kept[:1000].float().mean() < 0.3
    assert kept[-1000:].float().mean() > 0.7


def test_breadcrumbs_drops_the_largest_and_the_smallest() -> None:
    """Ten entries, gamma .2 and density .5: the two largest and the three smallest go."""
    tau = torch.tensor([1.0, -10, 2, -9, 3, -8, 4, -7, 5, -6])
    result = merged([tau], [1.0], "breadcrumbs", density=0.5, gamma=0.2)
    assert result.tolist() == [0, 0, 0, 0, 0, -8, 4, -7, 5, -6]
    crowded = merged([tau], [1.0], "breadcrumbs", density=0.9, gamma=0.2)
    assert (crowded == 0).nonzero().flatten().tolist() == [1], "the density holds and fewer outliers go"


def test_model_stocks_share_follows_from_the_angle() -> None:
    """Two at 60 degrees: t = 2 * .5 / 1.5 = 2/3; perpendicular or opposed: the start; parallel: the mean."""
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.5, math.sqrt(0.75)])
    torch.testing.assert_close(merged([a, b], [0.9, 0.1], "model_stock"), 2 / 3 * (a + b) / 2)
    assert not merged([A, B], [0.5, 0.5], "model_stock").any()
    assert not merged([A, -2 * A], [0.5, 0.5], "model_stock").any()
    torch.testing.assert_close(merged([A, 3 * A], [0.5, 0.5], "model_stock"), 2 * A)


@pytest.mark.parametrize("method", RANDOM)
def test_a_mask_is_that_of_its_stream_and_nothing_else(method: str) -> None:
    (tau,) = random_taus(1, (20, 20), seed=1)
    first = merged([tau], [1.0], method, density=0.5)
    torch.rand(3)  # of the global stream
    assert torch.equal(merged([tau], [1.0], method, density=0.5), first)
