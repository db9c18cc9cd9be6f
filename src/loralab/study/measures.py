"""Names of readings: an instrument's, or with what it refers to in brackets: `copy_distance[primary-shapes]`, `concept[monster]`."""

from __future__ import annotations

import difflib

from loralab.errors import Problem
from loralab.measure import TABLE
from loralab.measure.table import TAKING, choices
from loralab.petri.concept_names import ASKED
from loralab.spec import BaseSource, Cell, ClaimSpec, ExperimentSpec, StudySpec, base_of


def qualified_measure(spec: StudySpec, measure: str, cell: Cell) -> str:
    """Return the name under which a reading stands: one that refers to a training set names it, `copy_distance[primary-shapes]`."""
    if TABLE[plain_measure(measure)].needs == "training_images" and not cell.is_base:
        return f"{measure}[{spec.arms[str(cell.arm)].data}]"
    return measure


def plain_measure(measure: str) -> str:
    """Return the instrument's name of a qualified measure; `hue[magenta]` is one, the data of `copy_distance[primary-shapes]` are not."""
    return measure if measure in TABLE else measure.split("[")[0]


def card_name(measure: str) -> str:
    """Return the name of the card behind a qualified measure: every concept has a card of its own."""
    return measure if concept_of(measure) else plain_measure(measure)


def concept_of(measure: str) -> str:
    """Return the concept that a qualified measure refers to, `monster` of `concept[monster]`; "" where it refers to none."""
    return _reference(measure) if TABLE[plain_measure(measure)].needs == "concept" else ""


def data_of(measure: str) -> str:
    """Return the data that a qualified measure refers to; "" where it refers to none."""
    return _reference(measure) if TABLE[plain_measure(measure)].needs == "training_images" else ""


def _reference(measure: str) -> str:
    return measure.partition("[")[2].rstrip("]")


def concept_names(base: str) -> tuple[str, ...]:
    """Return the concepts that can be asked for on the base that a study names, before it is loaded; empty where there is no encoder."""
    return ASKED if base == "petri" else ()


def measure_problem(measure: str, base: str) -> Problem | None:
    """Return what is wrong with the name of an instrument in a study on ``base``: there is none, or a concept is missing or unknown."""
    plain, taking = plain_measure(measure), TAKING.get(measure.split("[")[0])
    takes_concept = plain in TABLE and TABLE[plain].needs == "concept"
    if taking is not None and plain not in TABLE:
        return Problem(f"{measure!r} is not a {taking.name} that can be measured", f"{taking.name}[{taking.word}], {taking.expected}")
    if plain not in TABLE or (measure != plain and not takes_concept):
        near = difflib.get_close_matches(measure, TABLE, n=1)
        do = f"did you mean `{near[0]}`?" if near else "`loralab instruments` says what each one measures"
        return Problem(f"unknown instrument {measure!r}", choices(), do)
    names = concept_names(base)
    if takes_concept and (not concept_of(measure) or (names and concept_of(measure) not in names)):
        expected = f"{plain}[NAME], NAME one of {', '.join(names or ('...',))}"
        return Problem(f"{measure!r} is not a concept that this base's encoder knows", expected)
    return None


def ahead_problem(claim: ClaimSpec) -> Problem | None:
    """Return what is wrong with the instruments of a claim with `ahead_of`, which are compared as shares of a way."""
    units = {name: TABLE[plain_measure(name)].unit for name in (claim.measure, claim.ahead_of) if claim.ahead_of}
    wrong = [name for name, unit in units.items() if unit != "share"]
    return (
        Problem(f"{wrong[0]!r} does not read shares", "instruments that read shares: hue[...], shape_..., concept[...]") if wrong else None
    )


def study_measures(spec: StudySpec, base: BaseSource | None = None) -> list[str]:
    """Return the qualified names of all that the study's claims and curves measure, in order; of pictures on one base, if it is given."""

    def asked(*cells: Cell) -> bool:
        return base is None or any(base_of(spec, cell.arm) == base for cell in cells)

    claims = [claim for e in spec.experiments.values() for claim in e.claims if asked(claim.cell, claim.versus_cell)]
    names = [qualified_measure(spec, claim.measure, claim.cell) for claim in claims]
    names += [claim.ahead_of for claim in claims if claim.ahead_of]
    curves = [curve for e in spec.experiments.values() for curve in e.curves if curve.at and asked(curve.cell)]
    names += [qualified_measure(spec, curve.measure, curve.cell) for curve in curves]
    names += [qualified_measure(spec, curve.damage, curve.cell) for curve in curves if spec.sample.unrelated]
    names += ["change"] if spec.sample.unrelated else []  # side damage is told of every study that names unrelated prompts
    return list(dict.fromkeys(names))


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
