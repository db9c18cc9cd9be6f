"""A study asked once more in another way: its text in; the text for another base, or with another word, set and dose, out.

The text is changed, not the study that was read from it, so that a lab keeps exactly what was asked.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from loralab.errors import lab_error
from loralab.spec.cells import CELL_KEYS
from loralab.spec.models import NAME
from loralab.spec.tree import parse_yaml

TWICE = "-twice"
#: parts of a study whose texts name words, colours and shapes; arms keep their own names
REPLACED = ("data", "sample", "arms", "experiments")
#: keys whose texts are names or paths
NAMED = frozenset({"arm", "data", "control", "adapters", "base", "folder", "generate", "images_of", "effect"})
MOST_NAME = 41


def variant_text(text: str, name: str, *, base: str | None = None, twice: bool = False) -> str:
    """Return the study's text for ``base``, or as its `twice:` changes it; under a name of its own, so that a lab keeps both.

    ``name`` is what messages call the file. Raises LabError("spec") where the study has no `twice:`.
    """
    if base is None and not twice:
        return text
    tree, problems = parse_yaml(text, name)
    if problems or not isinstance(tree.get("study"), str):
        return text  # whoever reads it next says what is wrong
    if twice:
        _ask_twice(tree, name)
    if base is not None:
        tree["base"] = base
        tree["study"] = named_after(str(tree["study"]), f"-on-{slug(base)}")
    out, yaml = io.StringIO(), YAML(typ="rt")
    yaml.width, yaml.preserve_quotes = 10_000, True
    yaml.dump(tree, out)
    return out.getvalue()


def named_after(study: str, ending: str) -> str:
    """Return a study's name with an ending, cut so that it stays a valid name."""
    name = study[: MOST_NAME - len(ending)].rstrip("-") + ending
    return name if NAME.match(name) else study


def slug(path: str) -> str:
    """Return the last part of a path as it may appear in a study's name."""
    last = re.sub(r"\.safetensors$", "", re.split(r"[\\/]", path.rstrip("\\/"))[-1].lower())
    return re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:16].strip("-") or "base"


def _ask_twice(tree: Any, name: str) -> None:
    told = tree.get("twice")
    if not isinstance(told, Mapping) or not isinstance(told.get("words"), Mapping):
        do = "add `twice: {words: {old: new}}` to the study"
        raise lab_error("spec", f"{name} does not say how to ask it a second time", "`twice:` with other words", do)
    words = {str(old): str(new) for old, new in told["words"].items()}
    pattern = re.compile("|".join(rf"(?<![\w-]){re.escape(old)}(?![\w-])" for old in sorted(words, key=len, reverse=True)))
    for part in REPLACED:
        if part in tree:
            tree[part] = _replaced(tree[part], pattern, words)
    tree["train"] = {**(tree.get("train") or {}), **(told.get("train") or {})}
    tree["study"] = named_after(str(tree["study"]), TWICE)
    del tree["twice"]


def _replaced(value: Any, pattern: re.Pattern[str], words: Mapping[str, str], key: str = "") -> Any:
    """Return ``value`` with whole words replaced in its texts, all at once, so that two words may change places; names stay."""
    if isinstance(value, Mapping):
        return {name: _replaced(item, pattern, words, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, pattern, words, key) for item in value]
    if not isinstance(value, str) or key in NAMED:
        return value
    arm, at, prompt = value.partition("@") if key in CELL_KEYS else ("", "", value)
    return arm + at + pattern.sub(lambda found: words[found[0]], prompt)
