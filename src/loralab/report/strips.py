"""Strips and training sets as a page draws them: pictures at the same seeds side by side, joined to one image a row.

In: strips and pictures. Out: frozen views for `strips.html.j2`; the same pictures are shown once on a page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loralab.report.input import ExperimentSection, Picture, Strip, StripRow
from loralab.report.sprites import make_sprite
from loralab.report.words import count, shown_of

COLUMNS_SIDE_BY_SIDE = 4
#: training pictures up to so many have their captions below them
MOST_TRAINING = 6
MOST_CAPTIONS = 4


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
    address: str = ""
    same_as: str = ""
    same_title: str = ""

    @property
    def later(self) -> str:
        """What the folded columns, all but the first few, are called."""
        n = sum(len(block.seeds) for block in self.blocks[1:])
        return f"{count(n).capitalize()} more seed{'' if n == 1 else 's'}"


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
    shown, n = strip.seeds[:columns], max(strip.n_pictures, len(strip.seeds))
    rule = strip.rule if len(shown) == n else f"{shown_of(len(shown), n)} in each row: {strip.rule}"
    if len(shown) < len(strip.seeds):
        rule += f"; of these {len(strip.seeds)} the first {len(shown)}, to keep this file small"
    training = view_training(strip.training, strip.n_training) if strip.training else None
    return StripView(strip.cell, strip.prompt, rule[:1].upper() + rule[1:], tuple(_blocks(strip, shown)), training, anchor, strip.address)


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
    label = shown_of(len(pictures), n) + ("" if n == len(pictures) else ", at even distances")
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
