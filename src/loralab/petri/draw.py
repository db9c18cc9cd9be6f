"""Drawing: in go a truth and sprites, out comes the picture, uint8 (64, 64, 3)."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from loralab.petri.sprites import Sprites
from loralab.petri.truth import IMAGE_PX, Background, Thing, Truth, make_stream
from loralab.petri.words import PALETTE

OVERSAMPLING = 4
HOLLOW_LINE = 0.11  # of the size
EDGE_LINE = 0.05


def make_picture(truth: Truth, sprites: Sprites | None = None) -> np.ndarray:
    """Return the picture of a truth; sprites are needed when it holds anything but drawn shapes."""
    canvas = Image.fromarray(draw_background(truth.background))
    if truth.blur == "background":
        canvas = canvas.filter(ImageFilter.GaussianBlur(truth.blur_sigma_px))
    painted: dict[tuple, Image.Image] = {}
    for thing in truth.things:
        key = (thing.noun, thing.colour, thing.style, thing.size_px)
        if key not in painted:
            painted[key] = draw_thing(thing, sprites)
        paste_centred(canvas, painted[key], thing.x_px, thing.y_px)
    if truth.blur == "whole":
        canvas = blur_with_wide_edges(canvas, truth.blur_sigma_px)
    return relight(np.asarray(canvas), truth.light)


def paste_centred(canvas: Image.Image, picture: Image.Image, x_px: float, y_px: float) -> None:
    """Paste an RGBA picture on a canvas with its centre at the nearest whole px."""
    corner = round(x_px - picture.width / 2), round(y_px - picture.height / 2)
    canvas.paste(picture, corner, picture)


def blur_with_wide_edges(picture: Image.Image, sigma_px: float) -> Image.Image:
    """Return the picture blurred as if its border went on outside."""
    pad = 12
    wide = Image.fromarray(np.pad(np.asarray(picture), ((pad, pad), (pad, pad), (0, 0)), mode="edge"))
    return wide.filter(ImageFilter.GaussianBlur(sigma_px)).crop((pad, pad, pad + IMAGE_PX, pad + IMAGE_PX))


def relight(pixels: np.ndarray, light: str) -> np.ndarray:
    """Return the picture in its light: "dark" keeps 40 % of each value, "bright" goes 45 % of the way to white."""
    if light == "dark":
        return (pixels * 0.4).astype(np.uint8)
    if light == "bright":
        return (255 - (255 - pixels.astype(np.float32)) * 0.55).astype(np.uint8)
    return pixels


def shaded(colour: str, shade: tuple[int, int, int]) -> np.ndarray:
    """Return a palette colour with its offset, uint8 (3,)."""
    return np.clip(np.add(PALETTE[colour], shade), 0, 255).astype(np.uint8)


def draw_background(background: Background) -> np.ndarray:
    """Return the background, uint8 (64, 64, 3)."""
    first = shaded(background.colours[0], background.shade).astype(np.float32)
    if background.kind == "plain":
        return np.broadcast_to(first.astype(np.uint8), (IMAGE_PX, IMAGE_PX, 3)).copy()
    second = shaded(background.colours[1], background.shade).astype(np.float32)
    weight = PATTERNS[background.kind](make_stream(background.pattern_seed, "pattern"))[..., None]
    return (first * (1 - weight) + second * weight).astype(np.uint8)


def gradient_pattern(rng: np.random.Generator) -> np.ndarray:
    """Return a ramp from 0 to 1, downwards or upwards, (64, 64)."""
    ramp = np.linspace(0, 1, IMAGE_PX, dtype=np.float32)
    ramp = ramp if rng.random() < 0.5 else ramp[::-1]
    return np.broadcast_to(ramp[:, None], (IMAGE_PX, IMAGE_PX))


def checkered_pattern(rng: np.random.Generator) -> np.ndarray:
    """Return a board of 8 px or 16 px cells, (64, 64)."""
    cell = 8 if rng.random() < 0.5 else 16
    rows, columns = np.indices((IMAGE_PX, IMAGE_PX)) // cell
    return ((rows + columns) % 2).astype(np.float32)


def texture_pattern(rng: np.random.Generator) -> np.ndarray:
    """Return blotches a few px wide, (64, 64)."""
    small = Image.fromarray((rng.random((11, 11)) * 255).astype(np.uint8))
    smooth = np.asarray(small.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    return (smooth > 0.5).astype(np.float32)


PATTERNS = {"gradient": gradient_pattern, "checkered": checkered_pattern, "textured": texture_pattern}


def draw_thing(thing: Thing, sprites: Sprites | None) -> Image.Image:
    """Return one object as an RGBA picture of its size."""
    if thing.is_shape:
        return draw_shape(thing)
    if sprites is None:
        raise ValueError(f"drawing a {thing.noun} needs sprites; SHAPES_ONLY is the world without them")
    assert thing.style is not None
    sprite = sprites[thing.noun, thing.style]
    if thing.colour is not None:
        sprite = tint(sprite, shaded(thing.colour, thing.shade))
    side = round(thing.size_px)
    return Image.fromarray(sprite).resize((side, side), Image.Resampling.BOX if side < 20 else Image.Resampling.BICUBIC)


def tint(sprite: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return the sprite in one hue: its darks become black, its median lightness the colour, its lights white."""
    alpha = sprite[..., 3] > 128
    grey = sprite[..., :3].astype(np.float32) @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    middle = float(np.clip(np.median(grey[alpha]), 60, 190))
    down = np.clip(grey / middle, 0, 1)[..., None] ** 1.2
    up = np.clip((grey - middle) / (255 - middle), 0, 1)[..., None] * 0.75
    rgb = colour * down * (1 - up) + 255.0 * up
    return np.concatenate([rgb.astype(np.uint8), sprite[..., 3:]], axis=-1)


