"""From readings to verdicts: each claim's cells are paired, compared with a margin, checked against the controls, and put into words.

In: the experiments, the frame of readings, the mean readings of the training sets, what each instrument's card says, what is known of
the base, and the control cells of each claim. Out: one ``Verdict`` a claim, in order. The rule is described in ``docs/method.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from loralab.errors import lab_error
from loralab.infer import words
from loralab.infer.ahead import ahead_case
from loralab.infer.case import (
    DEFAULT_MARGIN,
    MIN_TRANSFER_IMAGES,
    Case,
    ControlCells,
    CurveCells,
    EffectCells,
    Gap,
    InstrumentFacts,
    OwnBases,
    Rule,
    find_gap,
    too_few,
    why_unreadable,
)
from loralab.infer.checks import control_checks, control_samples, direction_of
from loralab.infer.comparison import Sample, against_base
from loralab.infer.curves import curve_samples, factor_curve, judge_curve
from loralab.infer.estimate import MIN_RUNS, estimate_contrast, half_width_floor
from loralab.infer.findings import Ruled, finding_of, is_small_yes, ruling_of, zone_of
from loralab.infer.future import NOTHING_AHEAD, Outlook
from loralab.infer.known import BaseKnown
from loralab.infer.likeness import told_as_likeness, why_no_likeness
from loralab.infer.looks import PLANNED, Looks
from loralab.infer.moderated import Prior, fit_prior
from loralab.infer.pairs import CellReadings, check_readings, replicates_of, run_effects, same_pictures
from loralab.infer.verdict import LEAD, LIKENESS, Contrast, ControlCheck, Verdict
from loralab.spec.cells import Cell
from loralab.spec.models import ClaimSpec, CurveSpec, ExperimentSpec
from loralab.spec.questions import QuestionId
from loralab.spec.sources import BaseSource, is_base

__all__ = ["DEFAULT_MARGIN", "ControlCells", "CurveCells", "InstrumentFacts", "OwnBases", "judge", "study_prior", "too_few"]

#: what is known of a base: by (whose base, prompt, measure)
KnownBases = Mapping[tuple[BaseSource, str, str], BaseKnown]


def judge(
    experiments: Mapping[str, ExperimentSpec],
    readings: pl.DataFrame,
    *,
    training: Mapping[tuple[str, str], float | None],
    instruments: Mapping[str, InstrumentFacts],
    controls: Mapping[QuestionId, ControlCells],
    curves: Mapping[QuestionId, CurveCells] | None = None,
    effects: Mapping[QuestionId, EffectCells] | None = None,
    alpha: float = 0.05,
    own: OwnBases | None = None,
    known: KnownBases | None = None,
    looks: Looks = PLANNED,
    minutes: Mapping[str, float] | None = None,
    planned: Mapping[str, int] | None = None,
) -> list[Verdict]:
    """Return one verdict a claim and curve, in the order of the experiments, an experiment's claims before its curves.

    ``training`` maps (arm, measure) to the mean reading of the arm's training set, in the instrument's unit; ``controls``
    maps a claim to its control cells, where a claim without an entry has none; ``curves`` maps a curve to its cells, where a curve
    without an entry was not drawn and is left out; ``effects`` maps a claim about crossed settings to the cells of all their
    combinations. ``alpha`` is the
    error rate of one experiment, shared by its claims and curves and spent over the ``looks``. ``own`` says which arms have a base of their
    own: what is said here of the base is then said of theirs, and two arms on two bases are compared by what each changes on its own.
    ``known`` holds what pictures of the bases tell that no contrast uses; ``minutes`` what one more training of an arm costs, drawing
    included; ``planned`` how many trainings of each arm were to be compared, so that those which failed are counted. Raises
    LabError("measurement") for readings that break the contract, or an instrument without facts. Source: ``docs/method.md``.
    """
    check_readings(readings)
    drawn = curves or {}
    m_study = sum(len(experiment.claims) for experiment in experiments.values()) + len(drawn)
    study = _Study(readings, training, instruments, own or OwnBases(), known or {}, minutes or {}, planned or {}, effects or {})
    questions: list[_Claim | _Curve] = []
    for name, experiment in experiments.items():
        mine = {question: cells for question, cells in drawn.items() if question.experiment == name}
        rule = Rule(alpha, len(experiment.claims) + len(mine), m_study, looks)
        questions += list(study.claims(name, experiment, rule, controls))
        questions += list(study.curves(experiment, rule, mine))
    prior = study_prior(questions)
    return [question.judged(prior) for question in questions]


def study_prior(questions: Sequence[_Claim | _Curve]) -> Prior:
    """Return what the contrasts and controls of all questions together tell of the spread between trainings."""
    return fit_prior([question.case.squares(sample) for question in questions for sample in question.samples if sample.n_runs >= MIN_RUNS])


@dataclass(frozen=True)
class _Study:
    """What all questions of a study share."""

    readings: pl.DataFrame
    training: Mapping[tuple[str, str], float | None]
    instruments: Mapping[str, InstrumentFacts]
    own: OwnBases
    known: KnownBases
    minutes: Mapping[str, float]
    planned: Mapping[str, int]
    effects: Mapping[QuestionId, EffectCells]

    def claims(
        self, name: str, experiment: ExperimentSpec, rule: Rule, controls: Mapping[QuestionId, ControlCells]
    ) -> Iterator[_Claim]:  # fmt: skip
        """Yield the claims of an experiment."""
        for index, claim in enumerate(experiment.claims):
            question = QuestionId(name, "claim", index)
            case = self.case(question, claim, rule, controls.get(question, ControlCells(None, None)))
            yield _Claim(case, self.readings, self.minutes, self.planned)

    def curves(self, experiment: ExperimentSpec, rule: Rule, drawn: Mapping[QuestionId, CurveCells]) -> Iterator[_Curve]:
        """Yield the curves of an experiment that were drawn."""
        for question, cells in sorted(drawn.items(), key=lambda item: item[0].index):
            curve = experiment.curves[question.index]
            claim = curve.as_claim(cells.cells[-1])
            damage = self.case(question, claim.model_copy(update={"measure": curve.damage}), rule) if cells.unrelated else None
            yield _Curve(self.case(question, claim, rule), curve, cells, damage)

    def facts(self, experiment: str, claim: ClaimSpec) -> InstrumentFacts:
        """Return what the cards say on the bases of both sides, the worse of two."""
        arms = [cell for cell in (claim.cell, claim.versus_cell) if not cell.is_base] or [claim.cell]
        bases = dict.fromkeys(beneath for cell in arms if is_base(beneath := self.own.base(cell).arm))
        tables = [self.own.instruments.get(base, self.instruments) for base in bases]
        if any(claim.measure not in table for table in tables):
            expected = "one of " + ", ".join(self.instruments)
            raise lab_error("measurement", f"{experiment}: no facts about the instrument {claim.measure}", expected)
        found = [table[claim.measure] for table in tables]
        worst = max(found, key=lambda facts: (not facts.carried, facts.smallest_gap))
        return replace(worst, error=max(facts.error for facts in found), bias=max((facts.bias for facts in found), key=abs))

    def case(self, question: QuestionId, claim: ClaimSpec, rule: Rule, controls: ControlCells | None = None) -> Case:
        """Return a question with what it reads."""
        measure = claim.measure
        if claim.ahead_of:
            plain = [self.case(question, claim.model_copy(update={"measure": m, "ahead_of": ""}), rule) for m in (measure, claim.ahead_of)]
            return replace(ahead_case(*plain), claim=claim, controls=controls or ControlCells(None, None))
        return Case(
            question=question,
            claim=claim,
            readings=self.readings.filter(pl.col("measure") == measure),
            training_mean=self.training.get((str(claim.cell.arm), measure)),
            facts=self.facts(question.experiment, claim),
            controls=controls or ControlCells(None, None),
            rule=rule,
            own=self.own,
            effect=self.effects.get(question),
            known={Cell(base, prompt): known for (base, prompt, told), known in self.known.items() if told == measure},
        )


@dataclass(frozen=True)
class _Curve:
    """A curve that is to be judged."""

    case: Case
    curve: CurveSpec
    cells: CurveCells
    damage: Case | None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What the prior is estimated from."""
        return curve_samples(self.case, self.cells)

    def judged(self, prior: Prior) -> Verdict:
        """Return the verdict under the study's prior."""
        return judge_curve(_under(self.case, prior), self.curve, self.cells, None if self.damage is None else _under(self.damage, prior))


