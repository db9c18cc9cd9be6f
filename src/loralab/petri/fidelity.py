"""Fidelity by count: in goes a pipeline, out come shares of pictures that show what the prompt said, with intervals.

Half of the colour prompts are pairs that were never drawn together in training. The same instruments read the world's
own pictures after a round trip through the autoencoder: that is the ceiling.
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from diffusers import StableDiffusionPipeline

from loralab.petri.instruments import count_parts, read_background, read_shape, read_subject_colour, read_tint
from loralab.petri.sampling import sample_pictures
from loralab.petri.words import COLOURS, CONCEPTS, HELD_OUT, HELD_OUT_CONCEPTS, HELD_OUT_SHAPES, SHAPES, TINTS, plural


@dataclass(frozen=True)
class Share:
    """A count with its 95 % interval."""

    question: str
    yes: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson score interval (Wilson 1927), which stays inside 0 to 1."""
        z = 1.959964
        p, n = self.yes / self.n, self.n
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return centre - half, centre + half


@dataclass(frozen=True)
class Question:
    """A row of the table: prompts, and what must be read from each picture."""

    name: str
    prompts: list[str]
    expected: list[str]
    read: Callable[[np.ndarray], str | None]


def read_grid(picture: np.ndarray) -> str:
    """Return "grid" for four or more separate parts."""
    return "grid" if count_parts(picture) >= 4 else "single"


def make_questions(n: int, seed: int = 0, read_concept: Callable[[np.ndarray], str | None] | None = None) -> list[Question]:
    """Return the rows of the table with n prompts each; the concept's row needs its reader."""
    rng = np.random.default_rng(seed)

    def draw(options: list) -> list:
        return [options[int(i)] for i in rng.integers(len(options), size=n)]

    chromatic = [c for c in COLOURS if c not in ("black", "white", "gray")]
    seen_shapes = [(c, s) for c in chromatic for s in SHAPES if (c, s) not in HELD_OUT]
    seen_concepts = [(c, s) for c in TINTS for s in CONCEPTS if (c, s) not in HELD_OUT]
    rows = [
        ask_colour("shape colour, seen pairs", draw(seen_shapes), read_subject_colour),
        ask_colour("shape colour, held-out pairs", draw(sorted(HELD_OUT_SHAPES)), read_subject_colour),
        ask_shape("shape, seen pairs", draw(seen_shapes)),
        ask_shape("shape, held-out pairs", draw(sorted(HELD_OUT_SHAPES))),
        ask_colour("concept colour, seen pairs", draw(seen_concepts), read_tint),
        ask_colour("concept colour, held-out pairs", draw(sorted(HELD_OUT_CONCEPTS)), read_tint),
        ask_colour("monster colour", [(c, "monster") for c in draw(list(TINTS))], read_tint),
    ]
    things = draw([*SHAPES, *CONCEPTS])
    grounds = draw(list(COLOURS))
    behind = [f"{thing}, {ground} background" for thing, ground in zip(things, grounds, strict=True)]
    rows.append(Question("background colour", behind, grounds, read_background))
    white = [f"{thing}, white background" for thing in draw([*SHAPES, *CONCEPTS])]
    rows.append(Question("white background", white, ["white"] * n, read_background))
    grids = [f"grid of {plural(noun)} on a white background" for noun in draw([*SHAPES, *CONCEPTS])]
    rows.append(Question("grid when asked", grids, ["grid"] * n, read_grid))
    rows.append(Question("no grid when not asked", white, ["single"] * n, read_grid))
    if read_concept is not None:
        nouns = draw(list(CONCEPTS))
        prompts = [f"{noun}, white background" for noun in nouns]
        rows.append(Question("concept, one of 30", prompts, nouns, read_concept))
    return rows


def ask_colour(name: str, pairs: list[tuple[str, str]], read: Callable[[np.ndarray], str | None]) -> Question:
    """Return a question about the subject's colour, on white, where no other colour is in the picture."""
    prompts = [f"a {colour} {noun} on a white background" for colour, noun in pairs]
    return Question(name, prompts, [colour for colour, _ in pairs], read)


def ask_shape(name: str, pairs: list[tuple[str, str]]) -> Question:
    """Return a question about the subject's shape."""
    prompts = [f"a {colour} {noun} on a white background" for colour, noun in pairs]
    return Question(name, prompts, [noun for _, noun in pairs], read_shape)


def measure_fidelity(
    pipeline: StableDiffusionPipeline,
    n: int,
    first_seed: int = 0,
    read_concept: Callable[[np.ndarray], str | None] | None = None,
) -> list[Share]:
    """Return the table for n pictures per question; picture i of question q has seed first_seed + q * n + i."""
    shares = []
    for q, question in enumerate(make_questions(n, read_concept=read_concept)):
        seeds = [first_seed + q * n + i for i in range(n)]
        pictures = sample_pictures(pipeline, question.prompts, seeds)
        shares.append(count_answers(question, pictures))
    return shares


def count_answers(question: Question, pictures: np.ndarray) -> Share:
    """Return how many pictures read as expected; a picture that cannot be read counts as wrong."""
    yes = sum(question.read(picture) == answer for picture, answer in zip(pictures, question.expected, strict=True))
    return Share(question.name, yes, len(pictures))


def write_table(shares: list[Share]) -> str:
    """Return the shares as a Markdown table."""
    lines = ["| question | yes / n | share | 95 % interval |", "|---|---|---|---|"]
    for share in shares:
        low, high = share.interval
        counts = f"{share.yes} / {share.n} | {share.yes / share.n:.3f}"
        lines.append(f"| {share.question} | {counts} | {low:.3f}-{high:.3f} |")
    return "\n".join(lines)
