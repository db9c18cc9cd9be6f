"""Pictures of petri's world, sharp, blurry, or sharp before a blurred background: of known truth, to hold the three against.

In: one of the three names, a size. Out: specimens over nouns, colours, backgrounds and amounts of blur. Sharp pictures stand before
patterns too, so that a pattern alone does not read as a blurred background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from loralab.measure.specimen import Specimen, alone
from loralab.petri.focus import FOCUS
from loralab.petri.truth import Background, Truth, make_truth, other_colour
from loralab.petri.words import CONCEPTS, SHAPES, TINTS

#: pictures of each of the three
N_EACH = 72
GROUNDS = ("white", "blue", "yellow", "gray", "pink")
KINDS = ("plain", "plain", "gradient", "checkered", "textured")
Draw = Callable[[Truth, int], np.ndarray]


def focus_specimens(name: str, size_px: int, draw: Draw) -> list[Specimen]:
    """Return pictures of all three, the truth of `concept` 1 where they are ``name``; ``draw`` makes a picture at a size."""
    return [specimen for focus in FOCUS for specimen in _of(focus, float(focus == name), size_px, draw)]


def focus_nuisances(name: str, size_px: int, draw: Draw) -> list[Specimen]:
    """Return pictures of ``name`` alone, over what should not move the reading: hue, background, and what is shown."""
    return list(_of(name, 1.0, size_px, draw))


def _of(focus: str, truth: float, size_px: int, draw: Draw) -> Iterator[Specimen]:
    for number in range(N_EACH):
        found, factors = focus_truth(focus, number)
        yield alone(draw(found, size_px), {"concept": truth}, factors)


def focus_truth(focus: str, number: int) -> tuple[Truth, dict[str, str | float]]:
    """Return what is true of a picture, and its factors; things, colours, backgrounds and blur go round at their own pace."""
    nouns = (*CONCEPTS, *SHAPES)
    noun, ground = nouns[7 * number % len(nouns)], GROUNDS[number % len(GROUNDS)]
    colour = (None, *TINTS)[number // 2 % (1 + len(TINTS))]
    colour = colour or (other_colour(ground) if noun in SHAPES else None)
    ground = other_colour(ground) if ground == colour else ground
    second = next(other for other in ("green", "purple", "orange") if other not in (ground, colour))
    kind = "textured" if focus == "depth of field" else KINDS[number // 5 % len(KINDS)]
    plain = make_truth(number, noun, colour, ground)
    background = Background(kind, (ground,) if kind == "plain" else (ground, second), pattern_seed=number)
    blur, sigma = BLURS[focus](number // 3 % 6)
    factors: dict[str, str | float] = {
        "hue": colour or "its own",
        "background": ground,
        "shown": "a shape" if noun in SHAPES else "a thing",
    }
    return replace(plain, background=background, blur=blur, blur_sigma_px=sigma), factors


#: how each of the three comes about, by one of six amounts: those of the world
BLURS: dict[str, Callable[[int], tuple[str, float]]] = {
    "sharp": lambda k: ("none", 0.0),
    "blurry": lambda k: ("whole", 1.5 + 0.3 * k),
    "depth of field": lambda k: ("background", 2.5 + 0.3 * k),
}
