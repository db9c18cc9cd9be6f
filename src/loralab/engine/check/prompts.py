"""Which prompts a LoRA is tried on: its trigger, the same without it, and prompts that have nothing to do with it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loralab.errors import lab_error

#: a tag on at least this share of the pictures may be a trigger
CONSTANT_SHARE = 0.9
MOST_CAPTIONS = 2
#: a battery for each family of bases: everyday subjects that few training sets are about
UNRELATED: Mapping[str, tuple[str, ...]] = {
    "petri": ("cat, white background", "house", "red circle", "tree, blue background"),
    "other": ("a photo of a cat on a sofa", "a house by a lake", "portrait of an old fisherman", "a bowl of fruit on a table"),
}


@dataclass(frozen=True)
class Trigger:
    """The words that call the LoRA, and how they were found."""

    words: str
    source: str


@dataclass(frozen=True)
class Prompts:
    """What is drawn; ``without[i]`` is ``trigger[i]`` with the trigger taken out."""

    trigger: tuple[str, ...]
    without: tuple[str, ...]
    unrelated: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every prompt once."""
        return tuple(dict.fromkeys([*self.trigger, *self.without, *self.unrelated]))


def tags_of(caption: str) -> list[str]:
    """Return the tags of a caption, split at commas."""
    return [tag.strip() for tag in caption.split(",") if tag.strip()]


def find_trigger(given: str | None, captions: Sequence[str], metadata: Mapping[str, str]) -> Trigger:
    """Return the trigger: as given, else the first tag common to the data set's captions, else to `ss_tag_frequency`.

    Raises LabError("spec") where there is none to be found.
    """
    if given is not None:
        if not given.strip():
            raise lab_error("spec", "an empty trigger", "a word or a phrase of the captions")
        return Trigger(given.strip(), "as given")
    if captions:
        counts: dict[str, int] = {}
        for caption in captions:
            for tag in dict.fromkeys(tags_of(caption)):
                counts[tag] = counts.get(tag, 0) + 1
        if shared := _first_constant(counts, len(captions)):
            return Trigger(shared, f"guessed: it stands in {counts[shared]} of the data set's {len(captions)} captions")
    counts, n_images = tag_frequency(metadata)
    if shared := _first_constant(counts, n_images):
        return Trigger(shared, f"guessed from the file's ss_tag_frequency: {counts[shared]} of {n_images} pictures carry it")
    raise lab_error(
        "spec", "no tag that nearly all training captions share, neither in the data set nor in the file's metadata", "a trigger",
        "name it with --trigger WORD",
    )  # fmt: skip


def tag_frequency(metadata: Mapping[str, str]) -> tuple[dict[str, int], int]:
    """Return (how many pictures carry each tag, how many pictures there were) from kohya's metadata; ({}, 0) where it says nothing."""
    folders = _json_object(metadata.get("ss_tag_frequency", ""))
    counts: dict[str, int] = {}
    for tags in folders.values():
        for tag, n in tags.items() if isinstance(tags, dict) else ():
            if isinstance(n, int) and not isinstance(n, bool) and n > 0:
                counts[tag.strip()] = counts.get(tag.strip(), 0) + n
    dirs = _json_object(metadata.get("ss_dataset_dirs", ""))
    sizes = [entry.get("img_count") for entry in dirs.values() if isinstance(entry, dict)]
    n_images = sum(n for n in sizes if isinstance(n, int))
    return counts, n_images or max(counts.values(), default=0)


def _json_object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text) if len(text) < 1 << 24 else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _first_constant(counts: Mapping[str, int], n_images: int) -> str | None:
    """Return the first tag (captions begin with their trigger, as people write them) that nearly all pictures carry."""
    most = max(counts.values(), default=0)
    return next((tag for tag, n in counts.items() if tag and n == most and n >= CONSTANT_SHARE * n_images), None)


def without_trigger(prompt: str, trigger: str) -> str:
    """Return the prompt with the trigger taken out, and the commas that it leaves behind."""
    bare = re.sub(rf"(?<!\w){re.escape(trigger)}(?!\w)", "", prompt, flags=re.IGNORECASE)
    return ", ".join(" ".join(tag.split()) for tag in bare.split(",") if tag.strip())


def make_prompts(trigger: str, captions: Sequence[str], family: str) -> Prompts:
    """Return the prompts: the trigger alone, two captions that say more, and those of the battery that share no word with them."""
    longer = sorted({caption for caption in captions if trigger in caption and caption != trigger}, key=lambda text: (len(text), text))
    chosen = [longer[len(longer) // 2], longer[-1]] if longer else []
    triggered = tuple(dict.fromkeys([trigger, *chosen[:MOST_CAPTIONS]]))
    own_words = {word for prompt in triggered for word in re.findall(r"\w+", prompt.lower())}
    battery = UNRELATED.get(family, UNRELATED["other"])
    apart = tuple(
        prompt for prompt in battery if not own_words & (set(re.findall(r"\w+", prompt.lower())) - {"a", "of", "on", "by", "background"})
    )
    return Prompts(triggered, tuple(without_trigger(prompt, trigger) for prompt in triggered), apart or battery)
