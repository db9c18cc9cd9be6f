"""Looks at a training set before anyone trains: tags, trigger, twins, balance, and what the pictures share that no caption says."""

from loralab.audit.page import write_audit
from loralab.audit.remark import Remark
from loralab.audit.result import Audit, FolderRow, PictureFacts, TagRow
from loralab.audit.run import run_audit
from loralab.audit.whole import audit_dataset

__all__ = ["Audit", "FolderRow", "PictureFacts", "Remark", "TagRow", "audit_dataset", "run_audit", "write_audit"]
