"""A reading over rising doses of the same training runs: the trend with its verdict, the half-effect dose, overshoot, and the damage.

In: a curve's case (readings, gap, margin, level), its cells. Out: a ``Verdict`` whose contrast is the trend. The unit is the run: every
dose is read from the same runs at the same image seeds, so doses are compared inside a run first. The rule: ``docs/method.md``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loralab.infer import words
from loralab.infer.case import Case, CurveCells, Gap, find_gap, why_unreadable
from loralab.infer.comparison import Comparison, Sample, against_base, between, trend
from loralab.infer.estimate import MIN_RUNS, t_critical
from loralab.infer.factorial import trend_weights
from loralab.infer.findings import Ruled, finding_of, is_small_yes, ruling_of, zone_of
from loralab.infer.future import NOTHING_AHEAD
from loralab.infer.pairs import replicates_of
from loralab.infer.verdict import Contrast, DoseCurve, DosePoint, Finding, HalfDose, Verdict
from loralab.spec.models import CurveSpec


def estimate_half_dose(doses: Sequence[float], effects: np.ndarray, level: float, floor: float) -> HalfDose | None:
    """Return the dose at which the mean curve reaches half of its last value, with its interval; None where that value may be 0.

    ``doses`` (J,) rise from 0, where the effect is 0; ``effects`` (J, R) are the runs' effects. Between doses a curve is a straight line.
    The interval holds every dose d at which the runs' y(d) - y(last) / 2 have a t interval that contains 0 (Fieller 1954, inverted from
    a test): its coverage is that of the t interval, whatever the shape. ``floor`` is the smallest half width, as for any contrast.
    """
    n_runs = effects.shape[1]
    beyond = effects - effects[-1] / 2  # (J, R): what is to be 0
    factor = t_critical(n_runs, level) / math.sqrt(n_runs)
    if abs(effects[-1].mean()) <= max(factor * float(effects[-1].std(ddof=1)), floor):
        return None
    inside, crossings = [], []
    for j in range(len(doses) - 1):
        start, slope = beyond[j], beyond[j + 1] - beyond[j]
        to_dose = np.array([doses[j], doses[j + 1] - doses[j]])
        crossings += [float(to_dose @ (1, w)) for w in _roots(0.0, slope.mean(), start.mean())]
        inside += [float(to_dose @ (1, w)) for w in _near_zero(start, slope, factor, floor)]
    return HalfDose(min(crossings), min(inside), max(inside), level)


def _near_zero(start: np.ndarray, slope: np.ndarray, factor: float, floor: float) -> list[float]:
    """Return the places w in [0, 1] that bound where |mean(start + w slope)| <= max(factor * sd, floor)."""
    spread = np.cov(np.stack([start, slope]), ddof=1)
    mean, rise = float(start.mean()), float(slope.mean())
    quadratic = (
        rise**2 - factor**2 * spread[1, 1], 2 * (mean * rise - factor**2 * spread[0, 1]), mean**2 - factor**2 * spread[0, 0]
    )  # fmt: skip
    places = [0.0, 1.0, *_roots(*quadratic), *_roots(0.0, rise, mean - floor), *_roots(0.0, rise, mean + floor)]

    def holds(w: float) -> bool:
        sd = math.sqrt(max(0.0, spread[0, 0] + 2 * w * spread[0, 1] + w**2 * spread[1, 1]))
        return abs(mean + w * rise) <= max(factor * sd, floor) * (1 + 1e-9) + 1e-12

    return [w for w in places if holds(w)]


def _roots(a: float, b: float, c: float) -> list[float]:
    """Return the roots of a w^2 + b w + c inside [0, 1]."""
    if abs(a) < 1e-15:
        found = [-c / b] if b else []
    else:
        under = b * b - 4 * a * c
        found = [] if under < 0 else [(-b - math.sqrt(under)) / (2 * a), (-b + math.sqrt(under)) / (2 * a)]
    return [w for w in found if 0 <= w <= 1]


def reference_dose(over: str, doses: Sequence[float]) -> float:
    """Return the dose that counts as the whole: strength 1 where it was drawn, else the largest dose."""
    return 1.0 if over == "strength" and 1.0 in doses else max(doses)


def curve_samples(case: Case, cells: CurveCells) -> tuple[Sample, ...]:
    """Return the paired values of a curve's trend; none where it has fewer than two doses."""
    return (case.sample(_trend(case, cells)),) if len(cells.doses) > 1 else ()


def _trend(case: Case, cells: CurveCells) -> Comparison:
    return trend(cells.cells, tuple(float(weight) for weight in trend_weights(len(cells.doses))), case.base)


