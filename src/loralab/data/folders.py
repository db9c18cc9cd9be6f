"""Reads people's training folders: every picture is decoded first, and every problem is reported at once.

kohya's layout (`N_name/` with sidecar captions), or a HF imagefolder (`metadata.jsonl`); a folder in, examples and notes out.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from loralab.data.example import Example, Factor
from loralab.errors import LabError, Problem, lab_error

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}
#: Pillow also opens formats that hand the file to another program (EPS to Ghostscript), so it is told which ones to try.
OPENED = ("PNG", "JPEG", "WEBP", "BMP")
REPEATS_FOLDER = re.compile(r"^(\d+)(?:_(.*))?$")
MAX_PIXELS = 64_000_000
#: EXIF's tag
ORIENTATION = 0x0112
NAMES_IN_A_NOTE = 8
CAPTION_ENDINGS = (".txt", ".caption")

#: an upright picture (RGB), or its mask (L), in; the same cut to what is trained on, out
Cut = Callable[[Image.Image], Image.Image]


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


@dataclass(frozen=True)
class Reading:
    """How a folder is read beyond kohya's habits: ending of captions ("" = both), what stands in for them, lines, masks."""

    caption_ending: str = ""
    class_tokens: str | None = None  # None = what the folder's name says
    all_lines: bool = False
    alpha_masks: bool = False
    masks: Path | None = None
    flat: bool = False  # the pictures lie in the folder itself, whatever is beside them
    called: str = ""  # stands before the names of files, where several folders are read together


@dataclass(frozen=True)
class _Folder:
    """The folder that is read, with what is wrong in it and what is worth a note."""

    root: Path
    how: Reading = Reading()
    problems: list[Problem] = field(default_factory=list)
    noted: dict[str, list[str]] = field(default_factory=dict)

    def where(self, file: Path) -> str:
        if not file.is_relative_to(self.root):
            return str(file)
        inside = file.relative_to(self.root).as_posix()
        return f"{self.how.called}/{inside}" if self.how.called else inside

    def refuse(self, file: Path, found: str, expected: str, do: str) -> None:
        self.problems.append(Problem(found, expected, do, self.where(file)))

    def note(self, what: str, file: Path) -> None:
        self.noted.setdefault(what, []).append(self.where(file))

    def notes(self) -> list[str]:
        """Return a line for each thing noted, with the first few names that it holds for."""
        return [f"{what}: {_some(names)}" for what, names in self.noted.items()]

    def holds(self, file: Path) -> bool:
        """Return whether ``file`` is a file inside the folder; a problem is recorded where it is not."""
        try:
            target = file.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # a loop of links is a RuntimeError before Python 3.13
            self.refuse(file, "no such file, or a link that leads nowhere", "a file in the folder", "copy it into the folder")
            return False
        if not target.is_relative_to(self.root.resolve()):
            self.refuse(file, "a link or a path that leaves the folder", "files inside the folder", "copy it into the folder")
            return False
        if not target.is_file():
            self.refuse(file, "not a file", "a file", "rename or move it")
            return False
        return True


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_IN_A_NOTE
    return ", ".join(names[:NAMES_IN_A_NOTE]) + (f" and {more} more" if more > 0 else "")


def read_folder(folder: Path, size_px: int) -> FolderContents:
    """Return the pictures of ``folder`` with their captions, cropped to the central square and resized (Lanczos) to ``size_px``."""
    return read_pictures(folder, lambda picture: ImageOps.fit(picture, (size_px, size_px), Image.Resampling.LANCZOS))


def read_pictures(folder: Path, cut: Cut, how: Reading = Reading()) -> FolderContents:
    """Return the pictures of ``folder`` with their captions, each as ``cut`` leaves it; its own size stays in its factors.

    A caption is the first line of `.txt` or `.caption` beside the picture, else the folder's name behind the number of repeats, as in
    kohya's sd-scripts (`library/train_util.py`); or the `text` of `metadata.jsonl`. Orientation in EXIF is applied, alpha laid on white.
    Raises LabError("data") that lists every unreadable picture, contradicting caption and link out of the folder together.
    """
    if not folder.is_dir():
        near = sorted(item.name for item in folder.parent.iterdir() if item.is_dir())[:8] if folder.parent.is_dir() else []
        raise lab_error(
            "data", f"no folder at {folder}", "a folder of training pictures", f"folders there: {', '.join(near)}" if near else ""
        )
    reading = _Folder(folder, how)
    found = list(_metadata_files(reading) if (folder / "metadata.jsonl").is_file() else _kohya_files(reading))
    examples = [example for item in found if (example := _decode(item, cut, reading)) is not None]
    if reading.problems:
        raise LabError("data", reading.problems)
    if not examples:
        raise lab_error("data", f"no pictures in {folder}", f"files ending in {', '.join(sorted(FORMATS))}, in folders named like 10_name")
    return FolderContents(examples, reading.notes())


