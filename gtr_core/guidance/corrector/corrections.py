"""What a corrector is: it judges the agent's thoughts and writes better ones (GTR, PAPER.md 1.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gtr_core.envs.text import TextEnv
from gtr_core.rollout.types import Rollout


@dataclass(frozen=True)
class Corrections:
    """What a corrector found; turns that are nowhere in it were given up, `skipped` of them."""

    fields: dict[int, Mapping[str, object]]  # by turn: right thought fields in place of the agent's
    right: int  # thoughts that need no example
    skipped: int
    figures: dict[str, float] = field(default_factory=dict)  # of its own: requests, tokens, money


class Corrector(Protocol):
    """Judges thoughts and writes better ones."""

    def __call__(self, rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> Corrections:
        """Judge the turns of `states`, each with its environment as it stood then: look at one before the next."""
        ...
