"""What repeats make of a data set: how often training shows each folder and each tag, and where that is not what it looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from loralab.auditing.remark import LEAST_PICTURES, Facts, Remark, indices
from loralab.auditing.words import MOST_LISTED, terms_of
from loralab.data.kohya_folders import MANY_REPEATS
from loralab.data.tags import folded

#: a caption or a folder weighs otherwise than it looks from this ratio
UNEQUAL = 3.0


def tag_shares(facts: Sequence[Facts]) -> list[tuple[str, int, float]]:
    """Return (tag, pictures, share of all showings), most frequent first: what repeats make of the counts."""
    pictures: Counter[str] = Counter()
    showings: Counter[str] = Counter()
    for each, terms in zip(facts, terms_of(facts), strict=True):
        for term in {folded(term) for term in terms}:
            pictures[term] += 1
            showings[term] += each.showings
    total = sum(each.showings for each in facts)
    return [(term, count, showings[term] / total) for term, count in sorted(pictures.items(), key=lambda item: (-item[1], item[0]))]


def check_balance(facts: Sequence[Facts]) -> Iterator[Remark]:
    """Yield a remark for folders whose shares of training are far apart, and for tags that repeats make weigh otherwise."""
    heavy = _heavy_tags(facts)
    pictures = tuple(sorted({index for term, _, _ in heavy for index in _with_term(facts, term)}))
    listed = "; ".join(
        f"{term!r}: {count / len(facts):.0%} of the pictures, {share:.0%} of training" for term, count, share in heavy[:MOST_LISTED]
    )
    unequal = _unequal_folders(facts, listed, pictures)
    if unequal is not None:
        yield unequal
    if heavy and (unequal is None or not set(pictures) <= set(unequal.pictures)):
        yield Remark(
            "unequal-tag", f"Repeats make {len(heavy)} tag{' weigh' if len(heavy) == 1 else 's weigh'} more than it looks ({listed}).",
            len(pictures), len(facts), "Lower that folder's repeats, unless this is intended.",
            f"from {UNEQUAL:g} times the share of pictures", pictures,
        )  # fmt: skip


def _heavy_tags(facts: Sequence[Facts]) -> list[tuple[str, int, float]]:
    return [
        (term, count, share) for term, count, share in tag_shares(facts)
        if count >= LEAST_PICTURES and share >= UNEQUAL * count / len(facts)
    ]  # fmt: skip


def _unequal_folders(facts: Sequence[Facts], listed: str, heavy: tuple[int, ...]) -> Remark | None:
    """Return the remark about the folders shown most and least; tags that weigh more for it alone are told with it."""
    total, shares = sum(each.showings for each in facts), Counter[str]()
    for each in facts:
        shares[each.folder] += each.showings
    ranked = shares.most_common()
    if len(ranked) < 2 or len(facts) < LEAST_PICTURES or ranked[0][1] < UNEQUAL * ranked[-1][1]:
        return None
    (most, high), (least, low) = ranked[0], ranked[-1]
    counts = Counter(each.folder for each in facts)
    own = indices([each.folder == most for each in facts])
    tags = f"; its tags come with it ({listed})" if listed and set(heavy) <= set(own) else ""
    return Remark(
        "unequal-folders",
        f"{counts[most]} of {len(facts)} pictures ({most}) make {high / total:.0%} of the training, {counts[least]} ({least}) "
        f"make {low / total:.0%}{tags}.",
        counts[most], len(facts), "Set the repeats so that pictures times repeats is about the same for both, unless this is intended.",
        f"from {UNEQUAL:g} times as many showings", own,
    )  # fmt: skip


def check_repeats(facts: Sequence[Facts]) -> Iterator[Remark]:
    """Yield a remark for each folder with so many repeats that its number is rather a year or a size."""
    for folder, repeats in dict.fromkeys((each.folder, each.showings) for each in facts if each.showings >= MANY_REPEATS):
        own = indices([each.folder == folder for each in facts])
        yield Remark(
            "many-repeats", f"Each picture of {folder} is shown {repeats:,} times per epoch.", len(own), len(facts),
            "A number at the start of a folder name is read as its repeats, as in kohya, even if it was meant as a year or a size. "
            "Rename the folder (10_name) unless this is intended.",
            f"from {MANY_REPEATS} repeats", own,
        )  # fmt: skip


def _with_term(facts: Sequence[Facts], term: str) -> tuple[int, ...]:
    return indices([term in {folded(each) for each in terms} for terms in terms_of(facts)])