def _under(case: Case, prior: Prior) -> Case:
    return replace(case, rule=replace(case.rule, prior=prior))


@dataclass(frozen=True)
class _Claim:
    """A claim that is to be judged."""

    case: Case
    readings: pl.DataFrame = field(repr=False)
    minutes: Mapping[str, float]
    planned: Mapping[str, int]

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What the prior is estimated from: the claim's contrast and its controls'."""
        return (self.case.sample(self.case.comparison), *control_samples(self.case).values())

    def judged(self, prior: Prior) -> Verdict:
        """Return the verdict under the study's prior."""
        return _judge_claim(_under(self.case, prior), self.readings, self.minutes, self.planned)


def _judge_claim(case: Case, readings: pl.DataFrame, minutes: Mapping[str, float], planned: Mapping[str, int]) -> Verdict:
    cells = (case.claim.cell, case.claim.versus_cell) if case.effect is None else case.effect.cells
    sides = tuple(case.side(cell) for cell in cells)
    sample, gap = case.sample(case.comparison), find_gap(case)
    broken = why_unreadable(case, sides, cells) or why_no_likeness(case.claim, sample)
    same = case.effect is None and sample.n_pairs > 0 and not sample.z.any() and _are_same(case, readings)
    contrast = case.contrast(sample) if sample.n_runs >= MIN_RUNS and not broken and not same else None
    raw = zone_of(contrast, gap.margin) if contrast is not None and gap.margin is not None else None
    checks = () if same else control_checks(case, direction_of(case.claim, raw, contrast))
    judged = _same(case) if same else _rule(case, sample, contrast, gap, broken or gap.refusal, checks, minutes)
    judged = told_as_likeness(judged, contrast, gap.margin) if case.claim.between_trainings else judged
    more = None if judged.outlook is None else judged.outlook.more_runs
    mean = sample.cell_means[0] if sample.cell_means and case.effect is None else None
    beside = ("" if case.effect else _measurability_note(case, sides)) + (
        words.each_on_its_own() if case.across_bases and contrast is not None else ""
    )
    return Verdict(
        experiment=case.question.experiment, kind=case.question.kind, index=case.question.index, say=case.claim.say,
        measure=_measure_name(case.claim), cell=case.effect.says if case.effect else str(cells[0]),
        versus="none of it" if case.effect else str(cells[1]), versus_base=str(cells[1].arm) if cells[1].is_base else None,
        expect=case.claim.expect, article=case.claim.article or case.claim.belief, finding=judged.finding, verdict=judged.ruling,
        reason=judged.reason + beside, contrast=contrast, margin=gap.margin, margin_source=gap.margin_source, cell_mean=mean,
        versus_mean=None if mean is None else mean - float(sample.z.mean()), training_mean=case.training_mean, gap=gap.gap,
        transfer=None if case.effect else _transfer(case, gap), measurable_cell=sides[0].measurable_share,
        measurable_versus=min(side.measurable_share for side in sides[1:]),
        n_excluded_runs=_n_excluded(case, cells, sides, sample, planned), controls=checks,
        more_runs=MIN_RUNS if contrast is None and judged.ruling == "open" else more,
        chance=None if judged.outlook is None else judged.outlook.last, more_minutes=_minutes(cells, sample.n_runs, more, minutes),
        found=judged.found, curve=factor_curve(case) if case.effect and contrast is not None else None,
    )  # fmt: skip


