"""The study file's grammar: one frozen model a noun; an unknown key is an error; every field says what it means."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, field_serializer, field_validator, model_validator

from loralab.spec.cells import BASE_ARM, Cell, parse_cell
from loralab.spec.datasets import CaptionSpec, PictureSpec
from loralab.spec.strict import Strict

NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,40}$")
#: file names that Windows reserves: an arm of that name could not be exported there.
RESERVED_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))})

#: the strengths that a curve may ask for; LoRAs are seldom used beyond.
MAX_STRENGTH = 4.0

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (221, 30, 40), "orange": (255, 140, 20), "yellow": (250, 225, 40), "green": (35, 165, 60), "cyan": (50, 205, 215),
    "blue": (40, 70, 220), "purple": (130, 50, 185), "pink": (250, 120, 185), "brown": (130, 80, 40), "black": (12, 12, 12),
    "white": (255, 255, 255), "grey": (128, 128, 128),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross")

Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "grey"]
Shape = Literal["circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross"]
Background = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "white", "grey"]
Finding = Literal["higher", "lower", "no change", "unclear"]
Expectation = Literal["higher", "lower", "no change"]


class ShapesData(Strict):
    """One image a shape, drawn with known geometry."""

    generate: Literal["shapes"]
    shapes: tuple[Shape, ...] = Field(min_length=1, description="Which shapes are drawn, one image each.")
    fill: Colour | tuple[Colour, ...] = Field("grey", description="Fill colour: one for all, or one for each shape.")
    outline: Colour | None = Field(None, description="Colour of the outline; none if left out.")
    outline_px: float = Field(3.0, gt=0, le=12, description="Width of the outline in px of a 64 px image.")
    background: Background = Field("white", description="Background colour.")
    size: float = Field(0.7, gt=0.1, le=1, description="Extent of the shape as a share of the image side.")
    position: tuple[float, float] = Field((0.5, 0.5), description="Centre (x, y) as shares of the image side.")
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) over the whole image.")

    @model_validator(mode="after")
    def _one_fill_each(self) -> ShapesData:
        if isinstance(self.fill, tuple) and len(self.fill) != len(self.shapes):
            raise ValueError(f"fill lists {len(self.fill)} colours for {len(self.shapes)} shapes; give one colour, or one for each shape")
        return self


class GridsData(Strict):
    """Line grids of n x m cells, one image a size."""

    generate: Literal["grids"]
    sizes: tuple[str, ...] = Field(min_length=1, description="Grid sizes, columns x rows: 2x2, 3x3, ...")
    line: Colour = Field("black", description="Line colour.")
    line_px: float = Field(2.0, gt=0, le=8, description="Line width in px of a 64 px image.")
    background: Background = Field("white", description="Colour of the cells.")
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) over the whole image.")

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, sizes: tuple[str, ...]) -> tuple[str, ...]:
        for size in sizes:
            if not re.fullmatch(r"[1-9]x[1-9]", size):
                raise ValueError(f"{size!r} is not a grid size; write columns x rows with digits from 1 to 9, such as 3x3")
        return sizes


class ImagesOfData(Strict):
    """The base's own images under their own prompts: the training set of a placebo."""

    images_of: Literal["base"]
    prompts: tuple[str, ...] = Field(min_length=1, description="One image is drawn for each prompt; the prompt is its caption.")
    guidance: float = Field(
        1.0, ge=1, le=30, description="Guidance when drawing them; 1 = off, so that they are the base's own distribution."
    )
    steps: int = Field(25, ge=1, le=1000, description="Solver steps when drawing them.")


class FolderData(CaptionSpec, PictureSpec):
    """The user's own images: a folder (kohya layout, sidecar captions, or metadata.jsonl), or a kohya dataset file (.toml)."""

    folder: str = Field(description="Path of the folder or of the dataset file; a relative path is relative to the study file.")
    masks: str = Field("", description="Folder of masks named as the pictures: white where the loss counts.")
    regularisation: str = Field("", description="Folder of regularisation pictures, shown as often as the training pictures.")
    prior_loss_weight: float = Field(1.0, ge=0, le=10, description="What a regularisation picture's loss counts for.")

    @model_validator(mode="after")
    def _options_in_one_place(self) -> FolderData:
        doubled = sorted(self.options_set - {"prior_loss_weight"})
        if self.is_file and doubled:
            raise ValueError(f"{', '.join(doubled)}: with a dataset file these stand in the file")
        return self

    @property
    def is_file(self) -> bool:
        """Whether a kohya dataset file is named."""
        return self.folder.lower().endswith(".toml")

    @property
    def options_set(self) -> set[str]:
        """The options that ask for something."""
        return {name for name, field in type(self).model_fields.items() if name != "folder" and getattr(self, name) != field.default}

    @property
    def has_showings(self) -> bool:
        """Whether pictures are prepared and drawn anew at each showing, instead of being cut to squares once."""
        return self.is_file or bool(self.options_set)

    @property
    def trains_alone(self) -> bool:
        """Whether steps may differ in resolution, so that no other run can share them."""
        return self.is_file or self.enable_bucket or self.resolution is not None


