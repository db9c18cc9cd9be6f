"""Claim: the same claims are decided in a third of the minutes that the lab's earlier rule takes, a tenth of those of the assembled peer.

    python benchmarks/answers.py --study LAB/studies/article --diffusers CHECKOUT [--packages DIR] [--readings FILE] [--quick]

Three ways to the same answers, each with at most 5 % false ones in an experiment: (a) this lab, which looks after 8, 16 and 32 trainings;
(b) this lab with its earlier rule, judged once; (c) diffusers' training script, diffusers' pipeline one LoRA at a time, the lab's
instruments, and a t test with Holm's correction, judged once. Minutes are trainings and pictures times the seconds that one takes, measured
here in turn (or given with --seconds). How many are needed is found on real readings: studies are drawn anew from a pool of trainings (the
study's own, or those of --readings), and what holds on average over the pool is the truth. (a) is charged with all that it trains and draws
until it stops by itself. (b) and (c) are charged with one number of trainings for all arms, the smallest that decides the same claims; as
if somebody had told them what each claim takes; and by the plan that they would make themselves. The page says what is assumed.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import drawing
import numpy as np
import polars as pl
import training
from answers_bills import Bill, Played, Seconds, as_planned, one_number, same_claims, told_beforehand
from answers_fixed import GRID, Chances, by_old_rule, by_t_test, chances_of, planned
from answers_page import LAB, OLD, PEER, Found, page_of
from answers_pool import Pool, base_values, pool_of
from answers_rounds import RULED, Cost, Look, play
from answers_rules import OPEN
from answers_study import Question, Study, answerable, questions_over, study_of
from turns import Bench, Comparison, benching, machine

from loralab.infer.looks import PLANNED
from loralab.infer.spreads import load_run_sds
from loralab.petri.base_means import shipped_means
from loralab.spec import BASE
from loralab.store import read_lines
from loralab.study.judging import instrument_facts, judge_result, looks_made
from loralab.study.measures import study_measures
from loralab.study.result import LEDGER_FILE, StudyResult, load_result

ROOT = 20_261_129
#: the earlier lab's preset `full`: trainings of an arm, pictures of a training, error rate of an experiment
SHIPPED, SHIPPED_ALPHA = (16, 8), 0.04
RULES = {"old": (by_old_rule, OLD, False), "peer": (by_t_test, PEER, True)}


# --- what is needed -----------------------------------------------------------------------------------------------------


def study_from(result: StudyResult) -> Study:
    """Return what judging needs of a finished study."""
    spec, cards = result.spec, result.cards[BASE]
    facts = instrument_facts(study_measures(spec), cards)
    shipped = frozenset((BASE, *told) for told in shipped_means(result.bases[BASE].fingerprint, spec.sample))
    return study_of(spec, facts, result.training, shipped)


def played_on(study: Study, pool: Pool, studies: int) -> Played:
    """Return the lab's rule in rounds on so many studies."""
    asked = {study.claim(question).measure for question in study.questions}
    told = base_values(pool, study.shipped, {name: facts.kind for name, facts in study.facts.items() if name in asked})
    slim = Pool(pool.frame.filter(pl.col("measure").is_in(list(asked))), pool.trainings, pool.pictures)
    return Played([play(study, slim, told, np.random.default_rng([ROOT, index])) for index in range(studies)])


def as_it_ran(result: StudyResult, study: Study, questions: list[Question]) -> Played:
    """Return the one study that was run in place of made-up ones: what its looks had decided, and what it had taken."""
    looks, trainings, pictures, before = [], 0, 0, 0
    for record in looks_made(read_lines(result.folder / LEDGER_FILE), result.loaded.sha256):
        n = int(record["trainings"])
        arms = [arm for arm in record["arms"] if study.spec.arms[arm].control != "null"]
        trainings, pictures, before = trainings + (n - before) * len(arms), pictures + int(record["pictures"]), n
        told = {verdict.say: RULED.get(verdict.verdict, OPEN) for verdict in judge_result(result, n)}
        looks.append(Look(n, {question.id: told[question.say] for question in questions}, Cost(trainings, pictures)))
    return Played([looks])


