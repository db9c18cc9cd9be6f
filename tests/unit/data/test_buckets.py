"""Aspect buckets: kohya's table for 512 px, pictures of known size, and what holds for every size."""

from __future__ import annotations

import random

import pytest

from loralab.data.buckets import fit_picture, make_buckets, make_rule
from loralab.errors import LabError
from loralab.spec.datasets import PictureSpec


def rule(**options: object):
    return make_rule(PictureSpec(enable_bucket=True, **options), 512, 64)


def test_the_table_for_512_px():
    """By hand: 512 * 512 = 262,144; width 256 -> 1024, 320 -> 819 -> 768, 384 -> 682 -> 640, 448 -> 585 -> 576, 512."""
    wide = {(1024, 256), (768, 320), (640, 384), (576, 448)}
    # width 704 gives height 372 -> 320, 832 gives 315 -> 256, 896 and 960 give 256
    also = {(704, 320), (832, 256), (896, 256), (960, 256)}
    assert set(make_buckets(rule())) == {(512, 512)} | {pair for w, h in wide | also for pair in ((w, h), (h, w))}


@pytest.mark.parametrize(("size", "resized", "bucket"), [
    ((512, 512), (512, 512), (512, 512)),
    ((1000, 1000), (512, 512), (512, 512)),
    # 1.78 is nearest to 640 x 384 (1.67): 384 / 1080 * 1920 = 682.7
    ((1920, 1080), (683, 384), (640, 384)),
    # .333 is nearest to 256 x 832 (.308): 832 / 900 * 300 = 277.3
    ((300, 900), (277, 832), (256, 832)),
])  # fmt: skip
def test_known_sizes(size: tuple[int, int], resized: tuple[int, int], bucket: tuple[int, int]):
    fit = fit_picture(size, rule())
    assert (fit.resized, fit.bucket) == (resized, bucket)


def test_without_upscaling_small_pictures_keep_their_size_less_a_rest():
    assert fit_picture((300, 200), rule(bucket_no_upscale=True)).bucket == (256, 192)
    assert fit_picture((300, 200), rule(bucket_no_upscale=True)).resized == (300, 200)
    with pytest.raises(LabError, match="smaller than the bucket step"):
        fit_picture((40, 200), rule(bucket_no_upscale=True))


def test_what_holds_for_every_size():
    rng = random.Random(0)
    for upscale in (True, False):
        chosen = rule(bucket_no_upscale=not upscale)
        for _ in range(500):
            size = (rng.randrange(64, 4000), rng.randrange(64, 4000))
            fit = fit_picture(size, chosen)
            assert all(px % 64 == 0 and px > 0 for px in fit.bucket)
            assert all(have >= need for have, need in zip(fit.resized, fit.bucket, strict=True))
            assert fit.bucket[0] * fit.bucket[1] <= 512 * 512 * 1.01
            if not upscale:
                assert fit.resized[0] <= size[0] + 64


def test_steps_between_the_bases_units_are_refused():
    with pytest.raises(LabError, match="bucket_reso_steps 32"):
        rule(bucket_reso_steps=32)


def test_without_buckets_there_is_one_resolution():
    alone = make_rule(PictureSpec(), 64, 16)
    assert make_buckets(alone) == ((64, 64),)
    assert fit_picture((100, 50), alone).resized == (128, 64)
