"""Looks at a training set before anyone trains: tags, trigger, twins, balance, and what the pictures share that no caption says."""

from loralab.auditing.page import write_audit
from loralab.auditing.remark import Remark
from loralab.auditing.result import Audit, FolderRow, PictureFacts, TagRow
from loralab.auditing.run import run_audit
from loralab.auditing.whole import audit_dataset

__all__ = ["Audit", "FolderRow", "PictureFacts", "Remark", "TagRow", "audit_dataset", "run_audit", "write_audit"]
