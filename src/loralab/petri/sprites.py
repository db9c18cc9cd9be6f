"""Emoji art as sprites, 112 px RGBA pictures: in goes the file that ships, out come pictures by noun and style."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SPRITE_PX = 112
Sprites = dict[tuple[str, str], np.ndarray]  # (noun, style) -> uint8 (SPRITE_PX, SPRITE_PX, 4)


def save_sprites(sprites: Sprites, path: Path) -> None:
    """Write the sprites to one `.npz` file, keyed `noun/style`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {f"{noun}/{style}": sprite for (noun, style), sprite in sprites.items()}
    np.savez_compressed(path, **named)  # type: ignore[arg-type]


def load_sprites(path: Path) -> Sprites:
    """Return the sprites of a file that `save_sprites` wrote."""
    with np.load(path) as packed:
        return {tuple(key.split("/")): packed[key] for key in packed.files}  # type: ignore[misc]
