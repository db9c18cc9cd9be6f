"""A question as the page tells it: its claims sorted by what came out, the one that stands for it, and its strips, that one's first.

In: an `ExperimentSection`. Out: frozen views; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from loralab.infer.verdict import Ruling, Verdict
from loralab.report.explorer.records import claim_key
from loralab.report.input import ExperimentSection, Strip
from loralab.report.words import RULINGS

#: findings in which there is nothing to see
NOTHING = ("no change", "nothing differs")


@dataclass(frozen=True)
class Told:
    """A claim with its place on the page, and the trainings behind its dots, counted from 1; empty where they are not known."""

    anchor: str
    verdict: Verdict
    trainings: tuple[int, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question, its number on the page counted from 1, its claims by outcome, and the claim that stands for it, if there is one."""

    number: int
    section: ExperimentSection
    claims: tuple[Told, ...]
    lead: Told | None

    @property
    def tally(self) -> tuple[tuple[Ruling, int], ...]:
        """How many claims that were written before the run came to what."""
        planned = [told.verdict.verdict for told in self.claims if not told.verdict.exploratory]
        return tuple((ruling, planned.count(ruling)) for ruling in RULINGS if ruling in planned)


def questions_of(sections: Sequence[ExperimentSection]) -> tuple[Question, ...]:
    """Return the questions of a study in the order of the file."""
    return tuple(question_of(number, section) for number, section in enumerate(sections, start=1))


def question_of(number: int, section: ExperimentSection) -> Question:
    """Return a question's view, its strips in the order in which they are shown."""
    told = [
        Told(f"claim-{number}-{index}", verdict, section.trainings.get(claim_key(verdict), ()))
        for index, verdict in enumerate(section.verdicts, start=1)
    ]
    claims = tuple(sorted(told, key=lambda each: rank_of(each.verdict)))
    lead = lead_of(claims)
    return Question(number, replace(section, strips=ordered(section.strips, lead)), claims, lead)


def rank_of(verdict: Verdict) -> tuple[bool, int]:
    """Return by what claims are sorted: those written before the run first, then by outcome; the order of the file settles ties."""
    return verdict.exploratory, RULINGS.index(verdict.verdict)


def lead_of(claims: Sequence[Told]) -> Told | None:
    """Return the claim whose figure stands for the question: of the sorted ones the first that has a figure, else the first.

    Where a change was found, it stands before one that was rightly said not to be there: there is something to see.
    """
    drawn = [told for told in claims if told.verdict.contrast is not None]
    planned = [told for told in drawn if not told.verdict.exploratory]
    found = [told for told in planned if told.verdict.verdict in ("supported", "leaning") and told.verdict.finding not in NOTHING]
    return next(iter([*found, *drawn, *claims]), None)


def ordered(strips: Sequence[Strip], lead: Told | None) -> tuple[Strip, ...]:
    """Return the strips, those of the leading claim first."""
    key = None if lead is None else claim_key(lead.verdict)
    return tuple(sorted(strips, key=lambda strip: key not in strip.claims))
