"""What both pictures of a household share: colours, and how a receptacle was last seen."""

import zlib
from collections.abc import Sequence
from colorsys import hls_to_rgb
from functools import lru_cache
from itertools import groupby

from gtr_core.envs.alfworld.memory import Memory
from gtr_core.envs.drawing.glyphs import Colour

WHITE: Colour = (255, 255, 255)
INK: Colour = (25, 25, 30)
GREY: Colour = (110, 110, 115)
SHUT: Colour = (121, 85, 52)
OPEN: Colour = (30, 110, 200)
HERE: Colour = (215, 35, 35)
MARK_COLOURS: dict[str, Colour] = {
    "hot": (214, 60, 30),
    "cold": (60, 130, 220),
    "clean": (40, 160, 110),
    "sliced": (150, 70, 170),
    "on": (235, 170, 0),
}
# How a receptacle was last seen.
STATE_COLOURS: dict[str, Colour] = {
    "unseen": WHITE,
    "closed": SHUT,
    "empty": (200, 202, 205),
    "holding": (250, 205, 90),
}


def state(memory: Memory, receptacle: str) -> str:
    """How the agent last saw a receptacle: a key of `STATE_COLOURS`."""
    if not memory.doors.get(receptacle, True):
        return "closed"
    if receptacle not in memory.contents:
        return "unseen"
    return "holding" if memory.contents[receptacle] else "empty"


def kinds(receptacles: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The receptacles by kind: `("drawer", ["drawer 1", "drawer 2"])`."""
    return [(kind, list(names)) for kind, names in groupby(receptacles, key=lambda name: name.rsplit(" ", 1)[0])]


@lru_cache(maxsize=512)
def tint(kind: str) -> Colour:
    """A light colour that belongs to a kind of thing, the same in every picture."""
    code = zlib.crc32(kind.encode())
    red, green, blue = hls_to_rgb(code % 360 / 360, 0.78 + code // 360 % 3 * 0.05, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)
