"""What the pictures have in common and the captions do not say, and where captions and pixels disagree; by the lab's instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from loralab.auditing.remark import LEAST_PICTURES, Facts, Remark, indices
from loralab.data.tags import says
from loralab.measure import TABLE
from loralab.measure.background import WHITE_CHROMA, WHITE_LIGHTNESS
from loralab.measure.colour import GREY_CHROMA, HUES, nearest_hues
from loralab.measure.picture import Context, Picture
from loralab.measure.shape import classify
from loralab.spec.models import SHAPES

#: what the pictures share: at least this many, and this share of those that could be measured
LEAST_SHARING, SHARING = 4, 0.9
#: captions say it: below this share of these pictures the remark is made
SAID = 0.5
#: a border is of one colour where this share of it lies within this deltaE76 of its median
ONE_COLOUR, NEAR = 0.8, 12.0
#: a subject is in the middle within this share of the side, has one colour from this share of its pixels, a dark line from this share
MIDDLE, MAIN_COLOUR, OUTLINED = 0.06, 0.6, 0.6
#: edges wider than this (sigma in px of a 64 px picture) are blurred
BLURRED_PX = 2.5
#: sizes are alike within this share of their median
SAME_SIZE = 0.12
BLACK_LIGHTNESS = 15.0
#: a colour that a caption names is missing where less than this share of the picture has it
LEAST_COLOUR = 0.005

Holds = Callable[[Picture], bool | None]


@dataclass(frozen=True)
class Trait:
    """Something that pictures may share: how it is said of them, the words that say it in a caption, and how it is seen.

    ``holds`` returns None where a picture cannot be measured.
    """

    name: str
    says: str
    words: tuple[str, ...]
    holds: Holds
    tag: str


def background_colour(picture: Picture) -> str | None:
    """Return the name of the border's colour; None where it has no single one."""
    median = np.median(picture.border, axis=0)
    if (np.linalg.norm(picture.border - median, axis=-1) < NEAR).mean() < ONE_COLOUR:
        return None
    chroma = float(np.hypot(median[1], median[2]))
    if chroma < WHITE_CHROMA:
        return "white" if median[0] > WHITE_LIGHTNESS else "black" if median[0] < BLACK_LIGHTNESS else "grey"
    hue = int(nearest_hues(median[None])[0])
    return HUES[hue] if hue >= 0 else None


def subject_colour(picture: Picture) -> str | None:
    """Return the colour of most of the subject; None without a subject or a main colour."""
    if picture.subject is None:
        return None
    pixels = picture.lab[picture.subject]
    if (np.hypot(pixels[:, 1], pixels[:, 2]) < GREY_CHROMA).mean() >= MAIN_COLOUR:
        return "black" if np.median(pixels[:, 0]) < BLACK_LIGHTNESS else "white" if np.median(pixels[:, 0]) > WHITE_LIGHTNESS else "grey"
    shares = np.bincount(nearest_hues(pixels) + 1, minlength=len(HUES) + 1)[1:] / len(pixels)
    return HUES[int(shares.argmax())] if shares.max() >= MAIN_COLOUR else None


def is_in_the_middle(picture: Picture) -> bool | None:
    """Return whether the middle of the subject's bounding box is the picture's middle, nearly."""
    if picture.subject is None:
        return None
    rows, columns = (np.flatnonzero(picture.subject.any(axis=axis)) for axis in (1, 0))
    places = ((rows[0] + rows[-1] + 1) / 2 / picture.subject.shape[0], (columns[0] + columns[-1] + 1) / 2 / picture.subject.shape[1])
    return all(abs(place - 0.5) <= MIDDLE for place in places)


def _reads(name: str, least: float, picture: Picture) -> bool | None:
    value = TABLE[name].measure(picture, Context()).value
    return None if value is None else value >= least


def _has_background(colour: str, picture: Picture) -> bool:
    return background_colour(picture) == colour


def _has_colour(colour: str, picture: Picture) -> bool | None:
    return None if picture.subject is None else subject_colour(picture) == colour


def _has_shape(shape: str, picture: Picture) -> bool | None:
    found = classify(picture)
    return None if found is None else found == shape


def _names(colour: str) -> tuple[str, ...]:
    return {"grey": ("grey", "gray", "monochrome", "greyscale", "grayscale")}.get(colour, (colour,))


COLOUR_NAMES = ("white", "black", "grey", *HUES)
TRAITS: tuple[Trait, ...] = (
    *(Trait(f"{c}-background", f"have a {c} background", _names(c), partial(_has_background, c), f"{c} background") for c in COLOUR_NAMES),
    *(Trait(f"{c}-subject", f"show a {c} subject", _names(c), partial(_has_colour, c), c) for c in COLOUR_NAMES),
    *(Trait(f"{s}-outline", f"show the outline of a {s}", (s, f"{s}s"), partial(_has_shape, s), s) for s in SHAPES),
    Trait("middle", "have their subject in the centre", ("centred", "centered", "centre", "center", "middle"), is_in_the_middle, "centred"),
    Trait("dark-outline", "have a dark line around the subject", ("outline", "outlined", "lineart", "line art"),
          partial(_reads, "outline_dark", OUTLINED), "dark outline"),
    Trait("soft-edges", "have soft, blurred edges", ("blur", "blurry", "blurred", "soft", "out of focus"),
          partial(_reads, "edge_sigma", BLURRED_PX), "blurry"),
)  # fmt: skip
PLAIN = Trait(
    "plain-background",
    "have a plain background",
    ("background", "plain", "simple"),
    lambda p: background_colour(p) is not None,
    "simple background",
)
SIZE_WORDS = (
    "close-up",
    "close up",
    "portrait",
    "full body",
    "upper body",
    "cowboy shot",
    "wide shot",
    "large",
    "small",
    "big",
    "huge",
    "tiny",
)


