"""What the user asks: the study file as frozen, checked values."""

from loralab.spec.cells import BASE_ARM, Cell, parse_cell
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
    StudySpec,
    TrainSpec,
)

__all__ = [
    "BASE_ARM", "ArmSpec", "Cell", "ClaimSpec", "CurveSpec", "DataSpec", "ExperimentSpec", "FolderData", "GridsData", "ImagesOfData",
    "LoadSpec", "Loaded", "PresetSpec", "SampleSpec", "ShapesData", "StudySpec", "TrainSpec", "load_study", "parse_cell",
]  # fmt: skip