def draw_shape(thing: Thing) -> Image.Image:
    """Return a drawn shape as an RGBA picture, smooth at its rim."""
    assert thing.colour is not None
    side = round(thing.size_px)
    mask = shape_mask(thing.noun, side)
    rgb = np.broadcast_to(shaded(thing.colour, thing.shade), (side, side, 3)).copy()
    if thing.fill == "hollow":
        mask = mask * (1 - shape_core(thing.noun, side, max(2.5, HOLLOW_LINE * side)))
    if thing.fill == "edged":
        core = shape_core(thing.noun, side, max(1.2, EDGE_LINE * side))[..., None]
        rgb = (rgb * core).astype(np.uint8)
    alpha = (mask * 255).astype(np.uint8)[..., None]
    return Image.fromarray(np.concatenate([rgb, alpha], axis=-1))


@lru_cache(maxsize=2048)
def shape_mask(shape: str, side: int) -> np.ndarray:
    """Return the coverage of a shape in a square of `side` px, float (side, side) from 0 to 1."""
    return shrink(make_hard_mask(shape, side), side)


@lru_cache(maxsize=2048)
def shape_core(shape: str, side: int, line_px: float) -> np.ndarray:
    """Return the coverage of the shape without a line of `line_px` inside its rim."""
    mask = Image.fromarray(make_hard_mask(shape, side))
    reach = 2 * round(line_px * OVERSAMPLING) + 1
    padded = Image.new("L", (mask.width + 2, mask.height + 2), 0)
    padded.paste(mask, (1, 1))
    core = np.asarray(erode(padded, reach).crop((1, 1, mask.width + 1, mask.height + 1)))
    return shrink(core, side)


def erode(mask: Image.Image, reach: int) -> Image.Image:
    """Return the mask worn down by a disc of this diameter (both in oversampled px)."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.asarray(mask) > 0)
    return Image.fromarray(((depth > reach / 2) * 255).astype(np.uint8))


def shrink(mask: np.ndarray, side: int) -> np.ndarray:
    """Return an oversampled mask at its final size, as coverage."""
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.BOX), dtype=np.float32) / 255


def make_hard_mask(shape: str, side: int) -> np.ndarray:
    """Return the oversampled mask of a shape that fills its square, uint8."""
    big = side * OVERSAMPLING
    mask = Image.new("L", (big, big), 0)
    pen = ImageDraw.Draw(mask)
    if shape in ("circle", "ring"):
        pen.ellipse((0, 0, big - 1, big - 1), fill=255)
        if shape == "ring":
            inner = big * 0.26
            pen.ellipse((inner, inner, big - 1 - inner, big - 1 - inner), fill=0)
    else:
        pen.polygon([(x * (big - 1), y * (big - 1)) for x, y in outline(shape)], fill=255)
    return np.asarray(mask)


def outline(shape: str) -> list[tuple[float, float]]:
    """Return the corners of a shape in the unit square, y downwards."""
    if shape == "star":
        return [spoke(i, 10, 0.52 if i % 2 == 0 else 0.22, (0.5, 0.53)) for i in range(10)]
    if shape == "hexagon":
        return [spoke(i + 0.5, 6, 0.5) for i in range(6)]
    if shape == "heart":
        return [heart_point(2 * pi * i / 80) for i in range(80)]
    return POLYGONS[shape]


POLYGONS = {
    "square": [(0.04, 0.04), (0.96, 0.04), (0.96, 0.96), (0.04, 0.96)],
    "triangle": [(0.5, 0.06), (1.0, 0.93), (0.0, 0.93)],
    "diamond": [(0.5, 0.0), (0.84, 0.5), (0.5, 1.0), (0.16, 0.5)],
    "cross": [
        (0.33, 0.0), (0.67, 0.0), (0.67, 0.33), (1.0, 0.33), (1.0, 0.67), (0.67, 0.67),
        (0.67, 1.0), (0.33, 1.0), (0.33, 0.67), (0.0, 0.67), (0.0, 0.33), (0.33, 0.33),
    ],
}  # fmt: skip


def spoke(i: float, n: int, radius: float, centre: tuple[float, float] = (0.5, 0.5)) -> tuple[float, float]:
    """Return corner i of n around a centre, the first one on top."""
    angle = 2 * pi * i / n - pi / 2
    return centre[0] + radius * cos(angle), centre[1] + radius * sin(angle)


def heart_point(t: float) -> tuple[float, float]:
    """Return a point of the heart curve (16 sin^3 t, ...), scaled to the unit square."""
    x = 16 * sin(t) ** 3
    y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)
    return 0.5 + x / 33, 0.46 - y / 33
