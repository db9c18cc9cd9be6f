"""Fidelity by count: in goes a folder of weights, out come shares of pictures that show what the prompt said, with intervals.

Half of the colour prompts are pairs that were never drawn together in training. Pictures are drawn as the shipped studies
draw theirs. The same instruments read the world's own pictures of the same things after a round trip through the
autoencoder: that is the ceiling, below which a row says something of the instrument or of the autoencoder. A prompt says all
that its ceiling's pictures have in common, the background first: where it is left open, the two are not of the same things.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from loralab.petri.draw import make_picture
from loralab.petri.sprites import Sprites
from loralab.petri.truth import IMAGE_PX, Background, Truth, make_stream, make_truth, other_colour
from loralab.petri.words import (
    COLOURS,
    CONCEPTS,
    HELD_OUT,
    HELD_OUT_CONCEPTS,
    HELD_OUT_SHAPES,
    HOLLOW_SHAPES,
    NUMBERS,
    SHAPES,
    TINTS,
    plural,
)
from organism.arrangements import BLOCK_OF_A_CELL, BLOCKS, MANY, OF_A_CELL, scatter
from organism.captions import LETTERS
from organism.diversity import Ratio
from organism.instruments import count_parts, read_background, read_fill, read_light, read_shape, read_subject_colour, read_tint

COMPACT = tuple(shape for shape in SHAPES if shape not in ("ring", "cross"))  # of one part even where they are small
Reader = Callable[[np.ndarray], str | None]
RoundTrip = Callable[[np.ndarray], np.ndarray]
CHROMATIC = tuple(colour for colour in COLOURS if colour not in ("black", "white", "gray"))


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
        return max(centre - half, 0.0), min(centre + half, 1.0)


@dataclass(frozen=True)
class Question:
    """A row of the table: prompts, what must be read from each picture, and a picture of the world that shows just that."""

    name: str
    goal: float
    prompts: list[str]
    expected: list[str]
    read: Reader
    truths: list[Truth]


@dataclass(frozen=True)
class Answer:
    """A question with its count and, where the world could be drawn, the count on the world's own pictures."""

    share: Share
    goal: float
    ceiling: Share | None = None

    @property
    def met(self) -> str:
        """Whether the goal is met; "not yet known" where the interval holds it, "the reader falls short" where no picture could show it."""
        if self.ceiling is not None and self.ceiling.interval[1] < self.goal:
            return "the reader falls short"
        return meets(self.share.interval, self.goal)


def meets(interval: tuple[float, float], goal: float) -> str:
    """Return "yes" or "no" where the whole interval lies on one side of the goal."""
    return "yes" if interval[0] >= goal else "no" if interval[1] < goal else "not yet known"


@dataclass(frozen=True)
class Readers:
    """The two readers that are trained on the world's own pictures; a row whose reader is missing is left out."""

    concept: Reader | None = None  # one of 30
    focus: Reader | None = None  # "sharp", "blurry" or "background"


def read_grid(picture: np.ndarray) -> str:
    """Return "grid" for four or more separate parts."""
    return "grid" if count_parts(picture) >= 4 else "single"


def read_count(picture: np.ndarray) -> str:
    """Return the number of separate parts."""
    return str(count_parts(picture))


