"""What the tensors of an adapter file are: names of other tools in, found layers with their factors and alphas out; reads no tensor.

Read: what :mod:`loralab.adapters.kinds` lists, as kohya-ss/sd-scripts, LyCORIS, diffusers, PEFT, OneTrainer and ComfyUI name it. Everything
else is refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loralab.adapters.header import FACTORS, Entry, json_mapping, read_small_json, shown
from loralab.adapters.kinds import Kind, kind_of
from loralab.adapters.layers import is_norm
from loralab.adapters.strangers import listed, refuse_other_files, strange
from loralab.bases.unet_names import PEFT_PREFIX
from loralab.errors import LabError, Problem, lab_error

#: what a tensor is, by the end of its name
ROLES = {
    ".lora_down.weight": "down", ".lora_up.weight": "up",  # kohya, LyCORIS
    ".lora_A.weight": "down", ".lora_B.weight": "up",  # PEFT, diffusers
    ".lora.down.weight": "down", ".lora.up.weight": "up",  # diffusers' training scripts
    ".lora_linear_layer.down.weight": "down", ".lora_linear_layer.up.weight": "up",
    ".lora_layer.down.weight": "down", ".lora_layer.up.weight": "up",  # a UNet's own state under diffusers 0.2x
    "_lora.down.weight": "down", "_lora.up.weight": "up",  # diffusers' attention processors, before 0.22
    ".alpha": "alpha",
    ".hada_w1_a": "w1_a", ".hada_w1_b": "w1_b", ".hada_w2_a": "w2_a", ".hada_w2_b": "w2_b", ".hada_t1": "t1", ".hada_t2": "t2",
    ".lokr_w1": "k1", ".lokr_w1_a": "k1_a", ".lokr_w1_b": "k1_b", ".lokr_w2": "k2", ".lokr_w2_a": "k2_a", ".lokr_w2_b": "k2_b",
    ".lokr_t2": "k2_t", ".lora_mid.weight": "mid", ".diff": "diff", ".oft_blocks": "oft", ".rescale": "rescale",  # LyCORIS, kohya's OFT
    ".a1.weight": "a1", ".a2.weight": "a2", ".b1.weight": "b1", ".b2.weight": "b2", ".on_input": "on_input", ".weight": "factor",
    ".diff_b": "bias", ".w_norm": "norm_weight", ".b_norm": "norm_bias",  # LyCORIS, ComfyUI
    ".dora_scale": "magnitude", ".lora_magnitude_vector.weight": "row_magnitude", ".lora_magnitude_vector": "row_magnitude",
}  # fmt: skip
#: what cannot be applied as a LoRA, by the end of a name: a file that holds any of these is refused as that
REFUSED = {
    "a Tucker core of LoKr's first factor": (".lokr_t1",),
    "OFT on the input side (PEFT's and OneTrainer's)": (".oft_diag", ".oft_r", ".oft_R.weight", ".oft_R.scaled_oft"),
    "a Tucker core of GLoRA": (".bm.weight",),
    "(IA)3 as PEFT writes it": (".ia3_l",),
    "biases along with a LoRA": (".lora_B.bias", ".lora_up.bias", ".lora_A.bias", ".lora_down.bias"),
    "changes to a text encoder's embedding table": (".lora_embedding_A", ".lora_embedding_B"),
}
#: its stages multiply, and tools weaken each of them: the change is no multiple of the strength
BUTTERFLY = "BOFT, rotations in several stages,"
#: settings of a PEFT configuration that change what its weights mean, and the values that leave it a plain LoRA
PLAIN_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA", "LOHA"), "bias": ("none",), "modules_to_save": (None, []), "layer_replication": (None, []),
    "use_dora": (None, False, True),  # its magnitudes are tensors of their own
    **dict.fromkeys(("lora_bias", "use_qalora", "use_bdlora", "use_effective_conv2d"), (None, False)),
    **dict.fromkeys(("alora_invocation_tokens", "trainable_token_indices", "kasa_config"), (None,)),
    **dict.fromkeys(("velora_config", "monteclora_config", "arrow_config"), (None,)),
    # other ways to begin (PiSSA, OLoRA, LoftQ, CorDA) change the base's own weights too
    "init_lora_weights": (None, True, False, "gaussian", "eva", "orthogonal"), "init_weights": (None, True, False),
}  # fmt: skip
#: a factor's name in a model's own state, in which PEFT puts the adapter's name: `.lora_A.default.weight`, `.hada_w1_a.default`
NAMED = re.compile(r"\.(lora_[AB]|lora_magnitude_vector|lora_embedding_[AB]|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?)\.(?!weight$|bias$)[^.]+")
PROCESSOR = re.compile(r"(?:\.processor)?\.to_(q|k|v|out)$")
MAX_ALPHA = 1e6
VECTOR_ROLES, OF_NORMS = ("bias", "norm_weight", "norm_bias"), ("norm_weight", "norm_bias")
SINGLE = ("alpha", "on_input")  # roles that are one number, whole or not


@dataclass
class FoundLayer:
    """One adapted layer of a file: what the file calls it, and its tensors' names by role; ``alpha`` where a configuration gives it."""

    path: str
    name: str
    tensors: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, str] = field(default_factory=dict)  # of those that change a vector: see loralab.adapters.shifts
    alpha: float | None = None
    root_rank: bool = False  # rank-stabilised: the scale is alpha / sqrt(rank) (Kalajdzievski 2023, arXiv:2312.03732)

    @property
    def is_whole(self) -> bool:
        """Whether its factors are those of a kind; a change of vectors alone needs none."""
        return kind_of(frozenset(self.tensors)) is not None or bool(self.shifts and self.tensors.keys() <= {"alpha"})

    @property
    def kind(self) -> Kind:
        """What the layer's tensors are; a layer of no kind is refused when it is found."""
        found = kind_of(frozenset(self.tensors))
        assert found is not None, self.name
        return found


