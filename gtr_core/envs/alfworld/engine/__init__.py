"""Text engines of ALFWorld's household games: one protocol, two implementations of it.

`native` is our own simulator; `textworld` is the original, kept to hold the first to exact parity and for those who
want it. Both play `game.tw-pddl` files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gtr_core.config.choices import load
from gtr_core.util.errors import UserError

ENGINES = ("native", "textworld")


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


def open_engine(path: Path, engine: str = "native") -> Engine:
    """The engine for a `game.tw-pddl` file. A missing or broken file or an unknown engine is a `UserError`."""
    if engine == "native":
        from gtr_core.envs.alfworld.engine.native import NativeEngine

        return NativeEngine.open(path)
    if engine == "textworld":
        opened: Engine = load("gtr_core.envs.alfworld.engine.textworld:TextWorldEngine")(path)
        return opened
    raise UserError(f"there is no ALFWorld engine {engine!r}; choose one of {', '.join(ENGINES)}")
