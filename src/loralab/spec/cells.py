"""A cell of the image grid: which arm, at which prompt, at which strength and step; parsed from `arm @ "prompt", strength 0.5`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticKnownError, core_schema

from loralab.spec.sources import BASE, Who, is_base, spelled, whose

GRAMMAR = 'ARM @ "PROMPT", optionally with `, strength 0.5` and `, step 32` after it'
#: what of a study file names cells
CELL_KEYS = frozenset({"cell", "versus", "show"})

_CELL = re.compile(
    r"""^\s*(?:(?P<kind>arm|the)\s+)?(?P<arm>[a-z0-9][a-z0-9-]{0,40})\s*@\s*"(?P<prompt>[^"\n]*)"
        (?:\s*,\s*strength\s+(?P<strength>\d+(?:\.\d+)?))?
        (?:\s*,\s*step\s+(?P<step>\d+))?\s*$""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Cell:
    """One cell: every image of an arm (by its name), or of a base, at a prompt; ``step`` None is the end of training."""

    arm: Who
    prompt: str
    strength: float = 1.0
    step: int | None = None

    def __str__(self) -> str:
        text = f'{spelled(self.arm)} @ "{self.prompt}"'
        if self.strength != 1.0:
            text += f", strength {self.strength:g}"
        return text if self.step is None else f"{text}, step {self.step}"

    @property
    def is_base(self) -> bool:
        """Whether its pictures are a base's own."""
        return is_base(self.arm)

    def on(self, arm: Who) -> Cell:
        """Return the same cell of another arm; a base has neither strength nor step."""
        return Cell(arm, self.prompt) if is_base(arm) else Cell(arm, self.prompt, self.strength, self.step)

    def at(self, prompt: str) -> Cell:
        """Return the same cell at another prompt."""
        return Cell(self.arm, prompt, self.strength, self.step)

    def to_json(self) -> dict[str, Any]:
        """Return the cell as keys and hashes hold it."""
        return {"arm": spelled(self.arm), "prompt": self.prompt, "strength": self.strength, "step": self.step}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Take a cell or its text; write it as `to_json` does."""
        written = core_schema.plain_serializer_function_ser_schema(cls.to_json, when_used="json")
        return core_schema.no_info_plain_validator_function(_as_cell, serialization=written)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Callable[[Any], Any]) -> dict[str, str]:
        """Say what a study file writes."""
        return {"type": "string", "description": GRAMMAR}


def _as_cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if isinstance(value, str):
        return parse_cell(value)
    if isinstance(value, dict) and value.keys() <= {"arm", "prompt", "strength", "step"} and isinstance(value.get("arm"), str):
        return Cell(**{**value, "arm": whose(value["arm"])})
    raise PydanticKnownError("dataclass_type", {"class_name": "Cell"})


def parse_cell(text: str) -> Cell:
    """Return the cell that ``text`` names; raises ValueError with the grammar.

    `base` is the study's base; an arm of that name is `arm base`, and where a study has one, its file may leave `arm` out (the base is
    `the base` there).
    """
    match = _CELL.match(text)
    if match is None or (match["kind"] == "the" and match["arm"] != "base"):
        raise ValueError(f"{text!r} is not a cell; write {GRAMMAR}")
    strength = float(match["strength"]) if match["strength"] else 1.0
    arm: Who = BASE if match["arm"] == "base" and match["kind"] != "arm" else match["arm"]
    return Cell(arm, match["prompt"], strength, int(match["step"]) if match["step"] else None)


def with_base_as_arm(experiments: Any, key: str = "") -> Any:
    """Return a study file's experiments, as they were read, in which `base @ ...` is the arm that is called `base`."""
    if isinstance(experiments, dict):
        return {name: with_base_as_arm(value, str(name)) for name, value in experiments.items()}
    if isinstance(experiments, list | tuple):
        return [with_base_as_arm(value, key) for value in experiments]
    if isinstance(experiments, str) and key in CELL_KEYS and re.match(r"\s*base\s*@", experiments):
        return f"arm {experiments.strip()}"
    return experiments
