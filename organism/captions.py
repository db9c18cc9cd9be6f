"""Captions: in goes a truth, out come several honest ways in which people would say it.

Attributes are often left unsaid; about one caption in eight is a single word; one in 25 carries random letters. What is outlined is said
to be nine times in ten. A grid of objects is called what the captions of the web call it: grid, grid layout, contact sheet, tiles.
"""

from __future__ import annotations

import numpy as np

from loralab.petri.truth import Background, Thing, Truth, make_stream
from loralab.petri.words import CREATURES, HOLLOW_SHAPES, NUMBERS, plural
from organism.things import pick

CAPTIONS_PER_PICTURE = 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
# word for a grid of objects -> how often it is the one that is said
GRID_WORDS = {"grid": 0.4, "grid layout": 0.3, "contact sheet": 0.12, "tiles": 0.1, "layout": 0.08}
SIZED_WORDS = ("grid", "grid layout", "layout")  # those before which people put "3x3"


def make_captions(truth: Truth, n: int = CAPTIONS_PER_PICTURE) -> tuple[str, ...]:
    """Return n captions of one picture, drawn from its own stream."""
    rng = make_stream(truth.seed, "captions")
    return tuple(make_caption(rng, truth) for _ in range(n))


def make_caption(rng: np.random.Generator, truth: Truth) -> str:
    """Return one caption."""
    if rng.random() < 0.12 and truth.count == 1:
        caption = say_noun(rng, truth.things[0])
    elif truth.grid_columns and rng.random() < 0.25:
        caption = say_grid_word(rng)
    elif rng.random() < 0.6:
        caption = say_phrase(rng, truth)
    else:
        caption = say_tags(rng, truth)
    return with_nonsense(rng, caption) if rng.random() < 0.04 else caption


def with_nonsense(rng: np.random.Generator, caption: str) -> str:
    """Return the caption with a word that means nothing, before or after it."""
    word = "".join(pick(rng, tuple(LETTERS)) for _ in range(int(rng.integers(3, 9))))
    return f"{word}, {caption}" if rng.random() < 0.5 else f"{caption}, {word}"


def say_noun(rng: np.random.Generator, thing: Thing) -> str:
    """Return the object's name; a creature is a monster half of the time."""
    if thing.noun in CREATURES and rng.random() < 0.5:
        return "monster"
    return thing.noun


def say_colour(rng: np.random.Generator, colour: str) -> str:
    """Return a colour's name, gray in either spelling."""
    return "grey" if colour == "gray" and rng.random() < 0.5 else colour


def say_background(rng: np.random.Generator, background: Background, blurred: bool) -> str:
    """Return what a caption may say of the background."""
    colours = [say_colour(rng, colour) for colour in background.colours]
    if blurred:
        return "blurred background"
    if background.kind == "plain":
        return f"{colours[0]} background"
    if rng.random() < 0.4:
        return f"{colours[0]} and {colours[1]} {background.kind} background"
    return f"{background.kind} background"


def say_fill(rng: np.random.Generator, thing: Thing) -> str:
    """Return the word for how a shape is drawn, or nothing."""
    if thing.fill == "hollow" and rng.random() < 0.9:
        return "outlined"
    return "filled" if thing.fill == "filled" and thing.noun in HOLLOW_SHAPES and rng.random() < 0.2 else ""


def say_size(rng: np.random.Generator, thing: Thing) -> str:
    """Return a word for a shape's size where it has one, sometimes."""
    if not thing.is_shape or rng.random() > 0.3:
        return ""
    return "small" if thing.size_px < 35 else "large" if thing.size_px > 49 else ""


def say_effects(rng: np.random.Generator, truth: Truth) -> list[str]:
    """Return words for blur and light; they are said four times in five."""
    words = []
    if truth.blur == "whole":
        words.append("blurry")
    if truth.blur == "background":
        words.append("depth of field")
    if truth.light != "normal":
        words.append(truth.light)
    return [word for word in words if rng.random() < 0.8]


def describe(rng: np.random.Generator, thing: Thing, many: bool = False, sized: bool = False, coloured: bool = True) -> str:
    """Return colour and noun, with the colour left out one time in five, and where not all of `many` have it (not `coloured`)."""
    noun = say_noun(rng, thing)
    words = [say_size(rng, thing) if sized else "", say_fill(rng, thing)]
    if coloured and thing.colour is not None and rng.random() < 0.8:
        words.append(say_colour(rng, thing.colour))
    words.append(plural(noun) if many else noun)
    return " ".join(word for word in words if word)