def bills_of(
    study: Study, questions: list[Question], played: Played, chances: dict[str, dict[int, Chances]], shipped: Chances
) -> dict[str, list[Bill]]:  # fmt: skip
    """Return the bills: of the claims decided at the first look, by the stop, and of all as planned; the lab's first."""
    bills = {}
    for which, look in (("first", PLANNED.trainings[0]), ("stop", None)):
        wanted = same_claims(played.right(questions, look))
        others = [
            bill(study, questions, wanted, chances[name], way, peer)
            for bill in (one_number, told_beforehand) for name, (_, way, peer) in RULES.items()
        ]  # fmt: skip
        bills[which] = [Bill(LAB, False, played.cost(look), len(wanted)), *others]
    plans = {question.id: planned(question, load_run_sds(), study.spec.sample.seeds) for question in questions}
    others = [as_planned(study, questions, plans, PLANNED.last, chances[name], way, peer) for name, (_, way, peer) in RULES.items()]
    n_arms = sum(study.spec.arms[arm].control != "null" for arm in study.plan.arms)
    cost = Cost(n_arms * SHIPPED[0], len(study.plan.cells) * SHIPPED[0] * SHIPPED[1])
    others.append(Bill(f"{OLD}, as it shipped", False, cost, len(questions), answered=sum(shipped.right.values())))
    answered = sum(played.right(questions, None).values())
    bills["planned"] = [Bill(LAB, False, played.cost(None), len(questions), answered=answered), *others]
    return bills


def as_shipped(questions: list[Question], pool: Pool, rng: np.random.Generator, studies: int) -> Chances:
    """Return what the earlier rule says with the trainings, pictures and error rate of the preset that shipped with it."""
    then = [replace(question, asked=replace(question.asked, alpha=SHIPPED_ALPHA)) for question in questions]
    n, pictures = SHIPPED
    return chances_of(then, pool, by_old_rule, rng, studies, min(pictures, pool.pictures), (n,))[n]


# --- seconds ------------------------------------------------------------------------------------------------------------


def measured_seconds(bench: Bench, result: StudyResult, scratch: Path) -> tuple[Seconds, list[str]]:
    """Return the seconds of one training and one picture on both sides, in turn, with the lines that say so."""
    options = bench.options
    options.steps = 8 if options.quick else result.spec.train.steps
    work = training.Work(bench, result.spec.train.batch, scratch)
    n = training.N_ADAPTERS
    trained = bench.compare(
        f"one training, {options.steps} steps", "diffusers' script", lambda: work.script_seconds() / n, lambda: work.lab_seconds() / n,
        "the lab from a stack, the script with its start-up",
    )  # fmt: skip
    grid = drawing.Grid(2 if options.quick else 8, options.device, scratch, options.precision)
    pipeline = drawing.load_pipeline(grid.base)
    grid.draw_with_lab(bench.crew)  # starts the lab's processes
    size, n_images = drawing.best_batch(bench, grid, pipeline, [8, 16, 32]), grid.n_images
    drawn = bench.compare(
        "one picture", f"diffusers' pipeline, batches of {size}",
        lambda: bench.seconds(lambda: grid.draw_with_pipeline(pipeline, size)) / n_images,
        lambda: bench.seconds(lambda: grid.draw_with_lab(bench.crew)) / n_images,
    )  # fmt: skip
    measuring = measuring_seconds(result)
    seconds = [statistics.median(own) for told in (trained, drawn) for own in (told.lab_seconds, told.peer_seconds)]
    lines = [_line(trained), _line(drawn), f"measuring one picture by all instruments, from the study's ledger: {measuring * 1000:.1f} ms"]
    return Seconds(seconds[0], seconds[2], seconds[1], seconds[3], measuring), lines


def given_seconds(options: argparse.Namespace) -> tuple[Seconds, list[str]]:
    """Return seconds that were measured before, with a line that says what they are and where they come from."""
    seconds = Seconds(*options.seconds)
    told = f"a training: this lab {seconds.lab_training:g} s, script {seconds.peer_training:g} s; a picture: this lab "
    told += f"{seconds.lab_picture:g} s, pipeline {seconds.peer_picture:g} s; measuring a picture {seconds.measuring:g} s"
    return seconds, [told + (f" ({options.seconds_from})" if options.seconds_from else "")]


def _line(told: Comparison) -> str:
    peer, lab = (statistics.median(own) for own in (told.peer_seconds, told.lab_seconds))
    spread = f"{told.ratios[0]:.2f} to {told.ratios[-1]:.2f} in {len(told.ratios)} rounds"
    return f"{told.name}: {told.peer} {peer:.3f} s, this lab {lab:.3f} s, ratio of medians {peer / lab:.2f} ({spread})"


