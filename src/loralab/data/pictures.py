"""Decodes people's pictures: a file in, pixels cut to what is trained on out; whatever is damaged becomes a problem with a name.

Orientation in EXIF is applied, alpha laid on white, 16 bits scaled down. The cost of a picture is bounded by its pixels.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from loralab.data.found import Found
from loralab.data.gathering import Gathering, shown
from loralab.data.picture_formats import COMMON, opened_formats, read_formats
from loralab.errors import LabError
from loralab.generators.example import Example, Factor

MAX_PIXELS = 64_000_000
#: EXIF's tag
ORIENTATION = 0x0112
#: what Pillow and its plugins raise on damaged bytes
DAMAGE = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError, EOFError,
          struct.error)  # fmt: skip
#: formats in which a second picture is a camera's by-product, not a frame
STILL = ("MPO",)

#: an upright picture (RGB), or its mask (L), in; the same cut to what is trained on, out
Cut = Callable[[Image.Image], Image.Image]


def decode(item: Found, cut: Cut, folder: Gathering) -> Example | None:
    """Return the picture as an example; None where a problem was recorded instead."""
    folder.used.add(item.file)
    if not folder.holds(item.file):
        return None
    if item.file.stat().st_size == 0:
        folder.refuse(item.file, "an empty file (0 bytes)", "a picture", "delete it, or copy it again")
        return None
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            example = _example(item, cut, folder)
    except LabError as error:  # from the cut: how the picture would be resized
        folder.problems.extend(replace(problem, where=folder.where(item.file)) for problem in error.problems)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        folder.refuse(item.file, "a picture with far too many pixels", f"at most {MAX_PIXELS // 1_000_000} million", "scale it down")
    except UnidentifiedImageError:
        folder.refuse(
            item.file, "not a picture that can be read", f"one of {', '.join(opened_formats())}", "delete it, or save it again as PNG"
        )
    except DAMAGE as error:
        said = " ".join(str(getattr(error, "strerror", None) or error).split())
        found = f"the picture cannot be decoded ({said[:80] or type(error).__name__})"
        folder.refuse(item.file, found, "a complete picture", "delete it, or copy it again")
    else:
        for warning in warned:
            folder.note(f"read, with a warning ({warning.message})", item.file)
        return example
    return None


def _example(item: Found, cut: Cut, folder: Gathering) -> Example:
    with Image.open(item.file, formats=opened_formats()) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        _note_format(item.file, opened, folder)
        if opened.getexif().get(ORIENTATION, 1) != 1:
            folder.note("rotated upright, following the camera's EXIF note", item.file)
        upright = ImageOps.exif_transpose(opened)
        if has_alpha(upright):
            folder.note("transparent areas were placed on white", item.file)
        elif upright.mode not in ("RGB", "P"):
            folder.note(f"stored as {upright.mode}, converted to RGB", item.file)
        pixels, mask = cut(to_rgb(upright)), _mask(item.file, upright, folder)
    factors: dict[str, Factor] = {
        "repeats": item.repeats, "file": shown(item.file.name), "width": upright.width, "height": upright.height,
    }  # fmt: skip
    cut_mask = None if mask is None else np.asarray(cut(mask))
    return Example(np.asarray(pixels), item.caption, factors, folder.where(item.file), cut_mask)


def _note_format(file: Path, opened: Image.Image, folder: Gathering) -> None:
    """Note what of a file is not as its ending says, what other trainers cannot read, and frames that are not read."""
    # a telephone's JPEG with a second picture behind the first calls itself MPO
    stored = "JPEG" if opened.format in STILL else str(opened.format)
    if stored != read_formats().get(file.suffix.lower()):
        folder.note(f"a {stored} file with a different extension", file)
    if stored not in COMMON.values():
        folder.note(f"{stored} is read here; sd-scripts reads it only with a plugin, or not at all", file)
    frames = 1 if opened.format in STILL else int(getattr(opened, "n_frames", 1))
    if frames > 1:
        folder.note(f"only the first of {frames} frames is read", file)


def _mask(file: Path, upright: Image.Image, folder: Gathering) -> Image.Image | None:
    """Return how much each pixel counts in the loss, as L of the picture's size: the mask folder's picture, else alpha."""
    if folder.how.masks is not None:
        return _mask_file(file, upright.size, folder, folder.how.masks)
    if folder.how.alpha_masks and has_alpha(upright):
        return upright.convert("RGBA").getchannel("A")
    return None


def _mask_file(file: Path, size: tuple[int, int], folder: Gathering, masks: Path) -> Image.Image | None:
    inside = Gathering(masks)
    found = [masks / f"{file.stem}{ending}" for ending in read_formats() if (masks / f"{file.stem}{ending}").is_file()]
    if len(found) != 1:
        folder.refuse(file, f"{len(found)} masks", f"one picture {file.stem}.png in the mask folder", "white where the loss should count")
        return None
    if not inside.holds(found[0]):
        folder.problems.extend(inside.problems)
        return None
    with Image.open(found[0], formats=opened_formats()) as opened:
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
