"""What the page asks of the bench: JSON in, checked requests out; every mistake is told in the words of the page, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator

from loralab.errors import LabError, Problem
from loralab.infer.words import minus
from loralab.spec import SampleSpec
from loralab.spec.models import MAX_STRENGTH
from loralab.strict import Strict

MOST_CHOSEN, MOST_STRENGTHS, MOST_SEEDS, MOST_PICTURES, MOST_LETTERS = 8, 8, 32, 96, 2000
Asked = TypeVar("Asked", bound=Strict)


class Chosen(Strict):
    """A LoRA: a training of a study's arm in the lab, or a file of this machine."""

    study: str = Field("", max_length=80)
    arm: str = Field("", max_length=80)
    training: int = Field(0, ge=0, le=10_000)
    step: int | None = Field(None, ge=1)
    file: str = Field("", max_length=MOST_LETTERS)

    @property
    def label(self) -> str:
        """What the page calls it."""
        if self.file:
            return self.file.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".safetensors")
        at = "" if self.step is None else f", step {self.step}"
        return f"{self.study}/{self.arm}, training {self.training}{at}"


class DrawAsked(Strict):
    """Pictures to draw: the base and each chosen LoRA at each strength, all at the same seeds."""

    prompt: str = Field("", max_length=MOST_LETTERS)
    negative: str = Field("", max_length=MOST_LETTERS)
    chosen: tuple[Chosen, ...] = Field((), max_length=MOST_CHOSEN)
    strengths: tuple[float, ...] = Field((1.0,), min_length=1, max_length=MOST_STRENGTHS)
    seeds: tuple[int, ...] = Field((0, 1, 2, 3), min_length=1, max_length=MOST_SEEDS)
    steps: int = Field(12, ge=1, le=200)
    guidance: float = Field(5.0, ge=1, le=50)
    sampler: Literal["dpmpp-2m", "ddim", "euler", "euler-a"] = "dpmpp-2m"

    @field_validator("strengths")
    @classmethod
    def _strengths(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if odd := [value for value in values if not 0 < value <= MAX_STRENGTH]:
            raise ValueError(
                f"{minus(f'{odd[0]:g}')} is not a valid strength; use more than 0 and at most {MAX_STRENGTH:g}; the base is always drawn"
            )
        return tuple(dict.fromkeys(values))

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if odd := [value for value in values if not 0 <= value < 2**32]:
            raise ValueError(f"{odd[0]} is not a valid seed; use a whole number from 0 to {2**32 - 1}")
        return tuple(dict.fromkeys(values))

    @property
    def n_pictures(self) -> int:
        """How many pictures are shown."""
        return len(self.seeds) * (1 + len(self.chosen) * len(self.strengths))

    @property
    def sample(self) -> SampleSpec:
        """How they are drawn."""
        return SampleSpec(steps=self.steps, guidance=self.guidance, sampler=self.sampler, negative=self.negative)


class ClaimAsked(Strict):
    """What is to be found out: a sentence, an instrument and what it is expected to say, against the base at the same prompt."""

    say: str = Field(min_length=1, max_length=300)
    measure: str = Field(min_length=1, max_length=80)
    expect: Literal["higher", "lower", "no change"]


class KeepAsked(Strict):
    """A picture to keep in a study file: to look at, or with a claim."""

    chosen: Chosen
    prompt: str = Field(max_length=MOST_LETTERS, pattern=r'^[^"\r\n]*$')
    strength: float = Field(1.0, gt=0, le=MAX_STRENGTH)
    claim: ClaimAsked | None = None
    dataset: str = Field("", max_length=MOST_LETTERS)


#: a field -> what the page calls it
WORDS: Mapping[str, str] = {"chosen": "LoRAs", "prompt": "prompt", "say": "the claim in words", "measure": "instrument"}


def read_asked(model: type[Asked], told: object) -> Asked:
    """Return the request; raises LabError("spec") with everything that is wrong with it."""
    try:
        asked = model.model_validate(told)
    except ValidationError as error:
        raise LabError("spec", [_problem(dict(each)) for each in error.errors(include_url=False)]) from error
    if isinstance(asked, DrawAsked) and asked.n_pictures > MOST_PICTURES:
        do = "fewer seeds, strengths or LoRAs"
        raise LabError("spec", Problem(f"{asked.n_pictures} pictures at a time", f"at most {MOST_PICTURES}", do))
    return asked


def _problem(error: Mapping[str, Any]) -> Problem:
    names = [str(part) for part in error["loc"] if isinstance(part, str)]
    where = WORDS.get(names[-1], names[-1]) if names else "the request"
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(f"{where}: {message[:1].lower()}{message[1:]}")
