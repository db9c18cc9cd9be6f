"""The page and the shareable picture of a check: a CheckInput in, one HTML file and one PNG out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from textwrap import wrap

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from loralab.report.check_input import Chart, CheckInput, Curve, Point
from loralab.report.input import Picture
from loralab.report.page import content_policy
from loralab.report.sprites import make_sprite

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 250, 46, 34, 14, 16


@dataclass(frozen=True)
class Mark:
    """One point of a chart in SVG units."""

    x: float
    y: float
    low: float
    high: float
    label: str
    says: str


@dataclass(frozen=True)
class Drawn:
    """A chart, ready to be drawn: marks a curve, ticks on both axes."""

    chart: Chart
    lines: tuple[tuple[Curve, tuple[Mark, ...]], ...]
    across: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float | None


def render_check(input: CheckInput) -> str:
    """Return the page as text: one file, no script, nothing loaded."""
    css = (files("loralab.report") / "report.css").read_text(encoding="utf-8") + (files("loralab.report") / "check.css").read_text(
        encoding="utf-8"
    )
    environment = Environment(
        loader=PackageLoader("loralab.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"draw": draw_chart, "draw_scatter": draw_scatter, "sprite": make_sprite, "number": number, "spread": spread}
    return environment.get_template("check.html.j2").render(check=input, css=Markup(css), policy=content_policy(css), size=(WIDTH, HEIGHT))


def number(value: float) -> str:
    """Return a share with two decimals and a real minus sign."""
    return f"{value:.2f}".replace("-", "\u2212") if round(value, 2) else "0.00"


def spread(point: Point | None) -> str:
    """Return a value with its interval; words where there is none."""
    return "can\u2019t be told" if point is None else f"{number(point.value)} ({number(point.low)} to {number(point.high)})"


# --- charts -------------------------------------------------------------------------------------------------------------


def _scale(values: Sequence[float], start: float, stop: float) -> tuple[float, float, float]:
    """Return (low, high, units a value) of an axis that holds ``values`` and 0 with a little air."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.06 * ((high - low) or 1.0)
    low, high = low - (air if low < 0 else 0), high + air
    return low, high, (stop - start) / (high - low)


def _ticks(low: float, high: float) -> list[float]:
    step = 10.0 ** np.floor(np.log10(high - low))
    step *= next(factor for factor in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * factor) <= 6)
    return [float(k * step) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def draw_chart(chart: Chart) -> Drawn:
    """Return a chart whose points stand side by side, evenly spaced."""
    points = [point for curve in chart.curves for point in curve.points]
    low, high, unit = _scale([edge for point in points for edge in (point.low, point.high)], TOP, HEIGHT - BOTTOM)
    labels = list(dict.fromkeys(point.label for point in points))
    room = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    place = {label: LEFT + room * (k + 0.5) for k, label in enumerate(labels)}

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) * unit, 1)

    shift = {curve.name: 7.0 * (k - (len(chart.curves) - 1) / 2) for k, curve in enumerate(chart.curves)}
    lines = tuple(
        (
            curve,
            tuple(
                Mark(round(place[p.label] + shift[curve.name], 1), y(p.value), y(p.low), y(p.high), p.label, spread(p))
                for p in curve.points
            ),
        )
        for curve in chart.curves
    )
    shown = labels if len(labels) <= 10 else [label if k % -(-len(labels) // 10) == 0 else "" for k, label in enumerate(labels)]
    across = tuple((round(place[label], 1), text) for label, text in zip(labels, shown, strict=True))
    return Drawn(chart, lines, across, tuple((y(tick), f"{tick:g}") for tick in _ticks(low, high)), y(0) if low < 0 else None)


def draw_scatter(chart: Chart) -> Drawn:
    """Return a chart of the first curve's values (up) against the second's (across), one mark a label."""
    up, along = chart.curves[0], {point.label: point for point in chart.curves[1].points}
    low, high, unit = _scale([point.value for point in up.points], TOP, HEIGHT - BOTTOM)
    start, stop, step = _scale([point.value for point in along.values()], LEFT, WIDTH - RIGHT)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) * unit, 1)

    def x(value: float) -> float:
        return round(LEFT + (value - start) * step, 1)

    marks = tuple(
        Mark(
            x(along[p.label].value),
            y(p.value),
            y(p.low),
            y(p.high),
            p.label,
            f"{p.label}: {number(p.value)} against {number(along[p.label].value)}",
        )
        for p in up.points
    )
    across = tuple((x(tick), f"{tick:g}") for tick in _ticks(start, stop))
    return Drawn(chart, ((up, marks),), across, tuple((y(tick), f"{tick:g}") for tick in _ticks(low, high)), None)


# --- the shareable picture ----------------------------------------------------------------------------------------------


def make_card(sentence: str, rows: Sequence[tuple[str, Sequence[Picture]]], footer: str) -> bytes:
    """Return a PNG: the sentence, then rows of pictures at the same seeds under their labels, then the footer."""
    tiles = [(label, [Image.open(io.BytesIO(picture.png)).convert("RGB") for picture in pictures]) for label, pictures in rows]
    side = 160
    columns = max(len(pictures) for _, pictures in tiles)
    width = 40 + columns * (side + 8)
    title, small = ImageFont.load_default(24), ImageFont.load_default(15)
    lines = wrap(sentence, max(20, (width - 40) // 13))
    height = 28 + 32 * len(lines) + len(tiles) * (side + 34) + 44
    card = Image.new("RGB", (width, height), "#ffffff")
    pen = ImageDraw.Draw(card)
    for k, line in enumerate(lines):
        pen.text((20, 20 + 32 * k), line, fill="#1d2326", font=title)
    top = 28 + 32 * len(lines)
    for label, pictures in tiles:
        pen.text((20, top + 4), label, fill="#596469", font=small)
        for k, picture in enumerate(pictures):
            how = Image.Resampling.NEAREST if picture.width < side else Image.Resampling.LANCZOS
            card.paste(picture.resize((side, side), how), (20 + k * (side + 8), top + 26))
        top += side + 34
    pen.text((20, top + 12), footer, fill="#596469", font=small)
    out = io.BytesIO()
    card.save(out, "PNG", optimize=True)
    return out.getvalue()
