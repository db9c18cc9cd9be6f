"""Content-addressed artefacts: a key names what was done to what; a folder under that key is either whole or absent."""

from loralab.store.disk import disk_errors, write_atomically
from loralab.store.keys import Ref, artefact_key, canonical_json
from loralab.store.ledger import append_line, read_lines
from loralab.store.store import MANIFEST, Store, find_lab

__all__ = [
    "MANIFEST",
    "Ref",
    "Store",
    "append_line",
    "artefact_key",
    "canonical_json",
    "disk_errors",
    "find_lab",
    "read_lines",
    "write_atomically",
]
