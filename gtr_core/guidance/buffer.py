"""The DAgger buffer: lessons of all iterations so far, from which the update draws uniformly (PAPER.md 1.3)."""

from collections.abc import Iterable

from gtr_core.rollout.types import Lesson
from gtr_core.seeding.streams import generator


def pooled(stages: Iterable[tuple[int, list[Lesson]]], capacity: int, seed: int) -> list[Lesson]:
    """The lessons of the given iterations, oldest first; of more than `capacity`, a uniform sample without replacement.

    Each lesson draws a number when it is written, and those with the smallest stay. So every lesson is as likely to
    stay as any other, old or new; one that has gone stays away while the buffer only grows; and the buffer depends on
    its lessons alone, not on how often the run was stopped. Never more than `capacity` and one iteration are in memory.

    Args:
        stages: (iteration, its lessons); read one after the other.
        capacity: how many to keep; 0 = all.
        seed: the run's.
    """
    kept: list[tuple[float, int, int, Lesson]] = []
    for iteration, lessons in stages:
        draws = generator("buffer", seed, iteration).random(len(lessons)).tolist()
        kept += [(draw, iteration, i, s) for i, (draw, s) in enumerate(zip(draws, lessons, strict=True))]
        if capacity:
            kept = sorted(kept, key=lambda entry: entry[0])[:capacity]
    return [lesson for _, _, _, lesson in sorted(kept, key=lambda entry: entry[1:3])]
