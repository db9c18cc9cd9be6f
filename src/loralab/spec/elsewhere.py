"""LoRAs that were trained elsewhere: the pattern of an arm and the study's folder in, the files out, one a replicate, in natural order."""

from __future__ import annotations

import re
from pathlib import Path


def adapter_files(pattern: str, folder: Path) -> list[Path]:
    """Return the files that ``pattern`` names, relative to ``folder``; numbers count as numbers: seed2 stands before seed10.

    Raises ValueError where there is none, or one that is no .safetensors.
    """
    path = Path(pattern)
    root = Path(path.anchor) if path.is_absolute() else folder
    relative = path.relative_to(path.anchor) if path.is_absolute() else path
    found = sorted((file for file in root.glob(str(relative)) if file.is_file()), key=lambda file: natural_key(file.as_posix()))
    if not found:
        raise ValueError(f"no file matches {pattern!r}; write the path of LoRA files relative to the study file, `*` for what differs")
    others = [file.name for file in found if file.suffix != ".safetensors"]
    if others:
        raise ValueError(f"{pattern!r} matches {', '.join(others[:3])}; only .safetensors files are read")
    return found


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return what sorts ``text`` with its numbers as numbers."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", text) if part)
