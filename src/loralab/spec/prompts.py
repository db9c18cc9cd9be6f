r"""Reads a prompt as ComfyUI does: text in, weighted pieces in chunks out; whatever only another tool understands is refused.

`(words)` weighs 1.1 times, `(words:1.3)` weighs 1.3, nested brackets as in ComfyUI (comfy/sd1_clip.py: an inner number stands, it is not
multiplied); `\(` and `\)` are brackets of the text. `BREAK`, A1111's word, begins a new chunk wherever it stands as a word. A backslash
before a word that would be obeyed or refused, as in `black \AND white`, makes it text. Captions of training sets are never read this way:
there a bracket is a bracket, as trainers have it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

EMPHASIS = 1.1
MOST_WEIGHT = 10.0
COMPOSED = (
    "in A1111, AND in capitals composes several prompts, which this version cannot do; write `and` (text encoders read both the same way),"
    " or \\AND for the letters"
)
#: what other tools would not take as text, and would not be drawn here -> what to write. Words are told at word boundaries, as A1111 tells
#: them (modules/prompt_parser.py): a comma or a bracket beside one does not make it text, a backslash before it does
REFUSED = (
    (
        re.compile(r"(?<!\\)<\s*(?:lora|lyco|lycoris|hypernet)\s*:[^>]*>?", re.IGNORECASE),
        "a LoRA is an arm of the study, not a part of a prompt",
    ),
    (re.compile(r"(?<!\\)<\s*\w+\s*:[^<>]*>"), "<...:...> belongs to another tool's extension"),
    (re.compile(r"(?<![\w\\])embedding:[^\s,()]+", re.IGNORECASE), "this version does not load textual inversions"),
    (re.compile(r"(?<![\w\\])AND(?:_(?:PERP|SALT|TOPK))?\b"), COMPOSED),
    (
        re.compile(r"(?<![\w\\])(?:ADDCOL|ADDROW|ADDCOMM|ADDBASE|ADDP)\b"),
        "this version does not split pictures into regions (Regional Prompter)",
    ),
    (re.compile(r"(?<!\\)[\[\]]"), r"to weaken words, write (words:0.9); for a literal bracket, write \[ or \]"),
    (re.compile(r"(?<!\\)[{}]"), r"wildcards are not expanded here; for a literal brace, write \{ or \}"),
    (re.compile(r"(?<![\w\\])__[\w*][\w/*.-]*?__(?!\w)"), "wildcards are not expanded here; write the words themselves"),
    (
        re.compile(r"(?<=\))(?<!\\\))(?:\+{1,}|-{2,})(?!\w)"),
        "write weights as (words:1.1), like ComfyUI and A1111, not with + and -",
    ),
    (re.compile(r"(?<!\\)\)\s*\.(?:and|blend|swap)\s*\("), "this version does not draw compositions"),
)
BREAK = re.compile(r"(?<![\w\\])BREAK\b")
#: where a text that is to be read letter by letter gets a backslash, beside its brackets
WORDS = (BREAK, *(pattern for pattern, _ in REFUSED[:5]), REFUSED[7][0])
ESCAPED_WORD = re.compile(r"\\(?=(?:AND|BREAK|ADD(?:COL|ROW|COMM|BASE|P))|(?i:embedding:)|<|__)")
ESCAPABLE = "()[]{}"


@dataclass(frozen=True)
class Piece:
    """Words that share a weight."""

    text: str
    weight: float


def parse_prompt(text: str) -> list[list[Piece]]:
    """Return the prompt's pieces, chunk by chunk; raises ValueError that says what cannot be read and what to write."""
    for pattern, advice in REFUSED:
        if found := pattern.search(text):
            raise ValueError(f"{found.group()[:40]!r} in the prompt {text[:60]!r} cannot be drawn; {advice}")
    chunks: list[list[Piece]] = [[]]
    for piece in _weighted(_mask(text, text), 1.0, text):
        for number, words in enumerate(BREAK.split(piece.text)):
            if number > 0:
                chunks.append([])
            if words.strip():
                chunks[-1].append(Piece(_unmask(words), piece.weight))
    while len(chunks) > 1 and not chunks[-1]:
        chunks.pop()  # a BREAK with nothing behind it
    return chunks


def escape_prompt(text: str) -> str:
    """Return a prompt that is read as ``text``, letter by letter: brackets and words that would be obeyed or refused are escaped."""
    words = {found.start() for pattern in WORDS for found in pattern.finditer(text)}
    return "".join("\\" + letter if letter in ESCAPABLE or index in words else letter for index, letter in enumerate(text))


def _mask(text: str, whole: str) -> str:
    """Return ``text`` with escaped brackets replaced by letters of the private use area, which nest nothing."""
    if any("\ue000" <= letter <= "\ue005" for letter in text):
        raise ValueError(f"the prompt {whole[:60]!r} contains private-use characters")
    for index, letter in enumerate(ESCAPABLE):
        text = text.replace("\\" + letter, chr(0xE000 + index))
    return text


def _unmask(text: str) -> str:
    return ESCAPED_WORD.sub("", text).translate({0xE000 + index: letter for index, letter in enumerate(ESCAPABLE)})


def _weighted(text: str, weight: float, whole: str) -> Iterator[Piece]:
    """Yield the pieces of ``text``, whose words outside all brackets weigh ``weight``."""
    for part, bracketed in _top_level(text, whole):
        if not bracketed:
            yield Piece(part, weight)
            continue
        inner, own = _own_weight(part, whole)
        yield from _weighted(inner, weight * EMPHASIS if own is None else own, whole)


def _top_level(text: str, whole: str) -> Iterator[tuple[str, bool]]:
    """Yield what lies outside brackets and what inside the outermost ones, in order."""
    depth, start = 0, 0
    for index, letter in enumerate(text):
        if letter == "(":
            if depth == 0 and index > start:
                yield text[start:index], False
            start = index + 1 if depth == 0 else start
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                yield text[start:index], True
                start = index + 1
        if depth < 0:
            break
    if depth != 0:
        raise ValueError(f"the brackets of the prompt {whole[:60]!r} are not balanced; for a literal bracket, write \\( or \\)")
    if start < len(text):
        yield text[start:], False


def _own_weight(inner: str, whole: str) -> tuple[str, float | None]:
    """Return (words, number) of `words:number`; None where no number stands behind the last colon."""
    words, colon, number = inner.rpartition(":")
    try:
        weight = float(number)
    except ValueError:
        return inner, None
    if not colon or not words:
        return inner, None
    if not math.isfinite(weight) or abs(weight) > MOST_WEIGHT:
        raise ValueError(
            f"the weight {number.strip()[:20]!r} in the prompt {whole[:60]!r} is not between -{MOST_WEIGHT:g} and {MOST_WEIGHT:g}"
        )
    return words, weight
