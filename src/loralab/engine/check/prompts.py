"""Which prompts a LoRA is tried on: its trigger, the same without it, and prompts that have nothing to do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loralab.data.tags import says, without_words
from loralab.data.trigger import Trigger, find_trigger

__all__ = ["Prompts", "Trigger", "find_trigger", "make_prompts"]
MOST_CAPTIONS = 2
#: a battery for each family of bases: everyday subjects that few training sets are about
UNRELATED: Mapping[str, tuple[str, ...]] = {
    "petri": ("cat, white background", "house", "red circle", "tree, blue background"),
    "other": ("a photo of a cat on a sofa", "a house by a lake", "portrait of an old fisherman", "a bowl of fruit on a table"),
}


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


def make_prompts(trigger: str, captions: Sequence[str], family: str) -> Prompts:
    """Return the prompts: the trigger alone, two captions that say more, and those of the battery that share no word with them."""
    longer = sorted({caption for caption in captions if says(caption, trigger) and caption != trigger}, key=lambda text: (len(text), text))
    chosen = [longer[len(longer) // 2], longer[-1]] if longer else []
    triggered = tuple(dict.fromkeys([trigger, *chosen[:MOST_CAPTIONS]]))
    own_words = {word for prompt in triggered for word in re.findall(r"\w+", prompt.lower())}
    battery = UNRELATED.get(family, UNRELATED["other"])
    apart = tuple(
        prompt for prompt in battery if not own_words & (set(re.findall(r"\w+", prompt.lower())) - {"a", "of", "on", "by", "background"})
    )
    return Prompts(triggered, tuple(without_words(prompt, trigger) or "" for prompt in triggered), apart or battery)
