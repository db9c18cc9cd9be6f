"""What a user reads is plain English: phrases that were once there, and words for which there is another, do not come back.

Texts are every string of the package that is no docstring (the command line's docstrings are its help), the pages' templates, and the
documentation; contracts, decisions and the log speak to contributors.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src" / "loralab"
FOR_CONTRIBUTORS = {"contracts.md", "decisions.md", "decisions-petri.md", "log.md"}
SPACE = r"\s+"

#: what is not written -> what is written instead, and a sentence that must be caught
BANNED: dict[str, tuple[str, str]] = {
    r"come to lie": ("is, are", "The pictures come to lie in the lab."),
    r"foretold": ("estimated, expected", "foretold from its first parts"),
    r"whoever is|whole or absent": ("even if ... is", "whole or absent, whoever is killed"),
    r"\b\w+ run of this question|attempt at this question": ("third version of this study", "third run of this question"),
    r"\bretrained\b": ("16 trainings", "retrained 16 times"),
    r"it is not so that|what is not so\b|no, not so": ("this does not hold", "no, it is not so that grey is learned"),
    r"\bis asked for\b|\bare asked for\b|can be asked for": ("use, give", "A random twin can be asked for."),
    r"in place of": ("instead of", "a mean in place of a sum"),
    r"\banew\b": ("again", "drawn anew at each showing"),
    r"\bnearer\b": ("closer", "its pictures come nearer to mine"),
    r"\bstands? (?:there|twice|beside|in line)\b": ("appears, is given", "a key stands there twice"),
    r"\blies? (?:beside|there|in the lab|inside the file)\b": ("is next to", "the originals lie in the lab"),
    r"\bgoes on (?:from|where|as long)\b|\bgo on (?:from|where|as long)\b": ("continue", "the same command goes on from here"),
    r"\bseeds? a prompt\b|\btrainings? an arm\b|\bone a (?:line|file|seed|study)\b|\b(?:file|study) a (?:seed|training|file)\b": (
        "per", "8 seeds a prompt, one file a training"
    ),
    r"\bheld against\b|\bhold (?:it|them|sizes?) against\b|\bheld side by side\b": ("compared with", "arms are held against the base"),
    r"\bpassed over\b": ("skipped", "hidden.safetensors was passed over"),
    r"\bsurely\b": ("certainly", "surely higher"),
    r"would hardly tell|would probably tell|may tell \(": ("settle it", "8 more trainings would probably tell"),
    r"\brandom adapters?\b": ("random twin", "more than the random adapters"),
    r"can.t be told yet": ("too early to tell, not settled", "whether grey is learned can't be told yet"),
    r"(?<!there )\bis no (?:whole|text|JSON|file|control|dose|kind|checkpoint|picture|sibling|LoRA|part)\b": (
        "is not a", "x is no whole file"
    ),
    r"\bholds? (?:no|the same weights|NULs|NaN|a line break)\b": ("contains", "the folder holds no pictures"),
    r"\bNULs\b": ("NUL characters", "the text holds NULs"),
    r"a pickle, which can run any code": ("arbitrary code", "it is a pickle, which can run any code when it is opened"),
    r"\bwhat stands\b|\bwhat lies\b": ("a noun", "what stands below suggests what to test next"),
    r"\btaken out of (?:it|prompts)\b|is taken out\b": ("removed", "the trigger is taken out"),
}  # fmt: skip


def texts_of(module: Path) -> Iterator[str]:
    """Yield every string of a module that a user may read; values inside of an f-string are left out."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    hidden = set()
    if not module.name.startswith("cli"):
        hidden = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and isinstance(node.body[0], ast.Expr)}
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden | inside:
            yield node.value


def read(page: Path) -> Iterator[str]:
    """Yield the paragraphs of a page, or of a template, without its code."""
    yield from re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL).split("\n\n")


def pages() -> list[Path]:
    docs = [page for page in (ROOT / "docs").rglob("*.md") if page.name not in FOR_CONTRIBUTORS]
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *docs, *PACKAGE.rglob("*.j2")]


def odd(text: str) -> list[str]:
    """Return what is odd in a text, with what to write instead."""
    flat = re.sub(r"\s+", " ", text)
    if " " not in flat:  # a name, not a text
        return []
    return [f"{found.group(0)!r}: {instead}" for words, (instead, _) in BANNED.items() if (found := re.search(words, flat))]


@pytest.mark.parametrize("module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_the_package_says_is_plain_english(module: Path) -> None:
    assert [f"{problem} in {text[:120]!r}" for text in texts_of(module) for problem in odd(text)] == []


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_the_pages_say_is_plain_english(page: Path) -> None:
    assert [f"{problem} in {text.strip()[:200]!r}" for text in read(page) for problem in odd(text)] == []


@pytest.mark.parametrize("words", BANNED)
def test_every_phrase_would_be_caught(words: str) -> None:
    instead, caught = BANNED[words]
    assert any(problem.endswith(instead) for problem in odd(caught.replace(" ", "\n", 1)))


def test_strings_are_found_wherever_they_stand(tmp_path: Path) -> None:
    module = tmp_path / "one.py"
    module.write_text(
        '"""A docstring."""\nTEXT = "one" " and two"\n\ndef f(x):\n    """Mine."""\n    return f"three {x} four"\n', encoding="utf-8"
    )
    assert sorted(texts_of(module)) == ["one and two", "three {} four"]
