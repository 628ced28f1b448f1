"""NumberLine in text: keys `current number`, `target number`, `thoughts`, `action` (PAPER.md 4)."""

from collections.abc import Mapping

from gtr_core.envs.numberline.env import NumberLineEnv
from gtr_core.envs.parser import plain


class NumberLineGame:
    """The adapter of NumberLine; `thoughts` is judged by the one sign it names."""

    keys = ("current number", "target number", "thoughts", "action")

    def __init__(self, env: NumberLineEnv) -> None:
        self._env = env
        self.actions = env.actions

    def prompt(self) -> str:
        """Goal, actions and answer format; the numbers stand in the picture."""
        return (
            "You are playing a game called number line. The picture shows a target and the current number. "
            "Bring the current number to the target: - takes one away, + adds one.\n"
            "Actions: - or +.\n"
            'Answer with one JSON object: {"current number": the current number, "target number": the target, '
            '"thoughts": "which of the two is greater, and so which action", "action": "your action"}'
        )

    def brief(self) -> str:
        """All of the state stands in the picture."""
        return "Reach the target."

    def oracle(self) -> dict[str, object]:
        """Both numbers and the sign that leads from one to the other."""
        env = self._env
        sign = self._sign()
        order = "less" if sign == "+" else "greater"
        return {
            "current number": env.current,
            "target number": env.target,
            "thoughts": f"{env.current} is {order} than {env.target}, so {sign}",
            "action": sign,
        }

    def judge(self, fields: Mapping[str, object]) -> dict[str, bool]:
        """Both numbers read, and the right sign named alone."""
        thoughts = plain(fields.get("thoughts"))
        named = [sign for sign in self.actions if sign in thoughts]
        return {
            "current": plain(fields.get("current number")) == str(self._env.current),
            "target": plain(fields.get("target number")) == str(self._env.target),
            "plan": named == [self._sign()],
        }

    def _sign(self) -> str:
        return "+" if self._env.current < self._env.target else "-"
