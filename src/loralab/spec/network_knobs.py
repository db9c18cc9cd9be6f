"""What is trained: the kind of adapter, how it begins, its rank and rate block by block, and what is dropped from it at a step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from loralab.strict import Strict

#: adapter in a study file -> its name on pages
ALGO_LABELS = {"lora": "LoRA", "loha": "LoHa", "lokr": "LoKr", "ia3": "(IA)3"}
#: starts that take a part of the layer's own weight, which is then taken out of the base
HELD_STARTS = frozenset({"pissa", "olora"})
#: blocks of a U-Net by the words of their layers' paths, such as down, up.1, mid.attentions.0; and its text encoders
BLOCK = re.compile(r"^(?:(?:down|up)(?:\.\d+(?:\.[a-z_]+(?:\.\d+)?)?)?|mid(?:\.[a-z_]+(?:\.\d+)?)?|text)$")
BLOCKS_SAID = "down, mid, up, text, or a part of one such as down.1 or up.2.attentions.0"


class NetworkKnobs(Strict):
    """What kind of adapter is trained, and where it begins."""

    algo: Literal["lora", "loha", "lokr", "ia3"] = Field(
        "lora",
        description="Kind of adapter; lora with `targets: transformer+conv` is known as LoCon. ia3 uses neither rank nor alpha.",
    )
    dora: bool = Field(False, description="Weight decomposition (DoRA): each output channel's norm is trained on its own.")
    dora_norm_constant: bool = Field(
        False, description="DoRA: no gradient through the norm (the paper's section 4.3, PEFT, OneTrainer); LyCORIS has one."
    )
    rslora: bool = Field(False, description="Rank-stabilised scale: alpha / sqrt(rank) instead of alpha / rank.")
    start: Literal["kaiming", "orthogonal", "pissa", "olora"] = Field(
        "kaiming", description="Where a LoRA begins: at random, at random with orthogonal factors, or in the weight's own main directions."
    )
    lokr_factor: int = Field(-1, ge=-1, le=4096, description="LoKr: size of the smaller factor; -1 = as near to square as possible.")
    lokr_full_matrix: bool = Field(False, description="LoKr: train both factors whole, without a rank.")
    lokr_decompose_both: bool = Field(False, description="LoKr: give the smaller factor a rank too.")
    block_ranks: dict[str, int] = Field(
        {}, description=f"Ranks that differ by block ({BLOCKS_SAID}); 0 = not trained. The longest name that fits a layer counts."
    )
    block_lrs: dict[str, float] = Field(
        {}, description="Learning rates that differ by block, as factors of `lr` (text: of `text_encoder_lr`); 0 = not trained."
    )
    network_dropout: float = Field(0.0, ge=0, lt=1, description="Share of a LoRA's inner values that are dropped at each step.")
    rank_dropout: float = Field(0.0, ge=0, lt=1, description="Share of a LoRA's ranks that are dropped for each picture of a step.")
    module_dropout: float = Field(0.0, ge=0, lt=1, description="Share of layers whose adapter is left out at each step.")
    scale_weight_norms: float | None = Field(
        None, gt=0, description="Largest norm of a layer's change; what exceeds it is scaled down after each step. Default: no limit."
    )

    @field_validator("lokr_factor")
    @classmethod
    def _a_factor(cls, factor: int) -> int:
        if factor == 0:
            raise ValueError("lokr_factor 0; expected -1, or a whole number from 1")
        return factor

    @field_validator("block_ranks")
    @classmethod
    def _ranks(cls, ranks: dict[str, int]) -> dict[str, int]:
        _check_blocks(ranks, "rank", 512)
        return ranks

    @field_validator("block_lrs")
    @classmethod
    def _rates(cls, rates: dict[str, float]) -> dict[str, float]:
        _check_blocks(rates, "factor", 1000)
        return rates

    @model_validator(mode="after")
    def _goes_together(self) -> NetworkKnobs:
        for found, why in _MISFITS:
            if names := found(self):
                raise ValueError(f"{names}: {why}")
        return self

    @property
    def is_plain_lora(self) -> bool:
        """Whether the adapter is a LoRA as it stands in files: two factors, and nothing that a stack of LoRAs does not know."""
        return self.algo == "lora" and not self.dora and self.start not in HELD_STARTS

    @property
    def idle(self) -> frozenset[str]:
        """The settings of every recipe that do nothing in this one: (IA)3 and whole factors have no rank, and so no scale."""
        return frozenset({"rank", "alpha"} if self.algo == "ia3" or self.lokr_full_matrix else ())

    @property
    def drops(self) -> bool:
        """Whether anything is left out of the adapter at a step."""
        return bool(self.network_dropout or self.rank_dropout or self.module_dropout)


def _check_blocks(blocks: Mapping[str, float], what: str, most: int) -> None:
    for block, value in blocks.items():
        if not BLOCK.match(block):
            raise ValueError(f"{block!r} is no block; expected {BLOCKS_SAID}")
        if not 0 <= value <= most:
            raise ValueError(f"a {what} of {value:g} for {block}; expected 0 to {most}")


def _named(knobs: NetworkKnobs, *names: str) -> str:
    """Return those of ``names`` that are turned, in words; "" where none is."""
    return " and ".join(name for name in names if getattr(knobs, name) != type(knobs).model_fields[name].default)


def _if(what: bool, says: str) -> str:
    return says if what else ""


#: what cannot be asked for together: what of it a recipe has ("" = nothing), and why not
_MISFITS = (
    (lambda k: _if(k.dora and k.algo == "ia3", "dora with algo ia3"), "(IA)3 has no direction apart from its size"),
    (lambda k: _if(k.dora_norm_constant and not k.dora, "dora_norm_constant without dora"), "it says how DoRA's norm is trained"),
    (lambda k: _if(k.rslora and k.algo == "ia3", "rslora with algo ia3"), "(IA)3 has no ranks and no scale"),
    (
        lambda k: _if(k.rslora and k.algo == "lokr", "rslora with algo lokr"),
        "the lab does not have it; an alpha of alpha * sqrt(rank) gives factors of low rank the same scale, and whole ones have none",
    ),
    (lambda k: _if(k.algo != "lora" and k.start != "kaiming", f"start {k.start} with algo {k.algo}"), "only a LoRA begins so"),
    (lambda k: _if(k.dora and k.start in HELD_STARTS, f"start {k.start} with dora"), "both change what the base's weight stands for"),
    (
        lambda k: _if(k.start in HELD_STARTS, _named(k, "network_dropout", "rank_dropout", "module_dropout", "scale_weight_norms")),
        "not with a start in the weight's own directions (pissa, olora): the start would be dropped, or held down, with what is learned",
    ),
    (lambda k: _if(k.algo != "lokr", _named(k, "lokr_factor", "lokr_full_matrix", "lokr_decompose_both")), "only for algo lokr"),
    (lambda k: _if(k.lokr_full_matrix and k.lokr_decompose_both, "lokr_full_matrix and lokr_decompose_both"), "one of them"),
    (
        lambda k: _if(k.algo != "lora" or k.dora, _named(k, "network_dropout")),
        "only for a plain LoRA: the other kinds have no inner values to drop (LyCORIS has none there either); use rank_dropout",
    ),
    (lambda k: _if(k.algo == "ia3", _named(k, "rank_dropout", "block_ranks")), "(IA)3 has no ranks; use module_dropout or block_lrs"),
    (lambda k: _if(k.algo != "lora" or k.dora, _named(k, "scale_weight_norms")), "only for a plain LoRA"),
)
