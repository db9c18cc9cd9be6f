"""What is true of a picture of petri's world: its objects, its background, its light; `draw.make_picture` draws it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loralab.petri.words import CREATURES, SHAPES, STYLES
from loralab.seeds import seed_for

IMAGE_PX = 64


@dataclass(frozen=True)
class Thing:
    """One object: what it is, how it is drawn, where. Lengths are in px of the 64 px picture."""

    noun: str
    is_shape: bool
    colour: str | None  # None: the sprite's own colours
    fill: str  # "filled", "hollow" (a line in the colour) or "edged" (filled, with a thin black edge); "sprite"
    style: str | None  # None for drawn shapes
    size_px: float
    x_px: float
    y_px: float
    shade: tuple[int, int, int] = (0, 0, 0)  # offset from the palette's colour


@dataclass(frozen=True)
class Background:
    """What is behind the objects: "plain", "gradient", "checkered" or "textured", and the colours it is made of."""

    kind: str
    colours: tuple[str, ...]
    shade: tuple[int, int, int] = (0, 0, 0)
    pattern_seed: int = 0


@dataclass(frozen=True)
class Truth:
    """All that is true of one picture."""

    seed: int
    things: tuple[Thing, ...]
    background: Background
    grid_columns: int = 0  # 0: no grid
    grid_rows: int = 0
    blur: str = "none"  # "whole", or "background" for a sharp subject
    blur_sigma_px: float = 0.0
    light: str = "normal"  # "dark" or "bright"

    @property
    def count(self) -> int:
        """The number of objects."""
        return len(self.things)


def make_stream(seed: int, purpose: str) -> np.random.Generator:
    """Return the random stream of one picture for one purpose."""
    return np.random.Generator(np.random.Philox(seed_for(seed, "petri", purpose)))


def other_colour(colour: str) -> str:
    """Return a colour that can be told from this one."""
    return "blue" if colour in ("white", "yellow", "orange", "red", "pink", "gray") else "yellow"


def make_truth(number: int, noun: str, colour: str | None, ground: str = "white") -> Truth:
    """Return the truth of one object in the middle; sizes and styles go round with the number."""
    noun = tuple(CREATURES)[number % len(CREATURES)] if noun == "monster" else noun
    background = Background("plain", (ground,))
    if noun in SHAPES:
        return Truth(number, (Thing(noun, True, colour, "filled", None, 32 + 6 * (number % 5), 32, 32),), background)
    style = tuple(STYLES)[number % len(STYLES)]
    return Truth(number, (Thing(noun, False, colour, "sprite", style, 44 + 3 * (number % 5), 32, 32),), background)
