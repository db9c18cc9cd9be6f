"""Writes the report: one HTML file with everything inside, no script, nothing loaded from anywhere.

In: a ``ReportInput``. Out: the file. Every text is escaped by the template engine; the content security policy allows pictures inside the
file and the one style sheet, by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.errors import lab_error
from loralab.infer.verdict import Ruling, Verdict
from loralab.portable import remove, replace
from loralab.report import words
from loralab.report.bars import make_bar
from loralab.report.doses import damage_caption, damage_figure, dose_caption, dose_figure
from loralab.report.explorer.records import claim_address
from loralab.report.input import CardSummary, ExperimentSection, Picture, ReportInput, Strip, StripRow
from loralab.report.sentences import answer, clause
from loralab.report.sprites import make_sprite

MOST_BYTES = 10_000_000
#: columns of pictures shown; where the page would grow too large, the first few of them
COLUMN_CHOICES = (8, 6, 4, 2, 1)
COLUMNS_SIDE_BY_SIDE = 4
#: training pictures up to so many have their captions below them
MOST_TRAINING = 6
MOST_CAPTIONS = 4
RULINGS: tuple[Ruling, ...] = ("supported", "leaning", "contradicted", "open", "not_measurable")


@dataclass(frozen=True)
class SpriteRow:
    """One arm's pictures as one image; ``address`` is empty where the arm has no picture at these seeds."""

    label: str
    address: str
    alt: str


@dataclass(frozen=True)
class SpriteBlock:
    """A few columns of a strip: the seeds, and every row at these seeds."""

    seeds: tuple[int, ...]
    rows: tuple[SpriteRow, ...]


@dataclass(frozen=True)
class TrainingTile:
    """One training picture with its caption."""

    address: str
    caption: str
    alt: str


@dataclass(frozen=True)
class TrainingView:
    """A training set: how many pictures it has and how many of them are shown; tiles with captions, or rows of four small ones."""

    label: str
    tiles: tuple[TrainingTile, ...]
    rows: tuple[TrainingTile, ...]


@dataclass(frozen=True)
class StripView:
    """A strip, ready to be drawn; one that stands on the page already has only the address of that place."""

    title: str
    prompt: str
    rule: str
    blocks: tuple[SpriteBlock, ...]
    training: TrainingView | None
    anchor: str
    same_as: str = ""
    same_title: str = ""


def write_report(input: ReportInput, path: Path) -> Path:
    """Return ``path``, behind writing the report there in one step.

    Raises LabError("measurement") where a verdict and its interval disagree, LabError("store") where the page would exceed 10 MB.
    """
    return write_page(render_report(input), path)


def write_page(text: str, path: Path) -> Path:
    """Return ``path``, behind writing ``text`` there in one step."""
    page = text.encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_bytes(page)
        replace(scratch, path)
    finally:
        remove(scratch)
    return path


def render_report(input: ReportInput) -> str:
    """Return the page as text, with as many columns of pictures as fit."""
    for columns in COLUMN_CHOICES:
        page = _render(input, columns)
        if len(page.encode("utf-8")) < MOST_BYTES:
            return page
    found = f"a report of {len(page.encode('utf-8')) / 1e6:.1f} MB with a single column of pictures"
    raise lab_error("store", found, f"less than {MOST_BYTES / 1e6:.0f} MB", "split the study into several with fewer experiments")


