"""EZPoints: two cards that always make twelve by a sum or a product (PAPER.md 3.2)."""

from gtr_core.envs.cards.deals import RANKS, card_name, draw_suit, partition
from gtr_core.envs.points.env import FormulaEnv
from gtr_core.envs.points.solver import Hand, hand


class EZPointsEnv(FormulaEnv):
    """Two cards, target 12, `+` and `*`; every deal can be won."""

    def __init__(
        self,
        *,
        strict: bool = False,
        exact: bool = False,
        split: str | None = None,
        layout: str = "reference",
        truncate_on_illegal: bool = False,
        max_turns: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            target=12,
            n_cards=2,
            operators="+*",
            strict=strict,
            exact=exact,
            split=split,
            layout=layout,
            truncate_on_illegal=truncate_on_illegal,
            max_turns=max_turns,
            render_mode=render_mode,
        )

    def _hands(self) -> dict[Hand, str]:
        firsts = {self.number(card_name(rank, "S")) for rank in range(2, len(RANKS) + 1)}
        return partition(sorted({hand(pair) for v in firsts for pair in self._pairs(v)}))

    def _pairs(self, first: int) -> list[tuple[int, int]]:
        sums = [(first, 12 - first)] if first < 12 else []
        return sums + ([(first, 12 // first)] if first in (2, 3, 4, 6) else [])

    def _draw(self) -> tuple[str, ...]:
        """The reference's deal: a first card, a partner that makes 12, the order of the two by a coin."""
        rng = self.np_random
        cards = [card_name(int(rng.integers(2, len(RANKS) + 1)), draw_suit(rng))]
        pairs = self._pairs(self.number(cards[0]))
        partner = pairs[rng.integers(len(pairs))][1]
        cards.append(card_name(partner, draw_suit(rng)))
        return tuple(reversed(cards) if rng.integers(2) else cards)
