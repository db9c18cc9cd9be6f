"""The report once more as Markdown with small contact sheets, to paste into a post or to keep in git: a ReportInput in, files out."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from loralab.infer.verdict import Verdict
from loralab.png import png_bytes
from loralab.portable import replace_folder
from loralab.report.bars import possible
from loralab.report.input import ExperimentSection, Picture, ReportInput, Strip
from loralab.report.lookup import base_name, unit_of
from loralab.report.questions import rank_of
from loralab.report.sentences import answer
from loralab.report.strips import aligned
from loralab.report.words import CHIPS, COUNT_WORDS, amount, between, change, count_words, duration, reason_sentence, would_tell

SHEET_SEEDS = 8
TILE_PX = 64
LABEL_PX = 16
GAP_PX = 2
#: how a table heads what was said before the run
HEARD = {"The article found": "the article", "It is said": "it is said"}


def write_summary(input: ReportInput, folder: Path) -> Path:
    """Return ``folder``/summary.md, behind writing it and one PNG an experiment; an older summary there is replaced whole."""
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for section in input.experiments:
        if section.strips:
            (scratch / f"{section.name}.png").write_bytes(make_sheet(section.strips))
    (scratch / "summary.md").write_bytes(render_summary(input).encode())
    replace_folder(scratch, folder)
    return folder / "summary.md"


def render_summary(input: ReportInput) -> str:
    """Return the summary as Markdown: per experiment the question, the answer, what the article saw, a table of claims, the sheet."""
    return "\n".join([*_head(input), *(line for section in input.experiments for line in _section(section, input)), *_foot(input), ""])


def _head(input: ReportInput) -> Iterator[str]:
    runs = sum(arm.runs for arm in input.arms)
    yield from (f"# {plain(input.study)}: {plain(input.about)}", "")
    yield f"Preset `{input.preset or 'none'}`, base {plain(base_name(input))}, {runs} LoRAs of {len(input.arms)} arms."
    verdicts = [verdict for section in input.experiments for verdict in section.verdicts if not verdict.exploratory]
    if verdicts:
        counts = {ruling: sum(verdict.verdict == ruling for verdict in verdicts) for ruling in COUNT_WORDS}
        yield "Of " + f"{len(verdicts)} claims " + ", ".join(f"{n} {count_words(ruling, n)}" for ruling, n in counts.items() if n) + "."


def _section(section: ExperimentSection, input: ReportInput) -> Iterator[str]:
    yield from ("", f"## {plain(section.name)}: {plain(section.question)}", "")
    if section.article:
        yield from (f"{section.heard}: {plain(section.article)}", "")
    if section.verdicts:
        yield from (plain(answer(section.verdicts, base_name(input))), "")
        yield f"| claim | {HEARD[section.heard]} | here | effect | interval over trainings | smallest that counts | why |"
        yield "|---|---|---|---|---|---|---|"
        yield from (_row(verdict, unit_of(verdict.measure, input.cards)) for verdict in sorted(section.verdicts, key=rank_of))
        yield ""
    if section.strips:
        yield f"![{plain(section.question)}]({section.name}.png)"


def _row(verdict: Verdict, unit: str) -> str:
    found = possible(verdict).contrast
    effect = change(found.effect, unit) if found else "none"
    interval = f"{between(found, unit)}, {found.n_runs} trainings" if found else ""
    margin = "" if verdict.margin is None else amount(verdict.margin, unit)
    mark, word = CHIPS[verdict.verdict]
    why = " ".join(part for part in (reason_sentence(verdict), would_tell(verdict)) if part)
    word = f"{word}, exploratory" if verdict.exploratory else word
    cells = (
        verdict.say,
        verdict.article,
        f"{mark} {word}" + (f": {verdict.found}" if verdict.found else ""),
        f"{effect} ({verdict.measure}, {verdict.cell})",
        interval,
        margin,
        why,
    )
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def _foot(input: ReportInput) -> Iterator[str]:
    made = input.provenance
    yield from ("", "## How it was made", "")
    yield f"- study sha256 `{made.study_sha256}`, base sha256 `{made.base_sha256}`, root seed {made.root_seed}; {plain(made.seeds_rule)}"
    yield "- " + ", ".join(f"{plain(name)} {plain(version)}" for name, version in made.versions.items())
    yield "- " + "; ".join(f"{plain(stage.stage)} {duration(stage.wall_seconds)}" for stage in made.stages)
    yield from (f"- `{command}`" for command in made.commands)
    if input.not_measured:
        yield from ("", "Not measured:", "", *(f"- {plain(line)}" for line in input.not_measured))


def plain(text: str) -> str:
    """Return ``text`` as one line in which Markdown and HTML mean nothing."""
    line = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]|<>#" else c for c in line)


# --- contact sheets -----------------------------------------------------------------------------------------------------


def make_sheet(strips: Sequence[Strip]) -> bytes:
    """Return one PNG of an experiment's strips: training set, then each row of pictures at the first seeds, 64 px a picture."""
    rows = [row for strip in strips for row in _rows(strip)]
    width = SHEET_SEEDS * (TILE_PX + GAP_PX) + GAP_PX
    height = sum(LABEL_PX + (TILE_PX + GAP_PX if pictures else 0) for _, pictures in rows) + GAP_PX
    sheet = Image.new("RGB", (width, height), "white")
    pen, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(11), 0
    for label, pictures in rows:
        pen.text((GAP_PX, top + 2), label, fill="#1d2326", font=font)
        top += LABEL_PX
        for column, picture in enumerate(pictures):
            if picture is not None:
                sheet.paste(_tile(picture), (GAP_PX + column * (TILE_PX + GAP_PX), top))
        top += TILE_PX + GAP_PX if pictures else 0
    return png_bytes(sheet, small=True)  # every colour as it was drawn: a palette would posterise them


def _rows(strip: Strip) -> Iterator[tuple[str, list[Picture | None]]]:
    prompt = f'"{strip.prompt}"' if strip.prompt else "no prompt"
    if strip.training:
        yield f"{prompt}: {_training_label(strip)}", [strip.training[index] for index in _spread(len(strip.training))]
    seeds = ", ".join(str(seed) for seed in strip.seeds[:SHEET_SEEDS])
    for index, row in enumerate(strip.rows):
        label = f"{prompt}: {row.label}" if not index else row.label
        yield f"{label}, seeds {seeds}" if not index else label, aligned(row, strip.seeds)[:SHEET_SEEDS]


def _spread(n: int) -> list[int]:
    """Return the places of the pictures of a training set that a sheet has room for, at even distances."""
    return list(range(n)) if n <= SHEET_SEEDS else [round(k * (n - 1) / (SHEET_SEEDS - 1)) for k in range(SHEET_SEEDS)]


def _training_label(strip: Strip) -> str:
    n = max(strip.n_training, len(strip.training))
    return f"training set, {n} picture{'' if n == 1 else 's'}" if n <= SHEET_SEEDS else f"training set, {SHEET_SEEDS} of {n} pictures"


def _tile(picture: Picture) -> Image.Image:
    with Image.open(io.BytesIO(picture.png)) as image:
        tile = image.convert("RGB")
    return tile if tile.size == (TILE_PX, TILE_PX) else tile.resize((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
