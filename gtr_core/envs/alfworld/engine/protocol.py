"""What an engine of household games is, and what it says."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class TextState:
    """What an engine says after a command.

    feedback: what the last command said; after `reset` the introduction: the room's receptacles and the task.
    admissible: the commands that have an effect, in the engine's order.
    won: whether the goal holds.
    facts: all that is true, as (predicate, object names ...). Privileged: a picture may use only what was seen.
    """

    feedback: str
    admissible: tuple[str, ...]
    won: bool
    facts: frozenset[tuple[str, ...]]


class Engine(Protocol):
    """One game. `reset` starts it anew; `step` takes a command as text."""

    def reset(self) -> TextState:
        """Put the game to its start."""
        ...

    def step(self, command: str) -> TextState:
        """Carry out a command; one that is not admissible changes nothing."""
        ...

    def close(self) -> None:
        """Free what the engine holds."""
        ...
