"""The laboratory for LoRA training: a study in, measured verdicts out.

    import loralab

    study = loralab.load_study("article", "smoke")
    result = loralab.run(study, lab="lab")
    result.verdicts, result.readings, result.pictures("grey", "myshape")

`docs/api.md` has the whole of it. Importing the package imports nothing heavy: torch comes with the first call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loralab.api import Audited, Checked, Study, StudyResult, audit, check, load_study, plan, run
    from loralab.data import Example
    from loralab.errors import LabError
    from loralab.measure import Instrument, Reading

__version__ = "0.1.0"
#: every name of the public API, and the module that holds it
_PLACES = {
    "load_study": "loralab.api", "plan": "loralab.api", "run": "loralab.api", "check": "loralab.api", "audit": "loralab.api",
    "Audited": "loralab.api", "Checked": "loralab.api", "Study": "loralab.api", "StudyResult": "loralab.api",
    "Example": "loralab.data", "Instrument": "loralab.measure", "LabError": "loralab.errors", "Reading": "loralab.measure",
}  # fmt: skip
__all__ = [
    "Audited", "Checked", "Example", "Instrument", "LabError", "Reading", "Study", "StudyResult", "audit", "check", "load_study", "plan",
    "run",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'loralab' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
