"""What do these LoRA files do? Files, a base and perhaps their training set in; curves, epochs worth keeping and one page out."""

from loralab.engine.check.request import CheckRequest
from loralab.engine.check.run import CheckOutcome, check_files

__all__ = ["CheckOutcome", "CheckRequest", "check_files"]
