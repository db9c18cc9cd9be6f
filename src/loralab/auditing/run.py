"""Audits a data set and writes the page; a base is loaded only where one is named."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from loralab.auditing.page import write_audit
from loralab.auditing.result import Audit
from loralab.auditing.whole import BaseFacts, audit_dataset
from loralab.store import disk_errors

#: bytes of a page in which its data set's mark stands
MARK_WITHIN = 4096


def run_audit(dataset: Path, *, base: str = "", vae: str | None = None, trigger: str = "", out: Path | None = None) -> tuple[Audit, Path]:
    """Return the audit and the path of its page; raises LabError("data") where nothing can be read."""
    audit = audit_dataset(dataset, trigger, _base_facts(base, vae) if base else None)
    target = out if out is not None else default_page(audit, Path.cwd())
    with disk_errors("writing the audit"):
        return audit, write_audit(audit, target)


def default_page(audit: Audit, folder: Path) -> Path:
    """Return where an audit's page goes: NAME-audit.html, with a number where another data set of that name has its page there."""
    name = re.sub(r"[^\w .()-]", "-", Path(audit.name).stem) or "dataset"
    pages = (folder / f"{name}-audit{'' if number == 1 else f'-{number}'}.html" for number in itertools.count(1))
    return next(page for page in pages if not page.exists() or _is_page_of(audit, page))


def _is_page_of(audit: Audit, page: Path) -> bool:
    try:
        head = page.read_bytes()[:MARK_WITHIN]
    except OSError:
        return False
    return f'content="{audit.mark}"'.encode() in head


def _base_facts(reference: str, vae: str | None) -> BaseFacts:
    from loralab.bases import count_tokens, load_base, prompt_limit
    from loralab.spec import LoadSpec

    base = load_base(reference, LoadSpec(vae=vae))
    return BaseFacts(base.size_px, prompt_limit(base), lambda caption: count_tokens(base, caption))
