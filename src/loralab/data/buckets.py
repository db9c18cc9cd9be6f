"""Aspect buckets: a picture's size in, the size it is resized to and the resolution it is trained at out.

The rule is that of kohya's sd-scripts (`library/model_util.py` make_bucket_resolutions, `library/train_util.py` BucketManager).
Sizes are (width, height) in px.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from PIL import Image

from loralab.errors import lab_error
from loralab.spec.datasets import PictureSpec

Size = tuple[int, int]
MOST_RESIZED = 64_000_000


@dataclass(frozen=True)
class BucketRule:
    """How resolutions are chosen: area, bounds and step, all in px."""

    resolution: Size
    shortest: int
    longest: int
    step: int
    upscale: bool
    buckets: bool


@dataclass(frozen=True)
class Fit:
    """What becomes of a picture: ``resized`` covers ``bucket``, and the rest is cut off."""

    resized: Size
    bucket: Size


def make_rule(options: PictureSpec, size_px: int, unit_px: int) -> BucketRule:
    """Return the rule for a base of ``size_px`` whose latents come in units of ``unit_px``; raises LabError("data") for sides between."""
    side = options.resolution if options.resolution is not None else size_px
    resolution = (side, side) if isinstance(side, int) else side
    step = options.bucket_reso_steps or unit_px
    shortest = options.min_bucket_reso or max(step, min(resolution) // 2 // step * step)
    longest = options.max_bucket_reso or 2 * max(resolution)
    for name, px in (("bucket_reso_steps", step), *(("resolution", px) for px in resolution if not options.enable_bucket)):
        if px % unit_px:
            raise lab_error(
                "data", f"{name} {px}", f"a multiple of the base's unit, {unit_px} px", "this base cannot train at sizes in between"
            )
    return BucketRule(resolution, shortest, longest, step, not options.bucket_no_upscale, options.enable_bucket)


@cache
def make_buckets(rule: BucketRule) -> tuple[Size, ...]:
    """Return the resolutions of at most the rule's area, in order of width; without buckets the resolution alone."""
    if not rule.buckets:
        return (rule.resolution,)
    area = rule.resolution[0] * rule.resolution[1]
    side = math.isqrt(area) // rule.step * rule.step
    found = {(side, side)}
    for width in range(rule.shortest, rule.longest + 1, rule.step):
        height = min(rule.longest, area // width // rule.step * rule.step)
        if height >= rule.shortest:
            found |= {(width, height), (height, width)}
    return tuple(sorted(found))


def fit_picture(size: Size, rule: BucketRule) -> Fit:
    """Return how a picture of ``size`` is resized and cut."""
    return _fit_unscaled(size, rule) if rule.buckets and not rule.upscale else _fit_nearest(size, rule)


def _fit_nearest(size: Size, rule: BucketRule) -> Fit:
    """Take the bucket whose aspect is nearest, and cover it."""
    buckets = make_buckets(rule)
    aspect = size[0] / size[1]
    bucket = size if size in buckets else min(buckets, key=lambda each: abs(each[0] / each[1] - aspect))
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    return Fit((max(bucket[0], _rounded(size[0] * scale)), max(bucket[1], _rounded(size[1] * scale))), bucket)


def _fit_unscaled(size: Size, rule: BucketRule) -> Fit:
    """Shrink a picture above the area to it, leave others; the bucket is what whole steps leave."""
    width, height = size
    area, aspect = rule.resolution[0] * rule.resolution[1], width / height
    resized = size
    if width * height > area:
        wide = math.sqrt(area * aspect)
        by_width = (down := _stepped(wide, rule.step), _rounded(down / aspect))
        by_height = (_rounded((low := _stepped(area / wide, rule.step)) * aspect), low)
        resized = min((by_width, by_height), key=lambda each: abs(_aspect_in_steps(each, rule.step) - aspect))
    bucket = (resized[0] - resized[0] % rule.step, resized[1] - resized[1] % rule.step)
    if 0 in bucket:
        found = f"a picture of {width} x {height} px is smaller than the bucket step of {rule.step} px"
        raise lab_error("data", found, f"at least {rule.step} px on each side", "remove bucket_no_upscale, or delete the picture")
    return Fit(resized, bucket)


def _aspect_in_steps(size: Size, step: int) -> float:
    wide, high = (max(step, side // step * step) for side in size)
    return wide / high


def _rounded(px: float) -> int:
    return int(px + 0.5)


def _stepped(px: float, step: int) -> int:
    return max(step, _rounded(px) // step * step)


def resize_to_cover(picture: Image.Image, rule: BucketRule) -> Image.Image:
    """Return ``picture`` resized (Lanczos) so that it covers its bucket, not yet cut.

    Raises LabError("data") for a picture so narrow that covering its bucket takes more pixels than any picture may have.
    """
    fit = fit_picture(picture.size, rule)
    if fit.resized[0] * fit.resized[1] > MOST_RESIZED:
        found = f"a picture of {picture.width} x {picture.height} px would be enlarged to {fit.resized[0]} x {fit.resized[1]} px"
        raise lab_error("data", found, f"at most {MOST_RESIZED // 1_000_000} million pixels", "crop it, or delete it")
    return picture.resize(fit.resized, Image.Resampling.LANCZOS)
