"""Text engines of ALFWorld's household games: one protocol, two implementations of it.

`native` is our own simulator; `textworld` is the original, kept to hold the first to exact parity and for those who
want it. Both play `game.tw-pddl` files.
"""

from pathlib import Path

from gtr_core.config.choices import load
from gtr_core.envs.alfworld.engine.native import NativeEngine
from gtr_core.envs.alfworld.engine.protocol import Engine, TextState
from gtr_core.util.errors import UserError

__all__ = ["ENGINES", "Engine", "TextState", "open_engine"]

ENGINES = ("native", "textworld")


def open_engine(path: Path, engine: str = "native") -> Engine:
    """The engine for a `game.tw-pddl` file. A missing or broken file or an unknown engine is a `UserError`."""
    if engine == "native":
        return NativeEngine.open(path)
    if engine == "textworld":
        opened: Engine = load("gtr_core.envs.alfworld.engine.textworld:TextWorldEngine")(path)
        return opened
    raise UserError(f"there is no ALFWorld engine {engine!r}; choose one of {', '.join(ENGINES)}")
