"""The page of calibration cards: CardSheets in, one HTML file out; style and policy are the report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import sqrt

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.report import words
from loralab.report.input import Picture
from loralab.report.shell import content_policy
from loralab.report.sprites import make_sprite

#: a level of a factor is a limit of a share where more readings than this are wrong, of another instrument where the error is this many
#: times that of all levels
MOST_WRONG, MOST_TIMES = 0.25, 2.0
#: two single readings differ for sure (95 %) where they lie further apart than this many errors (ISO 5725-6, repeatability limit)
REPEATABILITY = 1.96 * sqrt(2)


@dataclass(frozen=True)
class CardSheet:
    """A card with what its page shows beside it; figures in ``unit``, ``share`` tells whether a reading is right or wrong."""

    name: str
    unit: str
    says: str
    share: bool
    smallest_object_px: int
    carried: bool
    note: str
    n_images: int
    bias: float
    error: float
    not_measurable: float
    sensitivity: float
    by_factor: Mapping[str, Mapping[str, float]]
    confusion: Mapping[str, Mapping[str, int]]
    moved_by: Mapping[str, float]
    sha256: str
    passes: tuple[Picture, ...]
    failures: tuple[Picture, ...]

    @property
    def limits(self) -> tuple[str, ...]:
        """Return the levels at which it is clearly worse than elsewhere, as "size 0.45"."""
        return tuple(f"{factor} {level}" for factor, levels in self.by_factor.items() for level in weak_levels(levels, self.share))

    @property
    def told_apart(self) -> float | None:
        """The smallest difference between two single pictures that is no error, in ``unit``; None for a share."""
        return None if self.share else REPEATABILITY * self.error

    def moved(self, factor: str) -> bool:
        """Return whether the card counts ``factor`` among what moves the instrument though it should not."""
        return f"{factor} (by " in self.note


def weak_levels(levels: Mapping[str, float], share: bool) -> list[str]:
    """Return the levels whose error is beyond the limit for its kind."""
    typical = sum(levels.values()) / len(levels)
    most = MOST_WRONG if share else MOST_TIMES * typical
    return [level for level, error in levels.items() if error > max(most, 1e-9)]


def render_cards(sheets: Sequence[CardSheet], base: str, base_sha256: str, size_px: int) -> str:
    """Return the page as text: one file, no script, nothing loaded."""
    css = "".join(files("loralab.report").joinpath(name).read_text(encoding="utf-8") for name in ("report.css", "cards.css"))
    environment = Environment(
        loader=PackageLoader("loralab.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": words.number, "signed": words.signed}
    environment.globals |= {"sprite": make_sprite, "classes": classes_of}
    factors = list(dict.fromkeys(factor for sheet in sheets for factor in sheet.moved_by))
    return environment.get_template("cards.html.j2").render(
        sheets=sheets, base=base, base_sha256=base_sha256, size_px=size_px, factors=factors, css=Markup(css), policy=content_policy(css),
    )  # fmt: skip


def classes_of(confusion: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return every class that was read, the true ones first."""
    return list(dict.fromkeys([*confusion, *(read for row in confusion.values() for read in row)]))
