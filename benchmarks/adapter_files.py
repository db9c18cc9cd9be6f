"""How equal adapter files are across tools: files of other tools against what these say they change, and the lab's own in diffusers.

    python benchmarks/adapter_files.py

Reads tests/fixtures/adapters, written once by the tools that its README names with their versions; writes a file over a small random
Stable Diffusion and reads it back through diffusers. Prints the rows of docs/results/adapter-files.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from fuzz_adapters import FIXTURES, fixture_base
from safetensors.torch import load_file

from loralab.adapters import Adapter, AdapterStack, load_adapter, make_adapter, save_adapter
from loralab.bases import embed_prompts, load_base, predict, tokenise
from loralab.spec.models import TrainSpec

#: (file, what its tool says it changes)
READ = (
    ("kohya-lora.safetensors", "kohya-lora.merged.safetensors"), ("lycoris-locon.safetensors", "lycoris-locon.merged.safetensors"),
    ("lycoris-loha.safetensors", "lycoris-loha.merged.safetensors"),
    ("lycoris-loha-alpha.safetensors", "lycoris-loha-alpha.forward.safetensors"),
    *((f"peft-{kind}/adapter_model.safetensors", f"peft-{kind}/merged.safetensors") for kind in ("unet", "unet-rslora", "text", "loha")),
    ("diffusers.safetensors", "diffusers.merged.safetensors"), ("diffusers-alpha.safetensors", "diffusers-alpha.merged.safetensors"),
)  # fmt: skip


def change_of(adapter: Adapter, path: str) -> torch.Tensor:
    """Return delta W of one layer, multiplied out in float64."""
    down, up = adapter.weights[path]
    return (adapter.scale * up.flatten(1).double() @ down.flatten(1).double()).reshape(len(up), *down.shape[1:])


def read_rows() -> Iterator[str]:
    """Yield a row for each file that is read: layers, the largest change of a weight, the largest difference from the tool's own."""
    base = fixture_base()
    for name, merged in READ:
        adapter, expected = load_adapter(FIXTURES / name, base), load_file(FIXTURES / merged)
        assert adapter.weights.keys() == expected.keys(), name
        apart = max(float((change_of(adapter, path) - change).abs().max()) for path, change in expected.items())
        largest = max(float(change.abs().max()) for change in expected.values())
        yield f"| `{name}` | {len(expected)} | {largest:.2g} | {apart:.1g} |"


def written_rows() -> Iterator[str]:
    """Yield a row for each kind of file that the lab writes: how far predictions are from the lab's once diffusers has loaded it."""
    sys.path.insert(0, str(FIXTURES.parents[1]))
    from conftest import save_tiny_pipeline

    recipes = {
        "UNet": {}, "UNet and text encoder": {"text_encoder_lr": 1e-4},
        "UNet with convolutions, and text encoder": {"text_encoder_lr": 1e-4, "targets": "transformer+conv"},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_tiny_pipeline(folder / "base")
        base = load_base(str(folder / "base"))
        for index, (says, recipe) in enumerate(recipes.items()):
            made = make_adapter(base, TrainSpec.model_validate({"rank": 4, "alpha": 3, **recipe}), 1)
            generator = torch.Generator().manual_seed(2)
            weights = {path: (down, torch.randn(up.shape, generator=generator) * 0.2) for path, (down, up) in made.weights.items()}
            adapter = Adapter(weights, made.alpha, made.rank)
            save_adapter(folder / f"{index}.safetensors", adapter, metadata={})
            ours, theirs, without = _predictions(base, folder, f"{index}.safetensors", adapter)
            yield f"| {says} | {len(weights)} | {float((ours - without).abs().max()):.2g} | {float((ours - theirs).abs().max()):.1g} |"


@torch.no_grad()
def _predictions(base, folder: Path, name: str, adapter: Adapter) -> tuple[torch.Tensor, ...]:
    """Return the prediction of one noisy latent under a prompt: by the lab's stack, by diffusers from the file, and of the base alone."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder / "base", local_files_only=True)
    pipeline.load_lora_weights(folder, weight_name=name, local_files_only=True)
    latents = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(0))
    with AdapterStack(base, [adapter]).attached():
        ours = predict(base, latents, torch.tensor([500]), embed_prompts(base, ["red cat"]))
    text = pipeline.text_encoder(tokenise(base, ["red cat"])).last_hidden_state
    theirs = pipeline.unet(latents, 500, text, return_dict=False)[0]
    return ours, theirs, predict(base, latents, torch.tensor([500]), embed_prompts(base, ["red cat"]))


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "transformers", "peft", "safetensors")))
    for rows in (read_rows(), written_rows()):
        print("\n" + "\n".join(rows), flush=True)


if __name__ == "__main__":
    main()
