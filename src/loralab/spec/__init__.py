"""What the user asks: the study file as frozen, checked values."""

from loralab.spec.cells import Cell, parse_cell
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
from loralab.spec.own_bases import base_of, bases_of
from loralab.spec.slices import slice_of
from loralab.spec.sources import BASE, AdapterSource, BaseSource, Source, Who, is_base

__all__ = [
    "BASE", "AdapterSource", "ArmSpec", "BaseSource", "Cell", "ClaimSpec", "CurveSpec", "DataSpec", "ExperimentSpec", "FolderData",
    "GridsData", "ImagesOfData", "LoadSpec", "Loaded", "PresetSpec", "SampleSpec", "ShapesData", "Source", "StackedLora", "StudySpec",
    "TrainSpec", "Who", "base_of", "bases_of", "is_base", "load_study", "parse_cell", "slice_of",
]  # fmt: skip
