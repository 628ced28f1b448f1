"""The pictures of the formula games: the cards, and the formula under them (PAPER.md 3.2, 3.3)."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from gtr_core.envs.drawing.compact import CompactTable, card_cell
from gtr_core.envs.drawing.glyphs import Picture, blank
from gtr_core.envs.drawing.reference import GREEN, SIDE, card_picture, write


class FormulaTable(Protocol):
    """Paints cards and a formula, always in the same size."""

    height: int
    width: int

    def paint(self, cards: Sequence[str], formula: Sequence[int | str]) -> Picture:
        """The picture of this state."""
        ...


def formula_table(layout: str, n_cards: int, longest: int, *, one_line: bool) -> FormulaTable:
    """The painter of a layout.

    Args:
        layout: `reference` or `compact`.
        n_cards: cards on the table.
        longest: the most characters a formula can have.
        one_line: the reference's EZPoints writes label and formula in one line, its Points24 in two.
    """
    if layout == "reference":
        return _ReferenceFormula(n_cards, one_line)
    if layout == "compact":
        return _CompactFormula(n_cards, longest)
    raise ValueError(f"layout={layout!r} is not known: choose reference or compact")


class _CompactFormula:
    def __init__(self, n_cards: int, longest: int) -> None:
        self._table = CompactTable(n_cards, longest_text=longest)
        self.height, self.width = self._table.height, self._table.width

    def paint(self, cards: Sequence[str], formula: Sequence[int | str]) -> Picture:
        return self._table.paint([[card_cell(name) for name in cards]], "".join(map(str, formula)))


class _ReferenceFormula:
    height = width = SIDE

    def __init__(self, n_cards: int, one_line: bool) -> None:
        self._card_width = min(int(SIDE / n_cards * 0.9), 135)  # 135: the width of two, the fewest the reference deals
        self._one_line = one_line

    def paint(self, cards: Sequence[str], formula: Sequence[int | str]) -> Picture:
        picture = _laid(tuple(cards), self._card_width).copy()
        text = " ".join(map(str, formula))
        if self._one_line:
            write(picture, f"Formula: {text}", (10, int(0.86 * SIDE)), 20)
        else:
            top = max(210, (SIDE + _height(self._card_width)) // 2 + 6)
            write(picture, "Formula:", (10, top), 16)
            write(picture, text, (10, top + min(30, (SIDE - top) // 2)), 16)
        return picture


def _height(card_width: int) -> int:
    return int(card_width * 7 / 5)


@lru_cache(maxsize=64)
def _laid(cards: tuple[str, ...], width: int) -> Picture:
    """The table with its cards, which stay the same all episode."""
    picture = blank(SIDE, SIDE, GREEN)
    height = _height(width)
    top = (SIDE - height) // 2
    for i, name in enumerate(cards):
        left = 5 + int(i * width * 1.1)
        card = card_picture(name, width, height)[:, : SIDE - left]
        picture[top : top + height, left : left + width] = card
    return picture