def judge_curve(case: Case, curve: CurveSpec, cells: CurveCells, damage: Case | None) -> Verdict:
    """Return the verdict on a curve: its trend against the margin, with points, half-effect dose, overshoot and damage beside it.

    ``damage`` is the case of the instrument that is read at the unrelated prompts; None where the study has none.
    """
    sides, gap = [case.side(cell) for cell in cells.cells], find_gap(case)
    sample = case.sample(_trend(case, cells))
    broken = why_unreadable(case, sides, cells.cells)
    told = sample.n_runs >= MIN_RUNS and not broken and len(cells.doses) > 1
    contrast = case.contrast(sample) if told else None
    ruled = _rule(case, sample, contrast, gap, broken or gap.refusal, curve, cells)
    drawn = _draw(case, cells, curve, gap, damage) if told else None
    reason = ruled.reason + (_beside(drawn, ruled.finding) if drawn is not None and ruled.finding is not None else "")
    name = f'{curve.cell.arm} @ "{curve.cell.prompt}"'
    first, last = (f"{name}, {words.dose_name(curve.over, dose)}" for dose in (cells.doses[0], cells.doses[-1]))
    means = sample.cell_means or None
    return Verdict(
        experiment=case.question.experiment, kind=case.question.kind, index=case.question.index, say=curve.say,
        measure=case.claim.measure, cell=last, versus=first,
        expect=curve.expect, article=curve.article or curve.belief, finding=ruled.finding, verdict=ruled.ruling, reason=reason,
        contrast=contrast, margin=gap.margin, margin_source=gap.margin_source, cell_mean=None if means is None else means[-1],
        versus_mean=None if means is None else means[0], training_mean=case.training_mean, gap=gap.gap, transfer=None,
        measurable_cell=sides[-1].measurable_share, measurable_versus=sides[0].measurable_share,
        n_excluded_runs=len(replicates_of(sides) - set(sample.replicates)), controls=(),
        more_runs=MIN_RUNS if contrast is None and ruled.ruling == "open" else None if ruled.outlook is None else ruled.outlook.more_runs,
        chance=None if ruled.outlook is None else ruled.outlook.last, found=ruled.found, curve=drawn,
    )  # fmt: skip


def _rule(case: Case, sample: Sample, contrast: Contrast | None, gap: Gap, refusal: str, curve: CurveSpec, cells: CurveCells) -> Ruled:
    """Return what is said of a curve; it compares doses of one arm, so it is its own control."""
    if len(cells.doses) < 2:
        return Ruled(None, "not_measurable", words.too_few_doses())
    if refusal:
        return Ruled(None, "not_measurable", refusal)
    if contrast is None or gap.margin is None:
        return Ruled(None, "open", words.too_few_runs(sample.n_runs, MIN_RUNS))
    finding, unit = finding_of(contrast, gap.margin, curve.expect), case.facts.unit
    small = finding == "no change" and is_small_yes(contrast, curve.expect)
    ruling, found = ruling_of(finding, curve.expect), words.found(finding, contrast, gap.margin, unit, small=small)
    bent = _bent(case, cells, gap.margin) if finding == "no change" else None
    if bent is not None:
        index, there = bent
        settled = zone_of(there, gap.margin) in ("higher", "lower")  # further trainings would only show more of the bend
        ahead = NOTHING_AHEAD if settled else case.outlook(sample, there, gap.margin, "no change")
        doses = (cells.doses[0], cells.doses[index], cells.doses[-1])
        hint = words.would_tell(ahead, contrast, gap.margin, None)
        reason = words.bent(contrast, there, gap.margin, unit, curve.over, doses, hint)
        return Ruled("open", "open", reason, words.found("open", contrast, gap.margin, unit), ahead)
    if ruling in ("supported", "contradicted"):
        return Ruled(finding, ruling, words.trend(finding, contrast, gap.margin, unit, curve.over, cells.doses, small=small), found)
    ahead = case.outlook(sample, contrast, gap.margin, curve.expect)
    hint = words.would_tell(ahead, contrast, gap.margin, None)
    return Ruled(finding, ruling, words.undecided(finding, contrast, gap.margin, unit, hint), found, ahead)


