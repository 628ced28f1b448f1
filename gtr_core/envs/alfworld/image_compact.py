"""The compact picture of a household for tiny models: 8 by 7 cells of 28 pixels (LAB.md 2).

Row 1 is the task's text. Row 2 begins with the place and the object in hand; from its third cell on, and in rows 3 to
5, stand the objects in view. Rows 6 and 7 are the room: a cell for a kind of receptacle, with a dot for each of them,
21 a cell at most. A cell names a kind by four letters, over the thing's number, on the kind's own tint.
"""

from collections.abc import Sequence
from functools import lru_cache

from gtr_core.envs.alfworld.image_colours import (
    HERE,
    MARK_COLOURS,
    OPEN,
    SHUT,
    STATE_COLOURS,
    WHITE,
    kinds,
    state,
    tint,
)
from gtr_core.envs.alfworld.memory import MARKS, Memory
from gtr_core.envs.drawing.compact import CELL, LINE, CompactTable
from gtr_core.envs.drawing.glyphs import Colour, Picture, blank, line_mask, paste

COLUMNS, ROWS, VIEW, ROOM = 8, 7, 30, 16
DOTS = 7  # a row of dots
PER_CELL = 3 * DOTS


def code(kind: str) -> str:
    """Four letters that differ between all of ALFWorld's kinds: the first two, the middle one, the last."""
    return kind if len(kind) <= 4 else kind[:2] + kind[len(kind) // 2] + kind[-1]


@lru_cache(maxsize=1024)
def _text(lines: tuple[str, ...], ground: Colour) -> Picture:
    """A cell with two lines of four characters."""
    cell = blank(CELL, CELL, ground)
    for row, line in enumerate(lines):
        paste(cell, line_mask(line, "DejaVuSansMono-Bold", 11), LINE * row, 0)
    cell.setflags(write=False)
    return cell


def _thing(name: str, marks: Sequence[str] = (), frame: Colour | None = None) -> Picture:
    kind, number = name.rsplit(" ", 1)
    cell = _text((code(kind), number), tint(kind)).copy()
    for i, mark in enumerate(mark for mark in MARKS if mark in marks):
        cell[LINE:, CELL - 5 * (i + 1) : CELL - 5 * i] = MARK_COLOURS[mark]
    if frame is not None:
        cell[:2] = cell[-2:] = frame
        cell[:, :2] = cell[:, -2:] = frame
    return cell


def _more(count: int) -> Picture:
    return _text((f"+{count}", ""), WHITE)


def _kind(kind: str, names: Sequence[str], memory: Memory) -> Picture:
    """Receptacles of a kind: their code over a dot each, coloured as last seen; the one the agent stands at is red."""
    cell = _text((code(kind), ""), tint(kind)).copy()
    for i, name in enumerate(names):
        top, left = LINE + 5 * (i // DOTS), 4 * (i % DOTS)
        cell[top : top + 4, left : left + 3] = HERE if name == memory.place else STATE_COLOURS[state(memory, name)]
    return cell


def _fit(cells: list[Picture], places: int) -> list[Picture]:
    """At most so many cells; where some are left out the last says how many."""
    return cells if len(cells) <= places else [*cells[: places - 1], _more(len(cells) - places + 1)]


def household_compact(memory: Memory) -> Picture:
    """The picture of 224 by 196 pixels."""
    nothing = _text(("----", ""), WHITE)
    frame = {None: None, True: OPEN, False: SHUT}[memory.doors.get(memory.place or "")]
    place = _thing(memory.place, frame=frame) if memory.place else nothing
    hand = _thing(memory.held, tuple(memory.marks.get(memory.held, ()))) if memory.held else nothing
    view = [_thing(name, tuple(memory.marks.get(name, ()))) for name in memory.in_view]
    room = [
        _kind(kind, names[i : i + PER_CELL], memory)
        for kind, names in kinds(memory.receptacles)
        for i in range(0, len(names), PER_CELL)
    ]
    half = 4 * COLUMNS
    lines = (memory.task[:half], memory.task[half : 2 * half])
    task = [_text((lines[0][i : i + 4], lines[1][i : i + 4]), WHITE) for i in range(0, half, 4)]
    rest = [blank(CELL, CELL)] * max(0, VIEW - len(view))
    cells = [*task, place, hand, *_fit(view, VIEW), *rest, *_fit(room, ROOM)]
    return CompactTable(COLUMNS, ROWS).paint([cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)])
