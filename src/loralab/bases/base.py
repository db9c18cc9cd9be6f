"""A frozen pipeline: its parts by name, and what the work must know of it whatever its family; what is asked of it stands in `asking`."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Base:
    """A text-to-image pipeline whose weights nobody changes; ``family`` names its row in :mod:`loralab.bases.family`."""

    name: str
    family: str
    parts: Mapping[str, Any]  # denoiser, vae, text encoders and tokenizers, by the names that the family gives them
    scheduler_config: dict[str, Any]
    fingerprint: str  # sha256 (hex) over every weight and configuration file, and what the study changed of them
    size_px: int
    latent_shape: tuple[int, int, int]  # (C, h, w)
    device: torch.device
    dtype: torch.dtype  # of denoiser and text encoders; the VAE stays float32
    weights: Path | None = None  # the one file that holds the denoiser: its own, or a whole checkpoint

    @property
    def models(self) -> dict[str, torch.nn.Module]:
        """The parts that have weights."""
        return {name: part for name, part in self.parts.items() if isinstance(part, torch.nn.Module)}

    @property
    def vae(self) -> Any:
        """What makes pictures of latents, in every family."""
        return self.parts["vae"]

    # by name, for those who know the family: the trunk asks the family instead
    unet = property(lambda self: self.parts["unet"])
    text_encoder = property(lambda self: self.parts["text_encoder"])
    text_encoder_2 = property(lambda self: self.parts.get("text_encoder_2"))
    tokenizer = property(lambda self: self.parts["tokenizer"])

    def with_parts(self, **parts: Any) -> Base:
        """Return the base with other parts in place of those of the same names."""
        return replace(self, parts={**self.parts, **parts})

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: transformers leaves hooks in a text encoder that was asked for its hidden states, and no hook is pickled."""
        bare = {name: _without_hooks(part) if _is_hooked(part) else part for name, part in self.parts.items()}
        return self.__dict__ | {"parts": bare}


def _is_hooked(part: Any) -> bool:
    """Whether transformers has hooked into a part; diffusers' parts are never touched here."""
    return isinstance(part, torch.nn.Module) and type(part).__module__.startswith("transformers.")


def _without_hooks(encoder: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a text encoder with the same tensors, as if it had never been asked for its hidden states."""
    tensors = itertools.chain(encoder.parameters(), encoder.buffers())
    bare = copy.deepcopy(encoder, {id(tensor): tensor for tensor in tensors})
    for module in bare.modules():
        module._forward_hooks.clear()
        module.__dict__.pop("_output_capturing_hooks_installed", None)
    return bare