def measuring_seconds(result: StudyResult) -> float:
    """Return the seconds of measuring one picture, from the first attempt that the ledger has of the study."""
    finished = next(record for record in read_lines(result.folder / LEDGER_FILE) if record.get("event") == "finished")
    return float(finished["stage_seconds"].get("measure", 0.0)) / result.plan.n_images


def for_real(result: StudyResult) -> Iterator[str]:
    """Yield what the study that was run had decided at each of its looks, and when."""
    spent = 0.0
    for look in looks_made(read_lines(result.folder / LEDGER_FILE), result.loaded.sha256):
        spent += float(look["seconds"])
        verdicts = judge_result(result, int(look["trainings"]))
        decided = sum(verdict.verdict in ("supported", "contradicted") for verdict in verdicts)
        yield f"the study as it was run: {decided} of {len(verdicts)} decided after {look['trainings']} trainings, {spent / 60:.1f} minutes"


# --- the whole ----------------------------------------------------------------------------------------------------------


def parse() -> argparse.ArgumentParser:
    """Return the script's options."""
    parser = training.parse()
    parser.description = __doc__
    parser.add_argument("--as-it-ran", action="store_true", help="Of this lab take the one study that was run, in place of made-up ones.")
    parser.add_argument("--fixed-studies", type=int, default=1000, help="Made-up studies at each number of trainings, for the fixed rules.")
    order = "lab's training, lab's picture, script's training, pipeline's picture, measuring"
    parser.add_argument("--study", type=Path, required=True, metavar="LAB/studies/NAME", help="The finished study.")
    parser.add_argument("--readings", type=Path, default=None, metavar="FILE", help="Another pool of readings of the study (Parquet).")
    parser.add_argument("--studies", type=int, default=None, help="Made-up studies in rounds. Default: 100, with --quick 3.")
    parser.add_argument("--seconds", type=float, nargs=5, default=None, metavar="S", help=f"Measure nothing; take these: {order}.")
    parser.add_argument("--seconds-from", default="", metavar="TEXT", help="Where the given seconds come from, for the page.")
    parser.add_argument("--markdown", type=Path, default=None, metavar="FILE", help="Write the page to FILE.")
    return parser


def found_by(bench: Bench, scratch: Path) -> Found:
    """Return everything that the page tells."""
    options = bench.options
    result = load_result(options.study.parents[1], options.study.name)
    pool = pool_of(pl.read_parquet(options.readings) if options.readings else result.readings)
    study, left_out = answerable(study_from(result), pool)
    questions, pictures = questions_over(study, pool), study.spec.sample.seeds
    studies = options.studies or (3 if options.quick else 100)
    fixed_studies = 50 if options.quick else options.fixed_studies
    rng = np.random.default_rng(ROOT)
    chances = {name: chances_of(questions, pool, rule, rng, fixed_studies, pictures, GRID) for name, (rule, _, _) in RULES.items()}
    played = as_it_ran(result, study, questions) if options.as_it_ran else played_on(study, pool, studies)
    given = given_seconds(options) if options.seconds else measured_seconds(bench, result, scratch)
    bills = bills_of(study, questions, played, chances, as_shipped(questions, pool, rng, fixed_studies))
    about = machine()
    return Found(
        pool=f"{pool.trainings} trainings of every arm with {pool.pictures} pictures each", left_out=left_out, questions=questions,
        machine=f"{about['cpu']}, {about['threads']} of {about['cores']} cores; torch {about['torch']}, diffusers {about['diffusers']}",
        command="python " + shlex.join(Path(part).name if "/" in part else part for part in sys.argv), seconds=given[0], timed=given[1],
        played=played, chances=chances, bills=bills,
        studies=studies,
        as_it_ran=options.as_it_ran,
        real=() if options.quick else tuple(for_real(result)),
    )  # fmt: skip


def main() -> None:
    """Find out, print the page and keep it."""
    with benching(parse()) as bench, tempfile.TemporaryDirectory() as folder:
        if bench.options.seconds is None and bench.options.diffusers is None:
            parse().error("--diffusers names the checkout with the peer's training script; or give --seconds")
        found = found_by(bench, Path(folder))
        text = page_of(found)
        bench.show(text, {"name": "answers", "seconds": astuple(found.seconds)})
        if bench.options.markdown is not None:
            bench.options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