def make_questions(n: int, seed: int = 0, readers: Readers = Readers()) -> list[Question]:
    """Return the rows of the table with n prompts each."""
    rng = np.random.default_rng(seed)

    def draw(options: Sequence) -> list:
        return [options[int(i)] for i in rng.integers(len(options), size=n)]

    seen_shapes = [(c, s) for c in CHROMATIC for s in SHAPES if (c, s) not in HELD_OUT]
    seen_concepts = [(c, s) for c in TINTS for s in CONCEPTS if (c, s) not in HELD_OUT]
    rows = [
        ask_pair("shape colour, seen pairs", draw(seen_shapes), read_subject_colour, "colour", 0.95),
        ask_pair("shape colour, held-out pairs", draw(sorted(HELD_OUT_SHAPES)), read_subject_colour, "colour", 0.95),
        ask_pair("shape, seen pairs", draw(seen_shapes), read_shape, "noun", 0.95),
        ask_pair("shape, held-out pairs", draw(sorted(HELD_OUT_SHAPES)), read_shape, "noun", 0.95),
        ask_pair("concept colour, seen pairs", draw(seen_concepts), read_tint, "colour", 0.95),
        ask_pair("concept colour, held-out pairs", draw(sorted(HELD_OUT_CONCEPTS)), read_tint, "colour", 0.95),
        ask_pair("monster colour", [(c, "monster") for c in draw(TINTS)], read_tint, "colour", 0.95),
    ]
    rows.append(
        ask_pair(
            "shape colour, held-out pairs on colours", draw(sorted(HELD_OUT_SHAPES)), read_subject_colour, "colour", 0.95, draw(CHROMATIC)
        )
    )
    things, grounds = draw((*SHAPES, *CONCEPTS)), draw(COLOURS)
    rows.append(ask_background("background colour", things, grounds))
    white = ask_background("white background", draw((*SHAPES, *CONCEPTS)), ["white"] * n)
    rows.append(white)
    rows.append(ask_grid("grid when asked", "grid", draw((*SHAPES, *CONCEPTS)), draw((2, 3, 4, 5, 6)), read_grid, "grid"))
    rows.append(ask_grid("nine in a 3x3 grid", "3x3 grid", draw(SHAPES), [3] * n, read_count, "9"))
    rows.append(Question("no grid when not asked", 0.9, white.prompts, ["single"] * n, read_grid, white.truths))
    hollow = [(colour, noun) for colour, noun in seen_shapes if noun in HOLLOW_SHAPES]
    rows.append(ask_shape("two {colour} {nouns}", draw(seen_shapes), read_count, "2", as_two))
    rows.append(ask_shape("an outlined {colour} {noun}", draw(hollow), read_fill, "outlined", as_line))
    rows.append(ask_shape("a dark {colour} {noun}", draw(seen_shapes), read_light, "dark", as_dark))
    if readers.concept is not None:
        own = [(None, noun) for noun in draw(tuple(CONCEPTS))]
        rows.append(ask_concept("concept, one of 30", "{noun}, white background", own, readers.concept))
        rows.append(ask_concept("concept, one word alone", "{noun}", own, readers.concept))
        rows.append(ask_concept("concept beside random letters", "{noun}, white background, {letters}", own, readers.concept))
        rare = draw(sorted(HELD_OUT_CONCEPTS))
        rows.append(ask_concept("concept, held-out colours", "a {colour} {noun} on a white background", rare, readers.concept))
    if readers.focus is not None:
        rows += [ask_focus(focus, draw(seen_shapes), readers.focus) for focus in FOCUS_PROMPTS]
    return [*rows, *ask_counts(draw, seen_shapes)]


def ask_pair(
    name: str, pairs: list[tuple[str, str]], read: Reader, about: str, goal: float, grounds: Sequence[str] | None = None
) -> Question:
    """Return a question about the subject's "colour" or "noun", on white or on ``grounds``, none of which hides its subject."""
    grounds = (
        ["white"] * len(pairs) if grounds is None else [other_colour(c) if g == c else g for (c, _), g in zip(pairs, grounds, strict=True)]
    )
    shown = list(zip(pairs, grounds, strict=True))
    prompts = [f"a {colour} {noun} on a {ground} background" for (colour, noun), ground in shown]
    expected = [colour if about == "colour" else noun for colour, noun in pairs]
    truths = [make_truth(i, noun, colour, ground) for i, ((colour, noun), ground) in enumerate(shown)]
    return Question(name, goal, prompts, expected, read, truths)


def ask_background(name: str, nouns: list[str], grounds: list[str]) -> Question:
    """Return a question about the background's colour."""
    prompts = [f"{noun}, {ground} background" for noun, ground in zip(nouns, grounds, strict=True)]
    truths = [
        make_truth(i, noun, other_colour(ground) if noun in SHAPES else None, ground)
        for i, (noun, ground) in enumerate(zip(nouns, grounds, strict=True))
    ]
    return Question(name, 0.97, prompts, grounds, read_background, truths)


def ask_grid(name: str, words: str, nouns: list[str], columns: list[int], read: Reader, expected: str) -> Question:
    """Return a question about grids on white."""
    prompts = [f"{words} of {plural(noun)} on a white background" for noun in nouns]
    truths = [make_grid_truth(i, noun, n) for i, (noun, n) in enumerate(zip(nouns, columns, strict=True))]
    return Question(name, 0.9, prompts, [expected] * len(nouns), read, truths)