# --- which files, which captions ----------------------------------------------------------------------------------------


def _kohya_files(folder: _Folder) -> Iterator[_Found]:
    if folder.how.flat:
        yield from _sidecar_files(folder.root, folder)
        return
    inner = sorted(item for item in folder.root.iterdir() if item.is_dir() and item.suffix.lower() not in FORMATS)
    named = [item for item in inner if (match := REPEATS_FOLDER.match(item.name)) and int(match[1]) > 0]
    for item in inner:
        if item not in named and _pictures(item, folder):
            folder.note("left out, as by kohya: folders whose names do not begin with a number of repeats", item)
    if not named:
        yield from _sidecar_files(folder.root, folder)
        return
    for file in _pictures(folder.root, folder):
        folder.note("left out, as by kohya: pictures beside the folders that are named with a number of repeats", file)
    for item in named:
        yield from _sidecar_files(item, folder)


def _pictures(inside: Path, folder: _Folder) -> list[Path]:
    named = sorted(item for item in inside.iterdir() if item.suffix.lower() in FORMATS)
    for file in named:
        if file.name.startswith("."):
            folder.note("left out, as by kohya: hidden files", file)
    return [file for file in named if not file.name.startswith(".")]


def _sidecar_files(inside: Path, folder: _Folder) -> Iterator[_Found]:
    match = REPEATS_FOLDER.match(inside.resolve().name)
    repeats, tokens = (int(match[1]), match[2] or "") if match else (1, "")
    tokens = tokens if folder.how.class_tokens is None else folder.how.class_tokens
    endings = (folder.how.caption_ending,) if folder.how.caption_ending else CAPTION_ENDINGS
    pictures = _pictures(inside, folder)
    _check_stems(inside, pictures, folder)
    for file in pictures:
        texts = [file.with_suffix(suffix) for suffix in endings]
        captions = [_first_line(text, folder) for text in texts if text.is_file() or text.is_symlink()]
        if len(set(captions)) > 1:
            found = f"{file.stem}.txt and {file.stem}.caption say different things"
            folder.refuse(file, found, "one caption", "kohya reads .caption unless told otherwise; delete one")
        caption = next(iter(captions), tokens)
        if captions and not caption:
            folder.note("an empty caption: the picture is shown without words", file)
        yield _Found(file, caption, repeats)


def _check_stems(inside: Path, pictures: Sequence[Path], folder: _Folder) -> None:
    """Refuse pictures that would share one caption file, and note captions that no picture has."""
    named: dict[str, list[Path]] = {}
    for file in pictures:
        named.setdefault(file.stem, []).append(file)
    for same in named.values():
        if len(same) > 1:
            found = f"{' and '.join(file.name for file in same)} have one name but for the ending, and so one caption"
            folder.refuse(same[0], found, "a name for each picture", "rename or delete one; other trainers also mix up their caches")
    for text in sorted(item for item in inside.iterdir() if item.suffix in CAPTION_ENDINGS and item.stem not in named):
        if not text.name.startswith("."):
            folder.note("left out: captions without a picture", text)


def _first_line(text: Path, folder: _Folder) -> str:
    """Return the caption in ``text``; behind its first line kohya's trainer reads nothing, and so does the lab, but says so."""
    lines = _read_text(text, folder).strip().split("\n")
    if folder.how.all_lines:
        return "\n".join(line.strip() for line in lines if line.strip())
    if len(lines) > 1:
        folder.note("only the first line is the caption, as in kohya", text)
    return lines[0].strip()


def _read_text(file: Path, folder: _Folder) -> str:
    """Return the text of ``file``, or nothing where a problem was recorded instead."""
    if not folder.holds(file):
        return ""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        folder.refuse(file, "the text is not UTF-8", "UTF-8", "save it again as UTF-8")
        return ""


