"""Audits a data set and writes the page; a base is loaded only where one is named."""

from __future__ import annotations

from pathlib import Path

from loralab.audit import Audit, audit_dataset
from loralab.audit.whole import BaseFacts
from loralab.report import write_audit
from loralab.store import disk_errors


def run_audit(dataset: Path, *, base: str = "", trigger: str = "", out: Path | None = None) -> tuple[Audit, Path]:
    """Return the audit and the path of its page; raises LabError("data") that lists every file that cannot be read."""
    audit = audit_dataset(dataset, trigger, _base_facts(base) if base else None)
    target = out if out is not None else Path.cwd() / f"{Path(audit.name).stem or 'dataset'}-audit.html"
    with disk_errors("writing the audit"):
        return audit, write_audit(audit, target)


def _base_facts(reference: str) -> BaseFacts:
    from loralab.bases import load_base
    from loralab.bases.base import prompt_limit

    base = load_base(reference)
    return BaseFacts(base.size_px, prompt_limit(base), lambda caption: len(base.tokenizer(caption).input_ids))
