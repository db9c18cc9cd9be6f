"""Geometry of the charts on a check's page: points in, marks and ticks in SVG units out; the template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loralab.infer.words import minus
from loralab.report.bars import nice_ticks
from loralab.report.check_input import Chart, Curve, Point, Trail

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 250, 46, 34, 14, 16
#: room for a label of the axis, and for a name inside the plot
LABEL_PX, NAME_PX, LINE_PX = 62.0, 96.0, 15.0
MOST_LABELS = 10
#: an interval is drawn so far beyond the highest and the lowest value at most: of a few seeds it may be endless, and would flatten all else
MOST_BEYOND = 0.6


@dataclass(frozen=True)
class Mark:
    """One point of a chart in SVG units; ``name`` is written beside it, at the side ``anchor`` says."""

    x: float
    y: float
    low: float
    high: float
    says: str
    name: str = ""
    anchor: str = "start"
    advised: bool = False


@dataclass(frozen=True)
class Drawn:
    """A chart, ready to be drawn: marks a line, ticks on both axes."""

    title: str
    says: str
    across_says: str
    lines: tuple[tuple[Curve, tuple[Mark, ...]], ...]
    across: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float | None
    joined: bool


def number(value: float) -> str:
    """Return a share with two decimals and a real minus sign."""
    return minus(f"{value:.2f}")


def spread(point: Point | None) -> str:
    """Return a value with its interval; words where there is none."""
    return "unclear" if point is None else f"{number(point.value)} ({number(point.low)} to {number(point.high)})"


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        return round(self.start + (value - self.low) * (self.stop - self.start) / (self.high - self.low), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        return tuple((self.at(tick), minus(f"{tick:g}")) for tick in nice_ticks(self.low, self.high))


def _axis(values: Sequence[float], start: float, stop: float) -> _Axis:
    """Return an axis that holds ``values`` and 0 with a little air."""
    low, high = min(0.0, *values), max(0.0, *values)
    air = 0.06 * ((high - low) or 1.0)
    return _Axis(low - (air if low < 0 else 0), high + air, start, stop)


def draw_chart(chart: Chart) -> Drawn:
    """Return a chart over a true axis from 0, or with its points side by side, evenly spaced."""
    points = [point for curve in chart.curves for point in curve.points]
    least, most = min(point.value for point in points) - MOST_BEYOND, max(point.value for point in points) + MOST_BEYOND
    up = _axis([min(max(edge, least), most) for point in points for edge in (point.low, point.high)], HEIGHT - BOTTOM, TOP)
    place, across = _numeric(points) if chart.numeric else _side_by_side(points)
    shift = {curve.name: (3.0 if chart.numeric else 7.0) * (k - (len(chart.curves) - 1) / 2) for k, curve in enumerate(chart.curves)}
    lines = tuple(
        (curve, tuple(_mark(up, place[point.label] + shift[curve.name], curve, point) for point in curve.points)) for curve in chart.curves
    )
    return Drawn(chart.title, chart.says, chart.across, lines, across, up.ticks(), up.at(0) if up.low < 0 else None, chart.joined)


def _mark(up: _Axis, x: float, curve: Curve, point: Point) -> Mark:
    low, high = (up.at(min(max(edge, up.low), up.high)) for edge in (point.low, point.high))
    return Mark(round(x, 1), up.at(point.value), low, high, f"{curve.name}, {point.label}: {spread(point)}")


def _side_by_side(points: Sequence[Point]) -> tuple[dict[str, float], tuple[tuple[float, str], ...]]:
    labels = list(dict.fromkeys(point.label for point in points))
    room = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    place = {label: LEFT + room * (k + 0.5) for k, label in enumerate(labels)}
    every = -(-len(labels) // MOST_LABELS)
    across = tuple((round(place[label], 1), _short(label, room * every) if k % every == 0 else "") for k, label in enumerate(labels))
    return place, across


def _short(label: str, room: float) -> str:
    """Return a label that fits into its room; the whole one stands in the table and in the marks' titles."""
    most = max(4, int(room / 7))
    return label if len(label) <= most else f"{label[: most - 1]}\u2026"


def _numeric(points: Sequence[Point]) -> tuple[dict[str, float], tuple[tuple[float, str], ...]]:
    """Return places on a true axis; what has no number (the last file of a training) stands behind the others, and is named."""
    known = {point.label: point.at for point in points if point.at is not None}
    others = list(dict.fromkeys(point.label for point in points if point.label not in known))
    stop = WIDTH - RIGHT - LABEL_PX * len(others)
    along = _axis(list(known.values()), LEFT, stop)
    place = {label: along.at(value) for label, value in known.items()}
    place |= {label: stop + LABEL_PX * (k + 0.5) for k, label in enumerate(others)}
    return place, (*along.ticks(), *((place[label], label) for label in others))


def draw_trails(trails: Sequence[Trail], title: str, says: str) -> Drawn:
    """Return effect (up) against damage (across): a line a file, from weak to strong; names stand where there is room for them."""
    points = [point for trail in trails for point in trail.points]
    up = _axis([point.effect.value for point in points], HEIGHT - BOTTOM, TOP)
    along = _axis([point.damage.value for point in points], LEFT, WIDTH - RIGHT)
    named: list[tuple[float, float]] = []
    lines = []
    for trail in trails:
        marks = []
        for point in trail.points:
            x, y = along.at(point.damage.value), up.at(point.effect.value)
            free = all(abs(x - other) > NAME_PX or abs(y - beside) > LINE_PX for other, beside in named)
            name = point.name if free or point.advised else ""
            named += [(x, y)] if name else []
            says_it = f"{point.name}: {number(point.effect.value)} against {number(point.damage.value)}"
            anchor = "start" if x < WIDTH - 150 else "end"
            marks.append(Mark(x, y, up.at(point.effect.low), up.at(point.effect.high), says_it, name, anchor, point.advised))
        lines.append((Curve(trail.label, "file", ()), tuple(marks)))
    zero = up.at(0) if up.low < 0 else None
    return Drawn(title, says, "damage", tuple(lines), along.ticks(), up.ticks(), zero, joined=False)
