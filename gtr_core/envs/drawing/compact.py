"""The compact pictures: cells of 28 by 28 pixels, the merged patch of Qwen2.5-VL, dark glyphs on white.

One card a cell; below it the formula, in two lines of a monospaced face whose 7-pixel advance puts two characters in a
patch.
"""

from collections.abc import Sequence
from functools import lru_cache

from gtr_core.envs.drawing.glyphs import SUIT_COLOURS, SUIT_GLYPHS, Picture, blank, paste, text_mask

CELL = 28
ADVANCE = 7
LINE = CELL // 2
PER_CELL = 2 * (CELL // ADVANCE)  # characters of the text row in one cell's width


@lru_cache(maxsize=256)
def glyph_cell(text: str) -> Picture:
    """A cell with one or two large characters."""
    cell = blank(CELL, CELL)
    glyph = text_mask(text, "DejaVuSans-Bold", 23 if len(text) == 1 else 17)
    paste(cell, glyph, max(0, 2 + (18 - glyph.shape[0]) // 2), max(0, (22 - glyph.shape[1]) // 2))
    cell.setflags(write=False)
    return cell


@lru_cache(maxsize=256)
def card_cell(name: str) -> Picture:
    """A cell with a card's rank and a small suit; `?` is a card's back."""
    if name == "?":
        cell = blank(CELL, CELL)
        cell[3:-3, 6:-6] = (120, 120, 160)
        cell[5:-5, 8:-8] = (190, 190, 215)
    else:
        cell = glyph_cell(name[1:].replace("T", "10")).copy()
        mark = text_mask(SUIT_GLYPHS[name[0]], "DejaVuSans", 8)
        paste(cell, mark, CELL - 1 - mark.shape[0], CELL - 1 - mark.shape[1], SUIT_COLOURS[name[0]])
    cell.setflags(write=False)
    return cell


@lru_cache(maxsize=256)
def character(text: str) -> Picture:
    """One character of the text row."""
    cell = blank(LINE, ADVANCE)
    if text.strip():
        face = "DejaVuSansMono-Bold"
        glyph = text_mask(text, face, 11)
        foot = text_mask("0", face, 11).shape[0] - glyph.shape[0]
        drop = {"*": 1, "+": 2, "-": 4}.get(text, foot)
        paste(cell, glyph, 3 + drop, max(0, (ADVANCE - glyph.shape[1]) // 2))
    cell.setflags(write=False)
    return cell


class CompactTable:
    """Rows of cells above a row of text; every picture of one table has the same size.

    Args:
        columns: fewest cells in a row; more are laid where the longest text needs them.
        rows: rows of cells.
        longest_text: the most characters of the text; 0 for a table without.
    """

    def __init__(self, columns: int, rows: int = 1, longest_text: int = 0) -> None:
        self._rows = rows
        self.width = CELL * max(columns, -(-longest_text // PER_CELL))
        self.height = CELL * (rows + (longest_text > 0))

    def paint(self, rows: Sequence[Sequence[Picture]], text: str = "") -> Picture:
        """The picture of rows of cells and the text below."""
        picture = blank(self.height, self.width)
        for i, cells in enumerate(rows):
            for j, cell in enumerate(cells):
                picture[CELL * i : CELL * (i + 1), CELL * j : CELL * (j + 1)] = cell
        per_line = self.width // ADVANCE
        for k, letter in enumerate(text[: 2 * per_line]):
            line, column = divmod(k, per_line)
            top, left = CELL * self._rows + LINE * line, ADVANCE * column
            picture[top : top + LINE, left : left + ADVANCE] = character(letter)
        return picture
