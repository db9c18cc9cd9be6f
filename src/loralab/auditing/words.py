"""What the captions say: tags and how often they really are shown, the trigger's coverage and place, fused tags, spellings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from loralab.auditing.remark import LEAST_PICTURES, Facts, Remark, indices
from loralab.data.everyday import words_of
from loralab.data.tags import folded, says

#: a tag counts as fused with the trigger from this share of the trigger's captions
FUSED_SHARE, LEAST_FUSED = 0.95, 4
MOST_LISTED = 4


def terms_of(facts: Sequence[Facts]) -> list[tuple[str, ...]]:
    """Return each caption's terms in order: its tags, or its words where no caption of the set has a separator."""
    tagged = any(len(each.tags) > 1 for each in facts)
    return [each.tags if tagged else _words(each.caption) for each in facts]


def _words(caption: str) -> tuple[str, ...]:
    return tuple(words_of(caption.lower()))


def check_captions(facts: Sequence[Facts], trigger: str) -> Iterator[Remark]:
    """Yield what is to be said about the captions of a set."""
    terms = terms_of(facts)
    if trigger:
        yield from _coverage(facts, trigger)
        yield from _place(facts, terms, trigger)
        yield from _fused(facts, terms, trigger)
    yield from _wordless(facts)
    yield from _same_captions(facts)
    yield from _spellings(terms)


def _coverage(facts: Sequence[Facts], trigger: str) -> Iterator[Remark]:
    wordless = _without_words(facts)  # these have a remark of their own
    without = indices([not says(each.caption, trigger) and index not in wordless for index, each in enumerate(facts)])
    if without and len(facts) >= LEAST_PICTURES:
        yield Remark(
            "trigger-missing", f"The trigger {trigger!r} is missing in {_captions(len(without))} of {len(facts)}.",
            len(without), len(facts),
            "Add it to these captions, or remove the pictures: whatever they show is learned without the trigger.",
            "reported from the first caption without it; whole words only, ignoring case and underscores", without,
        )  # fmt: skip


def _place(facts: Sequence[Facts], terms: Sequence[tuple[str, ...]], trigger: str) -> Iterator[Remark]:
    having = [says(each.caption, trigger) for each in facts]
    late = indices([has and bool(own) and not says(own[0], trigger) for has, own in zip(having, terms, strict=True)])
    if len(late) >= LEAST_PICTURES:
        yield Remark(
            "trigger-not-first", f"The trigger {trigger!r} does not come first in {_captions(len(late))} of {sum(having)}.", len(late),
            sum(having), "Put it first in every caption: keep_tokens counts from the front, and long captions are cut at the end.",
            f"from {LEAST_PICTURES} captions", late,
        )  # fmt: skip
    moved = indices([
        has and each.options.shuffle_caption and each.options.keep_tokens == 0 and not each.options.keep_tokens_separator
        for has, each in zip(having, facts, strict=True)
    ])  # fmt: skip
    if len(moved) >= LEAST_PICTURES:
        yield Remark(
            "trigger-shuffled", f"Shuffling also moves the trigger {trigger!r} in {_captions(len(moved))} of {len(facts)}.", len(moved),
            len(facts), "Set keep_tokens = 1 (or a keep_tokens_separator), so that the trigger stays first.",
            "shuffle_caption without keep_tokens", moved,
        )  # fmt: skip


def _fused(facts: Sequence[Facts], terms: Sequence[tuple[str, ...]], trigger: str) -> Iterator[Remark]:
    having = [index for index, each in enumerate(facts) if says(each.caption, trigger)]
    counts = Counter(term for index in having for term in {folded(term) for term in terms[index]} if not says(term, trigger))
    own = {folded(word) for word in _words(trigger)}
    if len(having) < LEAST_FUSED:
        return
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for term, count in sorted(counts.items()):
        if count >= FUSED_SHARE * len(having) and term not in own:
            groups[tuple(index for index in having if term in {folded(each) for each in terms[index]})].append(term)
    for pictures, fused in groups.items():
        listed = " and ".join(repr(term) for term in fused[:MOST_LISTED]) + (" ..." if len(fused) > MOST_LISTED else "")
        yield Remark(
            "fused-tag", f"{len(pictures)} of the {len(having)} captions with {trigger!r} also say {listed}.", len(pictures), len(having),
            f"The LoRA cannot tell these words apart, so each takes a share of what is learned. Drop {listed} to leave it all to the "
            f"trigger, or add pictures without.",
            f"from {LEAST_FUSED} captions, {FUSED_SHARE:.0%} of those with the trigger", pictures,
        )  # fmt: skip


def _without_words(facts: Sequence[Facts]) -> tuple[int, ...]:
    """Return the pictures without captions, where there are enough for a remark."""
    empty = indices([not each.caption.strip() for each in facts])
    return empty if len(empty) >= LEAST_PICTURES else ()


def _wordless(facts: Sequence[Facts]) -> Iterator[Remark]:
    if empty := _without_words(facts):
        yield Remark(
            "no-caption", f"{len(empty)} of {len(facts)} pictures have no caption.", len(empty), len(facts),
            "Write captions, or at least the trigger: whatever is shown without words turns up without being prompted.",
            f"from {LEAST_PICTURES} pictures", empty,
        )  # fmt: skip


def _same_captions(facts: Sequence[Facts]) -> Iterator[Remark]:
    groups: dict[frozenset[str], list[int]] = defaultdict(list)
    for index, each in enumerate(facts):
        if each.tags:
            groups[frozenset(folded(tag) for tag in each.tags)].append(index)
    same = [index for group in groups.values() if len(group) >= LEAST_PICTURES for index in group]
    if same:
        n_kinds = sum(len(group) >= LEAST_PICTURES for group in groups.values())
        whole = len(groups) == 1 and len(same) == len(facts)
        found = (
            "All captions are the same."
            if whole
            else f"{len(same)} of {len(facts)} captions are written more than once ({n_kinds} text{'' if n_kinds == 1 else 's'})."
        )
        yield Remark(
            "same-captions", found, len(same), len(facts),
            "That is fine for a single subject under one trigger. Otherwise describe how these pictures differ, or everything is "
            "learned under the same words.",
            "the same tags in any order, ignoring case", tuple(sorted(same)),
        )  # fmt: skip


def _spellings(terms: Sequence[tuple[str, ...]]) -> Iterator[Remark]:
    written: dict[str, Counter[str]] = defaultdict(Counter)
    where: dict[str, set[int]] = defaultdict(set)
    for index, each in enumerate(terms):
        for term in each:
            key = re.sub(r"[\s_-]+", "", term.lower()).removesuffix("s")
            written[key][term] += 1
            where[key].add(index)
    several = [key for key, forms in sorted(written.items()) if len(forms) > 1 and len(where[key]) >= LEAST_PICTURES]
    if several:
        shown = "; ".join(" or ".join(f"{form!r} ({count})" for form, count in written[key].most_common()) for key in several[:MOST_LISTED])
        more = f"; and {len(several) - MOST_LISTED} more" if len(several) > MOST_LISTED else ""
        pictures = tuple(sorted(set().union(*(where[key] for key in several))))
        yield Remark(
            "spellings", f"{len(several)} tag{' is' if len(several) == 1 else 's are'} written in more than one way: {shown}{more}.",
            len(pictures), len(terms), "Choose one spelling for each: to the trainer these are different words.",
            "equal but for capitals, blanks, - and _, and an s at the end", pictures,
        )  # fmt: skip


def _captions(n: int) -> str:
    return f"{n} caption{'' if n == 1 else 's'}"