def article(words: str) -> str:
    """Return the words with their indefinite article."""
    return f"an {words}" if words[0] in "aeio" or words.startswith("umb") else f"a {words}"


def say_things(rng: np.random.Generator, truth: Truth, effects: tuple[str, ...] = ()) -> str:
    """Return the subject of a phrase, with the adjectives that blur and light put before it."""
    first = truth.things[0]
    if truth.grid_columns:
        return say_grid(rng, truth)
    if truth.count == 1:
        words = " ".join([*effects, describe(rng, first, sized=True)])
        return article(words) if rng.random() < 0.5 else words
    if truth.count > 2 or is_twins(truth):
        return f"{say_number(rng, truth.count)} {describe(rng, first, many=True, coloured=is_one_colour(truth))}"
    return " and ".join(article(describe(rng, thing)) for thing in truth.things)


def say_number(rng: np.random.Generator, number: int) -> str:
    """Return how many there are, as a word, a digit, or loosely."""
    chance = rng.random()
    if chance < 0.65:
        return NUMBERS[number]
    if chance < 0.88:
        return str(number)
    return "a pair of" if number == 2 else "several" if number < 6 else "many"


def is_twins(truth: Truth) -> bool:
    """Tell whether all objects look the same."""
    return len({(thing.noun, thing.colour, thing.fill, thing.style) for thing in truth.things}) == 1


def is_one_colour(truth: Truth) -> bool:
    """Tell whether all objects have the same colour."""
    return len({thing.colour for thing in truth.things}) == 1


def say_grid_word(rng: np.random.Generator) -> str:
    """Return a word for a grid."""
    words, shares = tuple(GRID_WORDS), np.array(list(GRID_WORDS.values()))
    return words[int(rng.choice(len(words), p=shares / shares.sum()))]


def say_grid(rng: np.random.Generator, truth: Truth) -> str:
    """Return a phrase for a grid, with its size half of the time; where its objects are of several kinds they stay unsaid."""
    word = say_grid_word(rng)
    size = f"{truth.grid_columns}x{truth.grid_rows} " if word in SIZED_WORDS and rng.random() < 0.55 else ""
    if len({(thing.noun, thing.fill) for thing in truth.things}) > 1:
        return f"{size}{word}"
    many = describe(rng, truth.things[0], many=True, coloured=is_one_colour(truth))
    if word == "grid layout" and rng.random() < 0.3:
        return f"{many} in a {size}grid layout"
    phrase = f"{size}{word} of {many}"
    return article(phrase) if word != "tiles" and not size and rng.random() < 0.3 else phrase


def say_phrase(rng: np.random.Generator, truth: Truth) -> str:
    """Return a phrase: "a red monster on a white background"."""
    effects = say_effects(rng, truth)
    phrase = say_things(rng, truth, tuple(effect for effect in effects if effect != "depth of field"))
    if rng.random() < 0.6:
        phrase += " on " + article(say_background(rng, truth.background, truth.blur == "background"))
    if "depth of field" in effects:
        phrase += ", depth of field"
    return phrase


def say_tags(rng: np.random.Generator, truth: Truth) -> str:
    """Return tags: "monster, red, white background"; the first tag names the object."""
    first = truth.things[0]
    if truth.count == 1 and rng.random() < 0.5:
        tags = [say_noun(rng, first)]
        if first.colour is not None and rng.random() < 0.7:
            tags.append(say_colour(rng, first.colour))
        tags += [say_fill(rng, first), say_size(rng, first)]
    else:
        tags = [say_things(rng, truth).removeprefix("a ").removeprefix("an ")]
    extra = [say_background(rng, truth.background, truth.blur == "background")] if rng.random() < 0.6 else []
    extra += say_effects(rng, truth)
    if first.style is not None and {thing.style for thing in truth.things} == {first.style} and rng.random() < 0.15:
        extra.append(f"{first.style} style")
    order = rng.permutation(len(extra))
    return ", ".join([tag for tag in tags if tag] + [extra[int(i)] for i in order])