@dataclass(frozen=True)
class Settings:
    """What a configuration says of alphas: one for all, others by the end of a layer's name."""

    alpha: float
    patterns: Mapping[str, float]
    root_rank: bool

    def alpha_of(self, inner: str) -> float:
        """Return the alpha of the layer of that path inside its model; as in PEFT, the first pattern that fits decides."""
        for pattern, alpha in self.patterns.items():
            if inner == pattern or inner.endswith("." + pattern):
                return alpha
        return self.alpha


def find_layers(
    path: Path, header: Mapping[str, Entry], metadata: Mapping[str, str], names: Mapping[str, str], family: str
) -> list[FoundLayer]:
    """Return the adapted layers of a file; ``names`` are the layers, by every spelling, of a base of that ``family``.

    Raises LabError("model") that names the tensors which are of a kind that is not applied, belong to no layer, or lack their other half.
    """
    refuse_other_files(path, header)
    _refuse_other_kinds(path, header)
    layers: dict[str, FoundLayer] = {}
    strangers: list[str] = []
    for tensor in sorted(header):
        name, role = _split(tensor, header)
        if role is None or name not in names or (role in OF_NORMS) != is_norm(names[name]):
            strangers.append(tensor)
            continue
        layer = layers.setdefault(names[name], FoundLayer(names[name], name))
        kept = layer.shifts if role in VECTOR_ROLES else layer.tensors
        if role in kept:
            found = f"{shown(path.name)} has two tensors for the same factor: {shown(tensor)}, {shown(kept[role])}"
            raise lab_error("model", found, "one of each")
        kept[role] = tensor
    if strangers:
        raise strange(path, strangers, header, metadata, family)
    _check_whole(path, header, layers)
    _add_settings(path, metadata, list(layers.values()))
    return list(layers.values())


def _split(tensor: str, header: Mapping[str, Entry]) -> tuple[str, str | None]:
    """Return (the layer's name in the file, the tensor's role); the role is None for a name of no known ending.

    A bare `.weight` is a layer's own, unless the flag of an (IA)3 stands beside it.
    """
    plain = unnamed(tensor)
    for ending, role in ROLES.items():
        name = plain.removesuffix(ending)
        if plain.endswith(ending) and (role != "factor" or f"{name}.on_input" in header):
            return (_processors_layer(name) if ending.startswith("_") else name), role
    return tensor, None


def unnamed(tensor: str) -> str:
    """Return a tensor's name without the adapter's own name in it."""
    return NAMED.sub(r".\1", tensor)


def _processors_layer(name: str) -> str:
    """Return the layer that an attention processor's `...attn1.processor.to_out` stands for, or a text encoder's `self_attn.to_q`."""
    found = PROCESSOR.search(name)
    if found is None:
        return name
    before, letter = name[: found.start()], found[1]
    if before.endswith(".self_attn"):
        return f"{before}.{letter}_proj"
    return f"{before}.to_{letter}" + (".0" if letter == "out" else "")


def _refuse_other_kinds(path: Path, header: Mapping[str, Entry]) -> None:
    problems = []
    kinds = {kind: [name for name in header if unnamed(name).endswith(endings)] for kind, endings in REFUSED.items()}
    kinds[BUTTERFLY] = [name for name, entry in header.items() if name.endswith(".oft_blocks") and len(entry.shape) == 4]
    for kind, keys in kinds.items():
        if keys:
            found = f"{shown(path.name)} contains {kind} in {listed(sorted(keys))}"
            wanted = "LoRA, LoCon, LoHa, LoKr, DoRA, GLoRA, (IA)3, single-stage OFT or plain weight differences"
            problems.append(Problem(found, wanted, "this version cannot apply it, so the file was not used at all"))
    if problems:
        raise LabError("model", problems)


