"""Which file of the lab a path of an address names: a path in, a file inside the lab out, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: folders of a lab whose files are shown; its store is reached by keys alone
SHOWN = ("studies", "checks", "bench")
#: ending -> what a browser is told that it is; nothing else is shown
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".json": "application/json", ".csv": "text/csv; charset=utf-8", ".md": "text/plain; charset=utf-8",
    ".yaml": "text/plain; charset=utf-8", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".svg": "image/svg+xml",
}  # fmt: skip
#: a report's own scripts may show and arrange what the report holds; they may ask this server, or any other, for nothing
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'none'; connect-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def file_inside(lab: Path, path: str) -> Path | None:
    """Return the file that ``path`` (decoded, with `/` between its parts) names in a folder of the lab that is shown, else None.

    No part may be empty, hidden, `.` or `..`, or hold what some system takes for a separator, a drive or a stream; and where the file
    really lies, links followed, must be in the lab's shown folders too.
    """
    parts = path.split("/")
    if parts[0] not in SHOWN or len(parts) < 2 or any(_is_odd(part) for part in parts):
        return None
    root = lab.resolve()
    try:
        file = root.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    inside = any(file.is_relative_to(root / name) for name in SHOWN)
    return file if inside and file.is_file() and file.suffix.lower() in TYPES else None


def _is_odd(part: str) -> bool:
    return not part or part.startswith(".") or part.endswith((".", " ")) or any(c in '\\:*?"<>|' or ord(c) < 32 for c in part)


def picture_inside(lab: Path, key: str, seed: str) -> Path | None:
    """Return a picture of the store by its block's key and its seed; None where there is none."""
    if not (len(key) == 32 and set(key) <= set("0123456789abcdef") and seed.isascii() and seed.isdecimal() and len(seed) <= 12):
        return None
    images = lab.resolve() / "store" / "images"
    try:
        file = (images / key / f"{int(seed):08d}.png").resolve(strict=True)
    except OSError:
        return None
    return file if file.is_relative_to(images) and file.is_file() else None