def ask_counts(draw: Callable[[Sequence], list], seen_shapes: Sequence[tuple[str, str]]) -> list[Question]:
    """Return the questions whether "grid layout" alone draws a grid, whether a grid has the columns and rows that are said, and whether
    as many are there as are said.
    """
    sizes, numbers = draw([(columns, rows) for columns in (2, 3, 4) for rows in (2, 3, 4)]), draw(MANY)
    nouns, pairs = draw(SHAPES), draw([(colour, noun) for colour, noun in seen_shapes if noun in COMPACT])
    sized = [make_grid_truth(i, noun, *size) for i, (noun, size) in enumerate(zip(nouns, sizes, strict=True))]
    many = [as_many(make_truth(i, noun, colour), n) for i, ((colour, noun), n) in enumerate(zip(pairs, numbers, strict=True))]
    said = [f"{columns}x{rows} grid of {plural(noun)} on a white background" for noun, (columns, rows) in zip(nouns, sizes, strict=True)]
    counted = [f"{NUMBERS[n]} {colour} {plural(noun)} on a white background" for (colour, noun), n in zip(pairs, numbers, strict=True)]
    return [
        Question('a grid for "grid layout" alone', 0.8, ["grid layout"] * len(sized), ["grid"] * len(sized), read_grid, sized),
        Question("as many in a grid as its columns and rows say", 0.8, said, [str(truth.count) for truth in sized], read_count, sized),
        Question("three to nine when asked", 0.8, counted, [str(n) for n in numbers], read_count, many),
    ]


def ask_shape(subject: str, pairs: list[tuple[str, str]], read: Reader, expected: str, alter: Callable[[Truth], Truth]) -> Question:
    """Return the question whether a shape on white is as its subject says ("two {colour} {nouns}"); its truth is altered to show it."""
    prompts = [f"{subject} on a white background".format(colour=colour, noun=noun, nouns=plural(noun)) for colour, noun in pairs]
    truths = [alter(make_truth(i, noun, colour)) for i, (colour, noun) in enumerate(pairs)]
    return Question(f"{'two' if expected == '2' else expected} when asked", 0.9, prompts, [expected] * len(pairs), read, truths)


def as_two(one: Truth) -> Truth:
    """Return a truth with its object twice, side by side."""
    return replace(one, things=tuple(replace(one.things[0], size_px=27, x_px=x) for x in (16.5, 47.5)))


def as_many(one: Truth, number: int) -> Truth:
    """Return a truth with its object so many times, in no order."""
    size, places = scatter(make_stream(one.seed, "places"), number, 0.56 * IMAGE_PX / number**0.5)
    return replace(one, things=tuple(replace(one.things[0], size_px=size, x_px=x, y_px=y) for x, y in places))


def as_line(one: Truth) -> Truth:
    """Return a truth whose object is a line."""
    return replace(one, things=(replace(one.things[0], fill="hollow"),))


def as_dark(one: Truth) -> Truth:
    """Return a dark truth: white is gray there."""
    return replace(one, light="dark")


def ask_concept(name: str, template: str, pairs: Sequence[tuple[str | None, str]], read: Reader) -> Question:
    """Return the question which concept it is, in the sprite's own colours where no colour is given."""
    letters = [make_stream(i, "letters").choice(list(LETTERS), size=6) for i in range(len(pairs))]
    words = ["".join(found) for found in letters]
    prompts = [template.format(colour=c, noun=noun, letters=word) for (c, noun), word in zip(pairs, words, strict=True)]
    truths = [make_truth(i, noun, colour) for i, (colour, noun) in enumerate(pairs)]
    return Question(name, 0.85, prompts, [noun for _, noun in pairs], read, truths)


# what is read -> the row's name, the prompt
FOCUS_PROMPTS = {
    "blurry": ("blurry when asked", "a blurry {colour} {noun} on a white background"),
    "background": ("sharp before a blurred background when asked", "{colour} {noun}, blurred background, depth of field"),
    "sharp": ("sharp when nothing is said of it", "a {colour} {noun} on a white background"),
}


def ask_focus(focus: str, pairs: list[tuple[str, str]], read: Reader) -> Question:
    """Return the question whether the picture is sharp, blurry, or sharp before a blurred background, as asked."""
    name, template = FOCUS_PROMPTS[focus]
    prompts = [template.format(colour=colour, noun=noun) for colour, noun in pairs]
    truths = [make_focus_truth(i, noun, colour, focus) for i, (colour, noun) in enumerate(pairs)]
    return Question(name, 0.9, prompts, [focus] * len(pairs), read, truths)


