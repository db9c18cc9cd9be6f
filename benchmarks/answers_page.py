"""The page of ``answers.py``: what was found in, Markdown out; the ratios are made here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from answers_bills import Bill, Played, Seconds, same_claims
from answers_fixed import GRID, WANTED, Chances, needed
from answers_study import Question

GOALS = {"old": 3.0, "peer": 10.0}
LAB, OLD, PEER = "this lab", "this lab, earlier rule", "diffusers’ script and pipeline, a t test"
AS_IT_RAN = (
    "This lab’s side is **one study as it was run**, not an average: what it happened to decide is asked of the fixed rules in 80 % "
    "of their studies, which flatters this lab. Without `--as-it-ran` its rule is played through on made-up studies, too, and only "
    "claims that it decides in 80 % of them count."
)
TRUTHS = {1: "holds", -1: "does not hold", 0: "held back by a control"}


@dataclass(frozen=True)
class Found:
    """All that a run of the benchmark found."""

    pool: str
    machine: str
    command: str
    left_out: Sequence[str]
    questions: Sequence[Question]
    seconds: Seconds
    timed: Sequence[str]  # the lines of the timing
    played: Played
    chances: Mapping[str, Mapping[int, Chances]]  # by "old" and "peer"
    bills: Mapping[str, Sequence[Bill]]  # "first" and "stop": the lab's, one number (old, peer), as each takes (old, peer); "planned"
    studies: int
    as_it_ran: bool = False
    real: Sequence[str] = ()


def page_of(found: Found) -> str:
    """Return the page."""
    parts = (_head(found), _result(found), _claims(found), _errors(found), _assumed(found))
    return "\n".join(line for part in parts for line in part) + "\n"


def _head(found: Found) -> Iterator[str]:
    yield from ("# Minutes to the same answers", "")
    yield f"Made-up studies of `studies/article.yaml` drawn from {found.pool}; {len(found.questions)} questions."
    yield AS_IT_RAN if found.as_it_ran else f"This lab’s rule in rounds was played through in {found.studies} of them."
    if found.left_out:
        yield f"Left out, since the pool has no readings of them: {'; '.join(found.left_out)}."
    yield f"Machine: {found.machine}. Command: `{found.command}`."
    yield from ("", *(f"- {line}" for line in found.timed), *(f"- {line}" for line in found.real))


def _result(found: Found) -> Iterator[str]:
    says = {
        "first": f"## The claims that {LAB} decides at its first look, 8 trainings",
        "stop": f"## The claims that {LAB} decides by its own stop",
        "planned": "## As each would plan: all claims, nobody knows the changes beforehand",
    }
    for which, title in says.items():
        yield from ("", title, "", "| way | trainings | pictures | minutes | times as long | not decided |", "|---|---|---|---|---|---|")
        lab, *others = found.bills[which]
        base = found.seconds.minutes(lab.cost)
        for bill in (lab, *others):
            minutes = found.seconds.minutes(bill.cost, bill.peer)
            ratio = "1" if bill is lab else f"{minutes / base:.1f}"
            yield f"| {bill.way} | {bill.cost.trainings} | {bill.cost.pictures} | {minutes:.1f} | {ratio} | {_never(bill)} |"
        if which != "planned":
            yield from ("", _goal(found, which))


def _never(bill: Bill) -> str:
    if bill.answered is not None:
        return f"{bill.answered:.1f} of {bill.wanted} rightly decided on average"
    return (
        f"{len(bill.never)} of {bill.wanted} not with {GRID[-1]} trainings: {'; '.join(bill.never)}"
        if bill.never
        else f"none of {bill.wanted}"
    )


def _goal(found: Found, which: str) -> str:
    """Return whether the goals are reached, against each fixed rule's study with one number of trainings for all arms."""
    lab, *others = found.bills[which]
    told = []
    for (name, goal), bill in zip(GOALS.items(), others[: len(GOALS)], strict=True):
        ratio = found.seconds.minutes(bill.cost, bill.peer) / found.seconds.minutes(lab.cost)
        what = "the earlier rule" if name == "old" else "the assembled peer"
        told.append(f"{goal:g} times {what}: {'reached' if ratio >= goal else 'missed'} ({ratio:.1f})")
    return "Goal " + "; ".join(told) + "."


