"""The explorer: every picture of a study on a page of its own that opens from disk; `Shown` records in, explore.html and its sheets out."""

from loralab.report.explorer.records import Asked, Explored, Shown
from loralab.report.explorer.write import write_explorer

__all__ = ["Asked", "Explored", "Shown", "write_explorer"]
