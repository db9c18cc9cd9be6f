"""The word that calls a LoRA: captions and a file's metadata in; the word, how sure it is, and from what, out.

What is told by the user or by a file stands; what is guessed says so. Everyday words that any base knows (`1girl`, `woman`, `best
quality`) stand in captions as often as a trigger does, so they are taken only where nothing else is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from loralab.data.everyday import is_everyday, words_of
from loralab.data.tags import folded, says, split_tags
from loralab.data.trigger_metadata import Votes, count_metadata, stated_in
from loralab.errors import lab_error

#: given by the user; stated by a file or a data set; a guess that nothing speaks against; a guess that something speaks against
Sureness = Literal["given", "stated", "likely", "unsure"]
#: from this share of the captions a word may be the trigger of all of them; from this share, where most begin with it
CONSTANT_SHARE, LEAST_SHARE = 0.9, 0.5
LEAST_CAPTIONS = 2
MOST_OTHERS = 4
SAYS = "it is in {n} of the data set's {of} captions"


@dataclass(frozen=True)
class Trigger:
    """The words that call a LoRA, how sure that is, from what, and what else it might be."""

    words: str
    sure: Sureness
    source: str
    others: tuple[str, ...] = ()

    @property
    def guessed(self) -> bool:
        """Whether nobody said so."""
        return self.sure in ("likely", "unsure")

    @property
    def told(self) -> str:
        """How the words were found, for a sentence or a table: `guessed, likely: it stands in 9 of 9 captions`."""
        head = {"given": "as given", "stated": "stated", "likely": "guessed, likely", "unsure": "guessed, not certain"}[self.sure]
        text = head if self.sure == "given" else f"{head}: {self.source}"
        names = ", ".join(f"\u201c{other}\u201d" for other in self.others)
        return text + (f"; {'it also names' if self.sure == 'stated' else 'it might also be'} {names}" if names else "")


@dataclass(frozen=True)
class _Candidate:
    """A term with the pictures that carry it, those whose captions begin with it (of captions alone), and what was said."""

    words: str
    n: int
    of: int
    first: int = 0

    @property
    def everyday(self) -> bool:
        return is_everyday(self.words)

    @property
    def constant(self) -> bool:
        return self.of > 0 and self.n >= CONSTANT_SHARE * self.of


@dataclass
class _Counted:
    """What captions hold: how many carry each term, how many begin with it, and how it is written most."""

    n_captions: int = 0
    carrying: Counter[str] = field(default_factory=Counter)
    first: Counter[str] = field(default_factory=Counter)
    written: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, terms: Sequence[str]) -> None:
        self.n_captions += 1
        keys = [folded(term) for term in terms]
        self.first.update(keys[:1])
        self.carrying.update(list(dict.fromkeys(keys)))
        for key, term in zip(keys, terms, strict=True):
            self.written.setdefault(key, Counter())[" ".join(term.split())] += 1

    def candidates(self) -> list[_Candidate]:
        """Return the terms in the order in which they were met."""
        return [_Candidate(self._as_written(key), n, self.n_captions, self.first[key]) for key, n in self.carrying.items() if key]

    def _as_written(self, key: str) -> str:
        return self.written[key].most_common(1)[0][0]


def find_trigger(given: str | None, captions: Sequence[str], metadata: Mapping[str, str]) -> Trigger:
    """Return the trigger: as given, else as the file states it, else guessed from the captions, else from `ss_tag_frequency`.

    Raises LabError("spec") where there is none to be found, with what the metadata contradict.
    """
    if given is not None:
        if not given.strip():
            raise lab_error("spec", "an empty trigger", "a word or phrase from the captions")
        return Trigger(given.strip(), "given", "given")
    votes = count_metadata(metadata)
    found = _from_statement(metadata, captions) or guess_trigger(captions) or _from_votes(votes)
    if found is not None:
        return found
    contradicted = f"; {votes.contradiction}" if votes.contradiction else ""
    raise lab_error(
        "spec", f"neither the data set nor the file's metadata has a tag that nearly all training captions share{contradicted}",
        "a trigger", "give it with --trigger WORD",
    )  # fmt: skip


def guess_trigger(captions: Sequence[str], separator: str = ",") -> Trigger | None:
    """Return what the captions of a data set seem to be called by; None where no term stands out.

    A term of 90 % of the captions, everyday words last; else what half of them begin with. Tags first; words where no tag will do.
    """
    tags = [split_tags(caption.replace("|||", separator), separator) for caption in captions]
    by_tags = _choose(_count(tags).candidates(), SAYS)
    if by_tags is not None and not is_everyday(by_tags.words):
        return by_tags
    by_words = _choose(_count([words_of(caption) for caption in captions]).candidates(), SAYS)
    if by_words is None or is_everyday(by_words.words):
        return by_tags or by_words
    # a word inside tags that differ: a part of many of them, perhaps no trigger
    return replace(by_words, sure="unsure") if any(len(own) > 1 for own in tags) else by_words


def shared_words(captions: Sequence[str]) -> list[str]:
    """Return the words that nearly all captions hold, in their order, everyday ones left out."""
    counted = _count([words_of(caption) for caption in captions])
    return [each.words for each in counted.candidates() if each.constant and not each.everyday]


def _count(captions: Sequence[Sequence[str]]) -> _Counted:
    counted = _Counted()
    for terms in captions:
        counted.add(terms)
    return counted


def _choose(candidates: Sequence[_Candidate], says_so: str) -> Trigger | None:
    """Return the candidate that comes first where most begin alike, an everyday one only where no other is as frequent."""
    constant = [each for each in candidates if each.constant]
    pool = constant or [each for each in candidates if each.first >= max(LEAST_CAPTIONS, LEAST_SHARE * each.of)]
    if not pool:
        return None
    best = min(pool, key=lambda each: (each.everyday, -each.first, -each.n))
    rivals = [each.words for each in pool if each is not best and each.n >= best.n and (best.everyday or not each.everyday)]
    sure = best.constant and not best.everyday and not rivals and best.of >= LEAST_CAPTIONS
    source = says_so.format(n=best.n, of=best.of) + (", but it is an everyday word" if best.everyday else "")
    return Trigger(best.words, "likely" if sure else "unsure", source, tuple(rivals[:MOST_OTHERS]))


def _from_statement(metadata: Mapping[str, str], captions: Sequence[str]) -> Trigger | None:
    """Return what the file itself calls its trigger; unsure where the captions at hand do not say it."""
    stated = stated_in(metadata)
    if stated is None:
        return None
    key, words = stated
    best = next((each for each in words if not is_everyday(each)), words[0])
    others = tuple(each for each in words if each != best)[:MOST_OTHERS]
    n = sum(says(caption, best) for caption in captions)
    if n < LEAST_SHARE * len(captions):
        return Trigger(
            best, "unsure", f"the file's {key} says so, but it is in only {n} of the data set's {len(captions)} captions", others
        )
    return Trigger(best, "stated", f"by the file's {key}", others)


def _from_votes(votes: Votes) -> Trigger | None:
    """Return the tag that the pictures of all training folders carry; else that of the first folder that has one, not sure."""
    total = sum(folder.n_pictures for folder in votes.folders)
    merged: Counter[str] = Counter()
    for folder in votes.folders:
        merged.update(folder.tags)
    found = _choose([_Candidate(tag, n, total) for tag, n in merged.items()], votes.says)
    if len(votes.folders) > 1 and (found is None or is_everyday(found.words)):
        found = _from_folders(votes) or found
    return found if found is None or votes.counted else replace(found, sure="unsure")


def _from_folders(votes: Votes) -> Trigger | None:
    """Return what the pictures of one folder carry, of several that differ; None where that is only everyday words."""
    own = [_choose([_Candidate(tag, n, each.n_pictures) for tag, n in each.tags.items()], votes.says) for each in votes.folders]
    named = [each for each in own if each is not None and not is_everyday(each.words)]
    if not named:
        return None
    others = tuple(dict.fromkeys(each.words for each in named if each.words != named[0].words))
    return Trigger(named[0].words, "unsure", f"{named[0].source}, in one of {len(own)} folders", others[:MOST_OTHERS])
