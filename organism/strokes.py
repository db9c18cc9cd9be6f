"""Pictures of strokes, for the decoder alone: in goes a number, out come lines of every width, direction and colour.

A LoRA may draw what petri's world does not hold, lines among it; a decoder that never saw one would draw them badly, and the reading
of a grid of lines would say more of the decoder than of the LoRA. The UNet and the text encoder never see these pictures.
"""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from loralab.petri.truth import IMAGE_PX

MOST_STROKES = 14
MOST_WIDTH_PX = 5
SHARE_UPRIGHT = 0.6  # of strokes: across or down
OVERSAMPLING = 4


def make_strokes(n: int, seed: int = 0) -> np.ndarray:
    """Return n pictures, uint8 (n, 64, 64, 3)."""
    rng = np.random.default_rng(seed)
    return np.stack([draw_strokes(rng) for _ in range(n)])


def draw_strokes(rng: np.random.Generator) -> np.ndarray:
    """Return one picture of strokes across a plain ground; half of the pictures have one colour for all strokes."""
    big = IMAGE_PX * OVERSAMPLING
    picture = Image.new("RGB", (big, big), colour_of(rng))
    pen = ImageDraw.Draw(picture)
    shared = colour_of(rng) if rng.random() < 0.5 else None
    for _ in range(int(rng.integers(1, MOST_STROKES + 1))):
        x, y = (float(v) for v in rng.uniform(0, big, size=2))
        angle = float(rng.integers(2)) * pi / 2 if rng.random() < SHARE_UPRIGHT else float(rng.uniform(0, pi))
        reach = float(rng.uniform(0.1, 1.5)) * big
        dx, dy = reach * cos(angle), reach * sin(angle)
        width = round(float(rng.uniform(1, MOST_WIDTH_PX)) * OVERSAMPLING)
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=shared or colour_of(rng), width=width)
    return np.asarray(picture.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BOX))


def colour_of(rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a colour, in one case of three black or white."""
    chance = rng.random()
    if chance < 1 / 3:
        return (0, 0, 0) if chance < 1 / 6 else (255, 255, 255)
    red, green, blue = (int(v) for v in rng.integers(0, 256, size=3))
    return red, green, blue
