"""Pictures of several objects: in go a random stream, a world and a background, out come pairs, scattered objects and grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loralab.petri.truth import IMAGE_PX, Background, Thing, Truth
from loralab.petri.words import TINTS
from organism.things import World, allowed_colours, allowed_tints, moved, pick, pick_shade, sample_thing

MANY = (3, 4, 5, 6, 7, 8, 9)
MOST_CELLS = 6  # columns or rows of a grid; two at least
OF_A_CELL = 0.84
BLOCKS = ("square", "cross")  # where these nearly touch, they or what is between them are the article's grid of lines
BLOCK_OF_A_CELL = 0.68
GAP_PX = 2.0  # between scattered objects
TRIES = 200


def sample_pair(rng: np.random.Generator, world: World, background: Background) -> tuple[Thing, ...]:
    """Return two objects side by side or one above the other, far enough apart to be told as two; most are twins."""
    size, gap = float(rng.uniform(23, 29)), float(rng.uniform(31, 33))
    near, far, across = 32 - gap / 2, 32 + gap / 2, 32 + float(rng.uniform(-3, 3))
    places = ((near, across), (far, across)) if rng.random() < 0.75 else ((across, near), (across, far))
    first = sample_thing(rng, world, background, rng.random() < world.share_shapes, size, *places[0])
    if rng.random() < world.share_twins:
        return first, moved(first, *places[1])
    return first, sample_thing(rng, world, background, rng.random() < world.share_shapes, size, *places[1])


def sample_many(seed: int, rng: np.random.Generator, world: World, background: Background) -> Truth:
    """Return three to nine objects of one kind in no order, all numbers equally often."""
    number = pick(rng, MANY)
    size = 0.58 * IMAGE_PX / number**0.5 * float(rng.uniform(0.9, 1.05))
    first = sample_thing(rng, world, background, rng.random() < world.share_shapes, size, 32, 32)
    size, places = scatter(rng, number, size)
    first = replace(first, size_px=size)
    things = [moved(first, x, y) for x, y in places]
    if rng.random() < world.share_mixed:
        things = [recoloured(rng, thing, background) for thing in things]
    return Truth(seed, tuple(things), background)


def scatter(rng: np.random.Generator, number: int, size: float) -> tuple[float, list[tuple[float, float]]]:
    """Return a size, a little smaller where this one finds no room, and places at which squares of it do not touch."""
    places: list[tuple[float, float]] = []
    tries = 0
    while len(places) < number:
        low, high = size / 2 + 1, IMAGE_PX - size / 2 - 1
        x, y = (float(v) for v in rng.uniform(low, high, size=2))
        if all(max(abs(x - a), abs(y - b)) >= size + GAP_PX for a, b in places):
            places.append((x, y))
        tries += 1
        if tries % TRIES == 0:
            size, places = size * 0.96, []
    return size, places


def sample_grid(seed: int, rng: np.random.Generator, world: World, background: Background) -> Truth:
    """Return 2 to 6 columns and rows of objects in equal cells: of one object, or of several as in a contact sheet."""
    columns = int(rng.integers(2, MOST_CELLS + 1))
    rows = columns if rng.random() < world.share_square_grids else int(rng.integers(2, MOST_CELLS + 1))
    width, height = IMAGE_PX / columns, IMAGE_PX / rows
    cell = min(width, height)
    first = grid_thing(rng, world, background, cell)
    mixed = rng.random() < world.share_mixed
    other_things = mixed and rng.random() < 0.5
    things = []
    for y in ((i + 0.5) * height for i in range(rows)):
        for x in ((i + 0.5) * width for i in range(columns)):
            one = grid_thing(rng, world, background, cell) if other_things else first
            things.append(moved(recoloured(rng, one, background) if mixed and not other_things else one, x, y))
    return Truth(seed, tuple(things), background, grid_columns=columns, grid_rows=rows)


def grid_thing(rng: np.random.Generator, world: World, background: Background, cell_px: float) -> Thing:
    """Return an object for a cell; blocks keep apart, and are neither outlined nor black and white: such a grid would be one of lines."""
    thing = sample_thing(rng, world, background, rng.random() < world.share_shapes, OF_A_CELL * cell_px, 32, 32)
    if thing.noun not in BLOCKS:
        return thing
    colours = tuple(colour for colour in allowed_colours(thing.noun, "filled", background) if colour in TINTS)
    colour = thing.colour if thing.colour in colours else pick(rng, colours)
    return replace(thing, fill="filled", colour=colour, size_px=BLOCK_OF_A_CELL * cell_px)


def recoloured(rng: np.random.Generator, thing: Thing, background: Background) -> Thing:
    """Return the same object in a colour of its own."""
    colours = allowed_colours(thing.noun, thing.fill, background) if thing.is_shape else allowed_tints(thing.noun, background)
    colours = tuple(colour for colour in colours if colour in TINTS)
    return replace(thing, colour=pick(rng, colours), shade=pick_shade(rng))
