"""What a few minutes on an accelerator found, on disk after every finding; and the clock that tells what there is still time for."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loralab.store import write_atomically


@dataclass(frozen=True)
class Note:
    """One finding: which part it is of, what it is about, and its figures or words by name."""

    part: str
    about: str
    found: dict[str, float | int | str]


@dataclass
class Notebook:
    """Findings in the order in which they came, as JSON lines and as a table to read; a kill loses none of them."""

    folder: Path
    notes: list[Note] = field(default_factory=list)

    def add(self, part: str, about: str, **found: float | int | str) -> Note:
        """Keep a finding, print it, and return it."""
        note = Note(part, about, found)
        self.notes.append(note)
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(asdict(note)) + "\n" for note in self.notes)
        write_atomically(self.folder / "notes.jsonl", lines.encode())
        write_atomically(self.folder / "notes.md", write_notes(self.notes).encode())
        print(f"{part}: {about}: {told(note)}", flush=True)
        return note


def told(note: Note) -> str:
    """Return a finding's figures as words."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"
                     for name, value in note.found.items())  # fmt: skip


def write_notes(notes: list[Note]) -> str:
    """Return the findings as a Markdown table a part."""
    lines = ["# What the accelerator showed", ""]
    for part in dict.fromkeys(note.part for note in notes):
        lines += [f"## {part}", "", "| what | found |", "|---|---|"]
        lines += [f"| {note.about} | {told(note)} |" for note in notes if note.part == part] + [""]
    return "\n".join(lines)


class Clock:
    """The time that a part has: the caller asks it before each piece of work."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    @property
    def left_seconds(self) -> float:
        """Seconds that are left, at least 0."""
        return max(self.end - time.monotonic(), 0.0)

    def has(self, seconds: float) -> bool:
        """Return whether there is time for something that takes about so long."""
        return self.left_seconds >= seconds
