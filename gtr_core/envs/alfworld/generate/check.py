"""The proof that a game can be won: TextWorld's planner finds a plan, and the walkthrough, played, reaches the goal."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gtr_core.envs.alfworld.generate.problem import pddl_problem
from gtr_core.envs.alfworld.generate.scene import Scene
from gtr_core.envs.alfworld.generate.shipped import INSTALL, shipped
from gtr_core.envs.alfworld.generate.tasks import CHANGES, LAMP, Task
from gtr_core.envs.alfworld.generate.walkthrough import called
from gtr_core.util.errors import UserError


class NotWinnable(Exception):  # noqa: N818 - named for the condition
    """A game is already won, has no plan, or is not won by its walkthrough; the text says which."""


def check(scene: Scene, task: Task, walkthrough: Sequence[str]) -> None:
    """Return when the planner finds a plan and the walkthrough wins; about a second.

    Raises:
        NotWinnable: the game cannot be won so.
        UserError: TextWorld or its planner is not installed.
    """
    planner = _Planner()
    if not planner.finds_plan(pddl_problem("needed", _needed(scene, task), task)):
        raise NotWinnable("the planner finds no plan")
    planner.load(pddl_problem("full", scene, task), called(scene))
    if planner.won():
        raise NotWinnable("the goal holds before the first command")
    for command in walkthrough:
        if not planner.act(command):
            raise NotWinnable(f"the walkthrough's '{command}' is not possible")
    if not planner.won():
        raise NotWinnable("the walkthrough does not reach the goal")


def _needed(scene: Scene, task: Task) -> Scene:
    """The scene with only what the goal speaks of and where that lies.

    Nothing stands in anything's way, so a plan here is one for the full room as well, where the search would take
    from seconds to many minutes.
    """
    things = tuple(thing for thing in scene.things if thing.type in (task.object, LAMP))
    holders = {thing.receptacle for thing in things}
    first = {receptacle.type: receptacle for receptacle in reversed(scene.room.receptacles)}
    uses = {task.goal, CHANGES[task.type][1]} if task.type in CHANGES else {task.goal}
    holders |= {first[kind] for kind in uses & first.keys()}
    furniture = tuple(receptacle for receptacle in scene.room.receptacles if receptacle in holders)
    return replace(scene, things=things, room=replace(scene.room, receptacles=furniture))


class _Planner:
    """Fast Downward as TextWorld ships it: a search for plans, and a state that operators change."""

    def __init__(self) -> None:
        try:
            import fast_downward  # type: ignore
            from textworld.envs.pddl.logic import GameLogic  # type: ignore
        except ImportError:
            raise UserError(f"checking games needs TextWorld's planner: {INSTALL} installs it.") from None
        self._downward = fast_downward
        self._library = fast_downward.load_lib()
        actions = GameLogic(domain=shipped().domain, grammar=shipped().grammar).actions
        self._templates: dict[str, str] = {name: action.template for name, action in actions.items()}
        self._templates["gotolocation"] = "go to {r}"  # the grammar's own is a rule, not a template

    def finds_plan(self, problem: str) -> bool:
        _, sas = self._translate(problem, optimize=True)
        return bool(self._library.solve_sas(sas.encode(), False))

    def load(self, problem: str, names: Mapping[str, str]) -> None:
        """Stand at the start of the problem, whose things are called so."""
        task, sas = self._translate(problem, optimize=False)
        self._library.load_sas(sas.encode())
        self._slots = {action.name: [slot.name.strip("?") for slot in action.parameters] for action in task.actions}
        self._names = names

    def won(self) -> bool:
        return bool(self._library.check_goal())

    def act(self, command: str) -> bool:
        """Do what the command says; whether that is possible."""
        operators = (self._downward.Operator * self._library.get_applicable_operators_count())()
        self._library.get_applicable_operators(operators)
        for operator in operators:
            if self._command(operator.name) == command:
                self._library.apply_operator(operator.id, (self._downward.Atom * operator.nb_effect_atoms)())
                return True
        return False

    def _command(self, operator: str) -> str:
        name, *arguments = operator.split()
        entities = (self._names.get(argument, argument) for argument in arguments)
        slots = self._slots[name][: len(arguments)]  # what a precondition says exists is a slot too, without argument
        return self._templates[name].format(**dict(zip(slots, entities, strict=True)))

    def _translate(self, problem: str, *, optimize: bool) -> tuple[Any, str]:
        arguments = sys.argv
        try:
            task, sas = self._downward.pddl2sas(shipped().domain, problem, optimize=optimize)
        finally:
            sys.argv = arguments  # the translator sets its own
        return task, str(sas)