def _claims(found: Found) -> Iterator[str]:
    yield from (
        "",
        "## Claim by claim",
        "",
        f"Trainings: the smallest number from which on {WANTED:.0%} of the studies decide rightly.",
        "",
    )
    yield "| claim | truth here | this lab: decided at 8 | by its stop | earlier rule: trainings | t test: trainings |"
    yield "|---|---|---|---|---|---|"
    first, stop = (found.played.right(found.questions, look) for look in (8, None))
    for q in found.questions:
        fixed = " | ".join(str(needed(found.chances[name], q.id) or f"over {GRID[-1]}") for name in GOALS)
        yield f"| {q.say} | {TRUTHS[q.truth]} | {first[q.id]:.0%} | {stop[q.id]:.0%} | {fixed} |"
    ours = set(same_claims(stop))
    theirs = [q.say for q in found.questions if q.id not in ours and any((needed(found.chances[n], q.id) or 1000) <= 32 for n in GOALS)]
    yield from (
        "",
        f"Decided by a fixed rule within 32 trainings and not in {WANTED:.0%} of this lab's studies: {'; '.join(theirs) or 'none'}.",
    )


def _errors(found: Found) -> Iterator[str]:
    yield from ("", "## Wrong answers", "", "Share of the studies in which an experiment has any wrong answer; at most 5 % is allowed.", "")
    yield "| experiment | this lab, by its stop | earlier rule, 8 and 32 trainings | t test, 8 and 32 trainings |"
    yield "|---|---|---|---|"
    for name, share in found.played.wrong(found.questions).items():
        fixed = " | ".join(", ".join(f"{100 * found.chances[way][n].wrong[name]:.1f}" for n in (8, 32)) + " %" for way in GOALS)
        yield f"| {name} | {100 * share:.1f} % | {fixed} |"


def _assumed(found: Found) -> Iterator[str]:
    yield from ("", "## What is assumed", "")
    yield from (f"- {line}" for line in ASSUMED)


ASSUMED = (
    "Minutes are trainings and pictures times measured seconds, measuring included. What every way has in common (loading, training sets, "
    "the report) and what the lab checks besides (the machinery at strengths 0 and 1) is left out.",
    "A training of the pool that is drawn twice counts as two: with more trainings than the pool has, they scatter as the pool’s do.",
    "This lab draws everything that the study asks for at its first look, pictures that only illustrate included; it is charged until it "
    "stops, with claims that it never decides. Its figures are medians over the studies.",
    "“For all” is a study as one writes it: one number of trainings for all arms, the smallest with which the fixed rule decides all of "
    "these claims, which one has to guess. The earlier lab drew every cell of the study for it, the peer what decides something.",
    "“As often as each takes” is what no experimenter knows: each arm is trained exactly as often as these claims take, and nothing "
    "else is drawn. Claims that a fixed rule cannot decide cost it nothing, in both.",
    "“As planned” is Student’s power formula: 80 % for a change of twice the smallest that counts (or for none, where none is "
    "expected), from the spreads that ship, at the claim’s level; 32 trainings where that is not enough or the spread is not known.",
    "The earlier rule has the whole 5 % for its one look; only “as it shipped” it has the 4 % of its preset `full`, with 16 trainings "
    "of 8 pictures. Its control of flat curves that turn round is left "
    "out. The t test takes no account of an instrument’s bias and has no floor for readings of few values: both flatter it.",
    "The smallest changes that count are those of the study; where they are a share of the gap, from all of the pool’s base pictures. "
    "In this lab’s studies they come from 512 pictures drawn from the pool, as its known base means do.",
    "All three read the same instruments, train the same placebo, and draw the same number of pictures a training.",
)
