"""Kinds that are few among many: of ten pictures nine show one thing and one another; by captions, by pixels and by folders.

A fact is told once: whatever sets the same few pictures apart stands in one remark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loralab.auditing.remark import Facts, Remark, indices
from loralab.auditing.shared import background_colour, subject_colour
from loralab.data.tags import folded
from loralab.measure.shape import classify

#: a minority has at most this share of the pictures and of the showings; fewer pictures than these have none
MOST_SHARE, LEAST_PICTURES = 0.2, 5
#: a kind is judged where it can be told of this share of the pictures
TOLD = 0.9
MOST_VALUES = 3


@dataclass(frozen=True)
class Kind:
    """One way in which pictures differ: its name, what each picture is by it (None where that cannot be told)."""

    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Minority:
    """The few pictures that are not as most are by ``kind``: ``most`` is what most are, ``others`` what these are."""

    kind: str
    most: str
    others: tuple[str, ...]
    pictures: tuple[int, ...]
    untold: tuple[int, ...] = ()  # of these pictures the kind cannot be told

    def is_part_of(self, few: tuple[int, ...]) -> bool:
        """Return whether this sets the same pictures apart as ``few``, those aside of which it cannot tell."""
        return set(self.pictures) <= set(few) <= {*self.pictures, *self.untold}

    @property
    def said(self) -> str:
        quote = "\u201c{}\u201d" if self.kind == "caption" else "{}"
        more = " ..." if len(self.others) > MOST_VALUES else ""
        others = ", ".join(quote.format(other) for other in self.others[:MOST_VALUES])
        return f"{self.kind} {quote.format(self.most)} against {others}{more}"


def find_minorities(facts: Sequence[Facts], terms: Sequence[tuple[str, ...]]) -> list[Minority]:
    """Return the kinds by which a few pictures are not as most are; ``terms`` are the captions' tags or words."""
    found = (_minority(kind, [each.showings for each in facts]) for kind in (*_pixel_kinds(facts), *_caption_kinds(terms), _folders(facts)))
    return [each for each in found if each is not None]


def _pixel_kinds(facts: Sequence[Facts]) -> Iterator[Kind]:
    ways: tuple[tuple[str, Callable[..., str | None]], ...] = (
        ("subject", subject_colour), ("outline", classify), ("background", background_colour),
    )  # fmt: skip
    for name, way in ways:
        yield Kind(name, tuple(way(each.picture) for each in facts))


def _caption_kinds(terms: Sequence[tuple[str, ...]]) -> Iterator[Kind]:
    """Yield a kind for each place in captions of one pattern; captions that are written freely differ without being kinds."""
    lengths = {len(own) for own in terms}
    if len(lengths) == 1:
        for place in range(lengths.pop()):
            yield Kind("caption", tuple(folded(own[place]) for own in terms))


def _folders(facts: Sequence[Facts]) -> Kind:
    return Kind("folder", tuple(each.folder for each in facts))


def _minority(kind: Kind, showings: Sequence[int]) -> Minority | None:
    told = indices([value is not None for value in kind.values])
    if len(told) < max(LEAST_PICTURES, TOLD * len(kind.values)):
        return None
    values = {index: str(kind.values[index]) for index in told}
    most, _ = min(Counter(values.values()).items(), key=lambda item: (-item[1], item[0]))
    few = tuple(index for index, value in values.items() if value != most)
    shown, all_shown = sum(showings[index] for index in few), sum(showings[index] for index in told)
    if not few or len(few) > MOST_SHARE * len(told) or shown > MOST_SHARE * all_shown:
        return None
    others = Counter(values[index] for index in few)
    untold = indices([value is None for value in kind.values])
    return Minority(kind.name, most, tuple(value for value, _ in others.most_common()), few, untold)


def check_minorities(facts: Sequence[Facts], found: Sequence[Minority]) -> Iterator[Remark]:
    """Yield one remark for each group of pictures that stand apart, with all that sets them apart."""
    total = sum(each.showings for each in facts)
    groups = dict.fromkeys(each.pictures for each in found)
    for few in groups:
        if any(each.is_part_of(other) for each in found for other in groups if each.pictures == few != other):
            continue
        said = [each.said for each in found if each.is_part_of(few)]
        share = sum(facts[index].showings for index in few) / total
        times = round((1 - share) / share)
        it, are, their = ("it", "It is", "its") if len(few) == 1 else ("them", "They are", "their")
        yield Remark(
            "minority", f"{len(facts) - len(few)} of {len(facts)} pictures are of one kind and {len(few)} of another: {'; '.join(said)}.",
            len(few), len(facts),
            f"{are} {share:.0%} of the training: too little to be learned, but enough to blur the rest. Add pictures of that kind, "
            f"raise {their} repeats (about {times} times as many would balance the two), or remove {it}.",
            f"at most {MOST_SHARE:.0%} of the pictures and of the showings, from {LEAST_PICTURES} pictures", few,
        )  # fmt: skip


def covered(found: Sequence[Minority]) -> frozenset[str]:
    """Return the names of what `minority` remarks already tell: shared traits with exceptions, and folders that are unequal."""
    traits = {f"{each.most}-{each.kind}" for each in found if each.kind in ("subject", "outline", "background")}
    return frozenset(traits | ({"folders"} if any(each.kind == "folder" for each in found) else set()))
