"""The original: TextWorld's PDDL environment with ALFWorld's names, behind our protocol."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gtr_core.envs.alfworld.engine.protocol import TextState
from gtr_core.util.errors import UserError


class TextWorldEngine:
    """Plays one game through TextWorld. Slow: every reset translates the PDDL anew, every step parses the grammar."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"there is no ALFWorld game {path}; `gtr alfworld generate` or `download` makes some")
        try:
            import textworld  # type: ignore[import-untyped, import-not-found, unused-ignore]
            from alfworld.agents.environment.alfred_tw_env import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
                AlfredDemangler,
            )
            from textworld.envs import PddlEnv  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError as error:
            raise UserError(f"the engine textworld needs the extra ({error}): pip install -e '.[alfworld]'") from None
        infos = textworld.EnvInfos(won=True, admissible_commands=True, facts=True)
        self._env = AlfredDemangler(PddlEnv(infos), shuffle=False)
        with _argv_kept():
            self._env.load(str(path))

    def reset(self) -> TextState:
        """Put the game to its start."""
        with _argv_kept():
            return _state(self._env.reset())

    def step(self, command: str) -> TextState:
        """Carry out a command; one that is not admissible changes nothing."""
        state, _, _ = self._env.step(command)
        return _state(state)

    def close(self) -> None:
        """Free TextWorld's environment."""
        self._env.close()


def _state(state: Any) -> TextState:
    facts = frozenset(
        (fact.name, *[argument.name.strip() for argument in fact.arguments])
        for fact in state["facts"]
        if not fact.name.startswith(("not_", "new-axiom@"))
    )
    return TextState(state.feedback, tuple(state["admissible_commands"]), bool(state["won"]), facts)


@contextmanager
def _argv_kept() -> Iterator[None]:
    """Fast Downward's translator overwrites the process's arguments."""
    argv = sys.argv
    try:
        yield
    finally:
        sys.argv = argv
