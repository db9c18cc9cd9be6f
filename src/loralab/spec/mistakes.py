"""The words for what is wrong in a study file: what the models refuse in; problems with lines, and names for indices, out."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedBase

from loralab.errors import Problem
from loralab.spec import models
from loralab.spec.cells import GRAMMAR
from loralab.spec.data_kinds import KINDS
from loralab.spec.tree import Location, where

#: a part of the file whose entries have names -> what one entry is called
ENTRIES = {"data": "data", "arms": "arm", "experiments": "experiment", "presets": "preset"}
#: lists of entries -> what one is called, and the key by which it is known
LISTED = {"claims": ("claim", "say"), "curves": ("curve", "say"), "show": ("shown cell", ""), "stack": ("LoRA", "")}
#: what other trainers and tools call a key
ELSEWHERE = {
    "learning_rate": "lr", "unet_lr": "lr", "network_dim": "rank", "dim": "rank", "network_alpha": "alpha", "batch_size": "batch",
    "train_batch_size": "batch", "max_train_steps": "steps", "lr_warmup_steps": "warmup", "lr_scheduler": "schedule", "cfg": "guidance",
    "cfg_scale": "guidance", "guidance_scale": "guidance", "negative_prompt": "negative", "scheduler": "schedule", "path": "folder",
    "image_dir": "folder", "caption": "captions", "instrument": "measure", "claim": "say", "name": "study", "model": "base",
    "checkpoint": "base", "mixed_precision": "precision", "weight": "strength", "lora": "adapters",
    "dora_wd": "dora", "use_dora": "dora", "rs_lora": "rslora", "use_rslora": "rslora", "network_module": "algo", "factor": "lokr_factor",
    "full_matrix": "lokr_full_matrix", "decompose_both": "lokr_decompose_both", "init_lora_weights": "start", "block_dims": "block_ranks",
    "down_lr_weight": "block_lrs", "mid_lr_weight": "block_lrs", "up_lr_weight": "block_lrs", "dropout": "network_dropout",
}  # fmt: skip
#: the checker's kind of error -> what was expected, filled from its context
EXPECTED: Mapping[str, str] = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number", "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false", "string_type": "text, in quotes if it looks like a number or a date", "none_required": "nothing",
    "greater_than_equal": "{ge:g} or more", "greater_than": "more than {gt:g}", "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
    "multiple_of": "a multiple of {multiple_of:g}", "literal_error": "{expected}", "too_short": "at least {min_length} of them",
    "string_too_short": "some text", "string_pattern_mismatch": "cpu, cuda or cuda:N", "tuple_type": "a list, such as [a, b]",
    "list_type": "a list, such as [a, b]", "dict_type": "`NAME: {{...}}` pairs, not a list or a single value",
    "model_type": "`key: value` pairs", "model_attributes_type": "`key: value` pairs", "dataclass_type": f"a cell in quotes: {GRAMMAR}",
    "too_long": "at most {max_length} of them",
}  # fmt: skip


def problem_of(found: Sequence[ErrorDetails], tree: CommentedBase, location: Location, name: str) -> Problem:
    """Return what is wrong at one place of the file; several errors there are the choices of one value, none of which it is."""
    first, at = found[0], where(tree, location, name)
    if first["type"] == "extra_forbidden":
        return unknown_key(tree, location, known_keys(first["loc"][:-1]), name)
    if first["type"] == "missing":
        return Problem(f"{place_words(tree, location[:-1])}: `{location[-1]}` is missing", _meaning(first["loc"]), where=at)
    if location[:1] == ("presets",) and len(location) == 2 and first["type"] == "literal_error":
        return Problem(f"unknown preset {location[1]!r}", _expected(first), where=at)
    own = next((item for item in found if item["type"] in ("value_error", "data_kind")), None)
    place = place_words(tree, location)
    if own is not None:
        return Problem(f"{place}: {own['msg'].removeprefix('Value error, ')}", where=at)
    expected = " or ".join(dict.fromkeys(_expected(item) for item in found))
    return Problem(f"{place}: {_shown(first['input'])}", expected, _nearest(first), at)


def unknown_key(tree: CommentedBase, location: Location, known: Sequence[str], name: str) -> Problem:
    """Return the problem that a key is none of ``known``, with the one that was probably meant."""
    key = str(location[-1])
    near = [ELSEWHERE[key.lower()]] if ELSEWHERE.get(key.lower()) in known else difflib.get_close_matches(key.lower(), known, n=1)
    do = f"did you mean `{near[0]}`?" if near else "check the spelling and the indentation"
    if key.startswith(("step ", "strength ")) and key not in known:  # a cell whose comma ended it
        do = f"put the whole cell in quotes: cell: 'ARM @ \"PROMPT\", {key}'"
    if key.isdecimal():  # steps: 1,000
        do = "a comma ends an entry: write a number without it (1000; 0.5)"
    found = f"{place_words(tree, location[:-1])}: unknown key {key!r}"
    return Problem(found, f"one of {', '.join(known)}" if known else "", do, where(tree, location, name))


def place_words(tree: Any, location: Location) -> str:
    """Return a place of the file in words: "experiment grey, claim 'grey is learned', `cell`"."""
    if not location:
        return "the study"
    said, rest, node = [], list(location), tree
    if location[0] in ENTRIES and len(location) > 1:
        said, rest = [f"{ENTRIES[str(location[0])]} {location[1]}"], rest[2:]
        node = _inside(_inside(tree, location[0]), location[1])
    keys: list[str] = []
    while rest:
        part = rest.pop(0)
        node = _inside(node, part)
        if part in LISTED and rest and isinstance(rest[0], int):
            node = _inside(node, rest[0])
            said.append(_entry(str(part), rest.pop(0), node))
        else:
            keys.append(f"[{part + 1}]" if isinstance(part, int) else str(part))
    path = ".".join(keys).replace(".[", "[")
    return ", ".join([*said, f"`{path}`"] if path else said)


def _entry(part: str, index: Any, node: Any) -> str:
    word, key = LISTED[part]
    said = _inside(node, key) if key else None
    return f"{word} {str(said)!r}" if isinstance(said, str) and said else f"{word} {index + 1}"


def _inside(node: Any, part: Any) -> Any:
    try:
        return node[part]
    except (KeyError, IndexError, TypeError):
        return None


def _shown(value: Any) -> str:
    """Return what was found, short."""
    if value is None:
        return "nothing is given"
    if isinstance(value, Mapping):
        return "found `key: value` pairs"
    if isinstance(value, list | tuple):
        return "found a list" if value else "found an empty list"
    return f"found {str(value)[:80]!r}" if isinstance(value, str) else f"found {str(value)[:80]}"


def _expected(item: ErrorDetails) -> str:
    context = {key: value if isinstance(value, int | float) else str(value) for key, value in (item.get("ctx") or {}).items()}
    try:
        return EXPECTED[item["type"]].format(**context)
    except (KeyError, ValueError):
        return item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")


def _nearest(item: ErrorDetails) -> str:
    """Return which of the choices was probably meant; advice for numbers that are written as people write them."""
    given = item["input"]
    if item["type"] == "literal_error" and isinstance(given, str):
        choices = [choice.strip(" '") for choice in str((item.get("ctx") or {}).get("expected", "")).replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(given.lower(), choices, n=1)
        return f"did you mean {near[0]!r}?" if near else ""
    if item["type"] in ("float_parsing", "int_parsing") and isinstance(given, str) and "," in given:
        return "write a decimal point, not a comma"
    return ""


def known_keys(parent: Location) -> list[str]:
    """Return the keys that the model at ``parent`` (as the checker names the place, kinds of data included) knows."""
    model = model_at(parent)
    return [] if model is None else list(model.model_fields)


def model_at(location: Location) -> type[BaseModel] | None:
    """Return the model of a place of the file; None where there is none."""
    match location:
        case ("train",) | ("arms" | "presets", _, "train"):
            return models.TrainSpec
        case ("presets", _, "sample"):
            return models.SampleSpec
        case ("data", _, str(kind)) if kind in KINDS:
            return KINDS[kind]
    model: type[BaseModel] | None = models.StudySpec
    for part in location:
        if isinstance(part, str) and model is not None and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation)
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation (a model, or a tuple or a mapping of them) holds."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(inner) for inner in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def _meaning(location: Location) -> str:
    """Return what a missing key is for: the model's own description."""
    model = model_at(location[:-1])
    field = model.model_fields.get(str(location[-1])) if model is not None else None
    return (field.description or "this key") if field is not None else "this key"
