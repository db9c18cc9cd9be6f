"""The study file's grammar: one frozen model a noun; an unknown key is an error; every field says what it means."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from loralab.portable import DEVICE_NAMES
from loralab.spec.cells import Cell, parse_cell, with_base_as_arm
from loralab.spec.data_kinds import COLOURS, SHAPES, DataSpec, FolderData, GridsData, ImagesOfData, ShapesData
from loralab.spec.datasets import RegularisationSpec, ShowingSpec
from loralab.spec.factorial import factors_problem, spanned
from loralab.spec.recipes import LoadSpec, SampleSpec, TrainSpec
from loralab.spec.sources import BASE
from loralab.strict import PathText, Strict

#: what other packages find here; data and recipes have files of their own
__all__ = [
    "COLOURS", "MAX_STRENGTH", "NAME", "RESERVED_NAMES", "SHAPES", "ArmSpec", "ClaimSpec", "CurveSpec", "DataSpec", "Expectation",
    "ExperimentSpec", "FolderData", "GridsData", "ImagesOfData", "LoadSpec", "PresetSpec", "SampleSpec", "ShapesData",
    "StackedLora", "StudySpec", "TrainSpec", "TwiceSpec",
]  # fmt: skip

NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,40}$")
#: file names that Windows reserves: an arm of that name could not be exported there.
RESERVED_NAMES = DEVICE_NAMES

#: the strengths that a curve may ask for; LoRAs are seldom used beyond.
MAX_STRENGTH = 4.0

Expectation = Literal["higher", "lower", "no change"]


class StackedLora(Strict):
    """One of several LoRAs that an arm applies together."""

    arm: str | None = Field(None, description="An arm of this study; its training r is used in training r.")
    adapters: PathText | None = Field(
        None, description="Or existing LoRA files: a path with `*`, relative to the study file; one file for each training, or one for all."
    )
    strength: float = Field(1.0, ge=-MAX_STRENGTH, le=MAX_STRENGTH, description="Its strength inside the arm.")
    text_strength: float | None = Field(
        None,
        ge=-MAX_STRENGTH,
        le=MAX_STRENGTH,
        description="Strength of its text encoder part (ComfyUI's strength_clip). Default: strength.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> StackedLora:
        if (self.arm is None) == (self.adapters is None):
            raise ValueError("give either `arm` (an arm of this study) or `adapters` (existing files)")
        if self.strength == 0 and not self.text_strength:
            raise ValueError("a LoRA at strength 0 does nothing; remove it")
        return self

    @property
    def strengths(self) -> tuple[float, float]:
        """Its strengths in the UNet and in the text encoders."""
        return self.strength, self.strength if self.text_strength is None else self.text_strength

    def __str__(self) -> str:
        unet, text = self.strengths
        name = self.arm or (self.adapters or "").rsplit("/", 1)[-1]
        return f"{name} at strength {unet:g}" + (f" (text encoder {text:g})" if text != unet else "")


class ArmSpec(Strict):
    """One treatment: a data set under captions, trained by a recipe; or LoRAs that were trained elsewhere, or several together."""

    data: str = Field("", description="Name of an entry under `data`. Default for an arm of several LoRAs: that of the first.")
    captions: str | None = Field(
        None, description="Caption template with {placeholders} for the data set's factors. Default: the data set's own captions."
    )
    trigger: str | None = Field(
        None,
        min_length=1,
        description="The words that trigger it; they are removed from prompts for the control. Default: guessed from its captions.",
    )
    seed: int | None = Field(
        None, ge=0, description="Seed for trainings of its own: other starts, orders and noise than the other arms'. Default: theirs."
    )
    train: dict[str, Any] = Field(default_factory=dict, description="Settings of this arm that differ from the study's `train`.")
    showing: ShowingSpec = Field(
        default_factory=lambda: ShowingSpec(), description="How its pictures are shown: captions shuffled or dropped, flips, repeats."
    )
    regularisation: RegularisationSpec | None = Field(
        None, description="Regularisation pictures to show with its own: the name of an entry under `data`, or that with settings."
    )
    adapters: PathText | None = Field(
        None, description="LoRA files trained elsewhere on `data`: a path with `*`, relative to the study file; one file for each training."
    )
    stack: tuple[StackedLora, ...] = Field(
        (),
        description="Several LoRAs applied together, each at its own strength, instead of a training. Or just one, to draw it on "
        "another base.",
    )
    base: PathText | None = Field(
        None, description="A base for this arm alone, on which it is trained, drawn and compared. Default: the study's base."
    )
    factors: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict,
        description="Settings to combine, each with its levels ({rank: [2, 8], lr: [1e-3, 4e-3]}); every combination becomes an arm.",
    )
    family: str = Field("", description="Set for arms made from `factors`: the arm's name in the study file.")
    levels: dict[str, Any] = Field(default_factory=dict, description="Set for arms made from `factors`: this arm's combination.")
    control: Literal["placebo", "null"] | None = Field(
        None, description="placebo: marks the arm trained on the base's own images. null is set by a preset's `null_of`."
    )

    @field_validator("regularisation", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value

    @field_validator("factors")
    @classmethod
    def _crossed(cls, factors: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        if factors and (problem := factors_problem(factors)) is not None:
            raise ValueError(problem)
        return factors

    @model_validator(mode="after")
    def _one_origin(self) -> ArmSpec:
        if not self.data and not self.stack:
            raise ValueError("`data` is missing: the name of an entry under `data`")
        if self.seed is not None and not self.trained_here:
            raise ValueError("`seed` is for an arm that is trained here; LoRAs that exist already have theirs")
        if not self.trained_here and self.is_shown_otherwise:
            raise ValueError("`showing` and `regularisation` are for an arm that is trained here")
        if self.stack and (self.adapters is not None or self.train or self.control is not None):
            raise ValueError("an arm of several LoRAs is not trained: `stack` cannot be combined with `train`, `adapters` or `control`")
        return self

    @property
    def is_shown_otherwise(self) -> bool:
        """Whether its pictures are shown in another way than one after the other as they are."""
        return self.showing != ShowingSpec() or self.regularisation is not None

    @property
    def trained_here(self) -> bool:
        """Whether the arm's LoRAs come of a training of this study."""
        return self.adapters is None and not self.stack


