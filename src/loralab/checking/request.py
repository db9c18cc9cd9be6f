"""What the user of `loralab check` asks for, and people's own settings in the words of their tools; a mistake names its option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from loralab.errors import LabError, Problem
from loralab.spec import LoadSpec, SampleSpec

Spec = TypeVar("Spec", bound=BaseModel)
#: strengths that are drawn besides 1, those that tell most first
STRENGTHS = (0.8, 0.6, 1.2, 0.4)
#: how other tools call a sampler -> sampler, and the schedule that the name brings with it
SAMPLERS: Mapping[str, tuple[str, str | None]] = {
    "dpm++ 2m": ("dpmpp-2m", None),
    "dpm++ 2m karras": ("dpmpp-2m", "karras"),
    "dpmpp-2m-karras": ("dpmpp-2m", "karras"),
    "euler a": ("euler-a", None),
    "euler-ancestral": ("euler-a", None),
    "k-euler": ("euler", None),
    "k-euler-a": ("euler-a", None),
}


@dataclass(frozen=True)
class CheckRequest:
    """The options of one check."""

    paths: tuple[Path, ...]
    base: str = "petri"
    dataset: Path | None = None
    trigger: str | tuple[str, ...] | None = None  # one for all files, or one a file in their order
    embedder: Path | None = None
    minutes: float = 10.0
    seeds: int | None = None
    out: Path | None = None
    order: str = ""  # the files from the first to the last saved, where neither names nor metadata tell
    load: LoadSpec = field(default_factory=lambda: LoadSpec())
    sample: SampleSpec = field(default_factory=lambda: SampleSpec())
    prompts: Path | None = None


def sample_spec(**given: Any) -> SampleSpec:
    """Return how pictures are drawn, as the options say; what is None is left as it is. Raises LabError("spec") that names the option."""
    told = {name: value for name, value in given.items() if value is not None}
    if isinstance(name := told.get("sampler"), str):
        plain = name.strip().lower().replace("_", "-")
        told["sampler"], schedule = SAMPLERS.get(plain, (plain, None))
        if schedule is not None:
            told.setdefault("schedule", schedule)
    if isinstance(name := told.get("schedule"), str):
        told["schedule"] = name.strip().lower().replace("_", "-")
    return _checked(SampleSpec, told)


def load_spec(**given: Any) -> LoadSpec:
    """Return how the base is held, as the options say; raises LabError("spec") that names the option."""
    told = {name: value for name, value in given.items() if value is not None}
    if isinstance(name := told.get("prediction"), str):
        plain = name.strip().lower().replace("-", "_")
        told["prediction"] = {"v": "v_prediction", "v_pred": "v_prediction", "eps": "epsilon"}.get(plain, plain)
    return _checked(LoadSpec, told)


def _checked(model: type[Spec], told: Mapping[str, Any]) -> Spec:
    try:
        return model.model_validate(told)
    except ValidationError as error:
        raise LabError("spec", [_problem(model, dict(each)) for each in error.errors()]) from error


#: a field of the specs -> what its option is called
OPTIONS = {"size_px": "size"}


def _problem(model: type[BaseModel], error: Mapping[str, Any]) -> Problem:
    """Return a mistake in the words of the command line: the option, what was given, what it takes."""
    if not error["loc"]:  # two options that do not go together
        return Problem(str(error["msg"]).removeprefix("Value error, "))
    name = str(error["loc"][0])
    option = f"--{OPTIONS.get(name, name).replace('_', '-')}"
    return Problem(f"{option} {error['input']}", _takes(model, name), where="")


def _takes(model: type[BaseModel], name: str) -> str:
    info = model.model_fields[name]
    choices = [str(value) for part in (info.annotation, *get_args(info.annotation)) for value in get_args(part) if isinstance(value, str)]
    if choices:
        return ", ".join(choices)
    words = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "multiple_of": "a multiple of {}"}
    limits = [(word, getattr(rule, key, None)) for rule in info.metadata for key, word in words.items()]
    return ", ".join(word.format(value) for word, value in limits if value is not None) or (info.description or "another value")
