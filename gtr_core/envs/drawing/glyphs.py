"""Glyphs of the bundled DejaVu fonts as cached, read-only coverage masks; pictures are pasted together from them."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # (height, width, 3), RGB
Mask = NDArray[np.uint8]  # (height, width), coverage 0..255
Colour = tuple[int, int, int]

ASSETS = Path(__file__).parent / "assets"
SUIT_GLYPHS = {"S": "♠", "H": "♥", "D": "♦", "C": "♣"}
SUIT_COLOURS: dict[str, Colour] = {"S": (0, 0, 0), "C": (0, 0, 0), "H": (200, 0, 0), "D": (200, 0, 0)}


@lru_cache(maxsize=64)
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A bundled font: `DejaVuSans`, `DejaVuSans-Bold` or `DejaVuSansMono-Bold`."""
    return ImageFont.truetype(ASSETS / f"{name}.ttf", size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def text_mask(text: str, name: str, size: int) -> Mask:
    """The coverage of one line of text, cut to its ink."""
    face = font(name, size)
    left, top, right, bottom = face.getbbox(text)
    image = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
    ImageDraw.Draw(image).text((-left, -top), text, fill=255, font=face)
    return _frozen(np.asarray(image).copy())


@lru_cache(maxsize=4096)
def line_mask(text: str, name: str, size: int) -> Mask:
    """The coverage of one line of text as Pillow would place it: origin at the ascender, advances kept."""
    face = font(name, size)
    image = Image.new("L", (max(1, int(face.getlength(text)) + 1), sum(face.getmetrics())))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=face)
    return _frozen(np.asarray(image).copy())


def blank(height: int, width: int, colour: Colour = (255, 255, 255)) -> Picture:
    """A picture of one colour."""
    return np.full((height, width, 3), colour, dtype=np.uint8)


def paste(picture: Picture, mask: Mask, top: int, left: int, colour: Colour = (0, 0, 0)) -> None:
    """Blend `colour` into the picture where the mask covers it; what lies outside is cut off."""
    area = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    cover = mask[: area.shape[0], : area.shape[1], None].astype(np.uint16)
    area[:] = (area * (255 - cover) + np.array(colour, dtype=np.uint16) * cover + 127) // 255


def _frozen(mask: Mask) -> Mask:
    mask.setflags(write=False)
    return mask
