"""Emoji art as sprites: in go icon sets of npm (`icons.json`), out come 112 px RGBA pictures.

Rendering needs `resvg_py` and the npm packages, at build time only; nothing that ships needs either.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from loralab.petri.sprites import SPRITE_PX, Sprites
from loralab.petri.words import CONCEPTS, STYLES


def render_icon(icon_set: dict, name: str) -> np.ndarray:
    """Return one icon of an iconify set, uint8 (SPRITE_PX, SPRITE_PX, 4), cropped to what it draws and made square."""
    import resvg_py

    icon = icon_set["icons"][name]
    width = icon.get("width", icon_set.get("width", 16))
    height = icon.get("height", icon_set.get("height", 16))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=256, height=256))
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    return np.asarray(make_square(picture).resize((SPRITE_PX, SPRITE_PX), Image.Resampling.LANCZOS))


def make_square(picture: Image.Image) -> Image.Image:
    """Return the drawn part of a picture, centred on a transparent square."""
    drawn = picture.crop(picture.getbbox())
    side = max(drawn.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    return square


def render_sprites(icon_folder: Path) -> Sprites:
    """Return every concept in every style, from the folder that holds the `@iconify-json` packages."""
    sprites: Sprites = {}
    for style, package in STYLES.items():
        icon_set = json.loads((icon_folder / package / "icons.json").read_text(encoding="utf-8"))
        for noun, icon in CONCEPTS.items():
            sprites[noun, style] = render_icon(icon_set, icon)
    return sprites
