"""What makes artefacts, one file a stage: each a pure function of its inputs, its slice and a scratch folder; it never sees the store."""

from loralab.stages.table import STAGES, run_stage

__all__ = ["STAGES", "run_stage"]
