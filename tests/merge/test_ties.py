"""TIES by its algebra and by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.merge.trim import largest, trim
from tests.merge.made import counts, densities, merged, quick, random_taus, random_weights, seeds, shapes


def test_a_case_worked_out_by_hand() -> None:
    """Density .5 of four keeps two; votes .25*4 - .75*3 < 0, .25*2 > 0, .75*2 > 0, nothing."""
    first, second = torch.tensor([4.0, -2.0, 1.0, 0.5]), torch.tensor([-3.0, 1.0, 2.0, -0.5])
    expected = [-3.0, -2.0, 2.0, 0.0]
    assert merged([first, second], [0.25, 0.75], density=0.5).tolist() == expected
    undivided = [-2.25, -0.5, 1.5, 0.0]
    assert merged([first, second], [0.25, 0.75], density=0.5, normalize=False).tolist() == undivided


def test_agreeing_members_are_averaged_by_their_own_weights() -> None:
    """Entry 0: +1 and +3 agree at weights .2 and .3, -1 does not: (.2 + .9) / .5; entry 1: 0 never agrees."""
    taus = [torch.tensor([1.0, 0.0]), torch.tensor([3.0, 2.0]), torch.tensor([-1.0, 4.0])]
    assert merged(taus, [0.2, 0.3, 0.5]).tolist() == pytest.approx([2.2, (0.6 + 2.0) / 0.8])


def test_a_vote_of_exactly_zero_elects_plus() -> None:
    """Invariant 2."""
    assert merged([torch.tensor([1.0]), torch.tensor([-1.0])], [0.5, 0.5]).item() == 1.0


@quick
@given(shapes, counts, seeds)
def test_alike_checkpoints_merge_to_themselves_and_not_to_a_fraction(shape: tuple[int, ...], n: int, seed: int) -> None:
    """Invariant 1; peft's merge of n alike adapters is 1/n of each (PAPER.md 6.1.2)."""
    (tau,) = random_taus(1, shape, seed)
    assert torch.equal(merged([tau], [1.0]), tau)
    torch.testing.assert_close(merged([tau] * n, random_weights(n, seed)), tau)


@quick
@given(shapes, seeds, densities)
def test_trimming_keeps_exactly_the_largest_k(shape: tuple[int, ...], seed: int, density: float) -> None:
    """Invariant 3."""
    (tau,) = random_taus(1, shape, seed)
    kept = trim(tau, density)
    k = max(1, int(density * tau.numel()))
    assert int((kept != 0).sum()) == k
    assert torch.equal(kept[kept != 0], tau[kept != 0])
    left_out = tau[kept == 0].abs()
    assert left_out.numel() == 0 or left_out.max() <= kept[kept != 0].abs().min()


@quick
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_among_entries_of_equal_size_the_earlier_are_kept(values: list[int], k: int) -> None:
    """The documented rule where |tau| ties at the threshold: a stable sort, largest first."""
    k = min(k, len(values))
    expected = sorted(sorted(range(len(values)), key=lambda i: -abs(values[i]))[:k])
    mask = largest(torch.tensor(values, dtype=torch.float32), k)
    assert mask.nonzero().flatten().tolist() == expected


@quick
@given(shapes, counts, seeds, densities)
def test_merged_entries_have_the_elected_sign_and_no_more_than_the_largest_size(
    shape: tuple[int, ...], n: int, seed: int, density: float
) -> None:
    """Invariant 4."""
    taus, weights = random_taus(n, shape, seed), random_weights(n, seed)
    result = merged(taus, weights, density=density)
    vote = sum(w * trim(tau, density) for tau, w in zip(taus, weights, strict=True))
    assert isinstance(vote, torch.Tensor)
    elected = torch.where(vote >= 0, 1.0, -1.0)
    assert bool(((result == 0) | (result.sign() == elected)).all())
    assert bool((result.abs() <= torch.stack(taus).abs().amax(0) * (1 + 1e-6)).all())
    flipped = merged([-tau for tau in taus], weights, density=density)
    assert torch.equal(flipped[vote != 0], -result[vote != 0])


@quick
@given(shapes, counts, seeds, densities, st.sampled_from([0.25, 2.0, 1024.0]))
def test_only_the_ratios_of_weights_count_and_not_the_order_of_members(
    shape: tuple[int, ...], n: int, seed: int, density: float, c: float
) -> None:
    """Invariant 5."""
    taus, weights = random_taus(n, shape, seed), random_weights(n, seed)
    result = merged(taus, weights, density=density)
    torch.testing.assert_close(merged(taus, [c * w for w in weights], density=density), result)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    permuted = merged([taus[i] for i in order], [weights[i] for i in order], density=density)
    torch.testing.assert_close(permuted, result)


@quick
@given(shapes, counts, seeds)
def test_members_of_one_sign_are_averaged(shape: tuple[int, ...], n: int, seed: int) -> None:
    """Invariant 6."""
    taus, weights = [tau.abs() for tau in random_taus(n, shape, seed)], random_weights(n, seed)
    torch.testing.assert_close(merged(taus, weights), merged(taus, weights, "linear"))


@quick
@given(shapes, counts, densities)
def test_where_nothing_moved_nothing_is_merged(shape: tuple[int, ...], n: int, density: float) -> None:
    """Invariant 7."""
    assert not merged([torch.zeros(shape)] * n, [1.0] * n, density=density).any()


def test_a_tensor_of_more_than_sixteen_million_entries_is_trimmed() -> None:
    """torch.quantile, which others use for the threshold, refuses it."""
    tau = torch.arange(1, 2**24 + 2, dtype=torch.int32).float()  # 2^24 + 1 rounds to 2^24: a tie at the top
    kept = trim(tau, 0.001)
    assert int((kept != 0).sum()) == int(0.001 * tau.numel())
    assert bool((kept[-100:] == tau[-100:]).all())