def _render(input: ReportInput, columns: int) -> str:
    css = _style_sheet()
    verdicts = [verdict for section in input.experiments for verdict in section.verdicts]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=input,
            css=Markup(css),
            policy=content_policy(css),
            base=base_name(input),
            counts=count_verdicts(verdicts),
            retrained=retrained(input),
            has_article=any(section.article for section in input.experiments) or any(verdict.article for verdict in verdicts),
            strips=view_strips(input.experiments, columns),
            card_names={card.name for card in input.cards},
            card_name=lambda measure: card_name(measure, input.cards),
            unit_of=lambda measure: unit_of(measure, input.cards),
            controls_used={check.name for verdict in verdicts for check in verdict.controls},
            has_curves=any(verdict.curve for verdict in verdicts),
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("loralab.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": words.number, "signed": words.signed, "duration": words.duration, "times": words.times, "safe_path": words.without_paths,
        "clause": clause,
    }  # fmt: skip
    environment.globals |= {
        "answer": answer,
        "claim_address": claim_address,
        "make_bar": make_bar,
        "dose_figure": dose_figure,
        "damage_figure": damage_figure,
        "dose_caption": dose_caption,
        "damage_caption": damage_caption,
        "directions_of": words.directions_of,
        "instrument_of": words.instrument_of,
        "would_tell": words.would_tell,
        "reason_sentence": words.reason_sentence,
        "versus_words": words.versus_words,
        "amount": words.amount,
        "chips": words.CHIPS,
        "chip_meanings": words.CHIP_MEANINGS,
        "count_words": words.COUNT_WORDS,
        "sparkline": sparkline,
        "view_training": view_training,
        "card_verdict": card_verdict,
        "rulings": RULINGS,
    }
    return environment


def _style_sheet() -> str:
    return files("loralab.report").joinpath("report.css").read_text(encoding="utf-8").replace("\r\n", "\n")


def content_policy(css: str) -> str:
    """Return the content security policy: pictures inside the file, this style sheet, nothing else."""
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def base_name(input: ReportInput) -> str:
    """Return the base's name; of a path only the last part."""
    return input.provenance.base.replace("\\", "/").rstrip("/").split("/")[-1] or "the base"


def count_verdicts(verdicts: Sequence[Verdict]) -> dict[Ruling, int]:
    """Return how many claims written before the run got each verdict."""
    found = Counter(verdict.verdict for verdict in verdicts if not verdict.exploratory)
    return {ruling: found[ruling] for ruling in RULINGS}


def retrained(input: ReportInput) -> tuple[str, str] | None:
    """Return how often the arms were trained with success, as a phrase in two parts; None where nothing was trained."""
    counts = [arm.runs - arm.failed_runs for arm in input.arms]
    if not any(counts):
        return None
    low, high = min(counts), max(counts)
    return ("every LoRA trained", words.times(high)) if low == high else ("LoRAs trained", f"{low} to {words.times(high)}")


# --- pictures -----------------------------------------------------------------------------------------------------------


def card_name(measure: str, cards: Sequence[CardSummary]) -> str:
    """Return the name of the card behind a measure: its own (`hue[magenta]`), or its instrument's; "" where there is none."""
    names = {card.name for card in cards}
    return next((name for name in (measure, words.instrument_of(measure)) if name in names), "")


def unit_of(measure: str, cards: Sequence[CardSummary]) -> str:
    """Return the unit of a measure's readings."""
    return next((card.unit for card in cards if card.name == card_name(measure, cards)), "")


def view_strips(sections: Sequence[ExperimentSection], columns: int) -> dict[str, list[StripView]]:
    """Return the strips by experiment; the same pictures are shown once, and a training set once in each experiment."""
    shown: dict[object, StripView] = {}
    found: dict[str, list[StripView]] = {}
    for number, section in enumerate(sections, start=1):
        sets: set[object] = set()
        found[section.name] = []
        for index, strip in enumerate(section.strips, start=1):
            key = (strip.prompt, strip.seeds, tuple((row.label, tuple(picture.png for picture in row.pictures)) for row in strip.rows))
            view = view_strip(strip, columns, f"strip-{number}-{index}")
            pictures = tuple(picture.png for picture in strip.training)
            if key in shown:
                first = shown[key]
                view = dataclasses.replace(view, blocks=(), training=None, same_as=first.anchor, same_title=first.title)
            elif pictures in sets:
                view = dataclasses.replace(view, training=None)
            shown.setdefault(key, view)
            sets.add(pictures)
            found[section.name].append(view)
    return found