def _data_kind(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return {ShapesData: "shapes", GridsData: "grids", ImagesOfData: "images_of", FolderData: "folder"}.get(type(value))
    if not isinstance(value, dict):
        return None
    if "generate" in value:
        return str(value["generate"])
    return next((key for key in ("images_of", "folder") if key in value), None)


DataSpec = Annotated[
    Annotated[ShapesData, Tag("shapes")]
    | Annotated[GridsData, Tag("grids")]
    | Annotated[ImagesOfData, Tag("images_of")]
    | Annotated[FolderData, Tag("folder")],
    Discriminator(
        _data_kind,
        custom_error_type="data_kind",
        custom_error_message="this is no kind of data; write `generate: shapes`, `generate: grids`, `images_of: base` or `folder: PATH`",
    ),
]


class TrainSpec(Strict):
    """How each run of an arm is trained."""

    rank: int = Field(2, ge=1, le=512, description="Rank of every adapted layer.")
    alpha: float | None = Field(None, gt=0, description="LoRA alpha; the scale is alpha / rank. Default: the rank.")
    lr: float = Field(1e-3, gt=0, le=1, description="Learning rate of AdamW.")
    steps: int = Field(64, ge=1, description="Optimiser steps.")
    batch: int = Field(4, ge=1, le=1024, description="Images a step.")
    replicates: int = Field(8, ge=1, le=256, description="How many times each arm is trained, each with its own seed.")
    text_encoder_lr: float = Field(
        0, ge=0, le=1, description="Learning rate of the text encoder's adapter; 0 = none, the encoder is frozen."
    )
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    warmup: int = Field(0, ge=0, description="Steps of linear warm-up.")
    schedule: Literal["constant", "cosine"] = Field("constant", description="Learning-rate schedule behind the warm-up.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient-norm clipping, for each run by itself.")
    targets: Literal["transformer", "transformer+conv"] = Field(
        "transformer", description="Adapted layers: the transformer blocks (kohya's default), or the convolutions too."
    )

    @field_serializer("text_encoder_lr")
    def _frozen_is_whole(self, rate: float) -> int | float:
        return rate or 0  # 0 and 0.0 are the same recipe, and must give the same key in the store

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder is trained too."""
        return self.text_encoder_lr > 0

    @property
    def scale(self) -> float:
        """The LoRA scale alpha / rank."""
        return (self.rank if self.alpha is None else self.alpha) / self.rank


class SampleSpec(Strict):
    """How images are drawn."""

    steps: int = Field(12, ge=1, le=1000, description="Solver steps.")
    guidance: float = Field(5.0, ge=1, le=50, description="Classifier-free guidance; 1 = off.")
    seeds: int = Field(8, ge=1, le=4096, description="Images a replicate draws in each cell; replicate r owns its block of seeds.")
    sampler: Literal["dpmpp-2m", "ddim", "euler", "euler-a"] = Field("dpmpp-2m", description="Solver.")
    schedule: Literal["normal", "karras", "exponential", "simple", "ddim-uniform", "sgm-uniform"] | None = Field(
        None, description="Spacing of the solver's steps, as ComfyUI and A1111 name it; none = the solver's own (docs/contracts.md)."
    )
    negative: str = Field("", description="Negative prompt.")
    clip_skip: int = Field(
        1, ge=1, le=12, description="Which layer of the text encoder is read, in drawing and in training: 1 = the last, 2 = the one before."
    )
    unrelated: tuple[str, ...] = Field(
        (), description="Prompts that have nothing to do with the training sets: side damage is measured there."
    )

    @model_validator(mode="after")
    def _schedule_fits(self) -> SampleSpec:
        if self.sampler == "ddim" and self.schedule is not None:
            raise ValueError("sampler ddim has its own schedule; leave `schedule` out, or write `sampler: euler`, the same step")
        return self


class LoadSpec(Strict):
    """How the base is held, and what of its files' word is overruled."""

    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, or cuda (cuda:1 for the second); --device overrules it.")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Type of UNet and text encoders; the VAE and what is trained stay fp32."
    )
    prediction: Literal["epsilon", "v_prediction"] | None = Field(None, description="What the base predicts. Default: what its files say.")
    zero_terminal_snr: bool | None = Field(
        None, description="Noise schedule that ends in pure noise (rescale_betas_zero_snr). Default: what its files say."
    )
    size_px: int | None = Field(
        None, ge=64, le=2048, multiple_of=64, description="Side of pictures and training images in px. Default: the base's own."
    )
    gradient_checkpointing: bool | None = Field(
        None, description="Compute activations again instead of keeping them. Default: only where one LoRA would not fit otherwise."
    )
    memory_gib: float | None = Field(None, gt=0, description="Memory that the work may take. Default: most of what the device has.")
    side_by_side: bool | None = Field(
        None,
        description="On a processor: processes of one thread each train a part of a stack and draw a batch of their own, in place of "
        "threads that share every operator. Weights differ in their last bits. Default: where the base is small (petri) and there is "
        "work for it.",
    )


