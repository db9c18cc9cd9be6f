"""What a study would do, cost and be able to decide, before anything is trained: a loaded study in, a JSON-able description out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loralab.errors import LabError, Problem
from loralab.infer.judge import InstrumentFacts
from loralab.infer.looks import PLANNED
from loralab.infer.power import ClaimPlan, plan_claims
from loralab.measure import TABLE
from loralab.spec import BASE, base_of
from loralab.spec.load import Loaded, preset_of, train_spec_of
from loralab.study.beyond import kept_words, shown_words, step_factor
from loralab.study.looks import limited
from loralab.study.measures import card_name, plain_measure
from loralab.study.plan import StudyPlan, differences, make_plan
from loralab.study.triggers import recipe_of, trigger_of

#: the sizes by which work is grouped, as the run will take them
GROUPING = ("stack", "images", "processes", "checkpointing")


def claim_plans(loaded: Loaded) -> list[ClaimPlan]:
    """Return for each claim the smallest effect that this budget decides, from the run-to-run spread that ships."""
    spec = loaded.spec
    replicates = {arm: train_spec_of(spec, spec.arms[arm]).replicates for arm in spec.arms}
    facts = _facts_before_the_run(measure for _, measure, _ in _asked(loaded))
    return plan_claims(
        spec.experiments, replicates=replicates, seeds=spec.sample.seeds, instruments=facts, alpha=preset_of(loaded).alpha
    )  # fmt: skip


def _facts_before_the_run(measures: Iterable[str]) -> dict[str, InstrumentFacts]:
    """Return the kind and range of each measure's instrument; cards depend on the base and are read when the claims are judged."""
    rows = {measure: TABLE[plain_measure(measure)] for measure in measures}
    return {
        name: InstrumentFacts(name, row.kind, row.low, row.high, row.unit, bias=0.0, error=0.0, carried=True, note="")
        for name, row in rows.items()
    }


def refuse_undecidable(loaded: Loaded) -> None:
    """Raise LabError("spec") that names every claim which this budget cannot decide; a preset without verdicts decides nothing anyway."""
    if not preset_of(loaded).verdicts:
        return
    problems = [
        Problem(
            f"{plan.experiment}: {plan.say!r} cannot be decided within this budget: {plan.reason}",
            "more trainings (`replicates`), or a wider margin",
            where="",
        )
        for plan in claim_plans(loaded)
        if not plan.decidable and not plan.anyway and plan.sd_runs is not None  # without a known spread the chance is unknown, not none
    ]
    if problems:
        raise LabError("spec", [*problems, Problem("use --anyway to run it regardless, or mark these claims `anyway: true`")])