def view_strip(strip: Strip, columns: int, anchor: str = "") -> StripView:
    """Return a strip with its first ``columns`` seeds; where that leaves some out, the rule says so."""
    shown = strip.seeds[:columns]
    rule = (
        strip.rule
        if len(shown) == len(strip.seeds)
        else f"{strip.rule}; of {len(strip.seeds)} the first {len(shown)}, to keep this file small"
    )
    training = view_training(strip.training, strip.n_training) if strip.training else None
    return StripView(strip.cell, strip.prompt, rule, tuple(_blocks(strip, shown)), training, anchor)


def _blocks(strip: Strip, shown: tuple[int, ...]) -> Iterator[SpriteBlock]:
    """Yield the columns four at a time, so that a phone shows them below one another and a desk side by side."""
    rows = [(row.label, aligned(row, strip.seeds)) for row in strip.rows]
    for start in range(0, len(shown), COLUMNS_SIDE_BY_SIDE):
        place = slice(start, min(start + COLUMNS_SIDE_BY_SIDE, len(shown)))
        yield SpriteBlock(shown[place], tuple(_sprite_row(label, pictures[place]) for label, pictures in rows))


def _sprite_row(label: str, pictures: Sequence[Picture | None]) -> SpriteRow:
    there = [picture for picture in pictures if picture is not None]
    alt = f"{label}: " + "; ".join(picture.alt for picture in there)
    return SpriteRow(label, make_sprite(pictures) if there else "", alt if there else "")


def aligned(row: StripRow, seeds: Sequence[int]) -> list[Picture | None]:
    """Return one picture a seed, None where the row lacks it: by caption ("seed 12") where all say their seed, else in order."""
    by_caption = {picture.caption: picture for picture in row.pictures}
    wanted = [f"seed {seed}" for seed in seeds]
    if set(by_caption) <= set(wanted):
        return [by_caption.get(caption) for caption in wanted]
    return [*row.pictures[: len(seeds)], *[None] * (len(seeds) - len(row.pictures))]


def view_training(pictures: Sequence[Picture], n: int = 0) -> TrainingView:
    """Return a training set of ``n`` pictures: a few with their captions, or more in rows of four under the captions that they share."""
    n = max(n, len(pictures))
    count = f"{n} picture{'' if n == 1 else 's'}"
    label = count if n == len(pictures) else f"{len(pictures)} of its {count}, at even distances"
    if len(pictures) <= MOST_TRAINING:
        return TrainingView(label, tuple(TrainingTile(make_sprite([picture]), picture.caption, picture.alt) for picture in pictures), ())
    captions = list(dict.fromkeys(picture.caption for picture in pictures))
    told = "; ".join(captions[:MOST_CAPTIONS]) + (f"; and {len(captions) - MOST_CAPTIONS} more" if len(captions) > MOST_CAPTIONS else "")
    starts = range(0, len(pictures), COLUMNS_SIDE_BY_SIDE)
    rows = [pictures[start : start + COLUMNS_SIDE_BY_SIDE] for start in starts]
    row_tiles = tuple(
        TrainingTile(make_sprite([*row, *[None] * (COLUMNS_SIDE_BY_SIDE - len(row))]), "", "; ".join(picture.alt for picture in row))
        for row in rows
    )
    return TrainingView(f"{label}, captions: {told}", (), row_tiles)


def sparkline(values: Sequence[float], width: int = 120, height: int = 28) -> str:
    """Return the points of a polyline that fills ``width`` x ``height``; empty for fewer than two values."""
    if len(values) < 2:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    across = width / (len(values) - 1)
    return " ".join(f"{i * across:.1f},{height - 2 - (height - 4) * (value - low) / span:.1f}" for i, value in enumerate(values))


def card_verdict(card: CardSummary) -> str:
    """Return whether this base carries the instrument, in a few words."""
    return "works at this base’s picture size" if card.carried else "does not work at this base’s picture size"
