"""What a step pays and when an episode ends (PAPER.md 3.8, invariant 39)."""

from collections.abc import Sequence
from dataclasses import dataclass

WON = 50.0
ILLEGAL = -1.0
CUT = -3.0
GOAL_CONDITION = ("every_step", "on_change", "off")


@dataclass(frozen=True)
class Rules:
    """The rules, each of which can be switched; the defaults are those of GTR and GTR-Turbo.

    Attributes:
        max_steps: an episode is truncated with so many steps; `gymnasium.make` cuts it at 300 in any case.
        goal_condition: how the share of goal conditions that hold is paid: in full `every_step` as the released code
            does, by what it rose or fell `on_change`, or `off`.
        action_limit: one action more than so many is cut off with -3; None for no such limit.
        repeat_limit: the same action so many times in a row is cut off with -3; None for no such limit.
    """

    max_steps: int = 50
    goal_condition: str = "every_step"
    action_limit: int | None = 40
    repeat_limit: int | None = 5

    def __post_init__(self) -> None:
        if self.goal_condition not in GOAL_CONDITION:
            choices = ", ".join(GOAL_CONDITION)
            raise ValueError(f"goal_condition={self.goal_condition!r} is not known: choose one of {choices}")
        for name in ("max_steps", "action_limit", "repeat_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} is out of range: it must be at least 1")

    def cut_off(self, commands: Sequence[str]) -> bool:
        """Whether the episode's commands so far end it with the penalty."""
        last = commands[-(self.repeat_limit or 0) :] if self.repeat_limit else ()
        repeats = bool(last) and len(last) == self.repeat_limit and len(set(last)) == 1
        return repeats or (self.action_limit is not None and len(commands) > self.action_limit)

    def reward(
        self, *, won: bool, legal: bool, goal_condition: float, before: float, commands: Sequence[str]
    ) -> tuple[float, bool]:
        """The reward of the last command, and whether it truncates the episode.

        reward = 50 [won] + goal condition - 1 [illegal], overwritten by -3 where the commands are cut off, as the
        released code does it: a game won by the 41st action is won and pays -3.

        Args:
            won: the goal holds now.
            legal: the command was one of the admissible ones and was the agent's own.
            goal_condition: the share 0..1 of goal conditions that hold now.
            before: the same before the command.
            commands: all commands of the episode, the last one included.
        """
        if self.cut_off(commands):
            return CUT, True
        share = {"every_step": goal_condition, "on_change": goal_condition - before, "off": 0.0}[self.goal_condition]
        return WON * won + share + ILLEGAL * (not legal), not won and len(commands) >= self.max_steps