def _asked(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Return (experiment, measure, what it says) of every claim and curve."""
    return [
        (name, measure, say)
        for name, experiment in loaded.spec.experiments.items()
        for measure, say in (
            *((claim.measure, claim.say) for claim in experiment.claims),
            *((measure, curve.say) for curve in experiment.curves for measure in (curve.measure, curve.damage)),
        )
    ]


def describe_plan(loaded: Loaded, lab: Path, *, calibrate: bool = False) -> dict[str, Any]:
    """Return arms, runs, images, minutes, disk and decidable effects; makes nothing and leaves no trace in the lab.

    With ``calibrate`` the machine's speed is measured although it is known from an earlier plan.
    """
    from loralab.bases.named import base_names, load_bases
    from loralab.cost.calibration import rates_of
    from loralab.cost.memory import size_work, sized
    from loralab.cost.rates import estimate_cost
    from loralab.stages.cards import shipped_cards
    from loralab.study.measures import study_measures

    bases = load_bases(loaded)
    plan = make_plan(loaded.spec)
    plan = sized(plan, bases)
    # petri's usual sizes come without the bytes; a dry run of the others has told them
    predicted = plan.sizes if plan.sizes.room_bytes else size_work(bases, plan, plan.sizes.processes)
    calibrations = {own: rates_of(bases[own], plan, own, afresh=calibrate) for own in plan.bases}
    first = calibrations[plan.bases[0]]
    rates = {own: calibration.rates for own, calibration in calibrations.items()}
    uncarded = [own for own in plan.bases if not {*map(card_name, study_measures(plan.spec, own))} <= shipped_cards(bases[own]).keys()]
    sizes = {own: bases[own].size_px for own in plan.bases}
    cost = estimate_cost(plan, rates, sizes, uncarded)
    parts = {n: limited(plan, dict.fromkeys(plan.cells, n)) for n in PLANNED.trainings if n <= most_trainings(plan)}
    looks = [{"trainings": n, "minutes": estimate_cost(part, rates, sizes, uncarded).minutes} for n, part in parts.items()]
    return {
        "study": loaded.spec.study, "about": loaded.spec.about, "preset": loaded.preset or "none", "study_sha256": loaded.sha256,
        "base": base_names(bases), "lab": str(lab), "n_arms": len(plan.arms), "n_runs": len(plan.runs), "n_images": plan.n_images,
        "n_cells": len(plan.cells), "memory": vars(predicted) | {name: getattr(plan.sizes, name) for name in GROUPING},
        "looks": looks, "cost": vars(cost) | {"rates": vars(rates[plan.bases[0]]), "rates_measured": first.measured} | _busy(first.busy),
        "device": str(bases[BASE].device), "arms": [_arm_row(loaded, name) for name in plan.arms],
        "claims": [_claim_row(row) for row in claim_plans(loaded)], "pairs": _pairs(plan), "notes": list(plan.notes),
    }  # fmt: skip


def most_trainings(plan: StudyPlan) -> int:
    """Return how often the arm is trained that is trained most often."""
    return max((run.replicate + 1 for run in plan.runs), default=0)


def _busy(then: float | None) -> dict[str, float | int | None]:
    """Return how many of the cores others kept busy while the rates were measured (None if unknown), and how many they do now."""
    from loralab.portable import busy_cores, cores

    return {"busy_then": then, "busy_now": round(busy_cores(), 1), "cores": cores()}


def _arm_row(loaded: Loaded, name: str) -> dict[str, Any]:
    arm, recipe = loaded.spec.arms[name], recipe_of(loaded.spec, loaded.spec.arms[name])
    text = f"{recipe.said}, lr {recipe.lr:g}, {recipe.steps} steps of {recipe.batch}"
    text += f", text encoder at {recipe.text_encoder_lr:g}" if recipe.trains_text else ""
    text += "".join(f", {words}" for words in [*kept_words(recipe), *shown_words(arm)])
    text += f"; {factor:.3g} times the time of a plain step" if (factor := step_factor(arm, recipe)) > 1 else ""
    text = text if arm.adapters is None else f"trained elsewhere: {arm.adapters}"
    text = f"applied together: {'; '.join(map(str, arm.stack))}" if arm.stack else text
    text += f"; base {arm.base}" if base_of(loaded.spec, name) != BASE else ""
    trigger = trigger_of(loaded.spec, arm)
    return {
        "name": name, "data": arm.data, "captions": arm.captions or "the data set's own", "runs": recipe.replicates, "recipe": text,
        "trigger": "" if trigger is None else trigger.words, "trigger_from": "" if trigger is None else trigger.told,
        "trigger_shown": "not known" if trigger is None else trigger.words + (" (guessed)" if trigger.guessed else ""),
    }  # fmt: skip


def _claim_row(plan: ClaimPlan) -> dict[str, Any]:
    return plan.to_json() | {"decidable": "yes" if plan.decidable else "no", "note": plan.reason}


def _pairs(plan: StudyPlan) -> list[dict[str, str]]:
    """Return, for every pair of arms that a claim compares, all in which their resolved recipes differ."""
    found: dict[str, str] = {}
    for experiment in plan.spec.experiments.values():
        for claim in experiment.claims:
            sides = claim.cell, claim.versus_cell
            one, other = (str(side.arm) for side in sides)
            if one != other and not any(side.is_base for side in sides):
                found[f"{one} and {other}"] = ", ".join(differences(plan.spec, one, other))
    return [{"arms": arms, "differ": differ} for arms, differ in found.items()]
