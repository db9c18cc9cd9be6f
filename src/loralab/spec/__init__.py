"""What the user asks: the study file as frozen, checked values."""

from loralab.spec.cells import BASE_ARM, Cell, is_base, parse_cell
from loralab.spec.load import Loaded, load_study
from loralab.spec.models import (
    ArmSpec,
    ClaimSpec,
    CurveSpec,
    DataSpec,
    ExperimentSpec,
    FolderData,
    GridsData,
    ImagesOfData,
    LoadSpec,
    PresetSpec,
    SampleSpec,
    ShapesData,
    StackedLora,
    StudySpec,
    TrainSpec,
)
from loralab.spec.own_bases import base_arm_of, base_arms

__all__ = [
    "BASE_ARM", "ArmSpec", "Cell", "ClaimSpec", "CurveSpec", "DataSpec", "ExperimentSpec", "FolderData", "GridsData", "ImagesOfData",
    "LoadSpec", "Loaded", "PresetSpec", "SampleSpec", "ShapesData", "StackedLora", "StudySpec", "TrainSpec", "base_arm_of", "base_arms",
    "is_base", "load_study", "parse_cell",
]  # fmt: skip
