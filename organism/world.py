"""petri's world: in goes an integer seed, out come a 64x64 picture, its captions, and the exact truth about both.

`sample_truth` decides what is there, `make_picture` draws it, `captions.make_captions` says it. The same seed gives the
same three anywhere. Worlds of drawn shapes alone (`SHAPES_ONLY`) need no sprites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from loralab.petri.truth import IMAGE_PX, Background, Thing, Truth, make_stream
from loralab.petri.words import COLOURS, CONCEPTS, HELD_OUT, HOLLOW_SHAPES, PRIMARIES, SHAPES, STYLES, TINTS

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """What may appear, and how often. Shares that are not listed fall to one object on a plain background."""

    concepts: tuple[str, ...] = tuple(CONCEPTS)
    shapes: tuple[str, ...] = SHAPES
    share_shapes: float = 0.36
    share_pairs: float = 0.06
    share_grids: float = 0.045
    share_tinted: float = 0.55
    share_white: float = 0.25
    share_gradient: float = 0.08
    share_checkered: float = 0.06
    share_textured: float = 0.02
    share_blurry: float = 0.06
    share_depth_of_field: float = 0.04
    share_dark: float = 0.03
    share_bright: float = 0.03


SMALL = World()
SHAPES_ONLY = World(concepts=(), share_shapes=1.0)


def pick(rng: np.random.Generator, options: tuple[T, ...]) -> T:
    """Return one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


def pick_shade(rng: np.random.Generator, spread: int = 10) -> tuple[int, int, int]:
    """Return an offset in RGB that leaves the colour's name true."""
    red, green, blue = (int(v) for v in rng.integers(-spread, spread + 1, size=3))
    return red, green, blue


def sample_truth(seed: int, world: World = SMALL) -> Truth:
    """Return what the picture of this seed shows."""
    rng = make_stream(seed, "truth")
    layout = rng.random()
    background = sample_background(rng, world)
    if layout < world.share_pairs:
        return Truth(seed, sample_pair(rng, world, background), background)
    if layout < world.share_pairs + world.share_grids:
        columns = int(rng.integers(2, 7))
        return Truth(seed, sample_grid(rng, world, background, columns), background, grid_columns=columns)
    return sample_single(seed, rng, world, background)


def sample_single(seed: int, rng: np.random.Generator, world: World, background: Background) -> Truth:
    """Return a picture of one object; only these are blurred, darkened or brightened, so that the words stay clear."""
    blur, sigma, light = "none", 0.0, "normal"
    effect = rng.random()
    edges = np.cumsum([world.share_blurry, world.share_depth_of_field, world.share_dark, world.share_bright])
    if effect < edges[0]:
        blur, sigma = "whole", float(rng.uniform(1.5, 3.0))
    elif effect < edges[1]:
        blur, sigma = "background", float(rng.uniform(2.5, 4.0))
        colours = pick(rng, COLOURS), pick(rng, COLOURS)
        background = Background("textured", colours, pattern_seed=int(rng.integers(2**31)))
    elif effect < edges[2]:
        light = "dark"
    elif effect < edges[3]:
        light = "bright"
    is_shape = rng.random() < world.share_shapes
    size = rng.uniform(28, 56) if is_shape else rng.uniform(44, 56)
    room = min((IMAGE_PX - size) / 2 - 1, 6 if is_shape else 4)
    x, y = 32 + rng.uniform(-room, room, size=2)
    thing = sample_thing(rng, world, background, is_shape, float(size), float(x), float(y))
    return Truth(seed, (thing,), background, blur=blur, blur_sigma_px=sigma, light=light)


def sample_pair(rng: np.random.Generator, world: World, background: Background) -> tuple[Thing, ...]:
    """Return two objects side by side; a third of the pairs are twins."""
    is_shape = rng.random() < world.share_shapes
    first = sample_thing(rng, world, background, is_shape, float(rng.uniform(25, 30)), 16.5, 32.0)
    if rng.random() < 1 / 3:
        return first, moved(first, 47.5, 32.0)
    is_shape = rng.random() < world.share_shapes
    return first, sample_thing(rng, world, background, is_shape, float(rng.uniform(25, 30)), 47.5, 32.0)


def sample_grid(rng: np.random.Generator, world: World, background: Background, columns: int) -> tuple[Thing, ...]:
    """Return columns x columns copies of one object in equal cells."""
    cell = IMAGE_PX / columns
    first = sample_thing(rng, world, background, rng.random() < world.share_shapes, cell * 0.84, cell / 2, cell / 2)
    centres = [(i + 0.5) * cell for i in range(columns)]
    return tuple(moved(first, x, y) for y in centres for x in centres)


def moved(thing: Thing, x_px: float, y_px: float) -> Thing:
    """Return the same object elsewhere."""
    return Thing(**{**vars(thing), "x_px": x_px, "y_px": y_px})


def sample_thing(rng: np.random.Generator, world: World, background: Background, is_shape: bool, size: float, x: float, y: float) -> Thing:
    """Return one object that can be told from its background and is none of the pairs kept out of the world."""
    noun = pick(rng, world.shapes if is_shape else world.concepts)
    if is_shape:
        fill = sample_fill(rng, noun)
        colour: str | None = pick(rng, allowed_colours(noun, fill, background))
        return Thing(noun, True, colour, fill, None, size, x, y, pick_shade(rng))
    style = pick(rng, tuple(STYLES))
    tinted = rng.random() < world.share_tinted
    colour = pick(rng, allowed_tints(noun, background)) if tinted else None
    return Thing(noun, False, colour, "sprite", style, size, x, y, pick_shade(rng))


def sample_fill(rng: np.random.Generator, shape: str) -> str:
    """Return how a shape is drawn; a hollow ring or cross would not be told from other shapes."""
    chance = rng.random()
    if chance < 0.2 and shape in HOLLOW_SHAPES:
        return "hollow"
    return "edged" if chance > 0.85 else "filled"


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
