"""The words of a caption or a prompt: split into tags, looked for as whole words, and taken out again."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from loralab.spec.prompts import ESCAPABLE

#: where words were taken out, until what they leave behind is tidied up
GONE = "\x00"
#: what surrounds a gap -> what stays of it: brackets that hold nothing else, then commas, then the blanks
TIDY: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(rf"(?<!\\)\(\s*{GONE}\s*(?::\s*[-+.\d]+\s*)?\)"), lambda _: GONE),
    (re.compile(rf"^\s*{GONE}[\s,]*|[\s,]*{GONE}\s*$"), lambda _: ""),
    (re.compile(rf"\(\s*{GONE}[\s,]*"), lambda _: "("),
    (re.compile(rf"[\s,]*{GONE}\s*(?=[:)])"), lambda _: ""),
    (re.compile(rf",\s*{GONE}\s*,\s*"), lambda _: ", "),
    (re.compile(rf"\s*{GONE}\s*(?=,)"), lambda _: ""),
    (re.compile(rf"\s*{GONE}\s*"), lambda _: " "),
)


def split_tags(caption: str, separator: str = ",") -> list[str]:
    """Return the tags of a caption, without the blanks round them and without empty ones."""
    return [tag.strip() for tag in caption.split(separator) if tag.strip()]


def folded(term: str) -> str:
    """Return a term as it is compared: small letters, single blanks, an underscore read as a blank."""
    return " ".join(term.lower().replace("_", " ").split())


def says(caption: str, words: str) -> bool:
    """Return whether ``words`` stand in ``caption`` as whole words, however capitalised, an underscore read as a blank."""
    pattern = _whole_words(words)
    return pattern is not None and pattern.search(caption) is not None


def without_words(prompt: str, words: str) -> str | None:
    """Return ``prompt`` without ``words``, and without the brackets, weights and commas that held nothing else.

    Words are found as `says` finds them, their brackets also where a prompt escapes them. None where the prompt does not say them.
    """
    pattern = _whole_words(words)
    left, n_found = pattern.subn(GONE, prompt.replace(GONE, "")) if pattern is not None else (prompt, 0)
    if not n_found:
        return None
    while GONE in left:
        left = next(fewer for form, stays in TIDY if (fewer := form.sub(stays, left, count=1)) != left)
    return left.strip(" ,")


def with_words(caption: str, words: str, others: str) -> str:
    """Return ``caption`` with ``others`` wherever it says ``words``, found as `says` finds them; as it is where it does not."""
    pattern = _whole_words(words)
    return caption if pattern is None else pattern.sub(lambda _: others, caption)


@lru_cache(maxsize=4096)
def _whole_words(words: str) -> re.Pattern[str] | None:
    """Return what finds ``words``; None where they are blank."""
    plain = [word for word in re.split(r"[\s_]+", re.sub(rf"\\([{re.escape(ESCAPABLE)}])", r"\1", words)) if word]
    if not plain:
        return None
    text = r"[\s_]+".join("".join(_letter(letter) for letter in word) for word in plain)
    before = r"(?<![^\W_])" if plain[0][0].isalnum() else ""
    behind = r"(?![^\W_])" if plain[-1][-1].isalnum() else ""
    return re.compile(before + text + behind, re.IGNORECASE)


def _letter(letter: str) -> str:
    return rf"\\?{re.escape(letter)}" if letter in ESCAPABLE else re.escape(letter)
