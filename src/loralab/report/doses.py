"""Geometry of the figures of a curve: effect over dose, and effect against damage; positions in the units of one SVG view box.

In: a verdict with a curve. Out: frozen marks, lines and ticks; the template draws them. The numbers are the verdict's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loralab.infer.verdict import Contrast, DoseCurve, Verdict
from loralab.report.bars import nice_ticks, possible
from loralab.report.words import change, tick, unit_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640.0, 260.0, 52.0, 18.0, 18.0, 40.0


@dataclass(frozen=True)
class DoseMark:
    """One dose: its place, its interval up and down (and across, in the plot against damage), and what it says."""

    x: float
    y: float
    low: float
    high: float
    left: float
    right: float
    label: str
    says: str


@dataclass(frozen=True)
class DoseFigure:
    """One figure: marks in the order of the doses, a line for each training, ticks on both axes, reference lines."""

    size: tuple[float, float]
    frame: tuple[float, float, float, float]  # left, right, top, bottom
    marks: tuple[DoseMark, ...]
    line: str
    runs: tuple[str, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    zero: float
    training: float | None
    half: tuple[float, float, float] | None  # low, dose, high
    says: str


@dataclass(frozen=True)
class _Axis:
    low: float
    unit: float
    start: float

    def at(self, value: float) -> float:
        return round(self.start + (value - self.low) * self.unit, 1)


def _axis(values: Sequence[float], start: float, stop: float) -> tuple[_Axis, float, float]:
    """Return an axis that holds ``values`` and 0 with a little air, and its two ends."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.05 * ((high - low) or 1.0)
    low, high = low - (air if low < 0 else 0.0), high + air
    return _Axis(low, (stop - start) / (high - low), start), low, high


def dose_figure(verdict: Verdict) -> DoseFigure | None:
    """Return effect over dose: every training as a thin line from 0, the mean with its interval, half-effect dose and training set."""
    curve, unit = possible(verdict).curve, unit_of(verdict.measure)
    if curve is None:
        return None
    effects = [point.effect for point in curve.points]
    shown = [value for effect in effects for value in (effect.low, effect.high, *effect.run_effects)]
    reach = max(abs(value) for value in shown)
    training = verdict.gap if verdict.gap is not None and abs(verdict.gap) <= 3 * reach else None
    up, low, high = _axis([*shown, *([] if training is None else [training])], HEIGHT - BOTTOM, TOP)
    dose_from_none = curve.over in ("strength", "step")  # a learning rate or a rank of 0 is no training
    along, first, last = _axis([point.dose for point in curve.points], LEFT, WIDTH - RIGHT)
    start = [(along.at(0), up.at(0))] if dose_from_none else []
    marks = tuple(
        DoseMark(
            along.at(point.dose), up.at(point.effect.effect), up.at(point.effect.low), up.at(point.effect.high), along.at(point.dose),
            along.at(point.dose), f"{point.dose:g}", f"{curve.over} {point.dose:g}: {_told(point.effect, unit)}",
        )
        for point in curve.points
    )  # fmt: skip
    runs = tuple(
        _polyline([*start, *((along.at(point.dose), up.at(point.effect.run_effects[r])) for point in curve.points)])
        for r in range(effects[0].n_runs)
    )
    half = None if curve.half is None else (along.at(curve.half.low), along.at(curve.half.dose), along.at(curve.half.high))
    return DoseFigure(
        size=(WIDTH, HEIGHT), frame=(LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM), marks=marks,
        line=_polyline([*start, *((mark.x, mark.y) for mark in marks)]), runs=runs,
        across=tuple((along.at(value), f"{value:g}") for value in nice_ticks(first, last)),
        up=tuple((up.at(value), tick(value, unit)) for value in nice_ticks(low, high)), zero=up.at(0),
        training=None if training is None else up.at(training), half=half,
        says="; ".join([*(mark.says for mark in marks), *([curve.half_says] if curve.half_says else [])]),
    )  # fmt: skip


def damage_figure(verdict: Verdict) -> DoseFigure | None:
    """Return effect (up) against damage at unrelated prompts (across), one mark a dose, joined in the order of the doses."""
    curve, unit = possible(verdict).curve, unit_of(verdict.measure)
    if curve is None:
        return None
    damaged = unit_of(curve.damage_measure)
    pairs = [(point, point.damage) for point in curve.points if point.damage is not None]
    if len(pairs) < 2:
        return None
    up, low, high = _axis([value for point, _ in pairs for value in (point.effect.low, point.effect.high)], HEIGHT - BOTTOM, TOP)
    along, first, last = _axis([value for _, damage in pairs for value in (damage.low, damage.high)], LEFT, WIDTH - RIGHT)
    marks = tuple(
        DoseMark(
            along.at(damage.effect), up.at(point.effect.effect), up.at(point.effect.low), up.at(point.effect.high), along.at(damage.low),
            along.at(damage.high), f"{curve.over} {point.dose:g}",
            f"{curve.over} {point.dose:g}: effect {_told(point.effect, unit)}, damage {_told(damage, damaged)}",
        )
        for point, damage in pairs
    )  # fmt: skip
    return DoseFigure(
        size=(WIDTH, HEIGHT), frame=(LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM), marks=marks,
        line=_polyline([(along.at(0), up.at(0)), *((mark.x, mark.y) for mark in marks)]), runs=(),
        across=tuple((along.at(value), tick(value, damaged)) for value in nice_ticks(first, last)),
        up=tuple((up.at(value), tick(value, unit)) for value in nice_ticks(low, high)), zero=up.at(0), training=None, half=None,
        says="; ".join(mark.says for mark in marks),
    )  # fmt: skip


def dose_caption(curve: DoseCurve) -> str:
    """Return what the figure shows, in a sentence or two."""
    if curve.over not in ("strength", "step"):
        return f"Thin lines: trainings with the same number at every {curve.over}. Bars: where the average lies, for all levels together."
    half = curve.half_says[:1].upper() + curve.half_says[1:]
    return f"Thin lines: the same training at every {curve.over}. Bars: where the average lies, for all doses together. {half}."


def damage_caption(curve: DoseCurve) -> str:
    """Return what the plot against damage shows."""
    prompts = ", ".join(f"“{prompt}”" for prompt in curve.damage_prompts)
    return f"Upwards: the effect at the trained prompt. To the right: the damage, {curve.damage_measure} at {prompts}."


def _told(contrast: Contrast, unit: str) -> str:
    low, high = (tick(value, unit).removeprefix("+") for value in (contrast.low, contrast.high))
    return f"{change(contrast.effect, unit)} ({low} to {high})"


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
