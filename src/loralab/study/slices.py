"""What each stage is told beside its inputs: frozen values, made by the plan of a round and read by the stage; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from loralab.spec import AdapterSource, ArmSpec, DataSpec, SampleSpec, TrainSpec
from loralab.spec.datasets import RegularisationSpec, ShowingSpec
from loralab.store import Ref


@dataclass(frozen=True)
class DataSlice:
    """What an arm's training set is made of."""

    name: str  # the arm's
    arm: ArmSpec
    data: DataSpec
    clip_skip: int
    study_folder: Path  # what relative paths refer to


@dataclass(frozen=True)
class TrainSlice:
    """One training, or what is kept of it at the source's step; its inputs are the training set, and regularisation pictures if any."""

    source: AdapterSource
    recipe: TrainSpec
    prior_loss_weight: float
    showing: ShowingSpec
    regularisation: RegularisationSpec | None
    data: DataSpec  # what the training set was made of


@dataclass(frozen=True)
class StackSlice:
    """What the trainings of a stack share."""

    study: str
    root_seed: int
    clip_skip: int
    checkpointing: bool


@dataclass(frozen=True)
class ImportSlice:
    """A file, and what it is called in its study; its input, if any, is the training set that it is measured against."""

    file: Path
    name: str


@dataclass(frozen=True)
class SumSlice:
    """What a sum is called, the strengths (in the UNet, in the text encoders) of its inputs, and what its file says of the study."""

    name: str
    strengths: tuple[tuple[float, float], ...]
    says: Mapping[str, str]


@dataclass(frozen=True)
class TwinSlice:
    """The recipe of the trained adapter (the first input; the second is its training set) and the twin's seed."""

    recipe: TrainSpec
    seed: int
    clip_skip: int


@dataclass(frozen=True)
class DrawSlice:
    """What the blocks of a group share: how they are drawn, every prompt on this base, pictures in a batch.

    A task's ``spec`` is its BlockPlan; its input is the adapter, where there is one. Prompts of ``plain`` groups mean what they say.
    """

    sample: SampleSpec
    prompts: tuple[str, ...]
    batch_images: int
    plain: bool = False


@dataclass(frozen=True)
class FeatureSlice:
    """By what pictures are compared: the encoder in a folder, else what suits the base. A task's ``spec`` is its BlockPlan."""

    folder: Path | None
    base_name: str


@dataclass(frozen=True)
class CheckSlice:
    """One adapter of each arm (the inputs), and the prompt at which they are checked."""

    sources: tuple[AdapterSource, ...]
    prompt: str
    drawing: DrawSlice


@dataclass(frozen=True)
class CardSlice:
    """Which instruments' cards are made; ``concept`` is a qualified measure where the card is one of a concept."""

    names: tuple[str, ...]
    concept: str = ""

    @property
    def files(self) -> dict[str, str]:
        """The file of each card, by the card's name."""
        return {self.concept: "concept.json"} if self.concept else {name: f"{name}.json" for name in self.names}


@dataclass(frozen=True)
class MeasureSlice:
    """What is read of every block of a base, and the training sets (inputs of every task) that measures refer to.

    A task's ``spec`` is its BlockPlan; its first inputs are its pictures and the base's beneath them.
    """

    measures: tuple[str, ...]
    base_name: str
    size_px: int
    datasets: Mapping[str, Ref]
