"""What petri's world is made of: in go a random stream and a `World`, out come objects, their colours, and backgrounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from loralab.petri.truth import Background, Thing
from loralab.petri.words import COLOURS, CONCEPTS, HELD_OUT, HOLLOW_SHAPES, PRIMARIES, SHAPES, STYLES, TINTS

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """What may appear, and how often. Shares that are not listed fall to one object on a plain background."""

    concepts: tuple[str, ...] = tuple(CONCEPTS)
    shapes: tuple[str, ...] = SHAPES
    share_shapes: float = 0.38
    share_pairs: float = 0.09
    share_many: float = 0.08  # three to nine, in no order
    share_grids: float = 0.10
    share_twins: float = 0.65  # of pairs
    share_mixed: float = 0.2  # of many and of grids: colours differ, in grids things too
    share_square_grids: float = 0.6  # of grids: as many rows as columns
    share_hollow: float = 0.35  # of the shapes that can be
    share_edged: float = 0.12
    share_tinted: float = 0.55
    share_white: float = 0.25
    share_gradient: float = 0.08
    share_checkered: float = 0.06
    share_textured: float = 0.02
    share_blurry: float = 0.07
    share_depth_of_field: float = 0.06
    share_dark: float = 0.035
    share_bright: float = 0.035


def pick(rng: np.random.Generator, options: tuple[T, ...]) -> T:
    """Return one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def pick_shade(rng: np.random.Generator, spread: int = 10) -> tuple[int, int, int]:
    """Return an offset in RGB that leaves the colour's name true."""
    red, green, blue = (int(v) for v in rng.integers(-spread, spread + 1, size=3))
    return red, green, blue


def moved(thing: Thing, x_px: float, y_px: float) -> Thing:
    """Return the same object elsewhere."""
    return replace(thing, x_px=x_px, y_px=y_px)


def sample_thing(rng: np.random.Generator, world: World, background: Background, is_shape: bool, size: float, x: float, y: float) -> Thing:
    """Return one object that can be told from its background and is none of the pairs kept out of the world."""
    noun = pick(rng, world.shapes if is_shape else world.concepts)
    if is_shape:
        fill = sample_fill(rng, noun, world)
        colour: str | None = pick(rng, allowed_colours(noun, fill, background))
        return Thing(noun, True, colour, fill, None, size, x, y, pick_shade(rng))
    style = pick(rng, tuple(STYLES))
    tinted = rng.random() < world.share_tinted
    colour = pick(rng, allowed_tints(noun, background)) if tinted else None
    return Thing(noun, False, colour, "sprite", style, size, x, y, pick_shade(rng))


def sample_fill(rng: np.random.Generator, shape: str, world: World) -> str:
    """Return how a shape is drawn; a hollow ring or cross would not be told from other shapes."""
    chance = rng.random()
    if chance < world.share_hollow and shape in HOLLOW_SHAPES:
        return "hollow"
    return "edged" if chance > 1 - world.share_edged else "filled"


def allowed_colours(shape: str, fill: str, background: Background) -> tuple[str, ...]:
    """Return the colours a shape may have here.

    Two of the article's training sets stay out: gray primitives on white, and primary colours with an edge.
    """
    banned = set(background.colours)
    if "white" in background.colours:
        banned.add("gray")
    if fill == "edged":
        banned |= {*PRIMARIES, "black"}
    return tuple(c for c in COLOURS if c not in banned and (c, shape) not in HELD_OUT)


def allowed_tints(noun: str, background: Background) -> tuple[str, ...]:
    """Return the colours in which a sprite may be tinted here."""
    return tuple(c for c in TINTS if c not in background.colours and (c, noun) not in HELD_OUT)


def sample_background(rng: np.random.Generator, world: World) -> Background:
    """Return a background."""
    edges = np.cumsum([world.share_white, world.share_gradient, world.share_checkered, world.share_textured])
    chance = rng.random()
    pattern_seed = int(rng.integers(2**31))
    if chance < edges[0]:
        return Background("plain", ("white",))
    kinds = ("gradient", "checkered", "textured")
    for kind, edge in zip(kinds, edges[1:], strict=True):
        if chance < edge:
            first, second = (COLOURS[int(i)] for i in rng.choice(len(COLOURS), size=2, replace=False))
            return Background(kind, (first, second), pick_shade(rng), pattern_seed)
    return Background("plain", (pick(rng, COLOURS),), pick_shade(rng))
