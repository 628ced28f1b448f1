"""The DAgger buffer: it grows, is bounded on request, and forgets without favour."""

import numpy as np
import pytest

from gtr_core.guidance.buffer import pooled
from gtr_core.rollout.types import SFTExample

IMAGE = np.zeros((2, 2, 3), np.uint8)
Stage = tuple[int, list[SFTExample]]


def stages(count: int, each: int = 10) -> list[Stage]:
    return [(k, [SFTExample(IMAGE, f"{k}.{i}", [1], 1) for i in range(each)]) for k in range(1, count + 1)]


def names(examples: list[SFTExample]) -> list[str]:
    return [s.prompt for s in examples]


def test_without_a_bound_it_only_grows() -> None:
    """PAPER.md, invariant 30: every example of every iteration, in order."""
    for count in range(1, 5):
        assert names(pooled(stages(count), 0, 1)) == [f"{k}.{i}" for k in range(1, count + 1) for i in range(10)]
    assert names(pooled(stages(2), 20, 1)) == names(pooled(stages(2), 0, 1))


def test_an_example_that_was_dropped_stays_away() -> None:
    """So the buffer is one and the same reservoir through the run, not a new sample at each update."""
    gone: set[str] = set()
    for count in range(1, 9):
        kept = set(names(pooled(stages(count), 12, 1)))
        assert len(kept) == min(12, 10 * count) and not kept & gone
        gone |= {f"{k}.{i}" for k in range(1, count + 1) for i in range(10)} - kept


def test_old_and_new_examples_are_kept_alike() -> None:
    """PAPER.md, invariant 30: sampling covers old updates. Over 400 seeds each iteration holds its eighth."""
    counts = np.zeros(8)
    for seed in range(400):
        for name in names(pooled(stages(8), 16, seed)):
            counts[int(name.split(".")[0]) - 1] += 1
    assert counts.sum() == 400 * 16
    expected, deviation = 400 * 2, (400 * 2) ** 0.5
    assert (abs(counts - expected) < 4.5 * deviation).all()


def test_it_depends_on_seed_and_examples_alone() -> None:
    """A resumed run reads the same buffer."""
    assert names(pooled(stages(6), 20, 1)) == names(pooled(iter(stages(6)), 20, 1))
    assert names(pooled(stages(6), 20, 1)) != names(pooled(stages(6), 20, 2))


@pytest.mark.parametrize("capacity", [0, 5])
def test_nothing_taught_is_an_empty_buffer(capacity: int) -> None:
    assert pooled([], capacity, 1) == [] and pooled([(1, []), (2, [])], capacity, 1) == []
