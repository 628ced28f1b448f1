"""The schematic pictures of a household: what the agent has seen of it, drawn from its memory alone.

They draw the text game as remembered, in the layouts `reference` and `compact`; they are no photographs of rooms.
"""

from gtr_core.envs.alfworld.image_compact import COLUMNS, ROWS, household_compact
from gtr_core.envs.alfworld.image_reference import household_reference
from gtr_core.envs.alfworld.memory import Memory
from gtr_core.envs.drawing.compact import CELL
from gtr_core.envs.drawing.glyphs import Picture
from gtr_core.envs.drawing.reference import SIDE

LAYOUTS = {
    "reference": (household_reference, (SIDE, SIDE, 3)),
    "compact": (household_compact, (CELL * ROWS, CELL * COLUMNS, 3)),
}


def household_picture(layout: str, memory: Memory) -> Picture:
    """The picture of what was seen; its size depends on the layout alone."""
    return LAYOUTS[layout][0](memory)


def household_shape(layout: str) -> tuple[int, int, int]:
    """Height, width and channels of a layout's pictures."""
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} is not known: choose {' or '.join(LAYOUTS)}")
    return LAYOUTS[layout][1]
