"""What a merge reports of itself, and the teacher that must move."""

import pytest
import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge import MergeError, MergeStatistics, dense_deltas, teacher_tensors
from tests.merge.made import checkpoint, same, trained


def statistics_of(
    start: dict[str, Tensor],
    members: list[dict[str, Tensor]],
    last: dict[str, Tensor] | None = None,
    weights: list[float] | None = None,
) -> tuple[dict[str, Tensor], MergeStatistics]:
    statistics = MergeStatistics()
    shares = weights or [1 / len(members)] * len(members)
    deltas = [dense_deltas(start, m) for m in members]
    teacher = dict(teacher_tensors(start, deltas, shares, MergeConfig(), last=last, statistics=statistics))
    return teacher, statistics


def test_figures_of_a_case_worked_out_by_hand() -> None:
    """Deltas (3, 4, 0, 0, 0) and (3, -4, 0, 0, 0) merge to (3, 4, 0, 0, 0): the vote of entry 1 is 0, hence plus."""
    start = {"a": torch.ones(2), "b": torch.ones(3)}
    members = [
        {"a": torch.tensor([4.0, 5.0]), "b": torch.ones(3)},
        {"a": torch.tensor([4.0, -3.0]), "b": torch.ones(3)},
    ]
    statistics = MergeStatistics()
    deltas = [dense_deltas(start, m) for m in members]
    config = MergeConfig(density=1.0)
    dict(teacher_tensors(start, deltas, [0.5, 0.5], config, statistics=statistics))
    figures = statistics.result()
    assert figures == {
        "merge/members": 2,
        "merge/norm": 5,
        "merge/norm_newest": 5,
        "merge/sign_conflicts": 0.5,
        "merge/density": 0.4,
        "merge/cosine_1": pytest.approx(1.0),
        "merge/cosine_2": pytest.approx(-7 / 25),
        "merge/cosine_oldest": pytest.approx(1.0),
        "merge/cosine_newest": pytest.approx(-7 / 25),
        "merge/drift_start": 5,
        "merge/drift_newest": pytest.approx(8),
        "merge/change": 1.0,
    }
    statistics = MergeStatistics()
    dict(teacher_tensors(start, deltas, [0.5, 0.5], MergeConfig(density=1.0, lam=0.5), statistics=statistics))
    assert statistics.result()["merge/drift_start"] == pytest.approx(2.5)
    assert statistics.result()["merge/drift_newest"] == pytest.approx((1.5**2 + 6**2) ** 0.5)
    last = {"a": torch.tensor([4.0, 1.0]), "b": torch.ones(3)}
    statistics = MergeStatistics()
    dict(teacher_tensors(start, deltas, [0.5, 0.5], config, last=last, statistics=statistics))
    assert statistics.result()["merge/change"] == pytest.approx(4 / 5)


def test_the_teacher_changes_with_every_merge_and_a_stale_one_is_an_error() -> None:
    """Invariant 10, the released code's first defect (PAPER.md 6.1.1)."""
    start = checkpoint(1)
    members = trained(start, 3)
    last: dict[str, Tensor] | None = None
    for k in (1, 2, 3):
        teacher, statistics = statistics_of(start, members[:k], last)
        statistics.require_change()
        assert statistics.result()["merge/change"] > 0
        assert last is None or not same(teacher, last)
        last = teacher
    first, _ = statistics_of(start, members[:1])
    _, stale = statistics_of(start, members[:2], first, weights=[1.0, 0.0])
    assert stale.result()["merge/change"] == 0
    with pytest.raises(MergeError, match="equal to the last one although the newest checkpoint is not the one before"):
        stale.require_change()


def test_a_teacher_may_rest_when_the_agent_does() -> None:
    start = checkpoint(1)
    (member,) = trained(start, 1)
    teacher, _ = statistics_of(start, [member])
    again, statistics = statistics_of(start, [member, member], teacher)
    statistics.require_change()
    assert same(again, teacher)
    _, unmoved = statistics_of(start, [start])
    unmoved.require_change()
    assert unmoved.result()["merge/change"] == 0 and unmoved.result()["merge/norm"] == 0


def test_the_smallest_change_is_one() -> None:
    """A step whose square is 0 in fp32 is still a step."""
    start = {"w": torch.zeros(2)}
    members = [{"w": torch.tensor([1e-30, 0.0])}, {"w": torch.tensor([2e-30, 0.0])}]
    first, _ = statistics_of(start, members[:1])
    _, statistics = statistics_of(start, members, first)
    statistics.require_change()
