"""A question's figure as an SVG of its own, for notebooks and for pictures that are shared: a verdict in, text out.

It shows what the report's figure shows; the report draws it with its own style sheet.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from loralab.infer.verdict import Verdict
from loralab.report.bars import Bar, make_bar
from loralab.report.doses import DoseFigure, dose_figure

WIDTH, HEIGHT, MIDDLE = 640, 118, 46
INK, QUIET, ZONE, MARK = "#1d2326", "#566166", "#e6e8e3", "#6a3fa0"
COLOURS = {"supported": "#17683f", "leaning": "#17683f", "contradicted": "#a5321c", "open": "#765200", "not_measurable": "#515c61"}


def figure_svg(verdict: Verdict) -> str:
    """Return the figure of a verdict as SVG text; where nothing could be estimated, a figure that says so."""
    curve = dose_figure(verdict) if verdict.curve is not None else None
    if curve is not None:
        return _svg(round(curve.size[0]), round(curve.size[1]), curve.says, _curve(curve))
    bar = make_bar(verdict)
    if bar is None:
        return _svg(WIDTH, 40, verdict.reason, (_text(8, 24, verdict.reason, INK),))
    return _svg(WIDTH, HEIGHT, f"{verdict.say}: {bar.says}", _bar(bar, COLOURS.get(verdict.verdict, INK)))


def _bar(bar: Bar, colour: str) -> Iterator[str]:
    if bar.zone is not None:
        yield f'<rect x="{_x(bar.zone[0])}" y="14" width="{_x(bar.zone[1]) - _x(bar.zone[0]):.1f}" height="64" fill="{ZONE}"/>'
    yield f'<line x1="{_x(bar.zero)}" x2="{_x(bar.zero)}" y1="8" y2="84" stroke="{INK}" stroke-width="1.5"/>'
    for dot in bar.dots:
        yield f'<circle cx="{_x(dot.x)}" cy="{MIDDLE - 14 - 8 * dot.lift}" r="3.5" fill="{INK}" opacity=".6"/>'
    whisker = bar.whisker
    wide = max(2.0, _x(whisker.high) - _x(whisker.low))
    yield f'<rect x="{_x(whisker.low)}" y="{MIDDLE - 4}" width="{wide:.1f}" height="8" rx="4" fill="{colour}" opacity=".62"/>'
    yield f'<circle cx="{_x(whisker.effect)}" cy="{MIDDLE}" r="6" fill="{colour}" stroke="#fff" stroke-width="1.5"/>'
    if bar.training is not None:
        yield f'<line x1="{_x(bar.training)}" x2="{_x(bar.training)}" y1="14" y2="78" stroke="{MARK}" stroke-dasharray="3 3"/>'
        yield _text(_x(bar.training), 112, "training set", MARK, "middle")
    for tick in bar.ticks:
        yield _text(_x(tick.x), 98, tick.label, QUIET, "middle")


def _curve(curve: DoseFigure) -> Iterator[str]:
    left, right, _, bottom = curve.frame
    yield f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{curve.zero:.1f}" y2="{curve.zero:.1f}" stroke="{INK}"/>'
    if curve.training is not None:
        place = f'y1="{curve.training:.1f}" y2="{curve.training:.1f}"'
        yield f'<line x1="{left:.1f}" x2="{right:.1f}" {place} stroke="{MARK}" stroke-dasharray="3 3"/>'
    for points in curve.runs:
        yield f'<polyline points="{points}" fill="none" stroke="{QUIET}" opacity=".45"/>'
    yield f'<polyline points="{curve.line}" fill="none" stroke="{INK}" stroke-width="2"/>'
    for mark in curve.marks:
        span = f'x1="{mark.x:.1f}" x2="{mark.x:.1f}" y1="{mark.low:.1f}" y2="{mark.high:.1f}"'
        yield f'<line {span} stroke="{INK}" stroke-width="3" opacity=".5"/>'
        yield f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="4.5" fill="{INK}"/>'
    for x, label in curve.across:
        yield _text(x, bottom + 16, label, QUIET, "middle")
    for y, label in curve.up:
        yield _text(left - 6, y + 4, label, QUIET, "end")


def _svg(width: int, height: int, says: str, parts: Iterator[str] | tuple[str, ...]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return f'{head} aria-label="{escape(says)}" font-family="sans-serif" font-size="12">{"".join(parts)}</svg>'


def _x(share: float) -> float:
    return round(share / 100 * WIDTH, 1)


def _text(x: float, y: float, words: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
