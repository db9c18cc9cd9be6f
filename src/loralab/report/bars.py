"""Geometry of an effect bar: the interval, the margin zone, run dots and the training set's mark, as percentages of the width.

In: a verdict. Out: positions along a horizontal axis; the template draws them as SVG whose x values are percentages, so that a bar
fits a phone and a desk without a script. The zone that the bar shows is decided by the verdict's own rule, ``infer.finding_of``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from loralab.errors import lab_error
from loralab.infer import findings
from loralab.infer.verdict import Contrast, ControlCheck, Verdict
from loralab.report import words
from loralab.report.words import change, tick

#: free space at both ends of the axis, in % of the width
EDGE = 4.0
#: the training set is drawn on the axis unless that would squeeze everything else into less than this share of it
LEAST_SHARE = 1 / 8
DOT_PX, DOTS_HIGH = 8, 3


@dataclass(frozen=True)
class Scale:
    """A linear axis from ``low`` to ``high``; positions are % of the width."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return where a value lies, in % of the width."""
        return EDGE + (100 - 2 * EDGE) * (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Tick:
    """One labelled value on the axis."""

    x: float
    label: str


@dataclass(frozen=True)
class Dot:
    """One training; ``lift`` counts how many dots it stands above the first one at the same place, ``training`` is its number or 0."""

    x: float
    lift: int
    label: str
    training: int = 0


@dataclass(frozen=True)
class Whisker:
    """One interval with its estimate."""

    low: float
    high: float
    effect: float


@dataclass(frozen=True)
class ControlBar:
    """The interval of a control: what is left of the change after what the control does."""

    label: str
    status: str
    required: bool
    whisker: Whisker | None


@dataclass(frozen=True)
class Bar:
    """Everything that one effect bar draws."""

    zero: float
    zone: tuple[float, float] | None
    whisker: Whisker
    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    training: float | None
    training_label: str
    controls: tuple[ControlBar, ...]
    says: str


def make_bar(verdict: Verdict, trainings: Sequence[int] = ()) -> Bar | None:
    """Return the bar of a verdict, or None where there is no interval; raises LabError where verdict and interval disagree.

    ``trainings`` are the numbers of those behind the dots. An interval of shares is drawn as far as shares can differ.
    """
    check_agreement(verdict)
    if verdict.contrast is None:
        return None
    verdict = possible(verdict)
    contrast = verdict.contrast
    assert contrast is not None
    training = training_effect(verdict)
    scale, shown = _scale(verdict, contrast, training)
    margin, unit = verdict.margin, words.unit_of(verdict.measure)
    return Bar(
        zero=scale.at(0),
        zone=None if margin is None else (scale.at(-margin), scale.at(margin)),
        whisker=_whisker(scale, contrast),
        dots=_dots(scale, contrast.run_effects, trainings, unit),
        ticks=tuple(Tick(scale.at(value), tick(value, unit)) for value in nice_ticks(scale.low, scale.high)),
        training=scale.at(training) if training is not None and shown else None,
        training_label=_training_label(training, shown, unit),
        controls=tuple(_control(scale, check) for check in verdict.controls),
        says=f"change {change(contrast.effect, unit)}, between {tick(contrast.low, unit)} and {tick(contrast.high, unit)}"
        + ("" if margin is None else f"; changes up to {words.amount(margin, unit)} do not count"),
    )


def check_agreement(verdict: Verdict) -> None:
    """Raise LabError("measurement") where the finding is not what the interval shows, or the verdict not what the finding says.

    A finding may be more careful than the interval (where a control was not passed, or a curve turns round), never bolder.
    """
    finding = verdict.finding
    if finding is None or finding == "nothing differs":
        allowed = ("not_measurable", "open") if finding is None else (findings.ruling_of(finding, verdict.expect),)
    else:
        if finding not in _shown(verdict):
            _disagree(verdict, f"finding {finding!r}, where the interval shows {zone_of(verdict)!r}")
        allowed = (findings.ruling_of(finding, verdict.expect),)
    if verdict.verdict not in allowed:
        _disagree(verdict, f"verdict {verdict.verdict!r} on finding {finding!r}, where {verdict.expect!r} was expected")


def _shown(verdict: Verdict) -> set[str]:
    """Return the findings that the drawn interval allows: its own, and where a control may hold it back, the more careful ones."""
    contrast, margin, expect = verdict.contrast, verdict.margin, verdict.expect
    if contrast is None or margin is None:
        return set()
    held = any(check.required and check.status != "passed" for check in verdict.controls)
    unsure = any(check.required and not check.surely for check in verdict.controls)
    careful = {True, not held}
    found = {
        findings.finding_of(contrast, margin, expect, controls=controls, controls_surely=surely)
        for controls in careful
        for surely in {True, not unsure}
    }
    return {*found, "open"} if verdict.curve is not None else {*found}


def _disagree(verdict: Verdict, what: str) -> None:
    where = f"{verdict.experiment}, {verdict.kind} {verdict.index + 1}"
    raise lab_error("measurement", what, "verdict and figure from the same interval", "judge the study again", where)


def zone_of(verdict: Verdict) -> str | None:
    """Return what the drawn interval and margin show by themselves; None without either."""
    if verdict.contrast is None or verdict.margin is None:
        return None
    return findings.zone_of(verdict.contrast, verdict.margin)


def training_effect(verdict: Verdict) -> float | None:
    """Return where the training set lies on the bar's axis: its mean reading minus that of what the claim compares with."""
    if verdict.training_mean is None or verdict.versus_mean is None:
        return None
    return verdict.training_mean - verdict.versus_mean


def _training_label(training: float | None, shown: bool, unit: str) -> str:
    if training is None:
        return ""
    return "training set" if shown else f"training set at {change(training, unit)}, outside this picture"


def _scale(verdict: Verdict, contrast: Contrast, training: float | None) -> tuple[Scale, bool]:
    """Return the axis, and whether the training set is on it."""
    values = [0.0, contrast.low, contrast.high, contrast.effect, *contrast.run_effects]
    values += [] if verdict.margin is None else [-1.1 * verdict.margin, 1.1 * verdict.margin]
    values += [end for check in verdict.controls if check.contrast for end in (check.contrast.low, check.contrast.high)]
    low, high = min(values), max(values)
    if training is None:
        return _padded(low, high), False
    wide = _padded(min(low, training), max(high, training))
    shown = (high - low) >= LEAST_SHARE * (wide.high - wide.low)
    return (wide, True) if shown else (_padded(low, high), False)


def _padded(low: float, high: float) -> Scale:
    return Scale(low, high) if high > low else Scale(low - 1, high + 1)


def _whisker(scale: Scale, contrast: Contrast) -> Whisker:
    return Whisker(scale.at(contrast.low), scale.at(contrast.high), scale.at(contrast.effect))


def _control(scale: Scale, check: ControlCheck) -> ControlBar:
    return ControlBar(check.says, check.status, check.required, None if check.contrast is None else _whisker(scale, check.contrast))


def possible(verdict: Verdict) -> Verdict:
    """Return the verdict with its intervals of shares cut at what is possible: two shares differ by at most 1, two differences by 2."""
    if words.unit_of(verdict.measure) != "share" or verdict.contrast is None:
        return verdict
    most = 1.0 if max(map(abs, [verdict.contrast.effect, *verdict.contrast.run_effects])) <= 1 else 2.0
    controls = tuple(check if check.contrast is None else replace(check, contrast=_cut(check.contrast, most)) for check in verdict.controls)
    curve = verdict.curve and replace(
        verdict.curve, points=tuple(replace(point, effect=_cut(point.effect, most)) for point in verdict.curve.points)
    )
    return replace(verdict, contrast=_cut(verdict.contrast, most), controls=controls, curve=curve)


def _cut(contrast: Contrast, most: float) -> Contrast:
    return replace(contrast, low=max(contrast.low, -most), high=min(contrast.high, most))


def _dots(scale: Scale, effects: Sequence[float], trainings: Sequence[int], unit: str) -> tuple[Dot, ...]:
    """Return one dot a training, in their order; dots that would cover one another are lifted."""
    known = len(trainings) == len(effects)
    numbers = trainings if known else range(1, len(effects) + 1)
    last = [-math.inf] * DOTS_HIGH
    lifts: dict[int, int] = {}
    for index in sorted(range(len(effects)), key=lambda i: effects[i]):
        x = scale.at(effects[index])
        lift = next((level for level in range(DOTS_HIGH) if x - last[level] >= 1.6), DOTS_HIGH - 1)
        lifts[index], last[lift] = lift, x
    return tuple(
        Dot(scale.at(effect), lifts[i], f"training {number}: {change(effect, unit)}", number if known else 0)
        for i, (effect, number) in enumerate(zip(effects, numbers, strict=True))
    )


def nice_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Return round values (steps of 1, 2, 5 times a power of ten) from ``low`` to ``high``, at most ``most``, zero among them."""
    span = high - low
    steps: Iterable[float] = (base * 10.0**power for power in range(math.floor(math.log10(span)) - 1, 400) for base in (1, 2, 5))
    step = next(step for step in steps if span / step <= most - 1)
    return tuple(round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))
