"""Members are kept only while they raise the score."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.merge import greedy_soup
from tests.merge.made import quick


def test_a_member_that_does_not_help_is_left_out() -> None:
    """Distance of the mean to 4: alone 4 is best, and each of the others, nearest first, makes it worse."""
    tried: list[list[int]] = []

    def score(members: Sequence[int]) -> float:
        tried.append(list(members))
        return -abs(sum(members) / len(members) - 4)

    assert greedy_soup([3, 4, 9, 7], score) == [4]
    assert tried == [[3], [4], [9], [7], [3, 4], [4, 7], [4, 9]]


def test_members_that_help_together_are_kept_in_their_order() -> None:
    """Distance to 5: 1 of 4 alone, 1/2 with 7, 1/3 with 3 as well, and 3/4 with 9, which is left out."""
    assert greedy_soup([3, 4, 9, 7], lambda some: -abs(sum(some) / len(some) - 5)) == [3, 4, 7]


def test_equal_scores_keep_the_newest_alone() -> None:
    assert greedy_soup(["a", "b", "c"], lambda some: 0.5) == ["c"]
    assert greedy_soup(["a"], lambda some: 0.0) == ["a"]
    with pytest.raises(ValueError, match="at least one"):
        greedy_soup([], lambda some: 0.0)


@quick
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_the_soup_is_never_worse_than_the_best_member(values: list[float]) -> None:
    def score(members: Sequence[float]) -> float:
        return -abs(sum(members) / len(members) - 1)

    soup = greedy_soup(values, score)
    assert score(soup) >= max(score([v]) for v in values)