def make_grid_truth(number: int, noun: str, columns: int, rows: int | None = None) -> Truth:
    """Return the truth of a grid of columns x rows objects on white, as many rows as columns where they are not said."""
    rows = columns if rows is None else rows
    width, height = IMAGE_PX / columns, IMAGE_PX / rows
    one = make_truth(number, noun, CHROMATIC[number % len(CHROMATIC)] if noun in SHAPES else None).things[0]
    size = min(width, height) * (BLOCK_OF_A_CELL if noun in BLOCKS else OF_A_CELL)
    places = [((i + 0.5) * width, (j + 0.5) * height) for j in range(rows) for i in range(columns)]
    things = tuple(replace(one, size_px=size, x_px=x, y_px=y) for x, y in places)
    return Truth(number, things, Background("plain", ("white",)), grid_columns=columns, grid_rows=rows)


def make_focus_truth(number: int, noun: str, colour: str, focus: str) -> Truth:
    """Return the truth of one shape that is sharp, blurry, or sharp before a blurred texture."""
    one = make_truth(number, noun, colour)
    if focus == "background":
        colours = other_colour(colour), "black" if number % 2 else "white"
        return Truth(number, one.things, Background("textured", colours, pattern_seed=number), blur="background", blur_sigma_px=3.25)
    if focus == "blurry":
        return Truth(number, one.things, one.background, blur="whole", blur_sigma_px=1.5 + 1.5 * (number % 6) / 5)
    return one


def count_answers(question: Question, pictures: np.ndarray) -> Share:
    """Return how many pictures read as expected; a picture that cannot be read counts as wrong."""
    yes = sum(question.read(picture) == answer for picture, answer in zip(pictures, question.expected, strict=True))
    return Share(question.name, yes, len(pictures))


def count_ceiling(question: Question, sprites: Sprites | None, round_trip: RoundTrip) -> Share | None:
    """Return the count on the world's own pictures behind the autoencoder; None where they need sprites that are not there."""
    if sprites is None and not all(thing.is_shape for truth in question.truths for thing in truth.things):
        return None
    return count_answers(question, round_trip(np.stack([make_picture(truth, sprites) for truth in question.truths])))


def measure_fidelity(
    draw: Callable[[list[str], list[int]], np.ndarray],
    questions: list[Question],
    sprites: Sprites | None,
    round_trip: RoundTrip | None,
    first_seed: int = 0,
) -> list[Answer]:
    """Return the table; picture i of the whole table has seed first_seed + i. `draw` takes prompts and seeds to pictures."""
    prompts = [prompt for question in questions for prompt in question.prompts]
    pictures = draw(prompts, list(range(first_seed, first_seed + len(prompts))))
    answers, start = [], 0
    for question in questions:
        end = start + len(question.prompts)
        ceiling = count_ceiling(question, sprites, round_trip) if round_trip is not None else None
        answers.append(Answer(count_answers(question, pictures[start:end]), question.goal, ceiling))
        start = end
    return answers


def write_table(answers: list[Answer], ratios: Sequence[tuple[str, float, Ratio]] = ()) -> str:
    """Return counts and ratios (name, goal, ratio) as a Markdown table."""
    lines = ["| question | goal | yes / n | share | 95 % interval | the world's own pictures | met |", "|---|---|---|---|---|---|---|"]
    for answer in answers:
        share, ceiling = answer.share, answer.ceiling
        low, high = share.interval
        best = "" if ceiling is None else f"{ceiling.yes / ceiling.n:.3f}"
        counts = f"{share.yes} / {share.n} | {share.yes / share.n:.3f}"
        lines.append(f"| {share.question} | {answer.goal:g} | {counts} | {low:.3f}-{high:.3f} | {best} | {answer.met} |")
    for name, goal, ratio in ratios:
        low, high = ratio.interval
        lines.append(
            f"| {name} | {goal:g} | {ratio.n} pictures | {ratio.value:.3f} | {low:.3f}-{high:.3f} | 1 | {meets(ratio.interval, goal)} |"
        )
    return "\n".join(lines)


def write_curve(columns: dict[str, list[Answer]]) -> str:
    """Return one row a question and one column a state of the training, in shares, as a Markdown table."""
    n = next(iter(columns.values()))[0].share.n
    lines = [f"| share of {n} | goal | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for row, answer in enumerate(next(iter(columns.values()))):
        shares = " | ".join(f"{answers[row].share.yes / answers[row].share.n:.2f}" for answers in columns.values())
        lines.append(f"| {answer.share.question} | {answer.goal:g} | {shares} |")
    return "\n".join(lines)