def _check_whole(path: Path, header: Mapping[str, Entry], layers: Mapping[str, FoundLayer]) -> None:
    if not layers:
        raise lab_error("model", f"{shown(path.name)} contains no LoRA", "lora_down and lora_up tensors")
    halves = sorted(layer.name for layer in layers.values() if not layer.is_whole)
    if halves:
        has = [name for layer in layers.values() if layer.name == halves[0] for name in layer.tensors.values()]
        found = f"{shown(path.name)}: one half of the pair is missing for {', '.join(shown(name) for name in halves[:5])}"
        expected = "lora_down and lora_up (or all factors of a LoHa, a LoKr, ...) for each layer"
        raise lab_error("model", f"{found}; there is {listed(sorted(has))}", expected)
    for layer in layers.values():
        for role, tensor in (layer.tensors | layer.shifts).items():
            entry = header[tensor]
            if role in SINGLE and math.prod(entry.shape) != 1:
                raise lab_error("model", f"{shown(path.name)}: {shown(tensor)} has shape {list(entry.shape)}", "a single number")
            if role not in SINGLE and entry.dtype not in FACTORS:
                raise lab_error("model", f"{shown(path.name)}: {shown(tensor)} is stored as {entry.dtype}", f"one of {', '.join(FACTORS)}")


# --- alphas from configurations -----------------------------------------------------------------------------------------------


def _add_settings(path: Path, metadata: Mapping[str, str], layers: Sequence[FoundLayer]) -> None:
    """Put the alphas of a configuration on their layers: PEFT's adapter_config.json, or diffusers' copy of it in the metadata."""
    peft = [layer for layer in layers if layer.name.startswith(PEFT_PREFIX) and "alpha" not in layer.tensors]
    if peft:
        _apply(_peft_settings(path), peft, PEFT_PREFIX)
    if "lora_adapter_metadata" in metadata:
        told = json_mapping(metadata["lora_adapter_metadata"], f"{shown(path.name)}: lora_adapter_metadata")
        for part in dict.fromkeys(layer.path.partition(".")[0] for layer in layers):
            mine = {key.removeprefix(part + "."): value for key, value in told.items() if key.startswith(part + ".")}
            if mine:
                chosen = [layer for layer in layers if layer.name.startswith(part + ".") and "alpha" not in layer.tensors]
                _apply(_settings(mine, f"{shown(path.name)}: lora_adapter_metadata"), chosen, part + ".")


def _apply(settings: Settings, layers: Sequence[FoundLayer], prefix: str) -> None:
    for layer in layers:
        layer.alpha = settings.alpha_of(layer.name.removeprefix(prefix))
        layer.root_rank = settings.root_rank


def _peft_settings(path: Path) -> Settings:
    config = path.with_name("adapter_config.json")
    if not config.is_file():
        found = f"{shown(path.name)} is in PEFT's format, but there is no adapter_config.json next to it"
        raise lab_error("model", found, "both files that save_pretrained writes", "the alpha is stored only there")
    told = read_small_json(config.resolve() if path.is_symlink() else config)  # beside a link that is followed lies another
    return _settings(told, "adapter_config.json")


def _settings(told: Mapping[str, Any], where: str) -> Settings:
    odd = [f"{key}: {shown(str(told[key]), 40)}" for key, plain in PLAIN_SETTINGS.items() if key in told and not _is_in(told[key], plain)]
    if odd:
        raise lab_error("model", f"{where} says {', '.join(odd)}", "a plain LoRA or LoHa", "this version cannot apply it")
    patterns = told.get("alpha_pattern") or {}
    alphas = [told.get("lora_alpha", told.get("alpha")), *(patterns.values() if isinstance(patterns, dict) else [None])]
    if not all(isinstance(alpha, int | float) and not isinstance(alpha, bool) and 0 < alpha < MAX_ALPHA for alpha in alphas):
        raise lab_error("model", f"{where} has an alpha of {shown(str(alphas[0]), 40)}", "an alpha above 0 and below a million")
    plain = {pattern.removeprefix("^").removesuffix("$"): float(alpha) for pattern, alpha in patterns.items()}
    if not all(re.fullmatch(r"[\w.]+", pattern) for pattern in plain):  # a stranger's regular expression may run for years
        raise lab_error("model", f"{where} contains a regular expression in alpha_pattern", "the ends of layer names, such as attn1.to_q")
    return Settings(float(alphas[0]), plain, bool(told.get("use_rslora")))


def _is_in(value: Any, plain: tuple[Any, ...]) -> bool:
    """Whether ``value`` is one of ``plain``, 1 and True being two things."""
    return any(type(value) is type(other) and value == other for other in plain)
