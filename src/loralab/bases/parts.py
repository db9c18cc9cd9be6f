"""What a part of a pipeline is: its class, its place in a checkpoint of one file, and how it is made from what lies there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

Shapes = Mapping[str, tuple[int, ...]]
State = dict[str, torch.Tensor]
#: a model and the tensors of a file in, the tensors under the model's own names out
Convert = Callable[[Any, State], State]


#: the names of text encoders among a base's parts begin so, in every family: layers' paths tell by it which strength they obey
TEXT = "text_encoder"


def is_text(path: str) -> bool:
    """Return whether a layer's path, or a part's name, leads into a text encoder."""
    return path.startswith(TEXT)


@dataclass(frozen=True)
class InFile:
    """A model inside a checkpoint: what its tensors' names begin with, its configuration by their shapes, the model of a configuration."""

    prefix: str
    config: Callable[[Shapes], dict[str, Any]]
    make: Callable[[Mapping[str, Any]], tuple[torch.nn.Module, Convert]]


@dataclass(frozen=True)
class PartSpec:
    """A part by its role; ``called`` in sentences. A tokenizer that a checkpoint does not bring is made by ``blank``."""

    kind: Any  # the class that reads it from a diffusers folder; nothing else is ever instantiated from a file's word
    role: Literal["denoiser", "vae", "text encoder", "tokenizer"]
    called: str = ""
    in_file: InFile | None = None
    blank: Callable[[], Any] | None = None


@dataclass(frozen=True)
class FileWords:
    """What adapter files and other tools say of a family: sd-scripts' version of the base, modelspec's architecture, sd-scripts' script."""

    version: str
    architecture: str
    trainer_script: str
    trainer_text_width: int  # how wide a text is in the only shape that sd-scripts builds, the published one
