"""The pictures of Blackjack: the dealer's cards above, the player's below; `?` is a card's back (PAPER.md 3.4)."""

from collections.abc import Sequence
from functools import lru_cache

from gtr_core.envs.drawing.compact import CELL, CompactTable, card_cell
from gtr_core.envs.drawing.glyphs import Picture, blank
from gtr_core.envs.drawing.reference import GREEN, SIDE, card_picture, write

CARD_WIDTH, CARD_HEIGHT = 70, 98
COLUMNS = 6  # a longer hand, one in ten thousand, shows its newest cards


def blackjack_picture(layout: str, dealer: Sequence[str], player: Sequence[str]) -> Picture:
    """The picture of a state; its size depends on the layout alone."""
    return _picture(layout, tuple(dealer), tuple(player)).copy()


@lru_cache(maxsize=64)
def _picture(layout: str, dealer: tuple[str, ...], player: tuple[str, ...]) -> Picture:
    if layout == "reference":
        picture = blank(SIDE, SIDE, GREEN)
        for label, cards, top in (("Dealer", dealer, 10), ("Player", player, 160)):
            write(picture, label, (10, top), 20)
            step = min(CARD_WIDTH + 2, (SIDE - 20 - CARD_WIDTH) // max(1, len(cards) - 1))  # many cards overlap
            for i, name in enumerate(cards):
                card = card_picture(name, CARD_WIDTH, CARD_HEIGHT)
                left = 10 + i * step
                picture[top + 30 : top + 30 + CARD_HEIGHT, left : left + CARD_WIDTH] = card
        return picture
    if layout == "compact":
        rows = [[card_cell(name) for name in cards[-COLUMNS:]] for cards in (dealer, player)]
        return CompactTable(COLUMNS, rows=2).paint(rows)
    raise ValueError(f"layout={layout!r} is not known: choose reference or compact")


def blackjack_shape(layout: str) -> tuple[int, int, int]:
    """Height, width and channels of a layout's pictures."""
    return (SIDE, SIDE, 3) if layout == "reference" else (2 * CELL, COLUMNS * CELL, 3)
