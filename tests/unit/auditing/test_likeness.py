"""Near-duplicates: measured rates of finding copies and of calling different pictures copies."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from loralab.auditing.likeness import group_copies, is_copy, make_fingerprint
from loralab.data import make_examples
from loralab.spec.models import SHAPES, GridsData, ShapesData

PX = 96
COLOURS = ("red", "green", "blue", "grey")


def originals() -> list[Image.Image]:
    """45 pictures, all different: shapes in two sizes, grids, and noise of several grains (stand-ins for photographs)."""
    specs = [
        ShapesData(generate="shapes", shapes=SHAPES, fill=fill, background=ground, size=size)
        for fill, ground, size in (("red", "white", 0.7), ("blue", "yellow", 0.35), ("grey", "black", 0.7))
    ]
    examples = [example for spec in specs for example in make_examples(spec, PX)]
    examples += make_examples(GridsData(generate="grids", sizes=("2x2", "3x3", "2x3", "4x4", "5x2", "1x4")), PX)
    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((PX, PX), Image.Resampling.BICUBIC)
              for n in (3, 4, 5, 6, 8, 10) for _ in range(2)]  # fmt: skip
    return [*(Image.fromarray(example.image) for example in examples), *scenes]


def jpeg(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=40)
    return Image.open(out).convert("RGB")


COPIES = {
    "compressed": jpeg,
    "smaller": lambda image: image.resize((PX // 2, PX // 2), Image.Resampling.LANCZOS),
    "lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.06),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "trimmed": lambda image: image.crop((1, 1, PX - 1, PX - 1)),
}


@pytest.fixture(scope="module")
def prints() -> list[np.ndarray]:
    return [make_fingerprint(np.asarray(image)) for image in originals()]


@pytest.mark.parametrize("manner", COPIES)
def test_copies_are_found(manner: str, prints: list[np.ndarray]):
    """At least 95 % of copies of each manner; of trimmed ones fewer, since fine grids and grains no longer meet cell by cell."""
    copies = [make_fingerprint(np.asarray(COPIES[manner](image))) for image in originals()]
    assert np.mean([is_copy(own, copy) for own, copy in zip(prints, copies, strict=True)]) >= (0.75 if manner == "trimmed" else 0.95)


def test_different_pictures_are_not_called_copies(prints: list[np.ndarray]):
    """At most 0.5 % of the pairs."""
    assert np.mean([is_copy(one, other) for one, other in itertools.combinations(prints, 2)]) <= 0.005


def test_groups_are_in_order_and_hold_two_or_more(prints: list[np.ndarray]):
    assert group_copies([prints[0], prints[9], prints[0], prints[9], prints[30], prints[0]]) == [(0, 2, 5), (1, 3)]
