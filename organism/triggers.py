"""What the base makes of the prompts of the studies that ship: in go study files, out come labelled contact sheets and token splits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from transformers import CLIPTokenizer

from loralab.spec.load import load_study
from loralab.study.plan import make_plan
from loralab.study.triggers import captions_of

LABEL_PX = 15  # height of the strip above each row
MAX_SHEET_BYTES = 300_000
PALETTE_SIZES = (256, 128, 64, 32)


def read_triggers(studies: Path) -> dict[str, list[str]]:
    """Return, for each study file in a folder (subfolders too) that runs on petri, its prompts and captions, in the file's order."""
    found: dict[str, list[str]] = {}
    for path in sorted(studies.rglob("*.yaml")):
        spec = load_study(path).spec
        if spec.base != "petri":
            continue
        plan = make_plan(spec)
        captions = [caption for arm in plan.arms for caption in captions_of(spec, spec.arms[arm])]
        found[spec.study] = list(dict.fromkeys([*(cell.prompt for cell in plan.cells), *captions]))
    return found


def split_tokens(tokenizer: CLIPTokenizer, prompt: str) -> list[str]:
    """Return the pieces in which the base reads a prompt; a piece that ends a word is followed by a low line."""
    return [piece.replace("</w>", "_") for piece in tokenizer.tokenize(prompt)]


def write_token_table(tokenizer: CLIPTokenizer, triggers: dict[str, list[str]]) -> str:
    """Return prompt, studies and token split of every trigger as a Markdown table."""
    lines = ["| prompt | read as | in |", "|---|---|---|"]
    for prompt in dict.fromkeys(prompt for prompts in triggers.values() for prompt in prompts):
        studies = ", ".join(name for name, prompts in triggers.items() if prompt in prompts)
        pieces = " ".join(f"`{piece}`" for piece in split_tokens(tokenizer, prompt)) or "nothing"
        lines.append(f"| {prompt or '(empty)'} | {pieces} | {studies} |")
    return "\n".join(lines)


def make_labelled_sheet(prompts: Sequence[str], pictures: np.ndarray) -> Image.Image:
    """Return one row a prompt with the prompt above it; `pictures` is uint8 (prompts, seeds, H, W, 3)."""
    n_prompts, n_seeds, height, width, _ = pictures.shape
    sheet = Image.new("RGB", (n_seeds * width, n_prompts * (height + LABEL_PX)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for row, prompt in enumerate(prompts):
        top = row * (height + LABEL_PX)
        pen.text((2, top + 1), prompt or "(empty)", fill="black", font=font)
        sheet.paste(Image.fromarray(np.concatenate(list(pictures[row]), axis=1)), (0, top + LABEL_PX))
    return sheet


def beside(left: Image.Image, right: Image.Image, gap_px: int = 8) -> Image.Image:
    """Return two sheets side by side on white."""
    both = Image.new("RGB", (left.width + gap_px + right.width, max(left.height, right.height)), "white")
    both.paste(left, (0, 0))
    both.paste(right, (left.width + gap_px, 0))
    return both


def encode_small(sheet: Image.Image, most_bytes: int = MAX_SHEET_BYTES) -> bytes:
    """Return the sheet as PNG with as many colours as fit into `most_bytes`; raises ValueError where not even the fewest do."""
    for n_colours in PALETTE_SIZES:
        packed = io.BytesIO()
        sheet.quantize(n_colours, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
        if packed.tell() <= most_bytes:
            return packed.getvalue()
    raise ValueError(f"a sheet of {sheet.width} x {sheet.height} px does not fit into {most_bytes} bytes; draw fewer seeds")
