"""petri's world: in goes an integer seed, out come a 64x64 picture, its captions, and the exact truth about both.

`sample_truth` decides what is there, `make_picture` draws it, `captions.make_captions` says it. The same seed gives the
same three anywhere. Worlds of drawn shapes alone (`SHAPES_ONLY`) need no sprites. Single objects are decided here, several in
`arrangements`, what both are made of in `things`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from skimage.color import rgb2lab

from loralab.petri.truth import IMAGE_PX, Background, Truth, make_stream
from loralab.petri.words import COLOURS, PALETTE
from organism.arrangements import sample_grid, sample_many, sample_pair
from organism.things import World, pick, sample_background, sample_thing

SMALL = World()
SHAPES_ONLY = World(concepts=(), share_shapes=1.0)
SCENES = ("textured", "checkered")  # what is behind a subject that alone is sharp
SCENE_DELTA_E = 40.0  # CIE76 between a scene's two colours: less is hardly seen behind the blur


def sample_truth(seed: int, world: World = SMALL) -> Truth:
    """Return what the picture of this seed shows."""
    rng = make_stream(seed, "truth")
    layout = rng.random()
    background = sample_background(rng, world)
    edges = np.cumsum([world.share_pairs, world.share_many, world.share_grids])  # grids last: without them all else stays as it was
    if layout < edges[0]:
        return Truth(seed, sample_pair(rng, world, background), background)
    if layout < edges[1]:
        return sample_many(seed, rng, world, plain(background))
    if layout < edges[2]:
        return sample_grid(seed, rng, world, plain(background))
    return sample_single(seed, rng, world, background)


def plain(background: Background) -> Background:
    """Return the background without a pattern in which many small objects would be lost."""
    return background if background.kind in ("plain", "gradient") else replace(background, kind="plain", colours=background.colours[:1])


def sample_single(seed: int, rng: np.random.Generator, world: World, background: Background) -> Truth:
    """Return a picture of one object; only these are blurred, darkened or brightened, so that the words stay clear."""
    blur, sigma, light = "none", 0.0, "normal"
    effect = rng.random()
    edges = np.cumsum([world.share_blurry, world.share_depth_of_field, world.share_dark, world.share_bright])
    if effect < edges[0]:
        blur, sigma = "whole", float(rng.uniform(1.5, 3.0))
    elif effect < edges[1]:
        blur, sigma = "background", float(rng.uniform(2.5, 4.0))
        scene = pick(rng, SCENES) if world.share_checkered else "textured"  # a world without boards has none behind a blur either
        background = Background(scene, pick(rng, scene_colours()), pattern_seed=int(rng.integers(2**31)))
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


@cache
def scene_colours() -> tuple[tuple[str, str], ...]:
    """Return the pairs of colours, in either order, that can be told from each other behind a blur."""
    lab = {name: rgb2lab(np.array([[rgb]]) / 255.0)[0, 0] for name, rgb in PALETTE.items()}
    return tuple((a, b) for a in COLOURS for b in COLOURS if np.linalg.norm(lab[a] - lab[b]) > SCENE_DELTA_E)
