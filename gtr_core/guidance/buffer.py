"""The DAgger buffer: examples of all iterations so far, from which the update draws uniformly (PAPER.md 1.3)."""

from collections.abc import Iterable

from gtr_core.rollout.types import SFTExample
from gtr_core.seeding.streams import generator


def pooled(stages: Iterable[tuple[int, list[SFTExample]]], capacity: int, seed: int) -> list[SFTExample]:
    """The examples of these iterations, oldest first; of more than `capacity`, a uniform sample without replacement.

    Each example draws a number when it is written, and those with the smallest stay. So every example is as likely to
    stay as any other, old or new; one that has gone stays away while the buffer only grows; and the buffer depends on
    them alone, not on how often the run was stopped. Never more than `capacity` and one iteration are in memory.

    Args:
        stages: (iteration, its examples); read one after the other.
        capacity: how many to keep; 0 = all.
        seed: the run's.
    """
    kept: list[tuple[float, int, int, SFTExample]] = []
    for iteration, examples in stages:
        draws = generator("buffer", seed, iteration).random(len(examples)).tolist()
        kept += [(draw, iteration, i, s) for i, (draw, s) in enumerate(zip(draws, examples, strict=True))]
        if capacity:
            kept = sorted(kept, key=lambda entry: entry[0])[:capacity]
    return [example for _, _, _, example in sorted(kept, key=lambda entry: entry[1:3])]
