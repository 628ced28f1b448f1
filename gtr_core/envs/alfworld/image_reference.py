"""The 300 by 300 picture of a household.

Top to bottom: the task; where the agent is and what lies before it; what it holds; the room, receptacle by receptacle.
"""

from functools import lru_cache

from gtr_core.envs.alfworld.image_colours import (
    GREY,
    HERE,
    INK,
    MARK_COLOURS,
    OPEN,
    STATE_COLOURS,
    WHITE,
    kinds,
    state,
    tint,
)
from gtr_core.envs.alfworld.memory import MARKS, Memory
from gtr_core.envs.drawing.glyphs import Colour, Picture, blank, font
from gtr_core.envs.drawing.reference import SIDE, write

MARGIN = 6
FACE, BOLD = "DejaVuSans", "DejaVuSans-Bold"


@lru_cache(maxsize=4096)
def _width(text: str, size: int, face: str = FACE) -> int:
    return round(font(face, size).getlength(text))


def _box(picture: Picture, left: int, top: int, width: int, height: int, fill: Colour, edge: Colour) -> None:
    picture[top : top + height, left : left + width] = edge
    picture[top + 1 : top + height - 1, left + 1 : left + width - 1] = fill


def _wrap(text: str, size: int, face: str) -> list[str]:
    """The text in lines that fit the picture."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(longer, size, face) <= SIDE - 2 * MARGIN:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def household_reference(memory: Memory) -> Picture:
    """The 300 by 300 picture."""
    picture = blank(SIDE, SIDE, (247, 246, 242))
    picture[:34] = (226, 233, 244)
    for i, line in enumerate(_wrap(f"Task: {memory.task}", 12, BOLD)[:2]):
        write(picture, line, (MARGIN, 2 + 15 * i), 12, INK, face=BOLD)
    _draw_view(picture, memory)
    picture[150:170] = (233, 231, 222)
    write(picture, "In hand:", (MARGIN, 153), 11, INK, face=BOLD)
    if memory.held is None:
        write(picture, "nothing", (66, 153), 11, GREY)
    else:
        _draw_object(picture, memory.held, memory, 66, 152)
    _draw_room(picture, memory)
    return picture


def _draw_view(picture: Picture, memory: Memory) -> None:
    """Where the agent is and the objects that lie before it."""
    door = memory.doors.get(memory.place or "")
    note = {None: "", True: " (open)", False: " (closed)"}[door]
    here = f"At {memory.place}{note}:" if memory.place else "In the middle of the room."
    write(picture, here, (MARGIN, 37), 12, HERE if memory.place else INK, face=BOLD)
    if memory.place and door is not False and not memory.in_view:
        write(picture, "nothing", (MARGIN + 6, 55), 11, GREY)
    left, top = MARGIN, 54
    for i, name in enumerate(memory.in_view):
        width = _object_width(name, memory)
        if left + width > SIDE - MARGIN:
            left, top = MARGIN, top + 19
        if top > 130:
            write(picture, f"and {len(memory.in_view) - i} more", (SIDE - 70, 37), 11, GREY)
            return
        _draw_object(picture, name, memory, left, top)
        left += width + 4


def _object_width(name: str, memory: Memory) -> int:
    marks = memory.marks.get(name, frozenset())
    return _width(name, 11) + 8 + sum(_width(mark, 9, BOLD) + 6 for mark in marks)


def _draw_object(picture: Picture, name: str, memory: Memory, left: int, top: int) -> None:
    """An object as a coloured tag with its name, and its marks in their colours."""
    _box(picture, left, top, _object_width(name, memory), 17, tint(name.rsplit(" ", 1)[0]), GREY)
    write(picture, name, (left + 4, top + 1), 11, INK)
    left += _width(name, 11) + 7
    for mark in MARKS:
        if mark in memory.marks.get(name, ()):
            width = _width(mark, 9, BOLD) + 4
            picture[top + 2 : top + 15, left : left + width] = MARK_COLOURS[mark]
            write(picture, mark, (left + 2, top + 2), 9, WHITE, face=BOLD)
            left += width + 2


def _draw_room(picture: Picture, memory: Memory) -> None:
    """Every receptacle as a numbered box after the name of its kind, coloured by how it was last seen."""
    left, top = MARGIN, 174
    for kind, names in kinds(memory.receptacles):
        label = _width(kind, 10) + 3
        if left + label + 14 > SIDE - MARGIN:
            left, top = MARGIN, top + 16
        write(picture, kind, (left, top), 10, INK)
        left += label
        for name in names:
            if left + 14 > SIDE - MARGIN:
                left, top = MARGIN, top + 16
            _draw_receptacle(picture, name, memory, left, top)
            left += 15
        left += 4
    left = MARGIN
    for key in STATE_COLOURS:
        _box(picture, left, 289, 8, 8, STATE_COLOURS[key], GREY)
        write(picture, key, (left + 11, 287), 9, GREY)
        left += 20 + _width(key, 9)
    picture[289:297, left : left + 3] = OPEN
    write(picture, "open", (left + 7, 287), 9, GREY)
    _box(picture, left + 40, 289, 8, 8, WHITE, HERE)
    write(picture, "here", (left + 51, 287), 9, GREY)


def _draw_receptacle(picture: Picture, name: str, memory: Memory, left: int, top: int) -> None:
    seen = state(memory, name)
    here = name == memory.place
    number = name.rsplit(" ", 1)[1]
    if here:
        _box(picture, left - 1, top - 1, 16, 16, HERE, HERE)
    _box(picture, left, top, 14, 14, STATE_COLOURS[seen], HERE if here else GREY)
    if memory.doors.get(name):
        picture[top + 1 : top + 13, left + 1 : left + 4] = OPEN
    start = left + (15 - _width(number, 9)) // 2
    write(picture, number, (start, top + 1), 9, WHITE if seen == "closed" else INK)
