"""The greedy soup (arXiv 2203.05482): a mean of those members that raise a score on validation episodes."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Member = TypeVar("Member")


def greedy_soup(members: Sequence[Member], score: Callable[[Sequence[Member]], float]) -> list[Member]:
    """The members whose mean is to be the teacher, in the order given.

    They are tried from the best alone to the worst, the newer first among equals; the best is kept, and each other one
    while the mean of all kept with it scores strictly higher than without.

    Args:
        members: checkpoints, oldest first.
        score: of the mean of some of them, higher is better; called 2n - 1 times.
    """
    if not members:
        raise ValueError("a soup needs at least one checkpoint")
    alone = [score([member]) for member in members]
    first, *others = sorted(range(len(members)), key=lambda i: (alone[i], i), reverse=True)
    kept, best = [first], alone[first]
    for i in others:
        trial = sorted([*kept, i])
        reached = score([members[j] for j in trial])
        if reached > best:
            kept, best = trial, reached
    return [members[j] for j in kept]
