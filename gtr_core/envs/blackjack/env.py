"""Blackjack against a dealer, from an infinite deck (PAPER.md 3.4)."""

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from gtr_core.envs.blackjack.image import blackjack_picture, blackjack_shape
from gtr_core.envs.blackjack.strategy import total
from gtr_core.envs.cards.deals import RANKS, card_name, card_rank, check_split, draw, draw_suit, partition
from gtr_core.envs.drawing.glyphs import Picture

FACES = (11, 12, 13)  # the reference draws every card worth ten as J, Q or K
Deal = tuple[int, tuple[int, ...]]  # the dealer's open card and the player's sorted pair, by value


def card_value(name: str) -> int:
    """What a card counts; an ace counts 1 until it may count 11."""
    return min(card_rank(name), 10)


class BlackjackEnv(gymnasium.Env[Picture, int]):  # type: ignore[misc]
    """Actions `stand` and `hit`. The dealer draws to 17; a higher total wins 1, a lower one or more than 21 loses 1.

    `info` shows what the player sees; the dealer's hidden card stands only in `info["privileged"]`, for oracles.

    Args:
        natural: accepted as in the reference, where the bonus of a natural never fires.
        sab: likewise.
        split: deal only openings (dealer's open card, player's pair) of this split; None deals all.
        layout: `reference` (300 by 300) or `compact` (28-pixel cells).
        render_mode: `rgb_array` or None; the observation is the picture in both.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    actions = ("stand", "hit")

    def __init__(
        self,
        *,
        natural: bool = False,
        sab: bool = False,
        split: str | None = None,
        layout: str = "reference",
        render_mode: str | None = None,
    ) -> None:
        check_split(split)
        self.natural = natural
        self.sab = sab
        self.split = split
        self.layout = layout
        self.render_mode = render_mode
        self.dealer: list[str] = []
        self.player: list[str] = []
        self.over = False
        self._deck: list[str] = []
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))
        self.observation_space = gymnasium.spaces.Box(0, 255, blackjack_shape(layout), np.uint8)

    @property
    def seen(self) -> list[str]:
        """The dealer's cards as the player sees them: the second stays face down until the end."""
        return list(self.dealer) if self.over else [self.dealer[0], "?"]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """Deal. `options={"deck": ["HQ", "D4", …]}` forces cards: dealer's two, player's two, then the draws."""
        super().reset(seed=seed)
        self._deck = list((options or {}).get("deck", ()))
        if self._deck:
            opening = tuple(self._card() for _ in range(4))
        else:
            splits = self._openings() if self.split is not None else {}
            opening = draw(
                lambda: tuple(self._card() for _ in range(4)),
                lambda cards: splits.get(_deal(cards)) == self.split,
            )
        self.dealer, self.player = list(opening[:2]), list(opening[2:])
        self.over = False
        return self.render(), self._info(won=False)

    def step(self, action: int) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        """Take a card, or let the dealer draw and compare."""
        reward = 0.0
        if self.actions[action] == "hit":
            self.player.append(self._card())
            if self._worth(self.player) > 21:
                reward, self.over = -1.0, True
        else:
            while self._worth(self.dealer) < 17:
                self.dealer.append(self._card())
            mine, theirs = (sum_ if sum_ <= 21 else 0 for sum_ in (self._worth(self.player), self._worth(self.dealer)))
            reward, self.over = float(np.sign(mine - theirs)), True
        return self.render(), reward, self.over, False, self._info(won=reward > 0)

    def render(self) -> Picture:  # type: ignore[override]
        """The table as the player sees it."""
        return blackjack_picture(self.layout, self.seen, self.player)

    def winnable_deals(self) -> list[Deal]:
        """The openings of the split, in a fixed order; luck can win any of them."""
        return [deal for deal, name in self._openings().items() if self.split in (None, name)]

    def deal_options(self, deal: Deal, rng: np.random.Generator) -> dict[str, Any]:
        """Reset options that force an opening; the hidden card, faces, suits and the pair's order come from `rng`."""
        dealer, pair = deal
        values = [dealer, min(int(rng.integers(1, 14)), 10), *(pair[i] for i in rng.permutation(2))]
        return {"deck": [_face(value, rng) for value in values]}

    def _card(self) -> str:
        """The next card: of the forced deck while it lasts, then of [1..9, 10, 10, 10, 10] with replacement."""
        if self._deck:
            name = self._deck.pop(0)
            card_rank(name)
            return name
        return _face(min(int(self.np_random.integers(1, len(RANKS) + 1)), 10), self.np_random)

    def _openings(self) -> dict[Deal, str]:
        values = range(1, 11)
        return partition((open_, (a, b)) for open_ in values for a in values for b in values if a <= b)

    def _worth(self, cards: Sequence[str]) -> int:
        return total([card_value(card) for card in cards])[0]

    def _info(self, *, won: bool) -> dict[str, Any]:
        shown = self.dealer if self.over else self.dealer[:1]
        return {
            "Dealer Card": [_listed(card) for card in shown],
            "Player Card": [_listed(card) for card in self.player],
            "won": won,
            "privileged": {"Dealer Card": [_listed(card) for card in self.dealer]},
        }


def _face(value: int, rng: np.random.Generator) -> str:
    rank = FACES[rng.integers(len(FACES))] if value == 10 else value
    return card_name(rank, draw_suit(rng))


def _deal(cards: Sequence[str]) -> Deal:
    values = [card_value(card) for card in cards]
    return values[0], tuple(sorted(values[2:4]))


def _listed(card: str) -> list[int | str]:
    return [card_value(card), card[1], card[0]]
