"""How LoRAs are trained, how pictures are drawn, and how the base is held: what a study says under `train`, `sample` and `load`."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from loralab.spec.keeping import KeepingKnobs
from loralab.spec.knobs import FIND_THEIR_RATE, LossKnobs, NoiseKnobs, OptimiserKnobs, whole_or_share
from loralab.spec.network_knobs import ALGO_LABELS, NetworkKnobs
from loralab.strict import PathText, Strict


class PlainRecipe(Strict):
    """What every recipe says: size, rate, length, and what is adapted."""

    rank: int = Field(2, ge=1, le=512, description="Rank of every adapted layer.")
    alpha: float | None = Field(None, gt=0, description="LoRA alpha; the scale is alpha / rank. Default: the rank.")
    lr: float = Field(1e-3, gt=0, le=1, description="Learning rate; for optimisers that find their own, a factor for it (usually 1).")
    steps: int = Field(64, ge=1, description="Optimiser steps.")
    batch: int = Field(4, ge=1, le=1024, description="Images per step.")
    replicates: int = Field(8, ge=1, le=256, description="How many times each arm is trained, each time with its own seed.")
    seed: int | None = Field(
        None, ge=0, description="Seed for trainings of their own; an arm's `seed:` sets it. Default: the same in all arms."
    )
    text_encoder_lr: float = Field(0, ge=0, le=1, description="Learning rate for the text encoder; 0 = the text encoder is not trained.")
    weight_decay: float = Field(
        0.01, ge=0, description="Weight decay: decoupled as in AdamW, except for sgd, where it is added to the gradient."
    )
    warmup: int | float = Field(0, ge=0, description="Steps of linear warm-up; below 1, a share of all steps.")
    schedule: Literal["constant", "cosine", "linear", "polynomial", "cosine-with-restarts", "rex", "wsd"] = Field(
        "constant",
        description="Learning-rate schedule after the warm-up; wsd (warm-up, stable, decay) falls during the last `decay` steps.",
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient-norm clipping, for each training separately.")
    targets: Literal["transformer", "transformer+conv"] = Field(
        "transformer", description="Layers to adapt: the transformer blocks (kohya's default), or the convolutions as well."
    )

    clip_skip: int | None = Field(
        None, ge=1, le=12, description="Layer of the text encoder that captions are read at in training. Default: as in drawing (`sample`)."
    )

    @field_validator("warmup")
    @classmethod
    def _whole_warmup(cls, steps: int | float) -> int | float:
        return whole_or_share(steps)

    @field_serializer("text_encoder_lr")
    def _frozen_is_whole(self, rate: float) -> int | float:
        return rate or 0  # 0 and 0.0 are the same recipe, and must give the same key in the store

    def read_at(self, drawn_at: int) -> int:
        """Return the layer that captions are read at in training; ``drawn_at`` is the one that prompts are read at in drawing."""
        return drawn_at if self.clip_skip is None else self.clip_skip

    @property
    def trains_text(self) -> bool:
        """Whether the text encoder is trained too."""
        return self.text_encoder_lr > 0

    def alpha_of(self, rank: int) -> float:
        """Return the alpha of a layer of ``rank``: the recipe's, or by default the rank."""
        return float(rank if self.alpha is None else self.alpha)


class TrainSpec(NetworkKnobs, KeepingKnobs, OptimiserKnobs, NoiseKnobs, LossKnobs, PlainRecipe):
    """How each run of an arm is trained."""

    @model_validator(mode="after")
    def _one_rate(self) -> TrainSpec:
        if self.optimiser in FIND_THEIR_RATE and self.trains_text and self.text_encoder_lr != self.lr:
            raise ValueError(f"{self.optimiser} finds a single rate for all weights: text_encoder_lr must equal lr ({self.lr:g}), or be 0")
        if self.optimiser in FIND_THEIR_RATE and self.block_lrs:
            raise ValueError(f"{self.optimiser} finds a single rate for all weights, so block_lrs cannot be used with it")
        return self

    @model_validator(mode="after")
    def _fits_its_kind(self) -> TrainSpec:
        ranks = (self.rank, *self.block_ranks.values())
        if self.start == "orthogonal" and (odd := [rank for rank in ranks if rank % 2]):
            raise ValueError(
                f"start orthogonal with a rank of {odd[0]}: its two factors take half of the directions each; expected even ranks"
            )
        if self.loraplus_ratio != 1 and self.algo != "lora":
            raise ValueError(f"loraplus_ratio with algo {self.algo}: only a LoRA has an `up` and a `down`")
        if self.algo == "ia3" and self.targets != "transformer":
            raise ValueError("algo ia3 with targets transformer+conv: (IA)3 is trained in the transformer blocks alone")
        return self

    @property
    def highest_rank(self) -> int:
        """The highest rank of a layer."""
        return max(self.rank, *self.block_ranks.values()) if self.block_ranks else self.rank

    @property
    def said(self) -> str:
        """The kind of adapter and its rank, in words."""
        whole, dora = " of whole factors" if self.lokr_full_matrix else "", " with DoRA" if self.dora else ""
        kind = ALGO_LABELS[self.algo] + whole + dora
        if "rank" in self.idle:
            return kind
        return f"rank {self.rank}" if kind == ALGO_LABELS["lora"] else f"{kind}, rank {self.rank}"

    def scale_of(self, rank: int) -> float:
        """Return the scale of a layer of ``rank``: alpha / rank, or rank-stabilised alpha / sqrt(rank) (arXiv:2312.03732)."""
        return self.alpha_of(rank) / (math.sqrt(rank) if self.rslora else rank)

    def file_alpha(self, rank: int) -> float:
        """Return the alpha that a file says of a layer of ``rank``, which readers divide by the rank."""
        return self.alpha_of(rank) * (math.sqrt(rank) if self.rslora else 1)

    @property
    def turned(self) -> dict[str, object]:
        """The knobs that this recipe turns, by name."""
        kinds = (LossKnobs, NoiseKnobs, OptimiserKnobs, KeepingKnobs, NetworkKnobs)
        knobs = (name for kind in kinds for name in kind.model_fields)
        return {name: getattr(self, name) for name in knobs if getattr(self, name) != type(self).model_fields[name].default}


