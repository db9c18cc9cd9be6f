"""Reads a HF imagefolder's `metadata.jsonl`: a line in, a picture's file and caption out; every line that cannot be used is a problem."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loralab.data.caption_files import MOST_LIST_BYTES, read_text
from loralab.data.found import Found
from loralab.data.gathering import Gathering, is_there
from loralab.errors import Problem

LIST = "metadata.jsonl"
#: keys that hold a caption, the first that is there wins; `text` is the imagefolder's own
CAPTION_KEYS = ("text", "caption", "prompt", "captions")
EXPECTED = '{"file_name": "a.png", "text": "a caption"}'
MOST_KEYS = 8


def listed_files(folder: Gathering, inside: Path) -> Iterator[Found]:
    """Yield the pictures that the list in ``inside`` names, each once."""
    list_file = inside / LIST
    seen: set[Path] = set()
    # not splitlines(): JSON allows a raw U+2028 inside a text
    for number, line in enumerate((read_text(list_file, folder, MOST_LIST_BYTES) or "").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{folder.where(list_file)}, line {number}"
        try:
            name, caption = _record(line, list_file, folder)
        except (ValueError, TypeError, RecursionError) as error:
            why = str(error) if isinstance(error, _Unusable) else "the line cannot be read"
            folder.problems.append(Problem(why, EXPECTED, where=where))
            continue
        file = _file(name, list_file, folder)
        if file in seen:
            folder.problems.append(Problem(f"{name!r} is listed twice", "one line for each picture", "delete one", where))
            continue
        seen.add(file)
        yield Found(file, caption, 1)


class _Unusable(ValueError):
    """A line that is good JSON and still says too little."""


def _record(line: str, list_file: Path, folder: Gathering) -> tuple[str, str]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise _Unusable("the line is not a JSON object")
    keys = ", ".join(str(key)[:30] for key in list(record)[:MOST_KEYS]) or "none"
    name = record.get("file_name")
    if not isinstance(name, str) or not name or not _is_text(name):
        raise _Unusable(f"no file_name (keys found: {keys})")
    present = [key for key in CAPTION_KEYS if key in record]
    if not present:
        raise _Unusable(f"no caption under {', '.join(CAPTION_KEYS[:-1])} or {CAPTION_KEYS[-1]} (keys found: {keys})")
    if len(present) > 1:
        folder.note(f"captions under {' and '.join(present)}: only {present[0]} is read", list_file)
    return name, _caption(record[present[0]], present[0], list_file, folder)


def _caption(value: Any, key: str, list_file: Path, folder: Gathering) -> str:
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise _Unusable(f"{key} is neither a string nor a list of strings")
    if not all(_is_text(text) for text in texts):
        raise _Unusable(f"{key} contains NUL characters or incomplete characters")
    lines = [line for text in texts for line in text.replace("\r", "\n").split("\n") if line.strip()] if folder.how.all_lines else texts
    if folder.how.all_lines:
        return "\n".join(line.strip() for line in lines)
    if len(texts) > 1:
        folder.note("several captions for one picture: the first is used, as diffusers does outside training", list_file)
    return texts[0] if texts else ""


def _is_text(text: str) -> bool:
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _file(name: str, list_file: Path, folder: Gathering) -> Path:
    """Return the path of a listed file; a list written on Windows may separate folders by backslashes."""
    file = list_file.parent / name
    if "\\" in name and not is_there(file) and is_there(list_file.parent / name.replace("\\", "/")):
        folder.note("Windows paths with backslashes, read as folders", list_file)
        return list_file.parent / name.replace("\\", "/")
    return file