def check_shared(facts: Sequence[Facts]) -> Iterator[Remark]:
    """Yield a remark for each thing that the pictures share and the captions do not say."""
    found = [remark for trait in TRAITS if (remark := _check_trait(trait, facts)) is not None]
    yield from found
    if not any(remark.kind.endswith("-background") for remark in found) and not _said_background(facts):
        plain = _check_trait(PLAIN, facts)
        yield from [plain] if plain is not None else []
    sizes = _same_size(facts)
    yield from [sizes] if sizes is not None else []


def _said_background(facts: Sequence[Facts]) -> bool:
    """Return whether most captions name a colour, and may mean the background."""
    return float(np.mean([any(says(each.caption, name) for c in COLOUR_NAMES for name in _names(c)) for each in facts])) >= SAID


def _check_trait(trait: Trait, facts: Sequence[Facts]) -> Remark | None:
    seen = [trait.holds(each.picture) for each in facts]
    return _unsaid(trait, seen, facts)


def _unsaid(trait: Trait, seen: Sequence[bool | None], facts: Sequence[Facts]) -> Remark | None:
    n_measured, holding = sum(each is not None for each in seen), indices([each is True for each in seen])
    if len(holding) < max(LEAST_SHARING, SHARING * n_measured) or n_measured < SHARING * len(facts):
        return None
    said = sum(any(says(facts[index].caption, word) for word in trait.words) for index in holding)
    if said >= SAID * len(holding):
        return None
    count = f"All {len(facts)}" if len(holding) == len(facts) else f"{len(holding)} of {len(facts)}"
    spoken = "no caption mentions it" if not said else f"only {said} caption{' mentions' if said == 1 else 's mention'} it"
    return Remark(
        f"shared-{trait.name}", f"{count} pictures {trait.says}; {spoken}.", len(holding), len(facts),
        f"The LoRA will treat it as part of what it is meant to learn. If you do not want it in every picture, describe it in the captions "
        f"({trait.tag!r}) or vary it; if it belongs to your trigger, leave it as it is.",
        f"from {LEAST_SHARING} pictures and {SHARING:.0%} of those that can be measured, mentioned in less than {SAID:.0%} "
        f"of them", holding,
    )  # fmt: skip


def _same_size(facts: Sequence[Facts]) -> Remark | None:
    shares = [None if each.picture.subject is None else float(each.picture.subject.mean()) for each in facts]
    known = [share for share in shares if share is not None]
    if not known:
        return None
    median = float(np.median(known))
    seen = [None if share is None else abs(share - median) <= SAME_SIZE * median for share in shares]
    phrase = f"show their subject at the same size (about {median:.0%} of the picture)"
    return _unsaid(Trait("size", phrase, SIZE_WORDS, lambda _: None, "close-up or wide shot"), seen, facts)


# --- captions against pixels --------------------------------------------------------------------------------------------


def check_disagreements(facts: Sequence[Facts]) -> Iterator[Remark]:
    """Yield remarks where captions name a colour that the pictures do not have."""
    wrong = indices([_wrong_background(each) for each in facts])
    told = wrong if len(wrong) >= LEAST_PICTURES else ()
    absent = indices([index not in told and bool(missing_colours(each)) for index, each in enumerate(facts)])
    if len(absent) >= LEAST_PICTURES:
        listed = ", ".join(dict.fromkeys(colour for index in absent for colour in missing_colours(facts[index])))
        yield Remark(
            "colour-not-there", f"{len(absent)} of {len(facts)} captions mention a colour that is not in their picture ({listed}).",
            len(absent), len(facts), "Check these pictures: the caption may belong to a different one.",
            f"from {LEAST_PICTURES} pictures; less than {LEAST_COLOUR:.1%} of the picture has the colour", absent,
        )  # fmt: skip
    if told:
        yield Remark(
            "background-not-so", f"{len(wrong)} of {len(facts)} captions give the wrong background colour.",
            len(wrong), len(facts), "Correct the captions; otherwise the background stays tied to the trigger.",
            f"from {LEAST_PICTURES} pictures with a border of a single colour", wrong,
        )  # fmt: skip


def missing_colours(facts: Facts) -> list[str]:
    """Return the colours that a caption names and its picture does not have."""
    named = [hue for hue in HUES if says(facts.caption, hue)]
    if not named:
        return []
    if "hues of the picture" not in facts.picture.memo:
        facts.picture.memo["hues of the picture"] = nearest_hues(facts.picture.lab.reshape(-1, 3))
    hues = np.asarray(facts.picture.memo["hues of the picture"])
    return [hue for hue in named if (hues == HUES.index(hue)).mean() < LEAST_COLOUR]


def _wrong_background(facts: Facts) -> bool:
    measured = background_colour(facts.picture)
    named = [c for c in COLOUR_NAMES for name in _names(c) if any(says(facts.caption, p) for p in (f"{name} background", f"on {name}"))]
    return measured is not None and bool(named) and measured not in named
