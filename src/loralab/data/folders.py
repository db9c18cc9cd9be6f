"""Reads people's training folders: every picture is decoded first, and every problem is reported at once.

kohya's layout (`N_name/` with sidecar captions), or a HF imagefolder (`metadata.jsonl`); a folder in, examples and notes out.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from loralab.data.example import Example, Factor
from loralab.errors import LabError, Problem, lab_error

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
REPEATS_FOLDER = re.compile(r"^(\d+)_(.*)$")
MAX_PIXELS = 64_000_000


@dataclass(frozen=True)
class FolderContents:
    """What a folder holds; ``notes`` are things that other trainers would pass over in silence."""

    examples: list[Example]
    notes: list[str]


@dataclass(frozen=True)
class _Found:
    """A picture file with its caption."""

    file: Path
    caption: str
    repeats: int


def read_folder(folder: Path, size_px: int) -> FolderContents:
    """Return the pictures of ``folder`` with their captions, cropped to the central square and resized (Lanczos) to ``size_px``.

    Raises LabError("data") that lists every unreadable picture, contradicting caption and link out of the folder together.
    """
    if not folder.is_dir():
        near = sorted(item.name for item in folder.parent.iterdir() if item.is_dir())[:8] if folder.parent.is_dir() else []
        raise lab_error(
            "data", f"no folder at {folder}", "a folder of training pictures", f"folders there: {', '.join(near)}" if near else ""
        )
    problems: list[Problem] = []
    notes: list[str] = []
    found = list(_metadata_files(folder, problems) if (folder / "metadata.jsonl").is_file() else _kohya_files(folder, problems, notes))
    examples = [example for item in found if (example := _decode(item, folder, size_px, problems, notes)) is not None]
    if problems:
        raise LabError("data", problems)
    if not examples:
        raise lab_error("data", f"no pictures in {folder}", f"files ending in {', '.join(sorted(SUFFIXES))}, in folders named like 10_name")
    return FolderContents(examples, notes)


# --- which files, which captions ----------------------------------------------------------------------------------------


def _kohya_files(folder: Path, problems: list[Problem], notes: list[str]) -> Iterator[_Found]:
    inner = sorted(item for item in folder.iterdir() if item.is_dir())
    named = [item for item in inner if REPEATS_FOLDER.match(item.name)]
    for item in inner:
        if item not in named and _pictures(item):
            notes.append(f"the folder {item.name} was left out: its name does not begin with a number of repeats (kohya leaves it out too)")
    if not named:
        yield from _sidecar_files(folder, folder, problems)
    for item in named:
        yield from _sidecar_files(item, folder, problems)


def _pictures(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.suffix.lower() in SUFFIXES)


def _sidecar_files(folder: Path, root: Path, problems: list[Problem]) -> Iterator[_Found]:
    match = REPEATS_FOLDER.match(folder.name)
    repeats, tokens = (int(match[1]), match[2]) if match else (1, "")
    for file in _pictures(folder):
        texts = {suffix: file.with_suffix(suffix) for suffix in (".txt", ".caption") if file.with_suffix(suffix).is_file()}
        captions = {suffix: _first_line(path, root, problems) for suffix, path in texts.items()}
        if len(set(captions.values())) > 1:
            found = f"{file.stem}.txt and {file.stem}.caption say different things"
            problems.append(
                Problem(found, "one caption", "kohya reads .caption unless told otherwise; delete one", str(file.relative_to(root)))
            )
        yield _Found(file, next(iter(captions.values()), tokens), repeats)


def _first_line(path: Path, root: Path, problems: list[Problem]) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip().split("\n")[0].strip()
    except UnicodeDecodeError:
        problems.append(Problem("the caption is not UTF-8 text", "UTF-8", "save it again as UTF-8", str(path.relative_to(root))))
        return ""


def _metadata_files(folder: Path, problems: list[Problem]) -> Iterator[_Found]:
    for number, line in enumerate((folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines(), start=1):
        where = f"metadata.jsonl, line {number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            file, caption = folder / str(record["file_name"]), str(record["text"])
        except (ValueError, KeyError, TypeError):
            problems.append(Problem("the line cannot be read", '{"file_name": "a.png", "text": "a caption"}', where=where))
            continue
        if file.is_file():
            yield _Found(file, caption, 1)
        else:
            problems.append(Problem(f"no file {record['file_name']!r}", "a picture in the folder", where=where))


# --- pixels -------------------------------------------------------------------------------------------------------------


def _decode(item: _Found, root: Path, size_px: int, problems: list[Problem], notes: list[str]) -> Example | None:
    where = str(item.file.relative_to(root))
    if not item.file.resolve().is_relative_to(root.resolve()):
        problems.append(Problem("a link that leaves the folder", "files inside the folder", "copy the picture into it", where))
        return None
    if item.file.stat().st_size == 0:
        problems.append(Problem("an empty file (0 bytes)", "a picture", "delete it or copy it again", where))
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _example(item, size_px, where, notes)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        problems.append(Problem("a picture of far too many pixels", f"at most {MAX_PIXELS // 1_000_000} million", "make it smaller", where))
    except (OSError, SyntaxError, ValueError) as error:
        problems.append(
            Problem(f"the picture cannot be decoded ({str(error)[:80]})", "a whole picture", "delete it or copy it again", where)
        )
    return None


def _example(item: _Found, size_px: int, where: str, notes: list[str]) -> Example:
    with Image.open(item.file) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        if opened.format != FORMATS[item.file.suffix.lower()]:
            notes.append(f"{where} is a {opened.format} file under another ending")
        upright = ImageOps.exif_transpose(opened)
        if upright.mode not in ("RGB", "P"):
            notes.append(f"{where} is stored as {upright.mode}; it was turned into RGB")
        square = ImageOps.fit(to_rgb(upright), (size_px, size_px), Image.Resampling.LANCZOS)
    factors: dict[str, Factor] = {"repeats": item.repeats, "file": item.file.name}
    return Example(np.asarray(square), item.caption, factors, where)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as RGB: 16 bits scaled down, alpha laid on white, palette and CMYK converted."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray((values / 257).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
