"""Looks at a training set before anyone trains: tags, trigger, twins, balance, and what the pictures share that no caption says."""

from loralab.audit.remark import Remark
from loralab.audit.whole import Audit, FolderRow, PictureFacts, TagRow, audit_dataset

__all__ = ["Audit", "FolderRow", "PictureFacts", "Remark", "TagRow", "audit_dataset"]
