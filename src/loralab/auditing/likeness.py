"""Pictures that are nearly the same: thumbnails in CIELAB in, groups of near-duplicates out.

A fingerprint is the picture's mean colour in 24 x 24 cells. Two pictures are near-duplicates where these differ little, measured by the
contrast of the pictures themselves, so that small subjects on a plain background are not all alike. Mirrored copies count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from loralab.auditing.remark import LEAST_PICTURES, Facts, Remark

CELLS = 24
#: mean deltaE76 between two fingerprints: at most this, and at most this share of the pictures' own contrast plus the noise of compression
MOST_APART, CONTRAST_SHARE, NOISE = 4.0, 0.12, 0.6
#: a copy may be lighter or darker, or tinted, by this much as a whole
MOST_TINT = 8.0


def make_fingerprint(image: np.ndarray) -> np.ndarray:
    """Return the mean colours (24, 24, 3), CIELAB, of a picture (H, W, 3) uint8."""
    small = Image.fromarray(image).resize((CELLS, CELLS), Image.Resampling.BOX)
    return np.asarray(rgb2lab(np.asarray(small, dtype=np.float64) / 255))


def is_copy(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two fingerprints are of nearly the same picture, mirrored or not."""
    limit = min(MOST_APART, CONTRAST_SHARE * min(_contrast(one), _contrast(other)) + NOISE)
    return min(_apart(one, other), _apart(one, other[:, ::-1])) <= limit


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    difference = one - other
    tint = np.median(difference, axis=(0, 1)).clip(-MOST_TINT, MOST_TINT)
    return float(np.linalg.norm(difference - tint, axis=-1).mean())


def _contrast(fingerprint: np.ndarray) -> float:
    """Return the mean deltaE76 of the cells from their median colour."""
    return float(np.linalg.norm(fingerprint - np.median(fingerprint, axis=(0, 1)), axis=-1).mean())


def group_copies(fingerprints: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """Return groups of near-duplicates, each in order, two or more in a group."""
    leader = list(range(len(fingerprints)))
    means = np.array([each.mean(axis=(0, 1)) for each in fingerprints]).reshape(-1, 3)
    for index, own in enumerate(fingerprints):
        # pictures whose mean colours are far apart cannot be near: most pairs end here
        near = np.flatnonzero(np.linalg.norm(means[:index] - means[index], axis=-1) <= MOST_APART + MOST_TINT * 3**0.5)
        for earlier in near.tolist():
            if is_copy(own, fingerprints[earlier]):
                leader[index] = leader[earlier]
                break
    groups: dict[int, list[int]] = {}
    for index, first in enumerate(leader):
        groups.setdefault(first, []).append(index)
    return [tuple(group) for group in groups.values() if len(group) >= LEAST_PICTURES]


def check_copies(facts: Sequence[Facts]) -> Iterator[Remark]:
    """Yield one remark for each group of near-duplicate pictures."""
    for group in group_copies([make_fingerprint(each.example.image) for each in facts]):
        names = ", ".join(str(facts[index].example.factors["file"]) for index in group[:4])
        yield Remark(
            "near-duplicates", f"{len(group)} of {len(facts)} pictures are nearly identical: {names}{' ...' if len(group) > 4 else ''}.",
            len(group), len(facts), "Keep only one, unless you want it to carry more weight: duplicates are the first pictures that a "
                "LoRA memorises.",
            f"mean colours of {CELLS} x {CELLS} cells within deltaE {MOST_APART:g} and {CONTRAST_SHARE:.0%} of the picture's contrast; "
            "mirror images count as copies", group,
        )  # fmt: skip
