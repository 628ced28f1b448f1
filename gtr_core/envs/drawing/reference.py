"""The reference's 300 by 300 pictures with our own drawing of the cards (PAPER.md 3.1 to 3.4)."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from gtr_core.envs.drawing.glyphs import (
    SUIT_COLOURS,
    SUIT_GLYPHS,
    Colour,
    Mask,
    Picture,
    blank,
    line_mask,
    paste,
    text_mask,
)

SIDE = 300
GREEN: Colour = (0x35, 0x65, 0x4D)
WHITE: Colour = (255, 255, 255)
BACK: Colour = (60, 80, 150)


@lru_cache(maxsize=512)
def card_picture(name: str, width: int, height: int) -> Picture:
    """A card on the green table: rank and suit in two corners, a large suit in the middle; `?` is a card's back."""
    card = blank(height, width, GREEN)
    paste(card, _rounded(width, height), 0, 0)
    paste(card, _rounded(width - 2, height - 2), 1, 1, WHITE)
    if name == "?":
        paste(card, _rounded(width - 12, height - 12), 6, 6, BACK)
        paste(card, text_mask("♦", "DejaVuSans", width // 2), height // 2 - width // 4, width // 4, WHITE)
    else:
        suit, colour = SUIT_GLYPHS[name[0]], SUIT_COLOURS[name[0]]
        centre = text_mask(suit, "DejaVuSans", width // 2)
        paste(card, centre, (height - centre.shape[0]) // 2, (width - centre.shape[1]) // 2, colour)
        rank = text_mask(name[1:].replace("T", "10"), "DejaVuSans-Bold", round(width * 0.3))
        mark = text_mask(suit, "DejaVuSans", round(width * 0.25))
        edge = max(3, width // 14)
        for _ in range(2):  # the same corner, upside down
            paste(card, rank, edge, edge, colour)
            paste(card, mark, edge + rank.shape[0] + 2, edge + max(0, (rank.shape[1] - mark.shape[1]) // 2), colour)
            card = card[::-1, ::-1]
    card.setflags(write=False)
    return card


@lru_cache(maxsize=64)
def _rounded(width: int, height: int) -> Mask:
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).rounded_rectangle((0, 0, width - 1, height - 1), radius=max(2, width // 12), fill=255)
    return np.asarray(image)


def write(
    picture: Picture, text: str, place: tuple[int, int], size: int, colour: Colour = WHITE, *, face: str = "DejaVuSans"
) -> None:
    """One line of text; `place` is the (left, top) that the reference gives Pillow. What leaves it is cut off."""
    left, top = place
    paste(picture, line_mask(text, face, size), top, left, colour)