class StackedLora(Strict):
    """One of several LoRAs that an arm applies together."""

    arm: str | None = Field(None, description="An arm of this study; its replicate r goes into replicate r.")
    adapters: str | None = Field(
        None, description="Or LoRA files from elsewhere, a path with `*`, relative to the study file: one a replicate, or one for all."
    )
    strength: float = Field(1.0, ge=-MAX_STRENGTH, le=MAX_STRENGTH, description="Its strength inside the arm.")
    text_strength: float | None = Field(
        None, ge=-MAX_STRENGTH, le=MAX_STRENGTH, description="That of its text encoder's part (ComfyUI's strength_clip). Default: strength."
    )

    @model_validator(mode="after")
    def _one_source(self) -> StackedLora:
        if (self.arm is None) == (self.adapters is None):
            raise ValueError("name one of `arm` (an arm of this study) and `adapters` (files from elsewhere)")
        if self.strength == 0 and not self.text_strength:
            raise ValueError("a LoRA at strength 0 does nothing; leave it out")
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

    data: str = Field("", description="Name of an entry under `data`. An arm of several LoRAs has that of its first, unless it says.")
    captions: str | None = Field(
        None, description="Caption template with {placeholders} of the data's factors; none = the data's own captions."
    )
    train: dict[str, Any] = Field(default_factory=dict, description="What differs from the study's `train` for this arm.")
    adapters: str | None = Field(
        None, description="LoRA files trained elsewhere on `data`, as a path with `*`, relative to the study file: one file a replicate."
    )
    stack: tuple[StackedLora, ...] = Field(
        (), description="Several LoRAs applied together, each at its strength, instead of a training. One, to draw it on another base."
    )
    base: str | None = Field(
        None, description="A base of this arm's own, as at the top: it is trained, drawn and compared there. Default: the study's."
    )
    control: Literal["placebo", "null"] | None = Field(
        None, description="placebo: marks the arm that is trained on the base's own images. null is set by a preset's `null_of`."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> ArmSpec:
        if not self.data and not self.stack:
            raise ValueError("`data` is missing: the name of an entry under `data`")
        if self.stack and (self.adapters is not None or self.train or self.control is not None):
            raise ValueError("an arm of several LoRAs is not trained: `stack` stands without `train`, `adapters` and `control`")
        return self

    @property
    def trained_here(self) -> bool:
        """Whether the arm's LoRAs come of a training of this study."""
        return self.adapters is None and not self.stack


class ClaimSpec(Strict):
    """A sentence about readings, written before the run: one cell against another."""

    say: str = Field(min_length=1, description="The claim in words.")
    measure: str = Field(description="Name of the instrument.")
    cell: Cell = Field(description='Which images: arm @ "prompt".')
    versus: Cell | Literal["base"] = Field("base", description="Against which images: `base` (same prompt), or another cell.")
    expect: Expectation = Field(description="higher, lower, or no change.")
    margin: float | None = Field(
        None, gt=0, description="Smallest change that counts, as a share of the gap |training set - base|; default 0.25."
    )
    margin_absolute: float | None = Field(None, gt=0, description="The same in the instrument's own unit.")
    needs_trigger: bool = Field(False, description="The change must also exceed the change without the trigger.")
    article: str = Field("", description="What the article saw.")
    anyway: bool = Field(False, description="Judge the claim although the plan says that this budget cannot decide it.")

    @field_validator("cell", mode="before")
    @classmethod
    def _cell(cls, value: Any) -> Any:
        return parse_cell(value) if isinstance(value, str) else value

    @field_validator("versus", mode="before")
    @classmethod
    def _versus(cls, value: Any) -> Any:
        return parse_cell(value) if isinstance(value, str) and value != BASE_ARM else value

    @model_validator(mode="after")
    def _one_margin(self) -> ClaimSpec:
        if self.margin is not None and self.margin_absolute is not None:
            raise ValueError("give `margin` (share of the gap) or `margin_absolute` (the instrument's unit), not both")
        return self

    @property
    def versus_cell(self) -> Cell:
        """The cell that the claim compares with; `base` means the base at the same prompt."""
        return self.versus if isinstance(self.versus, Cell) else self.cell.on(BASE_ARM)


class CurveSpec(Strict):
    """How a reading changes with the dose: the strength of a LoRA, or the step of its training (checkpoints of the same trainings)."""

    say: str = Field(min_length=1, description="The claim in words.")
    measure: str = Field(description="Name of the instrument.")
    cell: Cell = Field(description='Which images: arm @ "prompt", without strength and step.')
    over: Literal["strength", "step"] = Field(description="What the dose is: the strength, or the step of the training.")
    at: tuple[float, ...] = Field(
        (), description="The doses. A strength of 0, or step 0, is the base; the last step of the training need not be listed twice."
    )
    more: dict[Literal["smoke", "quick", "full"], tuple[float, ...]] = Field(
        default_factory=dict, description="Further doses of a preset; without any dose the curve is not drawn."
    )
    expect: Expectation = Field(description="higher: it rises with the dose; lower: it falls; no change.")
    margin: float | None = Field(
        None, gt=0, description="Smallest change from the first to the last dose that counts, as a share of the gap; default 0.25."
    )
    margin_absolute: float | None = Field(None, gt=0, description="The same in the instrument's own unit.")
    damage: str = Field("change", description="Instrument read at the study's unrelated prompts, for learned against damaged.")
    article: str = Field("", description="What the article saw.")
    anyway: bool = Field(False, description="Judge the curve although the plan says that this budget cannot decide it.")

    @field_validator("cell", mode="before")
    @classmethod
    def _cell(cls, value: Any) -> Any:
        return parse_cell(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _doses(self) -> CurveSpec:
        if self.margin is not None and self.margin_absolute is not None:
            raise ValueError("give `margin` (share of the gap) or `margin_absolute` (the instrument's unit), not both")
        if self.cell.arm == BASE_ARM or self.cell.strength != 1.0 or self.cell.step is not None:
            raise ValueError(f"a curve's cell is an arm at a prompt, without strength or step: {self.cell}")
        for dose in (*self.at, *(dose for doses in self.more.values() for dose in doses)):
            if not 0 <= dose <= (MAX_STRENGTH if self.over == "strength" else math.inf) or (self.over == "step" and dose != int(dose)):
                wanted = f"strengths from 0 to {MAX_STRENGTH:g}" if self.over == "strength" else "whole steps from 0"
                raise ValueError(f"{dose:g} is no dose; a curve over {self.over} takes {wanted}")
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
            article=self.article, anyway=self.anyway,
        )  # fmt: skip


class ExperimentSpec(Strict):
    """One question with its claims and curves."""

    question: str = Field(min_length=1, description="The question in words.")
    article: str = Field("", description="What the article saw, in a sentence.")
    claims: tuple[ClaimSpec, ...] = Field(min_length=1, description="The claims, written before the run.")
    curves: tuple[CurveSpec, ...] = Field((), description="Questions about the dose, written before the run.")
    show: tuple[Cell, ...] = Field((), description="Further cells to draw and show without a claim.")

    @field_validator("show", mode="before")
    @classmethod
    def _show(cls, value: Any) -> Any:
        return tuple(parse_cell(item) if isinstance(item, str) else item for item in value) if isinstance(value, list | tuple) else value


class PresetSpec(Strict):
    """What a preset changes."""

    train: dict[str, Any] = Field(default_factory=dict, description="What differs from the study's `train`.")
    sample: dict[str, Any] = Field(default_factory=dict, description="What differs from the study's `sample`.")
    verdicts: bool = Field(True, description="Whether verdicts are printed; a smoke run prints none.")
    alpha: float = Field(0.05, gt=0, lt=1, description="Error rate that this preset may spend on each experiment.")
    null_of: tuple[str, ...] = Field(
        (), description="Arms that get a twin of random adapters, which change the predicted noise as much as the trained ones."
    )


class StudySpec(Strict):
    """One study: data, arms, training, sampling and claims."""

    study: str = Field(description="Name of the study.")
    about: str = Field("", description="One sentence on what the study is for.")
    base: str = Field("petri", description="`petri`, or the path of a diffusers folder or of a .safetensors checkpoint (SD1, SDXL).")
    load: LoadSpec = Field(default_factory=lambda: LoadSpec(), description="How the base is held: precision, prediction, size, memory.")
    seed: int = Field(0, ge=0, description="Root of every training stream.")
    data: dict[str, DataSpec] = Field(min_length=1, description="The data sets by name.")
    train: TrainSpec = Field(default_factory=lambda: TrainSpec(), description="Training recipe of every arm.")
    sample: SampleSpec = Field(default_factory=lambda: SampleSpec(), description="How images are drawn.")
    presets: dict[Literal["smoke", "quick", "full"], PresetSpec] = Field(default_factory=dict, description="Budgets by name.")
    arms: dict[str, ArmSpec] = Field(min_length=1, description="The arms by name.")
    experiments: dict[str, ExperimentSpec] = Field(min_length=1, description="The experiments by name.")
