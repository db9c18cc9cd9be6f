"""What keys and reports need to know of a base: plain values, so that neither needs the base in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BaseFacts:
    """A base without its weights; ``unit_px`` is what the sides of training pictures must be multiples of."""

    name: str
    family: str
    fingerprint: str  # sha256 (hex) of all weights
    size_px: int
    unit_px: int
    device: str
    vae_sha256: str
    encoder_sha256: str | None  # of the image-text encoder that knows the base's world; None where none is known
    concepts: tuple[str, ...]  # what that encoder can be asked for
    shipped_cards: tuple[str, ...]  # the calibration cards that came with the package
    focus_sha256: str | None = None  # of the encoder and what reads sharp, blurry and depth of field on top of it
