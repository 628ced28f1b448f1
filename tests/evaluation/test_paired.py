"""Differences on the same episodes: what the interval knows of deals and seeds that repeat."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.evaluation.paired import paired_difference


def test_the_difference_is_the_mean_over_the_seeds_that_both_have() -> None:
    """Seed 1: 1-0, 0-0; seed 2: 1-1, 1-0. Seed 3 is one's alone."""
    found = paired_difference({1: [1, 0], 2: [1, 1], 3: [1, 1]}, {1: [0, 0], 2: [1, 0]}, ["a", "b"])
    assert found is not None and found.mean == 0.5
    assert (found.seeds, found.deals, found.episodes) == (2, 2, 2)


def test_one_deal_or_one_seed_that_decides_it_all_leaves_zero_inside() -> None:
    """The whole gain is of one deal of two: a resample without that deal shows none."""
    gain = {s: [1.0] * 50 + [0.0] * 50 for s in (1, 2)}
    none = {s: [0.0] * 100 for s in (1, 2)}
    by_deal = paired_difference(gain, none, ["a"] * 50 + ["b"] * 50)
    by_seed = paired_difference({1: [1.0] * 100, 2: [0.0] * 100}, none, list(map(str, range(100))))
    for found in (by_deal, by_seed):
        assert found is not None and (found.low, found.mean, found.high) == (0.0, 0.5, 1.0)


def test_episodes_of_their_own_deals_make_it_as_narrow_as_the_textbook() -> None:
    """400 independent differences of deviation 1: +-1.96 / 20."""
    d = np.random.default_rng(0).normal(0.3, 1.0, 400)
    found = paired_difference({1: d.tolist()}, {1: [0.0] * 400}, [str(i) for i in range(400)])
    assert found is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * d.std() / 20, rel=0.05)


def test_repeats_of_a_deal_add_nothing() -> None:
    """Ten copies of each episode are one episode: the interval stays."""
    d = np.random.default_rng(1).normal(0.0, 1.0, 30)
    once = paired_difference({1: d.tolist()}, {1: [0.0] * 30}, [str(i) for i in range(30)])
    often = paired_difference(
        {1: d.repeat(10).tolist()}, {1: [0.0] * 300}, [str(i) for i in range(30) for _ in range(10)]
    )
    assert once is not None and often is not None
    assert (often.mean, often.low, often.high) == pytest.approx((once.mean, once.low, once.high))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abc")), min_size=1, max_size=20))
def test_it_is_the_same_each_time_and_turns_round_with_its_arms(rows: list[tuple[bool, bool, str]]) -> None:
    a, b, deals = ({1: [float(r[0]) for r in rows]}, {1: [float(r[1]) for r in rows]}, [r[2] for r in rows])
    found, again, turned = (paired_difference(*pair, deals) for pair in ((a, b), (a, b), (b, a)))
    assert found is not None and turned is not None and found == again
    assert found.low <= found.mean + 1e-12 and found.mean - 1e-12 <= found.high
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))


def test_no_seed_in_common_has_no_difference() -> None:
    assert paired_difference({1: [1.0]}, {2: [1.0]}, ["a"]) is None
