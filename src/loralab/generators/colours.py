"""The colours that generators draw with, by the names that studies use."""

from __future__ import annotations

from typing import Literal

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (221, 30, 40), "orange": (255, 140, 20), "yellow": (250, 225, 40), "green": (35, 165, 60), "cyan": (50, 205, 215),
    "blue": (40, 70, 220), "purple": (130, 50, 185), "magenta": (225, 30, 170), "pink": (250, 120, 185),
    "brown": (130, 80, 40), "black": (12, 12, 12), "white": (255, 255, 255), "grey": (128, 128, 128),
}  # fmt: skip

Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "magenta", "pink", "brown", "black", "white", "grey"]
