"""ALFWorld in text: keys `thoughts`, `action` (PAPER.md 4).

The prompt is that of GTR and GTR-Turbo: task, previous actions, admissible actions quoted one a line. An environment
made with `observation="image+text"` adds the scene text, as RL4VLM does.
"""

import re
from collections.abc import Mapping, Sequence

from gtr_core.envs.alfworld.env import ALFWorldEnv, Fallback
from gtr_core.envs.alfworld.memory import NAMES
from gtr_core.envs.parser import plain

PURPOSES = {  # the first command of a plan that changes an object says what the plan is about
    "take": "I need the {kind}",
    "heat": "I need to heat the {kind}",
    "cool": "I need to cool the {kind}",
    "clean": "I need to clean the {kind}",
    "slice": "I need to slice the {kind}",
    "use": "I need the light of the {kind}",
    "move": "I need to bring the {kind} to the {place}",
}


class ALFWorldGame:
    """The adapter of ALFWorld; the actions are the commands that are admissible in the present state."""

    keys = ("thoughts", "action")

    def __init__(self, env: ALFWorldEnv) -> None:
        self._env = env

    @property
    def actions(self) -> Sequence[str]:
        """The admissible commands, in the engine's order."""
        return self._env.admissible

    def command(self, action: int, *, legal: bool) -> str:
        """The command itself, marked where it was drawn for want of a legal one."""
        command = self._env.admissible[action]
        return command if legal else Fallback(command)

    def prompt(self) -> str:
        """Role, answer format, task, scene where text is shown, history, admissible actions."""
        env = self._env
        admissible = "\n".join(f'"{command}"' for command in env.admissible)
        return (
            "You carry out a task in a household, by one action a turn. The picture shows what you have seen so far.\n"
            'Answer with one JSON object: {"thoughts": "what you see and hold, what you need next, and why", '
            '"action": "one of the admissible actions"}\n'
            f"Task: {env.game.task}.\n"
            f"{self._scene()}Previous actions: {history(env.commands)}\n"
            f"Admissible actions:\n{admissible}"
        )

    def brief(self) -> str:
        """The task, the last action and, where text is shown, the scene; the rest stands in the picture."""
        env = self._env
        return f"Task: {env.game.task}.\n{self._scene()}Last action: {history(env.commands[-1:])}"

    def oracle(self) -> dict[str, object] | None:
        """The expert's next command and what it is for."""
        plan = self._env.plan()
        if not plan:
            return None
        return {"thoughts": f"{_purpose(plan)}: next {plan[0]}", "action": plan[0]}

    def judge(self, fields: Mapping[str, object]) -> dict[str, bool]:
        """Whether all things named have been seen, and whether the one action named leads to the goal.

        `objects` is left out where the thought names no thing with its number, `plan` where the expert cannot tell.
        Only a thought that names just one action costs the expert a plan.
        """
        thoughts = plain(fields.get("thoughts")).lower()
        verdict = {}
        things = NAMES.findall(thoughts)
        if things or not thoughts:
            verdict["objects"] = bool(things) and set(things) <= self._env.memory.known
        named = _named(thoughts, self._env.admissible)
        right = self._env.advances(named[0]) if len(named) == 1 else False
        if right is not None:
            verdict["plan"] = right
        return verdict

    def _scene(self) -> str:
        return f"Scene: {' '.join(self._env.state.feedback.split())}\n" if self._env.shows_text else ""


def history(commands: Sequence[str]) -> str:
    """The commands as a quoted list, the oldest first."""
    return "[" + ", ".join(f'"{command}"' for command in commands) + "]"


def _purpose(plan: Sequence[str]) -> str:
    for command in plan:
        words = command.split()
        if words[0] in PURPOSES:
            return PURPOSES[words[0]].format(kind=words[1], place=words[-2])
    return "I need to look around"


def _named(thoughts: str, commands: Sequence[str]) -> list[str]:
    """The commands that a thought names as whole words, without those that are part of a longer one."""
    found = [command for command in commands if re.search(rf"\b{re.escape(command)}\b", thoughts)]
    return [command for command in found if not any(command != other and command in other for other in found)]
