"""The proof that a game can be won: TextWorld's planner finds a plan, and the walkthrough, played, reaches the goal."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gtr_core.envs.alfworld.generate.problem import pddl_problem
from gtr_core.envs.alfworld.generate.scene import Scene
from gtr_core.envs.alfworld.generate.shipped import INSTALL, shipped
from gtr_core.envs.alfworld.generate.tasks import LAMP, Task
from gtr_core.envs.alfworld.generate.walkthrough import names
from gtr_core.errors import UserError


class NotWinnable(Exception):  # noqa: N818 - named for the condition
    """A game is already won, has no plan, or is not won by its walkthrough; the text says which."""


def check(scene: Scene, task: Task, walkthrough: Sequence[str]) -> None:
    """Return when the planner finds a plan and the walkthrough wins; half a second to a second and a half.

    The planner searches the room with only the things that the goal speaks of. Things never stand in one another's
    way, so its plan is one for the full room as well, where the search would take from seconds to many minutes.

    Raises:
        NotWinnable: the game cannot be won so.
        UserError: TextWorld or its planner is not installed.
    """
    planner = _Planner()
    needed = tuple(thing for thing in scene.things if thing.type in (task.object, LAMP))
    if not planner.finds_plan(pddl_problem("needed", replace(scene, things=needed), task)):
        raise NotWinnable("the planner finds no plan")
    state = planner.state(pddl_problem("full", scene, task))
    called = names(variable.name for fact in state.facts for variable in fact.arguments)
    if state.check_goal():
        raise NotWinnable("the goal holds before the first command")
    for command in walkthrough:
        actions = {_command(action, called): action for action in state.all_applicable_actions()}
        if command not in actions:
            raise NotWinnable(f"the walkthrough's '{command}' is not possible")
        state.apply(actions[command])
    if not state.check_goal():
        raise NotWinnable("the walkthrough does not reach the goal")


class _Planner:
    """TextWorld's planner and simulator of PDDL, without its text."""

    def __init__(self) -> None:
        try:
            import fast_downward  # type: ignore
            from textworld.envs.pddl.logic import GameLogic, PddlState  # type: ignore
        except ImportError:
            raise UserError(f"checking games needs TextWorld's planner: {INSTALL} installs it.") from None
        self._library = fast_downward.load_lib()
        self._logic = GameLogic(domain=shipped().domain, grammar=shipped().grammar)
        self._load = PddlState

    def finds_plan(self, problem: str) -> bool:
        self.state(problem)
        return bool(self._library.replan(False))

    def state(self, problem: str) -> Any:
        """A state at the problem's start; the last one is the one that can be played."""
        arguments = sys.argv
        try:
            return self._load(self._library, problem, self._logic)
        finally:
            sys.argv = arguments  # the planner's translator sets its own


def _command(action: Any, called: Mapping[str, str]) -> str:
    template = "go to {r}" if action.name == "gotolocation" else action.command_template  # that one's is a grammar's
    return str(template.format(**{slot.name: called[variable.name] for slot, variable in action.mapping.items()}))
