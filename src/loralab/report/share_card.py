"""A card a question, to be shared: 1200 x 630 px, the answer in words, base above LoRA at the same seeds, the training set.

In: a `ReportInput`. Out: PNG files. No text is smaller than SMALLEST_PX, which a phone shows at a third of that. An answer that does not
fit is told shorter, in whole sentences; a question or a name that does not fit ends in three dots and stands whole on the page.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from loralab.png import png_bytes
from loralab.portable import replace_folder
from loralab.report.input import ExperimentSection, Picture, ReportInput, Strip
from loralab.report.lettering import Lettered, lettered, shortened, wrapped
from loralab.report.lookup import base_name
from loralab.report.questions import Question, questions_of
from loralab.report.sentences import answers_by_length
from loralab.report.strips import aligned

WIDTH, HEIGHT, EDGE, GAP = 1200, 630, 44, 6
QUESTION_PX, SMALLEST_PX, MOST_QUESTION = 32, 30, 2
#: letters of the answer, the largest first, and the lines that there is room for
ANSWERS, MOST_LINES = ((40, 4), (34, 5), (SMALLEST_PX, 5)), 5
LABELS_PX, LARGEST_TILE, MOST_COLUMNS, TRAINING_COLUMNS = 176, 144, 5, 2
PAPER, INK, QUIET = "#ffffff", "#1d2326", "#566166"
COLOURS = {"supported": "#17683f", "leaning": "#b58a12", "contradicted": "#a5321c", "open": "#b58a12", "not_measurable": "#7b868b"}


@dataclass(frozen=True)
class Line:
    """One line of text: where its left top corner is, how large, in what colour, and whether it is heavy."""

    at: tuple[int, int]
    text: Lettered
    colour: str
    heavy: bool = False


@dataclass(frozen=True)
class Tile:
    """One picture in its square."""

    at: tuple[int, int]
    side: int
    picture: Picture


def write_cards(input: ReportInput, folder: Path) -> list[Path]:
    """Return the cards, behind writing one a question that has an answer; older cards there are replaced."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    names = [question.section.name for question in questions_of(input.experiments) if _write(question, input, scratch)]
    replace_folder(scratch, folder)
    return [folder / f"{name}.png" for name in names]


def _write(question: Question, input: ReportInput, folder: Path) -> bool:
    if not input.verdicts_printed or not question.claims:
        return False
    (folder / f"{question.section.name}.png").write_bytes(make_share_card(question, input))
    return True


def make_share_card(question: Question, input: ReportInput) -> bytes:
    """Return one question's card as PNG."""
    card = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(card)
    pen.rectangle((0, 0, 13, HEIGHT), fill=COLOURS[question.lead.verdict.verdict] if question.lead else QUIET)
    lines, tiles = lay_out(question, input)
    for line in lines:
        pen.text(
            line.at, line.text.text, fill=line.colour, font=line.text.font, stroke_width=1 if line.heavy else 0, stroke_fill=line.colour
        )
    for tile in tiles:
        card.paste(_fitted(tile.picture, tile.side), tile.at)
    return png_bytes(card, small=True)


def lay_out(question: Question, input: ReportInput) -> tuple[list[Line], list[Tile]]:
    """Return every line of text and every picture of a card, with its place."""
    section, width = question.section, WIDTH - 2 * EDGE
    lines, top = _paragraph(section.question, QUESTION_PX, QUIET, MOST_QUESTION, 30)
    said, top = _answer(section, base_name(input), top + 8)
    foot = lettered(_foot(question, input), SMALLEST_PX)
    foot = Lettered(shortened(foot.text, foot.font, width), foot.font)
    bottom = HEIGHT - SMALLEST_PX - 26
    lines += [*said, Line((EDGE, bottom), foot, QUIET)]
    if not section.strips:
        return lines, []
    labels, tiles = _pictures(section.strips[0], _training_of(section), top + 10, bottom - 14)
    return [*lines, *labels], tiles


def _answer(section: ExperimentSection, base: str, top: int) -> tuple[list[Line], int]:
    """Return the lines of the longest answer that fits whole, in the largest letters in which it does, and where it ends."""
    for text in answers_by_length(section.verdicts, base):
        for size_px, most in ANSWERS:
            if len(wrapped(text, size_px, WIDTH - 2 * EDGE, most + 1)) <= most:
                return _paragraph(text, size_px, INK, most, top, heavy=True)
    return _paragraph(text, SMALLEST_PX, INK, MOST_LINES, top, heavy=True)