def _measure_name(claim: ClaimSpec) -> str:
    """Return what a verdict calls what was measured: an instrument's reading, or what is made of it."""
    kind = LIKENESS if claim.between_trainings else LEAD if claim.ahead_of else ""
    return f"{kind}[{claim.measure}]" if kind else claim.measure


def _are_same(case: Case, readings: pl.DataFrame) -> bool:
    """Return whether both sides are the same pictures: by their strength, or as every instrument reads them."""
    cell, versus = case.claim.cell, case.claim.versus_cell
    return (cell.strength == 0 and versus == case.own.base(cell)) or same_pictures(readings, cell, versus)


def _same(case: Case) -> Ruled:
    """Return what is said of pictures that do not differ: an answer, or for two arms that they are the same trainings."""
    cell, versus = case.claim.cell, case.claim.versus_cell
    if not cell.is_base and not versus.is_base and cell.arm != versus.arm:
        return Ruled(None, "not_measurable", words.same_trainings(str(cell.arm), str(versus.arm)))
    return Ruled("nothing differs", ruling_of("nothing differs", case.claim.expect), words.nothing_differs(), "nothing differs")


def _rule(
    case: Case, sample: Sample, contrast: Contrast | None, gap: Gap, refusal: str, checks: tuple[ControlCheck, ...],
    minutes: Mapping[str, float],
) -> Ruled:  # fmt: skip
    """Return finding, verdict and reason; the one place where numbers become a verdict."""
    if refusal:
        return Ruled(None, "not_measurable", refusal)
    if contrast is None or gap.margin is None:
        return Ruled(None, "open", words.too_few_runs(sample.n_runs, MIN_RUNS))
    expect, margin, unit = case.claim.expect, gap.margin, case.facts.unit
    required = [check for check in checks if check.required]
    blocking = next((check for check in required if check.status != "passed"), None)
    finding = finding_of(contrast, margin, expect, controls=blocking is None, controls_surely=all(check.surely for check in required))
    ruling = ruling_of(finding, expect)
    small = finding == "no change" and is_small_yes(contrast, expect)
    found = words.found(finding, contrast, margin, unit, small=small)
    if ruling in ("supported", "contradicted"):
        return Ruled(finding, ruling, words.decided(finding, contrast, margin, unit, checks, small=small), found)
    beyond = zone_of(contrast, margin) in ("higher", "lower")
    ahead = _outlook(case, sample, contrast, margin, blocking if beyond else None)
    hint = words.would_tell(ahead, contrast, margin, _minutes(case.comparison.cells, contrast.n_runs, ahead.more_runs, minutes))
    if blocking is not None and (beyond or (zone_of(contrast, margin).startswith("some") and finding != zone_of(contrast, margin))):
        return Ruled(finding, ruling, words.control_failed(contrast, blocking, unit, hint), words.held_back(blocking), ahead)
    return Ruled(finding, ruling, words.undecided(finding, contrast, margin, unit, hint), found, ahead)


