"""What a LoRA file's metadata say of its trigger: words that a tool wrote down, and how many training pictures carry each tag.

The names are those of kohya's sd-scripts (`train_network.py`: ss_tag_frequency, ss_dataset_dirs, ss_reg_dataset_dirs, ss_datasets), of
the ModelSpec standard, and of sites and tools that add trained words.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loralab.data.tags import split_tags

MOST_JSON, MOST_STATED = 1 << 24, 1 << 12
#: keys that state a trigger, without what stands before them (ss_, modelspec.), small, their blanks as underscores
STATED = frozenset((
    "trigger_phrase", "trigger", "triggers", "trigger_word", "trigger_words", "triggerword", "triggerwords", "trained_word",
    "trained_words", "trainedwords", "activation_text", "activation_word", "activation_words", "activation_tags", "instance_prompt",
))  # fmt: skip
PREFIXES = ("ss_", "modelspec.", "ot_", "loralab.")


@dataclass(frozen=True)
class FolderTags:
    """A training folder's tags with their counts, and how many pictures it holds."""

    name: str
    tags: Mapping[str, int]
    n_pictures: int


@dataclass(frozen=True)
class Votes:
    """The training folders; ``counted`` is whether the file says how many pictures they hold; ``says`` names the evidence."""

    folders: tuple[FolderTags, ...]
    counted: bool
    contradiction: str
    says: str


def stated_in(metadata: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    """Return (key, words) of the first key that states a trigger: a text, tags with commas, or a JSON list; None without one."""
    for key, value in metadata.items():
        name = key.lower().replace(" ", "_")
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name in STATED and len(value) <= MOST_STATED and (words := tuple(dict.fromkeys(_stated_words(value)))):
            return key, words
    return None


def _stated_words(value: str) -> Iterator[str]:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = value
    listed = parsed if isinstance(parsed, list) else [value if isinstance(parsed, int | float) else parsed]
    for text in (each for each in listed if isinstance(each, str)):
        for tag in split_tags(" ".join(text.split())):
            if tag.isprintable() and any(letter.isalnum() for letter in tag):
                yield tag


def count_metadata(metadata: Mapping[str, str]) -> Votes:
    """Return what the pictures of the training folders carry; regularisation folders do not vote, nor do counts that cannot be.

    Where no tags were counted, the folders' own names vote: kohya's trainer takes them for captions.
    """
    dirs = _training_dirs(metadata)
    reg = _reg_names(metadata)
    told: list[str] = []
    folders = tuple(_folders(_json_object(metadata.get("ss_tag_frequency", "")), dirs, reg, told))
    if folders:
        says = "{n} of {of} pictures have it, according to the file's ss_tag_frequency"
        return Votes(folders, bool(dirs), _sentence(told), says if dirs else says + ", which does not say how many pictures there were")
    named = tuple(FolderTags(name, {words: 1}, 1) for name in dirs if (words := _name_behind_repeats(name)))
    return Votes(named, False, _sentence(told), "it is the name of {n} of {of} training folders")


def _sentence(told: list[str]) -> str:
    return f"the metadata contradicts itself: {'; '.join(told[:3])}" if told else ""


def _folders(frequency: Mapping[str, Any], dirs: Mapping[str, list[int]], reg: frozenset[str], told: list[str]) -> Iterator[FolderTags]:
    for name, tags in frequency.items():
        counts = {tag.strip(): n for tag, n in tags.items() if tag.strip() and _is_count(n)} if isinstance(tags, dict) else {}
        if not counts or (dirs and name not in dirs) or (not dirs and name in reg):
            continue
        n_pictures = _pictures(dirs[name], max(counts.values())) if dirs else max(counts.values())
        beyond = [tag for tag, n in counts.items() if n > n_pictures]
        told += [f"{counts[tag]} of the {n_pictures} pictures in {name!r} have {tag!r}" for tag in beyond]
        yield FolderTags(name, {tag: n for tag, n in counts.items() if n <= n_pictures}, n_pictures)


def _pictures(counts: list[int], most: int) -> int:
    """Return how many pictures a folder name stands for: that of as many folders of the name as its commonest tag needs."""
    total = 0
    for count in counts:
        total += count
        if most <= total:
            return total
    return counts[0]  # a contradiction: the tags that exceed it are dropped


def _training_dirs(metadata: Mapping[str, str]) -> dict[str, list[int]]:
    """Return the pictures in each training folder; sd-scripts writes a folder's second appearance as `name (2)`."""
    found: dict[str, list[int]] = {}
    for name, entry in _json_object(metadata.get("ss_dataset_dirs", "")).items():
        if isinstance(entry, dict) and _is_count(entry.get("img_count")):
            base, _, number = name.rpartition(" (")
            again = base in found and number.rstrip(")").isdigit()
            found.setdefault(base if again else name, []).append(entry["img_count"])
    if not found:
        for subset in _subsets(metadata):
            if not subset.get("is_reg") and isinstance(subset.get("image_dir"), str) and _is_count(subset.get("img_count")):
                found.setdefault(subset["image_dir"], []).append(subset["img_count"])
    return found


def _reg_names(metadata: Mapping[str, str]) -> frozenset[str]:
    listed = _json_object(metadata.get("ss_reg_dataset_dirs", ""))
    return frozenset(listed) | {str(subset.get("image_dir")) for subset in _subsets(metadata) if subset.get("is_reg")}


def _subsets(metadata: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    datasets = _json(metadata.get("ss_datasets", ""))
    for dataset in datasets if isinstance(datasets, list) else ():
        subsets = dataset.get("subsets") if isinstance(dataset, dict) else None
        yield from (subset for subset in (subsets if isinstance(subsets, list) else ()) if isinstance(subset, dict))


def _name_behind_repeats(name: str) -> str:
    repeats, _, words = name.partition("_")
    return words.strip() if repeats.isdigit() else ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _json(text: str) -> Any:
    try:
        return json.loads(text) if len(text) < MOST_JSON else None
    except (ValueError, RecursionError):
        return None


def _json_object(text: str) -> dict[str, Any]:
    found = _json(text)
    return found if isinstance(found, dict) else {}
