"""What the lab says about a claim: one estimated difference, the controls beside it, and the verdict; to JSON and back.

In: nothing. Out: the frozen records that ``judge`` fills and the report prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from loralab.spec.questions import QuestionId

#: what an interval says of a difference; the table of words in docs/method.md
Finding = Literal[
    "higher", "lower", "some higher", "some lower", "no change", "not higher", "not lower", "no drop", "no rise", "open", "nothing differs"
]
#: the finding against the claim; "leaning" is open with a direction: some, but whether it counts is not settled
Ruling = Literal["supported", "leaning", "contradicted", "open", "not_measurable"]
ControlName = Literal["placebo", "null", "trigger"]
ControlStatus = Literal["passed", "failed", "too_few", "not_run", "not_measurable", "other_recipe"]


#: claims that are about something else than the change of a reading name it so: likeness[change], lead[hue[orange]]
LIKENESS, LEAD = "likeness", "lead"


def read_by(measure: str) -> str:
    """Return the measure whose readings a verdict rests on: `hue[orange]` of `lead[hue[orange]]`."""
    kind, _, inner = measure.partition("[")
    return inner.removesuffix("]") if kind in (LIKENESS, LEAD) and inner else measure


@dataclass(frozen=True)
class Contrast:
    """One estimated difference, in the instrument's unit, with its interval over trainings.

    ``low`` to ``high`` holds at ``level`` together with the experiment's other claims; ``sure_low`` to ``sure_high`` together with all
    of the study's (a direction is told by it). Both are t(df) standard errors wide on either side (at least the floor), plus ``bias``.
    ``known_error`` is that part of the standard error which more trainings leave: what is not known of the base.
    """

    effect: float
    low: float
    high: float
    level: float
    n_runs: int
    n_images: int
    p_sign_flip: float | None
    run_effects: tuple[float, ...]
    error: float = 0.0
    df: float = 0.0
    bias: float = 0.0
    known_error: float = 0.0
    sure_low: float | None = None
    sure_high: float | None = None
    sure_level: float | None = None

    @property
    def direction(self) -> int:
        """The sign of the difference where it is sure, all claims of the study considered; else 0."""
        low, high = (self.low if self.sure_low is None else self.sure_low), (self.high if self.sure_high is None else self.sure_high)
        return 1 if low > 0 else -1 if high < 0 else 0


@dataclass(frozen=True)
class ControlCheck:
    """Whether the change also exceeds what a control does: training as such, or the prompt without its trigger."""

    name: ControlName
    says: str
    required: bool
    status: ControlStatus
    contrast: Contrast | None
    against: str
    surely: bool = False  # whether it is exceeded at the level of the whole study, as a direction needs


@dataclass(frozen=True)
class DosePoint:
    """The effect against the base at one dose, and the damage there; intervals that hold for all doses of a curve together."""

    dose: float
    effect: Contrast
    damage: Contrast | None


@dataclass(frozen=True)
class HalfDose:
    """The dose at which half of the effect at the reference dose is reached, with its interval over training runs."""

    dose: float
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class DoseCurve:
    """A reading over rising doses of the same trainings, or the levels of a factor; ``overshoot``: doses beyond the training set."""

    over: str  # strength, step, or the factor of an arm with `factors`
    reference: float
    points: tuple[DosePoint, ...]
    half: HalfDose | None
    half_says: str
    overshoot: tuple[float, ...]
    damage_measure: str
    damage_prompts: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """One claim with its finding, its verdict, the reason in a sentence, and every number that they rest on."""

    experiment: str
    index: int
    say: str
    measure: str
    cell: str
    versus: str
    expect: str
    article: str
    finding: Finding | None
    verdict: Ruling
    reason: str
    contrast: Contrast | None
    margin: float | None
    margin_source: str
    cell_mean: float | None
    versus_mean: float | None
    training_mean: float | None
    gap: float | None
    transfer: float | None
    measurable_cell: float
    measurable_versus: float
    n_excluded_runs: int
    controls: tuple[ControlCheck, ...]
    more_runs: int | None  # trainings in all, at a planned look, after which an answer is likely
    chance: float | None = None  # of an answer by the last look, as things stand; None where there is one, or it is not known
    more_minutes: float | None = None
    found: str = ""  # the finding in words and numbers
    exploratory: bool = False
    curve: DoseCurve | None = None
    kind: Literal["claim", "curve"] = "claim"
    versus_base: str | None = None  # what the base that the claim compares with is called; None where it compares with another arm

    @property
    def question(self) -> QuestionId:
        """Which of the study's questions this answers."""
        return QuestionId(self.experiment, self.kind, self.index)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values (numbers, strings, lists, objects, null); ``verdict_from_json`` reads them back."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    """Return ``value`` with lists in place of tuples, as JSON knows no tuples."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _contrast_from_json(value: Mapping[str, Any] | None) -> Contrast | None:
    if value is None:
        return None
    return Contrast(**{**value, "run_effects": tuple(value["run_effects"])})


def _control_from_json(value: Mapping[str, Any]) -> ControlCheck:
    return ControlCheck(**{**value, "contrast": _contrast_from_json(value["contrast"])})


def _point_from_json(value: Mapping[str, Any]) -> DosePoint:
    effect, damage = _contrast_from_json(value["effect"]), _contrast_from_json(value["damage"])
    if effect is None:
        raise KeyError("effect")
    return DosePoint(value["dose"], effect, damage)


def _curve_from_json(value: Mapping[str, Any] | None) -> DoseCurve | None:
    if value is None:
        return None
    points = tuple(_point_from_json(point) for point in value["points"])
    half = None if value["half"] is None else HalfDose(**value["half"])
    lists = {name: tuple(value[name]) for name in ("overshoot", "damage_prompts")}
    return DoseCurve(**{**value, **lists, "points": points, "half": half})


def verdict_from_json(value: Mapping[str, Any]) -> Verdict:
    """Return the verdict that ``Verdict.to_json`` wrote; raises TypeError or KeyError where a field is missing or unknown."""
    controls = tuple(_control_from_json(control) for control in value["controls"])
    curve = _curve_from_json(value.get("curve"))
    return Verdict(**{**value, "contrast": _contrast_from_json(value["contrast"]), "controls": controls, "curve": curve})