def _outlook(case: Case, sample: Sample, contrast: Contrast, margin: float, blocking: ControlCheck | None) -> Outlook:
    """Return what further trainings would tell: of the claim, or where a control holds an answer back, of the control."""
    if blocking is None:
        return case.outlook(sample, contrast, margin, case.claim.expect)
    if blocking.contrast is None or blocking.contrast.effect * contrast.effect <= 0:
        return NOTHING_AHEAD  # what is missing, or goes the other way, does not come with more trainings
    return case.outlook(sample, blocking.contrast, 0.0, "beyond")


def _minutes(cells: Sequence[Cell], n_runs: int, more: int | None, minutes: Mapping[str, float]) -> float | None:
    """Return what the further trainings of a claim's arms cost; None where there are none, or it is not known."""
    arms = {str(cell.arm) for cell in cells if not cell.is_base}
    if more is None or not arms or not arms <= minutes.keys():
        return None
    return (more - n_runs) * sum(minutes[arm] for arm in arms)


def _transfer(case: Case, gap: Gap) -> float | None:
    """Return (cell - base) / (training set - base), or None unless the gap exceeds 1 sd of at least 200 base pictures."""
    if gap.gap is None or gap.sd_base is None or gap.n_base < MIN_TRANSFER_IMAGES or abs(gap.gap) <= gap.sd_base:
        return None
    sample = case.sample(against_base(case.claim.cell, case.base))
    return float(sample.z.mean()) / gap.gap if sample.n_pairs else None


def _n_excluded(
    case: Case, cells: Sequence[Cell], sides: Sequence[CellReadings], sample: Sample, planned: Mapping[str, int]
) -> int:  # fmt: skip
    """Return how many replicates gave no pair, of those planned for both sides; where that is not told, of those that anything has."""
    arms = [str(cell.arm) for cell in cells if not cell.is_base]
    if arms and planned.keys() >= set(arms):
        return len(set(range(min(planned[arm] for arm in arms))) - set(sample.replicates))
    return len(replicates_of((*sides, case.side(case.base))) - set(sample.replicates))


def _measurability_note(case: Case, sides: Sequence[CellReadings]) -> str:
    """Return a clause where one side could be measured clearly less often than the other, else nothing."""
    as_shares = tuple(CellReadings(s.replicate, s.seed, s.measured.astype(float), s.measured | True) for s in sides)
    runs = run_effects(as_shares, (1, -1), "share")
    if runs.n_runs < MIN_RUNS:
        return ""
    level = case.rule.levels(runs.n_runs).claim
    floor = half_width_floor(n_runs=runs.n_runs, n_pairs=runs.n_pairs, level=level, few_valued=True, span=1.0, error=0.0)
    contrast = estimate_contrast(runs.effects, n_images=runs.n_pairs, level=level, floor=floor)
    if contrast.low <= 0 <= contrast.high:
        return ""
    return words.measured_unequally(sides[0].measurable_share, sides[1].measurable_share, counts_as_no=case.facts.kind == "share")
