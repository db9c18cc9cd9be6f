"""Text on pictures: a font that has the letters, lines that fit a width, an ellipsis where they do not.

In: text, a width and a size in px. Out: lines to draw. Pillow's own font is used wherever it has every letter, so that a picture is the
same on every machine; it has hardly more than ASCII, so other text takes a font of the system, and without one loses its accents.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont
#: what these say in ASCII
SIGNS = {"−": "-", "–": "-", "—": "-", "‑": "-", "→": "->", "←": "<-", "×": "x", "≥": ">=", "≤": "<=", "\u00a0": " ", "\u202f": " "}
#: fonts of Linux, Windows and macOS, those with most letters first among their kind
SYSTEM = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "segoeui.ttf", "arial.ttf", "Arial Unicode.ttf", "Helvetica.ttc", "NotoSansCJK-Regular.ttc",
    "msyh.ttc", "meiryo.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc",
)  # fmt: skip
#: no character: what a font draws in its place is what it draws for every letter that it lacks
NO_LETTER = "\uffff"
ELLIPSIS = "..."


@dataclass(frozen=True)
class Lettered:
    """Text in letters that the font has."""

    text: str
    font: Font


def lettered(text: str, size_px: int) -> Lettered:
    """Return the text on one line and a font of that size that can draw it."""
    line = " ".join("".join(SIGNS.get(letter, letter) for letter in text).split())
    for font in _fonts(size_px):
        if not missing(line, font):
            return Lettered(line, font)
    own = ImageFont.load_default(size_px)
    assert isinstance(own, Font)
    return Lettered(_without_accents(line, own), own)


def missing(text: str, font: Font) -> set[str]:
    """Return the letters of a text that a font lacks."""
    nothing = bytes(font.getmask(NO_LETTER))
    return {letter for letter in set(text) if not letter.isspace() and bytes(font.getmask(letter)) == nothing}


def _fonts(size_px: int) -> Iterator[Font]:
    own = ImageFont.load_default(size_px)
    if isinstance(own, Font):
        yield own
    yield from (font for name in SYSTEM if (font := _system_font(name, size_px)) is not None)


@lru_cache(maxsize=128)
def _system_font(name: str, size_px: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size_px)
    except OSError:
        return None


def _without_accents(text: str, font: Font) -> str:
    """Return the text with letters that the font lacks taken apart, and those that stay unknown as question marks."""
    apart = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    lost = missing(apart, font)
    return "".join("?" if letter in lost else letter for letter in apart)


def wrapped(text: str, size_px: int, width_px: int, most_lines: int) -> list[Lettered]:
    """Return the text as at most so many lines of that width; what does not fit ends in three dots."""
    whole = lettered(text, size_px)
    lines = list(_lines(whole.text, whole.font, width_px))
    if len(lines) > most_lines:
        rest = " ".join(lines[most_lines - 1 :])
        lines = [*lines[: most_lines - 1], shortened(rest, whole.font, width_px, always=True)]
    return [Lettered(line, whole.font) for line in lines]


def shortened(text: str, font: Font, width_px: int, always: bool = False) -> str:
    """Return the text, or as much of it as fits in front of three dots; ``always`` with the dots."""
    if not always and font.getlength(text) <= width_px:
        return text
    n = _fitting(text, font, width_px - font.getlength(ELLIPSIS))
    start = text[:n].rpartition(" ")[0] if n < len(text) and text[n] != " " else text[:n]  # no half word, where there is a whole one
    return _trimmed(start or text[:n]) + ELLIPSIS


def _fitting(text: str, font: Font, width_px: float) -> int:
    """Return how many letters of a text fit that width."""
    return bisect_right(range(1, len(text) + 1), width_px, key=lambda n: font.getlength(text[:n]))


def _trimmed(text: str) -> str:
    return text.rstrip(" ,.;:(")


def _lines(text: str, font: Font, width_px: int) -> Iterator[str]:
    """Yield lines; a word that is wider than a line is broken anywhere."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}".strip()
        if font.getlength(longer) <= width_px:
            line = longer
            continue
        if line:
            yield line
        while font.getlength(word) > width_px:
            fits = max(1, _fitting(word, font, width_px))
            yield word[:fits]
            word = word[fits:]
        line = word
    if line:
        yield line
