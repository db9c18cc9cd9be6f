"""What do these LoRA files do? Files, a base and perhaps their training set in; what to keep, at which strength, and one page out."""

from loralab.checking.request import CheckRequest, load_spec, sample_spec
from loralab.checking.result import CheckOutcome
from loralab.checking.run import check_files

__all__ = ["CheckOutcome", "CheckRequest", "check_files", "load_spec", "sample_spec"]