def _metadata_files(folder: _Folder) -> Iterator[_Found]:
    listed = set()
    # not splitlines(): JSON allows a raw U+2028 inside a text
    for number, line in enumerate(_read_text(folder.root / "metadata.jsonl", folder).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            name, caption = _record(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            where = f"metadata.jsonl, line {number}"
            folder.problems.append(Problem("the line cannot be read", '{"file_name": "a.png", "text": "a caption"}', where=where))
            continue
        file = folder.root / name
        listed.add(file)
        yield _Found(file, caption, 1)
    for file in sorted(item for item in folder.root.rglob("*") if item.suffix.lower() in FORMATS and item not in listed):
        folder.note("left out: pictures that metadata.jsonl does not list", file)


def _record(line: str) -> tuple[str, str]:
    record = json.loads(line)
    name, caption = record["file_name"], record["text"]
    if not isinstance(name, str) or not isinstance(caption, str):
        raise TypeError("both are texts")
    return name, caption


# --- pixels -------------------------------------------------------------------------------------------------------------


def _decode(item: _Found, cut: Cut, folder: _Folder) -> Example | None:
    if not folder.holds(item.file):
        return None
    if item.file.stat().st_size == 0:
        folder.refuse(item.file, "an empty file (0 bytes)", "a picture", "delete it or copy it again")
        return None
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            example = _example(item, cut, folder)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        folder.refuse(item.file, "a picture of far too many pixels", f"at most {MAX_PIXELS // 1_000_000} million", "make it smaller")
    except UnidentifiedImageError:
        folder.refuse(item.file, "no picture that can be read", f"one of {', '.join(OPENED)}", "delete it or save it again as PNG")
    except (OSError, SyntaxError, ValueError) as error:
        found = f"the picture cannot be decoded ({str(getattr(error, 'strerror', None) or error)[:80]})"
        folder.refuse(item.file, found, "a whole picture", "delete it or copy it again")
    else:
        for warning in warned:
            folder.note(f"read, with a warning ({warning.message})", item.file)
        return example
    return None


def _example(item: _Found, cut: Cut, folder: _Folder) -> Example:
    with Image.open(item.file, formats=OPENED) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        # a telephone's JPEG with a second picture behind the first calls itself MPO
        stored = "JPEG" if opened.format == "MPO" else str(opened.format)
        if stored != FORMATS.get(item.file.suffix.lower()):
            folder.note(f"a {stored} file under another ending", item.file)
        if opened.getexif().get(ORIENTATION, 1) != 1:
            folder.note("turned upright, as the camera noted in EXIF", item.file)
        upright = ImageOps.exif_transpose(opened)
        if has_alpha(upright):
            folder.note("transparent places were laid on white", item.file)
        elif upright.mode not in ("RGB", "P"):
            folder.note(f"stored as {upright.mode}, turned into RGB", item.file)
        pixels, mask = cut(to_rgb(upright)), _mask(item.file, upright, folder)
    factors: dict[str, Factor] = {
        "repeats": item.repeats, "file": item.file.name, "width": upright.width, "height": upright.height,
    }  # fmt: skip
    cut_mask = None if mask is None else np.asarray(cut(mask))
    return Example(np.asarray(pixels), item.caption, factors, folder.where(item.file), cut_mask)


def _mask(file: Path, upright: Image.Image, folder: _Folder) -> Image.Image | None:
    """Return how much each pixel counts in the loss, as L of the picture's size: the mask folder's picture, else alpha."""
    if folder.how.masks is not None:
        return _mask_file(file, upright.size, folder, folder.how.masks)
    if folder.how.alpha_masks and has_alpha(upright):
        return upright.convert("RGBA").getchannel("A")
    return None


def _mask_file(file: Path, size: tuple[int, int], folder: _Folder, masks: Path) -> Image.Image | None:
    inside = _Folder(masks)
    found = [masks / f"{file.stem}{ending}" for ending in FORMATS if (masks / f"{file.stem}{ending}").is_file()]
    if len(found) != 1:
        folder.refuse(file, f"{len(found)} masks", f"one picture {file.stem}.png in the mask folder", "white where the loss counts")
        return None
    if not inside.holds(found[0]):
        folder.problems.extend(inside.problems)
        return None
    with Image.open(found[0], formats=OPENED) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        mask = to_rgb(ImageOps.exif_transpose(opened)).convert("L")
    if mask.size != size:
        folder.refuse(file, f"a mask of {mask.width} x {mask.height} px", f"the picture's {size[0]} x {size[1]} px", "save it at that size")
        return None
    return mask


def has_alpha(image: Image.Image) -> bool:
    """Return whether places of ``image`` may be transparent."""
    return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info


def to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as RGB: 16 bits scaled down, alpha laid on white, palette and CMYK converted."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I"):
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray((values / 257).clip(0, 255).round().astype(np.uint8))
    if has_alpha(image):
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")
