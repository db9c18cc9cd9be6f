"""Which layers LyCORIS trains: a recipe in, the preset file that sd-scripts is given out.

None of LyCORIS' own presets will do: `attn-mlp` trains the time embedding too, `full` also the first and last convolution, and `ia3` has
bare endings of names, which match no path, since its patterns begin where a path does.
"""

from __future__ import annotations

import json

from loralab.adapters.trainable import IA3_LAYERS, IA3_ON_INPUT
from loralab.spec.models import TrainSpec

#: what the file is called, beside the commands of an arm
PRESET_FILE = "lycoris.toml"
#: blocks of a U-Net by their classes, as `networks.lora` chooses them
ATTENTION, CONVOLUTIONS = ("Transformer2DModel",), ("ResnetBlock2D", "Downsample2D", "Upsample2D")
TEXT = ("CLIPAttention", "CLIPSdpaAttention", "CLIPMLP")


def lycoris_preset(recipe: TrainSpec) -> str:
    """Return the text of a preset file that names the layers which a recipe trains."""
    if recipe.algo == "ia3":
        return _of_names()
    conv = recipe.targets == "transformer+conv"
    return _toml({
        "enable_conv": conv, "unet_target_module": [*ATTENTION, *(CONVOLUTIONS if conv else ())], "unet_target_name": [],
        "text_encoder_target_module": [*TEXT], "text_encoder_target_name": [],
    })  # fmt: skip


def _of_names() -> str:
    """Return the preset of (IA)3, by the names of its layers."""
    names = [_pattern(name) for name in IA3_LAYERS]
    text = _toml({
        "enable_conv": False, "unet_target_module": [], "unet_target_name": names, "text_encoder_target_module": [],
        "text_encoder_target_name": names,
    })  # fmt: skip
    return text + "".join(f"\n[name_algo_map.{json.dumps(_pattern(name))}]\ntrain_on_input = true\n" for name in IA3_ON_INPUT)


def _pattern(ending: str) -> str:
    return f".*{ending}$"  # the dots match themselves; TOML's readers differ in escaped ones


def _toml(values: dict[str, object]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
