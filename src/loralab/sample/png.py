"""Pictures on disk: PNG with the `parameters` text that A1111 writes and other tools read, and its parser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from loralab.sample.solvers import SOLVERS, schedule_label

FIELD = re.compile(r'\s*([\w ]+?):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')


def write_png(path: Path, image: np.ndarray, parameters: str) -> None:
    """Write (H, W, 3) uint8 as PNG; the same picture and text give the same bytes. No EXIF, no time, no path.

    The text stands where A1111 puts it: a tEXt chunk, which every reader knows, or iTXt where it has letters outside Latin-1.
    """
    info = PngInfo()
    info.add_text("parameters", parameters)
    Image.fromarray(np.ascontiguousarray(image)).save(path, "PNG", pnginfo=info)


def parameters_text(
    *, prompt: str, negative: str, steps: int, sampler: str, guidance: float, seed: int, size_px: int, model: str, model_hash: str,
    lora: str | None, strength: float, schedule: str | None = None, clip_skip: int = 1,
    guidance_interval: tuple[float, float] = (0.0, 1.0),
) -> str:  # fmt: skip
    """Return A1111's three lines: prompt (with `<lora:name:strength>`), negative prompt, fields.

    "Guidance interval" is the lab's own and stands only where guidance is left out in some steps: A1111 would draw another picture.
    "Schedule type" is left out where A1111 has no name for the spacing, "Clip skip" where it is 1, as A1111 leaves it out.
    A line break in a prompt would begin a new line and could forge the fields behind it: it becomes a space.
    """
    mark = f" <lora:{one_line(lora)}:{strength:g}>" if lora is not None else ""
    lines = [one_line(prompt) + mark]
    if negative:
        lines.append(f"Negative prompt: {one_line(negative)}")
    spacing = schedule_label(sampler, schedule)
    fields = {
        "Steps": steps, "Sampler": SOLVERS[sampler].label, **({"Schedule type": spacing} if spacing else {}),
        "CFG scale": f"{guidance:g}", "Seed": seed, "Size": f"{size_px}x{size_px}",
        "Model hash": model_hash, "Model": quoted(one_line(model)), **({"Clip skip": clip_skip} if clip_skip > 1 else {}),
        **({"Guidance interval": "{:g} to {:g}".format(*guidance_interval)} if guidance_interval != (0, 1) else {}),
    }  # fmt: skip
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in fields.items())])


def one_line(text: str) -> str:
    """Return ``text`` with every kind of line break and control character turned into a space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def quoted(text: str) -> str:
    """Return a field's value, in quotes where a comma, colon or quote would end it (A1111 quotes likewise)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if re.search(r'[,:"\\]', text) else text


def read_parameters(path: Path) -> dict[str, str]:
    """Return the fields of a PNG's `parameters` text, with "Prompt" and "Negative prompt"; empty without such a text."""
    with Image.open(path) as image:
        text = str(image.info.get("parameters", ""))
    lines = text.split("\n")
    if len(lines) < 2:
        return {}
    fields = {"Prompt": lines[0], "Negative prompt": ""}
    if len(lines) > 2 and lines[1].startswith("Negative prompt: "):
        fields["Negative prompt"] = lines[1].removeprefix("Negative prompt: ")
    for name, value in FIELD.findall(lines[-1]):
        fields[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return fields