def _paragraph(text: str, size_px: int, colour: str, most: int, top: int, heavy: bool = False) -> tuple[list[Line], int]:
    """Return the lines of a paragraph and where it ends."""
    step = round(1.22 * size_px)
    lines = wrapped(text, size_px, WIDTH - 2 * EDGE, most)
    return [Line((EDGE, top + k * step), line, colour, heavy) for k, line in enumerate(lines)], top + step * len(lines)


def _foot(question: Question, input: ReportInput) -> str:
    lead = question.lead.verdict.contrast if question.lead else None
    trained = f", {lead.n_runs} trainings" if lead else ""
    return f"{input.study}: {base_name(input)}{trained}. Made with loralab"


def _training_of(section: ExperimentSection) -> Strip:
    """Return the strip that carries the training set: the first, or the next that has one."""
    return next((strip for strip in section.strips if strip.training), section.strips[0])


def _pictures(strip: Strip, trained: Strip, top: int, bottom: int) -> tuple[list[Line], list[Tile]]:
    """Return base above LoRA at the same seeds, their names at the left, and the training set at the right, in two rows."""
    step = min(LARGEST_TILE + GAP, (bottom - top - SMALLEST_PX - 10 + GAP) // 2)
    side, left, first = step - GAP, EDGE + LABELS_PX, top + SMALLEST_PX + 10
    right = WIDTH - EDGE - TRAINING_COLUMNS * step + GAP if trained.training else WIDTH - EDGE
    columns = min(MOST_COLUMNS, (right - 30 - left + GAP) // step, len(strip.seeds))
    lines, tiles = [_label("the same seeds, base above LoRA", left, top, right - 30 - left)], []
    for k, row in enumerate(strip.rows[:2]):
        y = first + k * step
        lines.append(_label(row.label, EDGE, y + side // 2 - SMALLEST_PX // 2, LABELS_PX - 14))
        there = aligned(row, strip.seeds)[:columns]
        tiles += [Tile((left + n * step, y), side, picture) for n, picture in enumerate(there) if picture is not None]
    return lines + _training_label(trained, right, top), [*tiles, *_training_tiles(trained, right, first, step)]


def _training_label(trained: Strip, left: int, top: int) -> list[Line]:
    if not trained.training:
        return []
    n, shown = max(trained.n_training, len(trained.training)), len(_shown(trained.training))
    return [_label("training set" if shown == n else f"training: {shown} of {n}", left, top, WIDTH - EDGE - left)]


def _training_tiles(trained: Strip, left: int, top: int, step: int) -> list[Tile]:
    places = [(left + k % TRAINING_COLUMNS * step, top + k // TRAINING_COLUMNS * step) for k in range(2 * TRAINING_COLUMNS)]
    return [Tile(at, step - GAP, picture) for at, picture in zip(places, _shown(trained.training), strict=False)]


def _shown(pictures: Sequence[Picture]) -> list[Picture]:
    """Return the pictures of a training set that a card has room for, at even distances."""
    most = 2 * TRAINING_COLUMNS
    return list(pictures) if len(pictures) <= most else [pictures[round(k * (len(pictures) - 1) / (most - 1))] for k in range(most)]


def _label(text: str, left: int, top: int, width: int) -> Line:
    found = lettered(text, SMALLEST_PX)
    return Line((left, top), Lettered(shortened(found.text, found.font, width), found.font), QUIET)


def _fitted(picture: Picture, side: int) -> Image.Image:
    with Image.open(io.BytesIO(picture.png)) as image:
        tile = image.convert("RGB")
    ratio = side / max(tile.size)
    fitted = tile.resize(
        (max(1, round(tile.width * ratio)), max(1, round(tile.height * ratio))),
        Image.Resampling.NEAREST if ratio > 1 else Image.Resampling.LANCZOS,
    )
    square = Image.new("RGB", (side, side), "#e6e8e3")
    square.paste(fitted, ((side - fitted.width) // 2, (side - fitted.height) // 2))
    return square
