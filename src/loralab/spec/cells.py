"""A cell of the image grid: which arm, at which prompt, at which strength and step; parsed from `arm @ "prompt", strength 0.5`."""

from __future__ import annotations

import re
from dataclasses import dataclass

BASE_ARM = "base"
#: what the pictures of a base that only some arms have are called; no arm can be called that
OTHER_BASE = "base of "
GRAMMAR = 'ARM @ "PROMPT" with, if wanted, `, strength 0.5` and `, step 32` behind it'

_CELL = re.compile(
    r"""^\s*(?P<arm>[a-z0-9][a-z0-9-]{0,40})\s*@\s*"(?P<prompt>[^"\n]*)"
        (?:\s*,\s*strength\s+(?P<strength>\d+(?:\.\d+)?))?
        (?:\s*,\s*step\s+(?P<step>\d+))?\s*$""",
    re.VERBOSE,
)


@dataclass(frozen=True, order=True)
class Cell:
    """One cell: every image of an arm at a prompt; ``step`` None is the end of training."""

    arm: str
    prompt: str
    strength: float = 1.0
    step: int | None = None

    def __str__(self) -> str:
        text = f'{self.arm} @ "{self.prompt}"'
        if self.strength != 1.0:
            text += f", strength {self.strength:g}"
        return text if self.step is None else f"{text}, step {self.step}"

    def on(self, arm: str) -> Cell:
        """Return the same cell of another arm; the base has neither strength nor step."""
        return Cell(arm, self.prompt) if is_base(arm) else Cell(arm, self.prompt, self.strength, self.step)

    def at(self, prompt: str) -> Cell:
        """Return the same cell at another prompt."""
        return Cell(self.arm, prompt, self.strength, self.step)


def is_base(arm: str) -> bool:
    """Return whether a cell's first word stands for a base: the study's (`base`), or one that an arm has of its own (`base of ARM`)."""
    return arm == BASE_ARM or arm.startswith(OTHER_BASE)


def parse_cell(text: str) -> Cell:
    """Return the cell that ``text`` names; raises ValueError with the grammar."""
    match = _CELL.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a cell; write {GRAMMAR}")
    strength = float(match["strength"]) if match["strength"] else 1.0
    return Cell(match["arm"], match["prompt"], strength, int(match["step"]) if match["step"] else None)
