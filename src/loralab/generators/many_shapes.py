"""Many drawn shapes from a few words: how many, in which parts, how large and where; exact numbers, and a seed for the rest.

The parts are kept exactly, as far as whole pictures allow; which picture is which, and each one's size and place, follow from the seed.
Picture k has the same size and place in a set of any length.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import Field, model_validator

from loralab.generators.colours import Colour
from loralab.generators.generator import Factors, Generated, Generator
from loralab.generators.shapes import Place, Shape, draw_one, mask_one
from loralab.seeds import seed_for

MOST_PICTURES = 1000
Part = Annotated[int, Field(ge=1, le=MOST_PICTURES)]
Share = Annotated[float, Field(gt=0.02, le=1)]
Word = TypeVar("Word", bound=str)


class ManyShapesData(Generated):
    """Many images of one shape each: numbers and balance as given, sizes and places drawn from a seed."""

    generate: Literal["many-shapes"]
    shapes: Shape | tuple[Shape, ...] | dict[Shape, Part] = Field(
        description="The shape of all images, a list of shapes in equal parts, or their parts: {circle: 9, square: 1}."
    )
    count: int | None = Field(None, ge=1, le=MOST_PICTURES, description="Number of images. Default: the sum of the shapes' parts.")
    fill: Colour | tuple[Colour, ...] | dict[Colour, Part] = Field(
        "grey", description="Fill colour of all images, a list of colours in equal parts, or their parts: {red: 9, blue: 1}."
    )
    background: Colour | tuple[Colour, ...] | dict[Colour, Part] = Field("white", description="Background colour, likewise.")
    outline: Colour | None = Field(None, description="Colour of the outline; no outline if left out.")
    outline_px: float = Field(3.0, gt=0, le=12, description="Width of the outline in pixels of a 64 px image.")
    size: Share | tuple[Share, Share] = Field(
        0.7, description="Size of the shape as a share of the image side: one for all, or [smallest, largest] to draw from."
    )
    position: Literal["centre", "anywhere"] | tuple[Place, Place] = Field(
        "centre", description="Where the shape is: centre, anywhere (wholly inside the image), or its centre (x, y) as shares of the side."
    )
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) of the blurred images.")
    blurred: int | None = Field(None, ge=0, description="How many of the images are blurred. Default: all, if there is a blur.")
    seed: int = Field(0, ge=0, description="Seed for sizes, places and the order of shapes and colours.")

    @model_validator(mode="after")
    def _fits(self) -> ManyShapesData:
        if not self.shapes or not self.fill or not self.background:
            raise ValueError("an empty list: give at least one shape and one colour")
        if isinstance(self.size, tuple) and self.size[0] > self.size[1]:
            raise ValueError(f"size is [smallest, largest], not [{self.size[0]:g}, {self.size[1]:g}]")
        if (self.blurred or 0) > self.n_images:
            raise ValueError(f"{self.blurred} of {self.n_images} images cannot be blurred")
        if self.blurred and not self.blur:
            raise ValueError("`blurred` needs a `blur`, such as 3")
        if self.n_images > MOST_PICTURES:
            raise ValueError(f"{self.n_images:,} images; expected at most {MOST_PICTURES:,}: give smaller parts, or a `count`")
        half = max(self.size) / 2 if isinstance(self.size, tuple) else self.size / 2
        if isinstance(self.position, tuple) and not all(half - 1e-9 <= place <= 1 - half + 1e-9 for place in self.position):
            at, size = f"[{self.position[0]:g}, {self.position[1]:g}]", 2 * half
            raise ValueError(f"a shape of size {size:g} at {at} leaves the picture; expected places from {half:g} to {1 - half:g}")
        return self

    @property
    def n_images(self) -> int:
        """How many images there are."""
        return sum(parts_of(self.shapes).values()) if self.count is None else self.count


def parts_of(given: Word | tuple[Word, ...] | Mapping[Word, int]) -> dict[Word, int]:
    """Return each word's parts: one each where they are listed; those of a mapping by the alphabet, since its order is no part of keys."""
    if isinstance(given, str):
        return {given: 1}
    if isinstance(given, Mapping):
        return dict(sorted(given.items()))
    return {word: given.count(word) for word in given}


def counts_of(parts: Mapping[Word, int], n: int) -> dict[Word, int]:
    """Return ``n`` in these parts; what whole numbers leave over goes to the largest remainders, the first of equal ones (Hamilton)."""
    total = sum(parts.values())
    counts = {word: n * part // total for word, part in parts.items()}
    by_remainder = sorted(parts, key=lambda word: -(n * parts[word] % total))
    for word in by_remainder[: n - sum(counts.values())]:
        counts[word] += 1
    return counts


def many_factors(spec: ManyShapesData) -> list[Factors]:
    """Return the drawn truth of each image; lengths are shares of the side."""
    shapes, fills, grounds = (_dealt(spec, name) for name in ("shapes", "fill", "background"))
    blurred = _chosen(spec)
    found: list[Factors] = []
    for index in range(spec.n_images):
        size = spec.size if isinstance(spec.size, float) else _between(spec, "size", index, *spec.size)
        x, y = (_place(spec, axis, index, size) for axis in (0, 1))
        found.append({
            "number": index + 1, "shape": shapes[index], "fill": fills[index], "outline": spec.outline or "none",
            "background": grounds[index], "size": size, "x": x, "y": y, "blur": spec.blur if index in blurred else 0.0,
        })  # fmt: skip
    return found


def _dealt(spec: ManyShapesData, name: str) -> list[str]:
    """Return one word for each image: the exact numbers of each, in an order that is drawn."""
    counts = counts_of(parts_of(getattr(spec, name)), spec.n_images)
    dealt = [word for word, n in counts.items() for _ in range(n)]
    random.Random(seed_for(spec.seed, "many-shapes", name)).shuffle(dealt)
    return dealt


def _chosen(spec: ManyShapesData) -> set[int]:
    """Return which images are blurred."""
    n = spec.n_images if spec.blurred is None else spec.blurred
    return set(random.Random(seed_for(spec.seed, "many-shapes", "blurred")).sample(range(spec.n_images), n if spec.blur else 0))


def _between(spec: ManyShapesData, name: str, index: int, low: float, high: float) -> float:
    """Return a number that is drawn for one image, to four digits."""
    return round(random.Random(seed_for(spec.seed, "many-shapes", name, index)).uniform(low, high), 4)


def _place(spec: ManyShapesData, axis: int, index: int, size: float) -> float:
    if spec.position == "centre":
        return 0.5
    if spec.position == "anywhere":
        return _between(spec, "xy"[axis], index, size / 2, 1 - size / 2)
    return float(spec.position[axis])


def draw_one_of_many(spec: ManyShapesData, factors: Factors, size_px: int) -> np.ndarray:
    """Return one picture, (size_px, size_px, 3) uint8."""
    return draw_one(factors, spec.outline_px, size_px)


def mask_one_of_many(_: ManyShapesData, factors: Factors, size_px: int) -> np.ndarray:
    """Return where the shape is, (size_px, size_px) uint8."""
    return mask_one(factors, size_px)


GENERATOR = Generator(
    ManyShapesData, many_factors, draw_one_of_many, "{fill} {shape}",
    {"generate": "many-shapes", "shapes": {"circle": 3, "flag": 1}, "fill": ["red", "blue"], "background": "yellow", "size": [0.3, 0.6],
     "position": "anywhere"},
    mask_one_of_many,
)  # fmt: skip
