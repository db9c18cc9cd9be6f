"""What petri draws by itself, known well: the mean and variance of every instrument at the prompts of the studies that ship.

In: how pictures are drawn, and the base's fingerprint. Out: means, variances and counts by prompt and measure; none where anything of that
differs. Made by ``python -m organism means`` from pictures at seeds that no study reaches.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from loralab.spec.models import SampleSpec

FILE = Path(__file__).with_name("base_means.json")
#: what of `sample:` changes a picture of the base
DRAWING = ("steps", "guidance", "sampler", "schedule", "negative", "clip_skip")
#: what came later, and is told where it is not as it always was
LATER = ("guidance_interval",)


class BaseMean(NamedTuple):
    """Mean and variance of an instrument's readings on ``n`` pictures of the base at one prompt; ``version`` is the instrument's."""

    mean: float
    variance: float
    n: int
    version: int


def drawing_of(sample: SampleSpec) -> dict[str, Any]:
    """Return what of a study's `sample:` changes a picture of the base, as plain values."""
    told = sample.model_dump(mode="json")
    usual = {name: SampleSpec.model_fields[name].default for name in LATER}
    return {name: told[name] for name in (*DRAWING, *(name for name in LATER if getattr(sample, name) != usual[name]))}


@cache
def _shipped() -> Mapping[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}  # type: ignore[no-any-return]


def shipped_means(fingerprint: str, sample: SampleSpec) -> dict[tuple[str, str], BaseMean]:
    """Return what is known of petri's own pictures, by (prompt, measure); empty for another base, or where pictures are drawn otherwise."""
    told = _shipped()
    if not told or told["base"] != fingerprint or told["drawing"] != drawing_of(sample):
        return {}
    return {(prompt, measure): BaseMean(*row) for prompt, rows in told["prompts"].items() for measure, row in rows.items()}
