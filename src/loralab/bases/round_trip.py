"""A base's autoencoder by itself: pictures through it and back, and the hash of all that does it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
import torch

from loralab.bases.asking import decode_latents, encode_images
from loralab.bases.base import Base
from loralab.pixels import pixels_of

ROUND_TRIP_IMAGES = 32


def round_trip_of(base: Base) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that sends images (N, H, W, 3) uint8 through the base's VAE and back."""

    def round_trip(images: np.ndarray) -> np.ndarray:
        parts = []
        for start in range(0, len(images), ROUND_TRIP_IMAGES):
            part = np.ascontiguousarray(images[start : start + ROUND_TRIP_IMAGES])
            parts.append(decode_latents(base, encode_images(base, pixels_of(part))))
        return np.concatenate(parts)

    return round_trip


def vae_sha256(base: Base) -> str:
    """Return the sha256 (hex) over a base's autoencoder, weights and configuration: all of a base that its cards rest on."""
    said = {name: value for name, value in dict(base.vae.config).items() if not name.startswith("_")}  # not where it lies, nor who wrote it
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name, value in sorted(base.vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()
