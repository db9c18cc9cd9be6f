"""What the audit says: one remark, with its counts, its rule and what one may do; and the facts that the checks read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from loralab.data.tags import says, split_tags
from loralab.generators.example import Example
from loralab.measure.picture import Picture
from loralab.spec.datasets import CaptionSpec

#: no remark rests on fewer pictures
LEAST_PICTURES = 2


@dataclass(frozen=True)
class Remark:
    """One thing found: in ``n`` of ``of`` pictures, by which rule, and what one may do; ``pictures`` are their indices."""

    kind: str
    says: str
    n: int
    of: int
    do: str
    rule: str
    pictures: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """A training picture as the checks see it: its example, its folder's options, how often an epoch shows it."""

    example: Example
    folder: str
    options: CaptionSpec
    picture: Picture
    showings: int

    @property
    def caption(self) -> str:
        """The caption as it is written, with what the options put round it, before anything is drawn."""
        parts = (self.options.caption_prefix, self.example.caption, self.options.caption_suffix)
        text = " ".join(part for part in parts if part)
        return text if not self.options.trigger or says(text, self.options.trigger) else f"{self.options.trigger}, {text}"

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The tags in order, as written."""
        return tuple(split_tags(self.caption.replace("|||", ","), self.options.caption_separator))


def indices(found: Sequence[bool]) -> tuple[int, ...]:
    """Return where ``found`` is true."""
    return tuple(index for index, true in enumerate(found) if true)
