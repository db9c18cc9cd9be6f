"""Named random streams: a seed is the hash of a path, so no stream depends on how often another one was drawn from."""

from __future__ import annotations

import hashlib


def seed_for(root: int, *path: str | int) -> int:
    """Return a 63-bit seed for the stream named by ``path`` under ``root``; the same path gives the same seed anywhere.

    Python's ``hash()`` is salted per process, so the seed is cut from SHA-256 of the path with explicit separators.
    """
    text = "\x1f".join([str(root), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
