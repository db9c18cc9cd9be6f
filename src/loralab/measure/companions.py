"""The image-text encoder that knows a base's world, where there is one: a base's name in, what can be asked of its pictures out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from loralab.measure import Companion, Concept
from loralab.measure.specimen import Specimen, alone
from loralab.petri.concept_names import ASKED, FOCUS_NAMES, members_of, rivals_of

if TYPE_CHECKING:
    from loralab.petri.encoder import Encoder
    from loralab.petri.truth import Truth

#: what was fitted to the encoder, for sharp, blurry and depth of field
FOCUS_FILE = "focus.npz"
#: pictures of a concept, and of what is none, behind a card
N_OTHERS, N_ROUNDS = 120, 8


def companion_of(base_name: str) -> Companion | None:
    """Return petri's own encoder for petri; None for a base of which no encoder is known."""
    return petri_companion() if base_name == "petri" else None


@cache
def encoder_sha256() -> str:
    """Return the hash of the files of petri's own encoder; what reads sharpness on top of it is not one of them."""
    return _hash_of(path for path in _files() if path.name != FOCUS_FILE)


@cache
def focus_sha256() -> str:
    """Return the hash of all that reads sharp, blurry and depth of field: the encoder and what was fitted to it."""
    return _hash_of(_files())


def _files() -> list[Path]:
    from loralab.petri.encoder import encoder_folder

    return sorted(encoder_folder().glob("*"))


def _hash_of(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def petri_companion() -> Companion:
    """Return petri's own encoder, read once."""
    from loralab.petri.encoder import load_encoder

    encoder = load_encoder()

    def concept(name: str) -> Concept:
        from loralab.petri.encoder import make_share

        if name in FOCUS_NAMES:
            return _focus_concept(encoder, name)
        return Concept(name, make_share(encoder, name), partial(_specimens, name), partial(_in_every_colour, name))

    return Companion("petri's encoder", focus_sha256(), ASKED, concept)


def _focus_concept(encoder: Encoder, name: str) -> Concept:
    """Return one of sharp, blurry and depth of field: not what is shown, but how."""
    from loralab.measure.focus_specimens import focus_nuisances, focus_specimens
    from loralab.petri.focus import make_focus_share

    specimens, nuisances = (partial(make, name, draw=_drawn) for make in (focus_specimens, focus_nuisances))
    return Concept(name, make_focus_share(encoder, name), specimens, nuisances)


def _drawn(truth: Truth, size_px: int) -> np.ndarray:
    from loralab.petri.draw import make_picture

    return _resized(make_picture(truth, _sprites()), size_px)


def _specimens(name: str, size_px: int) -> list[Specimen]:
    """Return pictures of the concept (truth 1) and of all that may be there instead (truth 0), in colours and places of their own."""
    return [*_in_every_colour(name, size_px), *_of_others(name, size_px)]


def _in_every_colour(name: str, size_px: int) -> list[Specimen]:
    """Return pictures of the concept in its own colours and in nine others, before five backgrounds."""
    return [
        _specimen(number, member, colour, size_px, 1.0)
        for number, (member, colour) in enumerate(_turns(members_of(name), N_ROUNDS))
    ]  # fmt: skip


def _of_others(name: str, size_px: int) -> list[Specimen]:
    nouns = [noun for other in rivals_of(name) for noun in members_of(other)]
    turns = list(_turns(nouns, 10))
    step = max(1, len(turns) // N_OTHERS)
    return [_specimen(number, noun, colour, size_px, 0.0) for number, (noun, colour) in enumerate(turns[::step])]


def _turns(nouns: Sequence[str], n_rounds: int) -> list[tuple[str, str | None]]:
    """Return every noun in turn with every colour in turn, at least ``n_rounds`` of each noun's turns and all colours."""
    from loralab.petri.words import TINTS

    colours: tuple[str | None, ...] = (None, *TINTS)
    n = max(len(colours) * n_rounds, len(nouns))
    rounds = -(-n // len(nouns))
    return [(noun, colours[(k + r) % len(colours)]) for r in range(rounds) for k, noun in enumerate(nouns)]


def _specimen(number: int, noun: str, colour: str | None, size_px: int, truth: float) -> Specimen:
    from loralab.petri.draw import make_picture
    from loralab.petri.truth import make_truth, other_colour
    from loralab.petri.words import SHAPES

    grounds = ("white", "blue", "yellow", "gray", "pink")
    ground = grounds[number % len(grounds)]
    colour = colour or (other_colour(ground) if noun in SHAPES else None)
    ground = other_colour(ground) if ground == colour else ground
    image = make_picture(make_truth(number, noun, colour, ground), _sprites())
    factors: dict[str, str | float] = {"hue": colour or "its own", "background": ground}
    return alone(_resized(image, size_px), {"concept": truth}, factors)


def _resized(image: np.ndarray, size_px: int) -> np.ndarray:
    if image.shape[0] == size_px:
        return image
    return np.asarray(Image.fromarray(image).resize((size_px, size_px), Image.Resampling.BICUBIC))


@cache
def _sprites() -> dict[tuple[str, str], np.ndarray]:
    from loralab.petri.encoder import encoder_folder
    from loralab.petri.sprites import load_sprites

    return load_sprites(encoder_folder() / "sprites.npz")
