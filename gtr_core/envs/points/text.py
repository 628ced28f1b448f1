"""Points24 and EZPoints in text: keys `cards`, `formula`, `thoughts`, `action` (PAPER.md 4).

`thoughts` is the plan: a whole formula worth the target that begins with the current one. The released prompts ask for
`current formula` and accept only `formula`; here the key asked for is the key validated.
"""

from collections.abc import Mapping, Sequence

from gtr_core.envs.cards.deals import RANKS
from gtr_core.envs.parser import plain
from gtr_core.envs.points.env import FormulaEnv
from gtr_core.envs.points.formula import FormulaError, evaluate
from gtr_core.envs.points.solver import hand, uses


class PointsGame:
    """The adapter of every formula game."""

    keys = ("cards", "formula", "thoughts", "action")

    def __init__(self, env: FormulaEnv) -> None:
        self._env = env

    @property
    def actions(self) -> Sequence[str]:
        """Numbers, operators and `=`."""
        return self._env.actions

    def prompt(self) -> str:
        """Role, rules, actions, answer format and the current formula."""
        env = self._env
        faces = "J, Q and K count 10" if env.treat_face_cards_as_10 else "J, Q and K count 11, 12 and 13"
        highest = env.actions[-len(env.operators) - 2]
        return (
            f"You are an expert card player. The picture shows {env.n_cards} cards; A counts 1, {faces}. "
            f"Build a formula worth {env.target} that uses the number of every card exactly once, "
            "by one number or operator a turn.\n"
            f"Actions: a number from 1 to {highest}, or one of {' '.join(env.operators)}, or = to end.\n"
            'Answer with one JSON object: {"cards": [the numbers of the cards], "formula": "the current formula", '
            '"thoughts": "the whole formula you plan, beginning with the current one", "action": "your action"}\n'
            f"Current formula: {env.text}"
        )

    def brief(self) -> str:
        """The target and the current formula."""
        return f"Make {self._env.target}. Current formula: {self._env.text}"

    def oracle(self) -> dict[str, object] | None:
        """The solver's plan and its next piece."""
        rest = self._env.continuation()
        if rest is None:
            return None
        return {
            "cards": self._env.numbers,
            "formula": self._env.text,
            "thoughts": self._env.text + "".join(rest),
            "action": rest[0] if rest else "=",
        }

    def judge(self, fields: Mapping[str, object]) -> dict[str, bool]:
        """Cards read, formula read, and, while something still wins, whether the plan does."""
        verdict = {
            "cards": self._reads_cards(fields.get("cards")),
            "formula": _squeeze(fields.get("formula")) == _squeeze(self._env.text),
        }
        if self._env.continuation() is not None:
            verdict["plan"] = self._plan_wins(fields.get("thoughts"))
        return verdict

    def _reads_cards(self, cards: object) -> bool:
        """The right numbers in any order, as numbers, digits or ranks."""
        if not isinstance(cards, list):
            return False
        read = [_read_number(card) for card in cards]
        return hand([self._env.number("S" + RANKS[n - 1]) if 1 <= n <= 13 else 0 for n in read]) == hand(
            self._env.numbers
        )

    def _plan_wins(self, plan: object) -> bool:
        """Worth the target in the game's own arithmetic, all cards used once, beginning with the current formula."""
        text = _squeeze(plan).removesuffix(f"={self._env.target}")
        if not text.startswith(_squeeze(self._env.text)) or not uses(text, self._env.numbers):
            return False
        try:
            return evaluate(text, strict=True, exact=self._env.exact) == self._env.target
        except FormulaError:
            return False


def _squeeze(text: object) -> str:
    return "".join(text.split()) if isinstance(text, str) else "\0"


def _read_number(card: object) -> int:
    text = plain(card).strip().upper()
    if text in RANKS and len(text) == 1:
        return RANKS.index(text) + 1
    return int(text) if text.isdecimal() and len(text) < 4 else 0