class ClaimSpec(Strict):
    """A sentence about readings, written before the run: one cell against another."""

    say: str = Field(min_length=1, description="The claim in words.")
    measure: str = Field(description="Name of the instrument.")
    cell: Cell = Field(description='Which images: arm @ "prompt".')
    versus: Cell | Literal["base"] = Field("base", description="What to compare with: `base` (same prompt), or another cell.")
    expect: Expectation = Field(description="higher, lower, or no change.")
    margin: float | None = Field(
        None, gt=0, description="Smallest change that counts, as a share of the gap |training set - base|. Default: 0.25."
    )
    margin_absolute: float | None = Field(None, gt=0, description="The same, in the instrument's own unit.")
    effect: str = Field(
        "", description="Of an arm with `factors`: the effect of one (`rank`), averaged over the others, or an interaction (`rank x lr`)."
    )
    ahead_of: str = Field(
        "",
        description="Another instrument: claim how much further along the way from the base to the training set this one is than that "
        "one. Both must read shares.",
    )
    between_trainings: bool = Field(
        False, description="Claim how much of the scatter among pictures is due to which training drew them, instead of a change."
    )
    needs_trigger: bool = Field(False, description="The change must also exceed the change without the trigger.")
    article: str = Field("", description="What the article found.")
    belief: str = Field("", description="What people say of it, in a few words; `said_by` of the study says who.")
    anyway: bool = Field(False, description="Judge the claim even if the plan says that this budget cannot decide it.")

    @field_validator("cell", mode="before")
    @classmethod
    def _cell(cls, value: Any) -> Any:
        return parse_cell(value) if isinstance(value, str) else value

    @field_validator("versus", mode="before")
    @classmethod
    def _versus(cls, value: Any) -> Any:
        return parse_cell(value) if isinstance(value, str) and value != "base" else value

    @model_validator(mode="after")
    def _one_margin(self) -> ClaimSpec:
        if self.margin is not None and self.margin_absolute is not None:
            raise ValueError("give `margin` (share of the gap) or `margin_absolute` (the instrument's unit), not both")
        return self

    @model_validator(mode="after")
    def _a_kind_of_its_own(self) -> ClaimSpec:
        kind = "ahead_of" if self.ahead_of else "between_trainings" if self.between_trainings else ""
        if not kind:
            return self
        if self.ahead_of and self.between_trainings:
            raise ValueError("`ahead_of` and `between_trainings` are different claims: one of them")
        if self.versus != "base" or self.effect or self.cell.is_base:
            raise ValueError(f"a claim with `{kind}` is about an arm and its base: remove `versus` and `effect`")
        if self.margin_absolute is None:
            raise ValueError(f"a claim with `{kind}` needs `margin_absolute`, a share from 0 to 1")
        if self.between_trainings and self.expect != "higher" and self.expect != "no change":
            raise ValueError("a share of the scatter cannot be below 0: `expect: higher` or `no change`")
        return self

    @property
    def versus_cell(self) -> Cell:
        """The cell that the claim compares with; `base` means the base at the same prompt."""
        return self.versus if isinstance(self.versus, Cell) else self.cell.on(BASE)


