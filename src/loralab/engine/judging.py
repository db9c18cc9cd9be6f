"""From a study's readings to its verdicts: names the instruments' facts and control cells that `infer` needs, and writes the result."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from loralab.engine.cards import round_trip_of
from loralab.engine.companions import companion_of
from loralab.engine.local import StudyRun
from loralab.engine.measure_names import card_name, plain_measure, qualified_measure
from loralab.engine.measuring import study_measures, training_means
from loralab.infer.judge import InstrumentFacts, OwnBases, judge
from loralab.infer.known import BaseKnown
from loralab.infer.verdict import Verdict
from loralab.measure import TABLE, Card
from loralab.petri.base_means import shipped_means
from loralab.spec import BASE, BaseSource, ExperimentSpec, StudySpec, base_of
from loralab.spec.load import preset_of
from loralab.spec.questions import Records, is_exploratory, version_of
from loralab.store import read_lines, write_atomically


def judge_study(run: StudyRun) -> list[Verdict]:
    """Return the verdict on every claim of the study, in the order of the file; also written to `verdicts.json`."""
    measures = study_measures(run.plan.spec)
    data_of_arm = {name: arm.data for name, arm in run.plan.spec.arms.items()}
    own_base = {name: base_of(run.plan.spec, name) for name in run.plan.spec.arms}
    with run.clock.stage("judge"):
        training: dict[tuple[str, str], float | None] = {}
        for name, base in ((name, run.bases[name]) for name in run.plan.bases):
            own = {arm: dataset for arm, dataset in run.datasets.items() if own_base[arm] == name}
            training |= training_means(own, data_of_arm, measures, round_trip_of(base), companion_of(base))
        facts = {name: instrument_facts(study_measures(run.plan.spec, name), cards) for name, cards in run.cards_of.items()}
        verdicts = judge(
            qualified_experiments(run.plan.spec), run.readings, training=training, instruments=facts.get(BASE, {}),
            controls=run.plan.controls, curves=run.plan.curves, effects=run.plan.effects, alpha=preset_of(run.loaded).alpha,
            own=OwnBases(own_base, facts), known=known_of(run), planned=planned_of(run),
        )  # fmt: skip
    records = read_lines(run.ledger)
    verdicts = [_labelled(run, verdict, records) for verdict in verdicts]
    version = version_of(records, run.loaded.sha256, run.bases_sha256)
    document = {"study": run.plan.spec.study, "study_sha256": run.loaded.sha256, "preset": run.loaded.preset or "none", "version": version}
    text = json.dumps({**document, "verdicts": [verdict.to_json() for verdict in verdicts]}, indent=1, sort_keys=True, allow_nan=False)
    write_atomically(run.folder / "verdicts.json", (text + "\n").encode())
    return verdicts


def known_of(run: StudyRun) -> dict[tuple[BaseSource, str, str], BaseKnown]:
    """Return what ships of petri's own pictures, where the study draws as they were drawn and its instruments are those that read them."""
    found = {}
    for name, base in run.bases.items():
        for (prompt, measure), told in shipped_means(base.fingerprint, run.plan.spec.sample).items():
            if TABLE[plain_measure(measure)].version == told.version:
                found[name, prompt, measure] = BaseKnown(told.mean, told.variance, told.n)
    return found


def planned_of(run: StudyRun) -> dict[str, int]:
    """Return how many trainings of each arm the plan has; random twins have those of their arms."""
    trained = Counter(planned.arm for planned in run.plan.runs)
    return dict(trained)


def _labelled(run: StudyRun, verdict: Verdict, records: Records) -> Verdict:
    """Return the verdict, called exploratory where its question was added after the first run."""
    fingerprint = run.loaded.questions.get(verdict.question)
    return verdict if fingerprint is None else replace(verdict, exploratory=is_exploratory(fingerprint, records))


def qualified_experiments(spec: StudySpec) -> dict[str, ExperimentSpec]:
    """Return the experiments with the measures of claims and curves under the name that its readings have."""
    result = {}
    for name, experiment in spec.experiments.items():
        claims = tuple(
            claim.model_copy(update={"measure": qualified_measure(spec, claim.measure, claim.cell)}) for claim in experiment.claims
        )
        curves = tuple(
            curve.model_copy(
                update={
                    "measure": qualified_measure(spec, curve.measure, curve.cell),
                    "damage": qualified_measure(spec, curve.damage, curve.cell),
                }
            )
            for curve in experiment.curves
        )
        result[name] = experiment.model_copy(update={"claims": claims, "curves": curves})
    return result


def instrument_facts(measures: list[str], cards: Mapping[str, Card]) -> dict[str, InstrumentFacts]:
    """Return what the finding rule needs to know of each instrument: its kind and range, and its card's figures."""
    facts = {}
    for measure in measures:
        instrument, card = TABLE[plain_measure(measure)], cards[card_name(measure)]
        facts[measure] = InstrumentFacts(
            name=measure, kind=instrument.kind, low=instrument.low, high=instrument.high, unit=instrument.unit,
            bias=card.bias, error=card.error, carried=card.carried, note=card.note,
        )  # fmt: skip
    return facts
