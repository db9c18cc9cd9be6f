"""Which picture files are read: those that sd-scripts reads, and what Pillow or its plugins can decode beside them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from functools import cache

from PIL import features

#: ending -> Pillow's name of the format, read by every trainer
COMMON: Mapping[str, str] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}


def _add_heif() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener()


def _add_jxl() -> None:
    importlib.import_module("pillow_jxl")  # registers itself with Pillow


#: endings, format, the module that decodes it (none: Pillow's own), what makes Pillow know it, and what it is called in messages
RARER: tuple[tuple[tuple[str, ...], str, str, Callable[[], None], str], ...] = (
    ((".avif",), "AVIF", "", lambda: None, "Pillow with AVIF"),
    ((".heic", ".heif"), "HEIF", "pillow_heif", _add_heif, "pillow-heif"),
    ((".jxl",), "JXL", "pillow_jxl", _add_jxl, "pillow-jxl-plugin"),
)


@cache
def read_formats() -> Mapping[str, str]:
    """Return ending -> Pillow's name of the format, for all that can be read on this machine."""
    found = dict(COMMON)
    for endings, name, module, add, _ in RARER:
        if features.check("avif") if not module else importlib.util.find_spec(module) is not None:
            add()
            found |= dict.fromkeys(endings, name)
    return found


def opened_formats() -> tuple[str, ...]:
    """Return the formats that Pillow is told to try: it also opens others, and hands some (EPS) to another program."""
    return tuple(dict.fromkeys(read_formats().values()))


#: why a file is not used, by its ending; {kind} is the ending
UNREAD: Mapping[str, str] = {
    **dict.fromkeys((".jfif", ".jpe", ".jif"), "a JPEG with an extension that trainers do not look for (rename it to .jpg)"),
    **dict.fromkeys((".gif", ".tif", ".tiff", ".tga", ".jp2", ".ppm", ".ico", ".psd", ".svg", ".exr", ".hdr", ".qoi", ".dds", ".jps",
                     ".mpo", ".pcx", ".apng", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
                    "a picture format that neither sd-scripts nor loralab reads (save it as PNG)"),
    **dict.fromkeys((".mp4", ".webm", ".mov", ".mkv", ".avi", ".m4v"), "a video"),
    **dict.fromkeys((".npz", ".npy", ".safetensors", ".pt"), "a trainer's cache or weights; latents are computed afresh from the pictures"),
    **dict.fromkeys((".zip", ".rar", ".7z", ".tar", ".gz"), "an archive (extract it)"),
    **dict.fromkeys((".csv", ".tsv", ".parquet"), "captions are not read from tables (write metadata.jsonl, or a .txt for each picture)"),
    ".json": "captions are not read from JSON (write metadata.jsonl, or a .txt for each picture)",
    ".jsonl": "the only list that is read is a metadata.jsonl in the folder itself",
    ".toml": "a dataset file (give it instead of the folder)",
}  # fmt: skip


def why_unread(ending: str) -> str:
    """Return why a file with this ending (small letters) is not used."""
    for endings, _, _, _, plugin in RARER:
        if ending in endings:
            return f"a picture that needs {plugin} (pip install {plugin.split()[0].lower()}) or to be saved as PNG"
    return UNREAD.get(ending, "neither a picture nor a caption")