class CurveSpec(Strict):
    """How a reading changes with the dose: the strength of a LoRA, or the step of its training (checkpoints of the same trainings)."""

    say: str = Field(min_length=1, description="The claim in words.")
    measure: str = Field(description="Name of the instrument.")
    cell: Cell = Field(description='Which images: arm @ "prompt", without strength or step.')
    over: Literal["strength", "step"] = Field(description="The dose: the strength, or the training step.")
    at: tuple[float, ...] = Field(
        (), description="The doses. Strength 0 or step 0 is the base; the last step of the training is always included."
    )
    more: dict[Literal["smoke", "quick", "full"], tuple[float, ...]] = Field(
        default_factory=dict, description="Additional doses for a preset; a curve without doses is not drawn."
    )
    expect: Expectation = Field(description="higher: it rises with the dose; lower: it falls; no change.")
    margin: float | None = Field(
        None, gt=0, description="Smallest change from the first to the last dose that counts, as a share of the gap. Default: 0.25."
    )
    margin_absolute: float | None = Field(None, gt=0, description="The same, in the instrument's own unit.")
    damage: str = Field(
        "change", description="Instrument to read at the study's unrelated prompts, for the figure of learning against damage."
    )
    article: str = Field("", description="What the article found.")
    belief: str = Field("", description="What people say of it, in a few words; `said_by` of the study says who.")
    anyway: bool = Field(False, description="Judge the curve even if the plan says that this budget cannot decide it.")

    @field_validator("cell", mode="before")
    @classmethod
    def _cell(cls, value: Any) -> Any:
        return parse_cell(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _doses(self) -> CurveSpec:
        if self.margin is not None and self.margin_absolute is not None:
            raise ValueError("give `margin` (share of the gap) or `margin_absolute` (the instrument's unit), not both")
        if self.cell.is_base or self.cell.strength != 1.0 or self.cell.step is not None:
            raise ValueError(f"a curve's cell is an arm at a prompt, without strength or step: {self.cell}")
        for dose in (*self.at, *(dose for doses in self.more.values() for dose in doses)):
            if not 0 <= dose <= (MAX_STRENGTH if self.over == "strength" else math.inf) or (self.over == "step" and dose != int(dose)):
                wanted = f"strengths from 0 to {MAX_STRENGTH:g}" if self.over == "strength" else "whole steps from 0"
                raise ValueError(f"{dose:g} is not a valid dose; a curve over {self.over} takes {wanted}")
        if not self.at and not self.more:
            raise ValueError("a curve needs doses: `at`, or `more` for a preset")
        return self

    def doses(self, preset: str | None) -> tuple[float, ...]:
        """Return the doses under a preset, rising, each once."""
        return tuple(sorted({*self.at, *(self.more.get(preset, ()) if preset else ())}))  # type: ignore[call-overload]

    def as_claim(self, cell: Cell) -> ClaimSpec:
        """Return the curve's question as a claim about ``cell`` against the base, for its gap and its margin."""
        return ClaimSpec(
            say=self.say, measure=self.measure, cell=cell, expect=self.expect, margin=self.margin, margin_absolute=self.margin_absolute,
            article=self.article, belief=self.belief, anyway=self.anyway,
        )  # fmt: skip


class ExperimentSpec(Strict):
    """One question with its claims and curves."""

    question: str = Field(min_length=1, description="The question in words.")
    article: str = Field("", description="What the article found, in a sentence.")
    belief: str = Field("", description="What people believe, in a sentence; `said_by` of the study says who.")
    claims: tuple[ClaimSpec, ...] = Field(min_length=1, description="The claims, written in advance.")
    curves: tuple[CurveSpec, ...] = Field((), description="Questions about the dose, written in advance.")
    show: tuple[Cell, ...] = Field((), description="More cells to draw and show, without a claim.")

    @field_validator("show", mode="before")
    @classmethod
    def _show(cls, value: Any) -> Any:
        return tuple(parse_cell(item) if isinstance(item, str) else item for item in value) if isinstance(value, list | tuple) else value


class PresetSpec(Strict):
    """What a preset changes."""

    train: dict[str, Any] = Field(default_factory=dict, description="Settings that differ from the study's `train`.")
    sample: dict[str, Any] = Field(default_factory=dict, description="Settings that differ from the study's `sample`.")
    verdicts: bool = Field(True, description="Whether verdicts are given; a smoke run gives none.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Error rate of each experiment, shared among its claims and across the looks.")
    looks: bool = Field(
        False,
        description="Look at the results after 8, 16 and 32 trainings and continue only with what is still open, like `--until decided`.",
    )
    null_of: tuple[str, ...] = Field(
        (),
        description="Arms that get a random twin: a LoRA of random weights that changes the predicted noise by as much as the trained one.",
    )


class TwiceSpec(Strict):
    """How a study is asked a second time: with another word, another set, another dose."""

    words: dict[str, str] = Field(
        min_length=1, description="Words that are replaced wherever they occur in data, captions, prompts and instruments' brackets."
    )
    train: dict[str, Any] = Field(default_factory=dict, description="Settings that differ from the study's `train`.")


class StudySpec(Strict):
    """One study: data, arms, training, sampling and claims."""

    study: str = Field(description="Name of the study.")
    about: str = Field("", description="One sentence on what the study is for.")
    said_by: tuple[str, ...] = Field((), description="Who says what the study tests, each with the place where it is said.")
    twice: TwiceSpec | None = Field(None, description="What `--twice` changes to ask the same question a second time.")
    base: PathText = Field("petri", description="`petri`, or the path to a diffusers folder or a .safetensors checkpoint (SD1 or SDXL).")
    load: LoadSpec = Field(default_factory=lambda: LoadSpec(), description="How the base is loaded: precision, prediction, size, memory.")
    seed: int = Field(0, ge=0, description="Root seed of all trainings.")
    data: dict[str, DataSpec] = Field(min_length=1, description="The data sets, by name.")
    train: TrainSpec = Field(default_factory=lambda: TrainSpec(), description="Training recipe for every arm.")
    sample: SampleSpec = Field(default_factory=lambda: SampleSpec(), description="How images are drawn.")
    presets: dict[Literal["smoke", "quick", "full"], PresetSpec] = Field(default_factory=dict, description="Budgets, by name.")
    arms: dict[str, ArmSpec] = Field(min_length=1, description="The arms, by name.")
    experiments: dict[str, ExperimentSpec] = Field(min_length=1, description="The experiments, by name.")

    @model_validator(mode="before")
    @classmethod
    def _arm_called_base(cls, value: Any) -> Any:
        """Let `base @ ...` be the arm of that name in a study that has one; `versus: base` is the base in every study."""
        if not isinstance(value, dict) or not isinstance(value.get("arms"), dict) or "base" not in value["arms"]:
            return value
        return {**value, "experiments": with_base_as_arm(value.get("experiments"))}

    @model_validator(mode="before")
    @classmethod
    def _crossed_arms(cls, value: Any) -> Any:
        """Span the arms whose settings are crossed."""
        return spanned(value)
