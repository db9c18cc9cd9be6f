"""petri, the small Stable Diffusion base that ships inside the package: out goes its folder."""

from __future__ import annotations

from pathlib import Path


def petri_folder() -> Path:
    """Return the folder of the shipped weights (diffusers layout, fp16 safetensors), for any diffusers pipeline."""
    return Path(__file__).parent / "weights"
