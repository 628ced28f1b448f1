"""The pictures of NumberLine: where one should be and where one is (PAPER.md 3.1)."""

from functools import lru_cache

from gtr_core.envs.drawing.compact import CELL, CompactTable, glyph_cell
from gtr_core.envs.drawing.glyphs import Picture, blank
from gtr_core.envs.drawing.reference import SIDE, WHITE, write


@lru_cache(maxsize=512)
def _picture(layout: str, target: int, current: int) -> Picture:
    if layout == "reference":
        picture = blank(SIDE, SIDE, WHITE)
        for top, text in ((60, f"Target: {target}"), (180, f"Current: {current}")):
            write(picture, text, (30, top), 36, (0, 0, 0), face="DejaVuSans-Bold")
        return picture
    if layout == "compact":
        rows = [[glyph_cell(letter), glyph_cell(str(n))] for letter, n in (("T", target), ("C", current))]
        return CompactTable(columns=2, rows=2).paint(rows)
    raise ValueError(f"layout={layout!r} is not known: choose reference or compact")


def numberline_picture(layout: str, target: int, current: int) -> Picture:
    """The picture of a state; its size depends on the layout alone."""
    return _picture(layout, target, current).copy()


def numberline_shape(layout: str) -> tuple[int, int, int]:
    """Height, width and channels of a layout's pictures."""
    side = SIDE if layout == "reference" else 2 * CELL
    return side, side, 3