class SampleSpec(Strict):
    """How images are drawn."""

    steps: int = Field(12, ge=1, le=1000, description="Sampling steps.")
    guidance: float = Field(5.0, ge=1, le=50, description="Classifier-free guidance (CFG scale); 1 = off.")
    guidance_interval: tuple[float, float] = Field(
        (0.0, 1.0),
        description="The part of the sampling steps in which guidance acts, from 0 (the first) to 1 (after the last), like `start` "
        "and `stop` in diffusers' guiders; steps outside it take half the time. [0, 1] = all steps, [0, 0] = none.",
    )
    seeds: int = Field(
        8, ge=1, le=4096, description="Images that each training draws in each cell; every training has its own block of seeds."
    )
    sampler: Literal["dpmpp-2m", "ddim", "euler", "euler-a"] = Field("dpmpp-2m", description="Solver.")
    schedule: Literal["normal", "karras", "exponential", "simple", "ddim-uniform", "sgm-uniform"] | None = Field(
        None, description="Noise schedule of the sampler, by its ComfyUI or A1111 name. Default: the sampler's own (docs/contracts.md)."
    )
    negative: str = Field("", description="Negative prompt.")
    clip_skip: int = Field(
        1, ge=1, le=12, description="Which layer of the text encoder is used, in drawing and in training: 1 = the last, 2 = the one before."
    )
    unrelated: tuple[str, ...] = Field(
        (), description="Prompts that have nothing to do with the training sets; side damage is measured on them."
    )

    @field_validator("guidance_interval")
    @classmethod
    def _interval_ascends(cls, interval: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= interval[0] <= interval[1] <= 1:
            raise ValueError("two parts of the steps from 0 to 1, the smaller first; [0, 0.75] guides the first three quarters")
        return interval

    def guided_steps(self, n_steps: int | None = None) -> range:
        """Return the steps, from 0, in which guidance acts, of ``n_steps`` that the solver makes (default: those asked for)."""
        n = self.steps if n_steps is None else n_steps
        start, stop = (int(part * n + 1e-9) for part in self.guidance_interval)
        return range(start, stop) if self.guidance != 1 else range(0)

    @property
    def passes(self) -> int:
        """How often the denoiser sees a picture: once a step, twice where it is guided."""
        return self.steps + len(self.guided_steps())

    @model_validator(mode="after")
    def _schedule_fits(self) -> SampleSpec:
        if self.sampler == "ddim" and self.schedule is not None:
            raise ValueError("sampler ddim has its own schedule; remove `schedule`, or write `sampler: euler`, which takes the same steps")
        return self


class LoadSpec(Strict):
    """How the base is held, and what of its files' word is overruled."""

    device: str = Field(
        "cpu", pattern=r"^(cpu|mps|(cuda|xpu)(:\d+)?)$",
        description="cpu, cuda (cuda:1 for the second), mps (Apple) or xpu (Intel); --device overrides it.",
    )  # fmt: skip
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Precision of the UNet and the text encoders; the VAE and the LoRAs stay in fp32."
    )
    prediction: Literal["epsilon", "v_prediction"] | None = Field(None, description="What the base predicts. Default: as its files say.")
    zero_terminal_snr: bool | None = Field(
        None, description="Noise schedule that ends in pure noise (rescale_betas_zero_snr). Default: as the base's files say."
    )
    vae: PathText | None = Field(
        None, description="A VAE to use instead of the base's own: a .safetensors file or a diffusers folder, relative to the study file."
    )
    size_px: int | None = Field(
        None, ge=64, le=2048, multiple_of=64, description="Side of pictures and training images in px. Default: the base's own."
    )
    gradient_checkpointing: bool | None = Field(
        None, description="Recompute activations instead of keeping them. Default: only if a single LoRA would not fit otherwise."
    )
    memory_gib: float | None = Field(None, gt=0, description="Memory that may be used, in GiB. Default: most of what the device has.")
    side_by_side: bool | None = Field(
        None,
        description="On a CPU: train and draw in several single-threaded processes instead of one process with many threads. The "
        "weights then differ in their last bits. Default: on for small bases (petri) if there is enough work.",
    )
