"""The whole audit: a data set's path in; its facts and every remark out. Nothing is trained, and no base is needed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from loralab.auditing.balance import check_minorities, covered, find_minorities
from loralab.auditing.likeness import check_copies
from loralab.auditing.remark import LEAST_PICTURES, Facts, Remark, indices
from loralab.auditing.result import Audit, FolderRow, PictureFacts, TagRow
from loralab.auditing.shared import check_disagreements, check_shared
from loralab.auditing.showings import check_balance, check_repeats, tag_shares
from loralab.auditing.words import check_captions, terms_of
from loralab.data import DatasetContents, Trigger, gather_dataset, guess_trigger
from loralab.data.gathering import shown
from loralab.data.tags import says
from loralab.errors import LabError, Problem
from loralab.measure.picture import Picture, make_labs

#: pictures are looked at with this shorter side; smaller ones as they are, down to what the instruments need
SHORT_SIDE_PX, LEAST_SIDE_PX, LONG_SIDE_PX = 96, 32, 384
#: a square crop takes much from a picture above this share of its area
MOST_CROPPED = 0.25


@dataclass(frozen=True)
class BaseFacts:
    """What the audit may know of the base: its picture size, and how many tokens a caption has and may have."""

    size_px: int
    most_tokens: int
    count_tokens: Callable[[str], int]


def audit_dataset(path: Path, trigger: str = "", base: BaseFacts | None = None) -> Audit:
    """Return the audit of the data set at ``path`` (a folder, or a kohya dataset file); without ``trigger`` it is guessed.

    What cannot be read stands in ``problems``, and the rest is audited. Raises LabError("data") where nothing can be read.
    """
    contents = gather_dataset(path, lambda _: shrink)
    facts = list(_facts(contents))
    if not facts:
        raise LabError("data", contents.problems or Problem("only regularisation pictures", "training pictures as well"))
    terms = terms_of(facts)
    found = Trigger(trigger, "given", "given") if trigger else _trigger(facts)
    word = found.words if found is not None else ""
    return Audit(
        name=shown(path.resolve().name), trigger=found, trigger_captions=sum(says(each.caption, word) for each in facts) if word else 0,
        trigger_first=sum(bool(own) and says(own[0], word) for own in terms) if word else 0,
        remarks=tuple(_remarks(facts, terms, word, contents, base)), tags=tuple(TagRow(*row) for row in tag_shares(facts)),
        folders=tuple(_folders(facts)), pictures=tuple(_shown(each) for each in facts), notes=contents.notes,
        regularisation_pictures=sum(len(subset.examples) for subset in contents.subsets if subset.options.is_reg),
        problems=contents.problems, left_out=contents.left_out, mark=_mark(path),
    )  # fmt: skip


def _mark(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _remarks(
    facts: Sequence[Facts], terms: Sequence[tuple[str, ...]], word: str, contents: DatasetContents, base: BaseFacts | None
) -> Iterator[Remark]:
    """Yield every remark; what the balance tells is not told again as something shared, or as unequal folders."""
    few = [each for each in find_minorities(facts, terms) if each.kind != "caption" or not says(each.most, word)]
    told = covered(few)
    yield from check_minorities(facts, few)
    yield from check_captions(facts, word)
    yield from (remark for remark in check_shared(facts) if remark.kind.removeprefix("shared-") not in told)
    yield from check_disagreements(facts)
    yield from check_copies(facts)
    yield from (remark for remark in check_balance(facts) if "folders" not in told or remark.kind != "unequal-folders")
    yield from check_repeats(facts)
    yield from _check_sizes(facts, contents, base)


def _trigger(facts: Sequence[Facts]) -> Trigger | None:
    """Return the trigger that the data set's own options name, else the one that its captions let guess."""
    named = {each.options.trigger for each in facts}
    if len(named) == 1 and (word := next(iter(named))):
        return Trigger(word, "stated", "the data set's own `trigger` option")
    separators = {each.options.caption_separator for each in facts}
    return guess_trigger([each.caption for each in facts], next(iter(separators)) if len(separators) == 1 else ",")


def shrink(picture: Image.Image) -> Image.Image:
    """Return the picture at the size in which it is looked at: few pixels, whatever its aspect; a thread is widened and shortened."""
    short, long = sorted(picture.size)
    ratio = min(min(max(short, LEAST_SIDE_PX), SHORT_SIDE_PX) / short, LONG_SIDE_PX / long)
    wide, high = (min(LONG_SIDE_PX, max(LEAST_SIDE_PX, round(side * ratio))) for side in picture.size)
    return picture if (wide, high) == picture.size else picture.resize((wide, high), Image.Resampling.LANCZOS)


def _facts(contents: DatasetContents) -> Iterator[Facts]:
    """Yield the training pictures; regularisation pictures are no part of what is taught."""
    for subset in contents.subsets:
        if not subset.options.is_reg:
            options = subset.options.captions()
            for example in subset.examples:
                yield Facts(example, subset.name, options, Picture(make_labs(example.image[None])[0]), subset.options.num_repeats)


def _folders(facts: Sequence[Facts]) -> Iterator[FolderRow]:
    total = sum(each.showings for each in facts)
    for name, count in Counter(each.folder for each in facts).items():
        own = [each.showings for each in facts if each.folder == name]
        yield FolderRow(name, count, own[0], sum(own), sum(own) / total)


def _shown(facts: Facts) -> PictureFacts:
    factors = facts.example.factors
    return PictureFacts(facts.example.source, facts.caption, int(factors["width"]), int(factors["height"]), facts.example.image)


def _check_sizes(facts: Sequence[Facts], contents: DatasetContents, base: BaseFacts | None) -> Iterator[Remark]:
    """Yield remarks about crops, and, with a base, about pictures that are too small and captions that are too long for it."""
    sizes = [(int(each.example.factors["width"]), int(each.example.factors["height"])) for each in facts]
    bucketed = {subset.name for subset in contents.subsets if subset.options.enable_bucket}
    cut = indices([
        each.folder not in bucketed and 1 - min(size) / max(size) > MOST_CROPPED for each, size in zip(facts, sizes, strict=True)
    ])  # fmt: skip
    if len(cut) >= LEAST_PICTURES:
        yield Remark(
            "cropped", f"{len(cut)} of {len(facts)} pictures lose more than {MOST_CROPPED:.0%} of their area to the square crop.", len(cut),
            len(facts), "Train with aspect-ratio buckets (enable_bucket), or crop them yourself so that the whole subject stays in "
                "the picture.",
            f"from {LEAST_PICTURES} pictures, without buckets", cut,
        )  # fmt: skip
    if base is None:
        return
    small = indices([min(size) < base.size_px for size in sizes])
    if len(small) >= LEAST_PICTURES:
        yield Remark(
            "too-small", f"{len(small)} of {len(facts)} pictures are smaller than the base's {base.size_px} px and will be enlarged.",
            len(small), len(facts), "Find larger originals: the LoRA learns blur too.", f"shorter side below {base.size_px} px", small,
        )  # fmt: skip
    long = indices([base.count_tokens(each.caption) > base.most_tokens for each in facts])
    if len(long) >= LEAST_PICTURES:
        yield Remark(
            "too-long", f"{len(long)} of {len(facts)} captions are longer than the {base.most_tokens} tokens that the base can read.",
            len(long), len(facts), "Shorten them, or put the important words first: anything past the limit is ignored.",
            f"more than {base.most_tokens} tokens", long,
        )  # fmt: skip