def _bent(case: Case, cells: CurveCells, margin: float) -> tuple[int, Contrast] | None:
    """Return the dose whose change from the first one is not shown to lie inside the margin, the furthest of them; None without one.

    A curve that rises and falls again has a flat line; "no change" needs every dose to stay. All must hold, so no further correction.
    """
    first = cells.cells[0]
    samples = [(j, case.sample(between(cells.cells[j], first, case.base, case.base))) for j in range(1, len(cells.cells) - 1)]
    found = [(j, case.contrast(sample)) for j, sample in samples]
    away = [(j, there) for j, there in found if zone_of(there, margin) != "no change"]
    return max(away, key=lambda item: max(-item[1].low, item[1].high), default=None)


def _draw(case: Case, cells: CurveCells, curve: CurveSpec, gap: Gap, damage: Case | None) -> DoseCurve:
    """Return the curve's points and what follows from them; the points' intervals hold together."""
    samples = [case.sample(against_base(cell, case.base)) for cell in cells.cells]
    level = 1 - (1 - case.rule.levels(samples[0].n_runs).claim) / len(cells.doses)
    points = tuple(
        DosePoint(dose, case.contrast(sample, level), None if damage is None else _damage(damage, cells, j, level))
        for j, (dose, sample) in enumerate(zip(cells.doses, samples, strict=True))
    )
    reference = reference_dose(curve.over, cells.doses)
    half = _half(case, cells, reference)
    says = words.no_half_dose(curve.over, reference)
    if half is not None:
        says = words.half_dose(curve.over, half.dose, half.low, half.high, reference)
    over = tuple(point.dose for point in points if gap.gap is not None and _is_beyond(point.effect, gap.gap, case.facts.smallest_gap))
    measure = damage.claim.measure if damage is not None else ""
    return DoseCurve(curve.over, reference, points, half, says, over, measure, cells.unrelated)


def factor_curve(case: Case) -> DoseCurve | None:
    """Return the change from the base at each level of a factor whose levels are numbers, averaged over the others; None for other effects.

    The levels stand where a curve has its doses; intervals hold for all of them together.
    """
    effect = case.effect
    if effect is None or not effect.levels:
        return None
    share = 1 - case.rule.levels(case.sample(case.comparison).n_runs).claim
    level, points = 1 - share / len(effect.levels), []
    for value, cells in effect.levels:
        weights = (1 / len(cells),) * len(cells)
        sample = case.sample(Comparison("against", cells, weights, (case.base,), (1.0,)))
        if sample.n_runs < MIN_RUNS:
            return None
        points.append(DosePoint(value, case.contrast(sample, level), None))
    return DoseCurve(effect.factor, effect.levels[-1][0], tuple(points), None, "", (), "", ())


def _half(case: Case, cells: CurveCells, reference: float) -> HalfDose | None:
    """Return the half-effect dose from dose 0, where nothing is changed, up to the reference; from each training's plain differences."""
    sides = [case.side(cell) for cell in (*cells.cells, case.base)]
    runs = case.effects(sides, [1.0] * len(cells.cells) + [0.0])
    effects = runs.side_means[:-1] - runs.side_means[-1]  # (doses, R)
    kept = [j for j, dose in enumerate(cells.doses) if 0 < dose <= reference]
    zero = np.zeros((1, runs.n_runs))
    doses = [0.0, *(cells.doses[j] for j in kept)]
    sample, level = case.sample(against_base(cells.cells[-1], case.base)), case.rule.levels(runs.n_runs).claim
    return estimate_half_dose(doses, np.vstack([zero, effects[kept]]), level, case.floor(sample, level)) if runs.n_runs > 1 else None


def _is_beyond(effect: Contrast, gap: float, smallest_gap: float) -> bool:
    """Return whether the whole interval lies on the far side of the training set, seen from the base."""
    if abs(gap) <= smallest_gap:
        return False
    return effect.low > gap if gap > 0 else effect.high < gap


def _damage(damage: Case, cells: CurveCells, index: int, level: float) -> Contrast | None:
    """Return the mean difference from the base over the unrelated prompts at one dose; None where too few trainings were read."""
    own, share = cells.damage_cells(index), 1 / len(cells.unrelated)
    beneath, weights = tuple(damage.own.base(cell) for cell in own), (share,) * len(own)
    sample = damage.sample(Comparison("against", own, weights, beneath, weights))
    return damage.contrast(sample, level) if sample.n_runs >= MIN_RUNS else None


def _beside(drawn: DoseCurve, finding: Finding) -> str:
    """Return the clauses behind a reason: where half of the effect is reached, and where the training set is passed."""
    parts = [drawn.half_says] if drawn.half is not None and finding in ("higher", "lower") else []
    parts += [words.overshoot(drawn.over, drawn.overshoot)] if drawn.overshoot else []
    return "".join(f"; {part}" for part in parts)
