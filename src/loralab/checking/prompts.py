"""Which prompts a LoRA is tried on: its trigger, the same without it, and prompts that have nothing to do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loralab.data.tags import says, without_words
from loralab.data.trigger import Trigger, find_trigger
from loralab.errors import lab_error
from loralab.spec.prompts import escape_prompt

__all__ = ["Prompts", "Trigger", "find_trigger", "make_prompts", "read_prompts", "sort_prompts"]
MOST_CAPTIONS = 2
MOST_PROMPTS, MOST_FILE_BYTES = 64, 1 << 20
#: a battery for each family of bases: everyday subjects that few training sets are about
UNRELATED: Mapping[str, tuple[str, ...]] = {
    "petri": ("cat, white background", "house", "red circle", "tree, blue background"),
    "other": ("a photo of a cat on a sofa", "a house by a lake", "portrait of an old fisherman", "a bowl of fruit on a table"),
}
SMALL_WORDS = {"a", "of", "on", "by", "the", "and", "in", "with", "background"}
#: a bracket that a caption escapes
ESCAPED = re.compile(r"(\\[()\[\]{}])")
#: how sd-scripts' prompt files set what is one setting here
TRAINER_OPTION = re.compile(r"(?<!\S)--([a-z]{1,3})(?!\S)")


@dataclass(frozen=True)
class Prompts:
    """What is drawn; ``without[i]`` is ``trigger[i]`` with the trigger taken out, and empty as a whole where no trigger is known."""

    trigger: tuple[str, ...]
    without: tuple[str, ...]
    unrelated: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every prompt once."""
        return tuple(dict.fromkeys([*self.trigger, *self.without, *self.unrelated]))

    def shortened(self, n_captions: int, n_unrelated: int) -> Prompts:
        """Return the trigger alone with at most so many captions, and the first of the unrelated prompts."""
        n = 1 + n_captions
        return Prompts(self.trigger[:n], self.without[:n], self.unrelated[:n_unrelated])


def as_prompt(text: str) -> str:
    """Return a caption or a tag as a prompt that is read letter by letter: `name (series)` weighs nothing, BREAK and AND are words.

    Brackets that a caption escapes, as people write them for their tools, stay as they are.
    """
    return "".join(part if number % 2 else escape_prompt(part) for number, part in enumerate(ESCAPED.split(text)))


def make_prompts(trigger: str, captions: Sequence[str], family: str) -> Prompts:
    """Return the prompts: the trigger alone, two captions that say more, and those of the battery that share no word with them."""
    longer = sorted({caption for caption in captions if says(caption, trigger) and caption != trigger}, key=lambda text: (len(text), text))
    chosen = [longer[len(longer) // 2], longer[-1]] if longer else []
    triggered = tuple(dict.fromkeys([trigger, *chosen[:MOST_CAPTIONS]]))
    without = tuple(as_prompt(without_words(prompt, trigger) or "") for prompt in triggered)
    return Prompts(tuple(map(as_prompt, triggered)), without, unrelated_to(triggered, family))


def unrelated_to(prompts: Sequence[str], family: str) -> tuple[str, ...]:
    """Return the prompts of the family's battery that share no word with ``prompts``; all of them where each shares one."""
    own = {word for prompt in prompts for word in _words(prompt)}
    battery = UNRELATED.get(family, UNRELATED["other"])
    return tuple(prompt for prompt in battery if not own & (_words(prompt) - SMALL_WORDS)) or battery


def _words(prompt: str) -> set[str]:
    return set(re.findall(r"\w+", prompt.lower()))


def read_prompts(path: Path) -> tuple[str, ...]:
    """Return the prompts of a text file, one a line; empty lines and lines that begin with # say nothing.

    Raises LabError("spec") where there is none, more than 64, or a line holds another tool's settings.
    """
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise lab_error("spec", f"{path.name} is larger than a MiB", "a text file of prompts, one per line")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise lab_error("spec", f"--prompts {path}: {why}", "a text file of prompts, one per line") from error
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    told = [(number, line) for number, line in lines if line and not line.startswith("#")]
    for number, line in told:
        if found := TRAINER_OPTION.search(line):
            do = "remove it; --negative, --steps, --guidance, --size and --sampler apply to all prompts"
            raise lab_error("spec", f"--{found[1]} in a prompt", "just the words of a prompt", do, f"{path.name}, line {number}")
    if not 0 < len(told) <= MOST_PROMPTS:
        raise lab_error("spec", f"{path.name} contains {len(told)} prompts", f"1 to {MOST_PROMPTS}, one per line")
    return tuple(dict.fromkeys(line for _, line in told))


def sort_prompts(lines: Sequence[str], trigger: str | None, family: str, of_others: Sequence[str] = ()) -> Prompts:
    """Return people's own prompts: those that say the trigger, the same without it, and the others as unrelated.

    Where no trigger is known every prompt is one of the LoRA's own, and nothing can be said about it without its trigger; where no line
    is left to be unrelated, the battery serves. Lines that say the trigger ``of_others`` are theirs. Raises LabError("spec") where a
    trigger is known and no line says it.
    """
    if trigger is None:
        return Prompts(tuple(lines), (), unrelated_to(lines, family))
    own = tuple(line for line in lines if says(line, trigger))
    if not own:
        do = "add it to at least one prompt, or give another one with --trigger"
        raise lab_error("spec", f"none of the {len(lines)} prompts contains the trigger {trigger!r}", "prompts with it and without it", do)
    others = tuple(line for line in lines if line not in own and not any(says(line, other) for other in of_others))
    return Prompts(own, tuple(without_words(line, trigger) or "" for line in own), others or unrelated_to(own, family))
