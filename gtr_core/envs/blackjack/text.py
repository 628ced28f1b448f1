"""Blackjack in text: keys `thoughts`, `action` (PAPER.md 4)."""

import re
from collections.abc import Mapping

from gtr_core.envs.blackjack.env import BlackjackEnv, card_value
from gtr_core.envs.blackjack.strategy import best_action, total
from gtr_core.envs.parser import plain


class BlackjackGame:
    """The adapter of Blackjack; the oracle sees what the player sees."""

    keys = ("thoughts", "action")

    def __init__(self, env: BlackjackEnv) -> None:
        self._env = env
        self.actions = env.actions

    def prompt(self) -> str:
        """Rules, actions and answer format; the cards stand in the picture."""
        return (
            "You are a blackjack player. The picture shows the dealer's cards, one of them face down, and yours below. "
            "Get a higher total than the dealer without passing 21; J, Q and K count 10, an ace 1 or 11.\n"
            "Actions: stand or hit.\n"
            'Answer with one JSON object: {"thoughts": "your total, the dealer\'s open card, and so which action", '
            '"action": "your action"}'
        )

    def brief(self) -> str:
        """All of the state stands in the picture."""
        return "Stand or hit?"

    def oracle(self) -> dict[str, object]:
        """The total, the dealer's card, and the action of the higher expectation."""
        action = self._best()
        dealer = card_value(self._env.dealer[0])
        return {"thoughts": f"{self._total()} against {dealer}, so {action}", "action": action}

    def judge(self, fields: Mapping[str, object]) -> dict[str, bool]:
        """The first number of the thoughts is the total, and the one action they name is the best."""
        thoughts = plain(fields.get("thoughts")).lower()
        numbers = re.findall(r"\d+", thoughts)
        named = [action for action in self.actions if re.search(rf"\b{action}\b", thoughts)]
        return {"total": numbers[:1] == [str(self._total())], "plan": named == [self._best()]}

    def _total(self) -> int:
        return total([card_value(card) for card in self._env.player])[0]

    def _best(self) -> str:
        return best_action([card_value(card) for card in self._env.player], card_value(self._env.dealer[0]))
