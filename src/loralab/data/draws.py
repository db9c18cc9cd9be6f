"""What a picture is shown with: a caption, its options and a seed in, the caption of one showing out.

The order of the steps is that of kohya's sd-scripts (`library/train_util.py`, process_caption); the draws come from the seed alone.
"""

from __future__ import annotations

import random
import re

from loralab.data.tags import says, split_tags
from loralab.spec.datasets import CaptionSpec

#: the innermost braces with a bar inside
WILDCARD = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def draw_caption(caption: str, options: CaptionSpec, *, epoch: int, seed: int) -> str:
    """Return the caption of one showing in ``epoch`` (counted from 1); the same seed gives the same caption.

    Unlike kohya, the mark of `keep_tokens_separator` never stays in the text, whether tags are shuffled or not.
    """
    rng = random.Random(seed)
    if rng.random() < options.caption_dropout_rate or _is_bare_epoch(epoch, options):
        return ""
    text = _with_affixes(_with_trigger(caption, options), options)
    if options.enable_wildcard:
        text = _draw_wildcards(rng.choice(text.split("\n")), rng)
    else:
        text = text.split("\n")[0]
    text = _arrange(text, options, rng)
    if options.secondary_separator:
        text = text.replace(options.secondary_separator, options.caption_separator)
    return text


def _is_bare_epoch(epoch: int, options: CaptionSpec) -> bool:
    every = options.caption_dropout_every_n_epochs
    return every > 0 and epoch % every == 0


def _with_trigger(caption: str, options: CaptionSpec) -> str:
    lines = caption.split("\n")
    return "\n".join(line if not options.trigger or says(line, options.trigger) else _joined([options.trigger, line]) for line in lines)


def _joined(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def _with_affixes(caption: str, options: CaptionSpec) -> str:
    affixed = (" ".join(part for part in (options.caption_prefix, line, options.caption_suffix) if part) for line in caption.split("\n"))
    return "\n".join(affixed)


def _draw_wildcards(text: str, rng: random.Random) -> str:
    while match := WILDCARD.search(text):
        text = text[: match.start()] + rng.choice(match[1].split("|")).strip() + text[match.end() :]
    return text


def _arrange(text: str, options: CaptionSpec, rng: random.Random) -> str:
    """Return the tags shuffled and dropped as ``options`` say; a text for which nothing is to be done stays as it is."""
    marked = bool(options.keep_tokens_separator) and options.keep_tokens_separator in text
    if not (marked or options.shuffle_caption or options.caption_tag_dropout_rate):
        return text
    if marked:
        front, _, rest = text.partition(options.keep_tokens_separator)
        middle, _, back = rest.partition(options.keep_tokens_separator)
        fixed, loose, last = (split_tags(part, options.caption_separator) for part in (front, middle, back))
    else:
        tags = split_tags(text, options.caption_separator)
        fixed, loose, last = tags[: options.keep_tokens], tags[options.keep_tokens :], []
    if options.shuffle_caption:
        rng.shuffle(loose)
    if options.caption_tag_dropout_rate:
        loose = [tag for tag in loose if rng.random() >= options.caption_tag_dropout_rate]
    return f"{options.caption_separator} ".join([*fixed, *loose, *last])
