"""Captions of single showings: known answers for what is fixed, frequencies for what is drawn, and the same seed, the same caption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loralab.data import draw_caption
from loralab.data.tags import says
from loralab.spec.datasets import CaptionSpec


def drawn(caption: str, seed: int = 0, epoch: int = 1, **options: Any) -> str:
    return draw_caption(caption, CaptionSpec(**options), epoch=epoch, seed=seed)


@pytest.mark.parametrize(("options", "expected"), [
    ({}, "a, b, c"),
    ({"trigger": "zok"}, "zok, a, b, c"),
    ({"trigger": "B"}, "a, b, c"),
    ({"caption_prefix": "photo of", "caption_suffix": "here"}, "photo of a, b, c here"),
    ({"caption_dropout_rate": 1}, ""),
    ({"caption_tag_dropout_rate": 1, "keep_tokens": 2}, "a, b"),
    ({"caption_tag_dropout_rate": 1, "caption_separator": ";"}, ""),
    ({"keep_tokens_separator": "|||"}, "a, b, c"),
])  # fmt: skip
def test_what_is_fixed(options: dict[str, Any], expected: str):
    assert drawn("a, b, c", **options) == expected


def test_tags_round_the_mark_stay_and_the_mark_goes():
    seen = {drawn("a, b ||| c, d, e ||| z", seed, shuffle_caption=True, keep_tokens_separator="|||") for seed in range(200)}
    assert len(seen) == 6
    assert all(text.startswith("a, b, ") and text.endswith(", z") for text in seen)


def test_shuffling_reaches_every_order_about_equally():
    """24 orders of four tags, 2,400 draws: each comes 100 times, give or take 4 standard deviations (40)."""
    orders = [drawn("x, a, b, c, d", seed, shuffle_caption=True, keep_tokens=1) for seed in range(2400)]
    counts = np.unique(orders, return_counts=True)[1]
    assert len(counts) == 24
    assert counts.min() >= 60
    assert counts.max() <= 140


def test_rates_are_met():
    """Binomial with n = 2,000: .3 give or take 4 standard errors (.041)."""
    empty = np.mean([drawn("a", seed, caption_dropout_rate=0.3) == "" for seed in range(2000)])
    left = np.mean([len(drawn("k, a, b, c, d", seed, caption_tag_dropout_rate=0.3, keep_tokens=1).split(",")) - 1 for seed in range(2000)])
    assert abs(empty - 0.3) < 0.041
    assert abs(left / 4 - 0.7) < 0.041


def test_every_nth_epoch_is_bare():
    assert [drawn("a", epoch=epoch, caption_dropout_every_n_epochs=3) for epoch in range(1, 8)] == ["a", "a", "", "a", "a", "", "a"]


def test_secondary_separators_hold_tags_together():
    seen = {drawn("red;;blue, x", seed, shuffle_caption=True, secondary_separator=";;") for seed in range(50)}
    assert seen == {"red,blue, x", "x, red,blue"}


def test_wildcards_are_drawn_also_nested_and_over_lines():
    assert {drawn("a {red|{dark|light} blue} hat", seed, enable_wildcard=True) for seed in range(100)} == {
        "a red hat", "a dark blue hat", "a light blue hat",
    }  # fmt: skip
    assert {drawn("one\ntwo", seed, enable_wildcard=True) for seed in range(40)} == {"one", "two"}
    assert drawn("a {b} c", enable_wildcard=True) == "a {b} c"
    assert drawn("a {b|c}") == "a {b|c}"


def test_the_same_seed_gives_the_same_caption():
    options = CaptionSpec(shuffle_caption=True, caption_tag_dropout_rate=0.5, enable_wildcard=True)
    both = [[draw_caption("{a|b}, c, d, e", options, epoch=1, seed=seed) for seed in range(30)] for _ in range(2)]
    assert both[0] == both[1]
    assert len(set(both[0])) > 10


@pytest.mark.parametrize(("caption", "words", "expected"), [
    ("a Red_Hat, x", "red hat", True), ("bored hat", "red hat", False), ("red, hat", "red hat", False), ("zok2", "zok", False),
    ("x", "", False),
])  # fmt: skip
def test_words_are_found_whole(caption: str, words: str, expected: bool):
    assert says(caption, words) is expected
