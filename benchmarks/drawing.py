"""Claim: drawing the article's grid with many LoRAs in one batch is no slower than diffusers' own pipeline at its best, LoRA after LoRA.

    python benchmarks/drawing.py [--loras 16] [--quick]

The grid is the article's (`quick`: its prompts, six seeds a training, 12 steps, guidance 3) for the first LoRAs of its plan. The pipeline
loads each LoRA file with load_lora_weights, fuses it into the weights (faster than leaving it beside them), draws that LoRA's pictures in
batches of the size that measures fastest, from embeddings and noise made beforehand, and takes the LoRA off again. The lab loads the
same files and draws the same pictures in its own batches. Neither writes PNGs.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from turns import Bench, benching, parser_of

from loralab.adapters import load_adapter, make_adapter, save_adapter
from loralab.bases import Base, embed_prompts, load_base
from loralab.cli import shipped_study
from loralab.crew import Crew
from loralab.petri import petri_folder
from loralab.sample import ImageBlock, image_noise, plan_batches, sample_batches
from loralab.spec import LoadSpec, TrainSpec, load_study
from loralab.study.plan import MAX_IMAGES, BlockPlan, make_plan


class Grid:
    """The article's blocks for a few of its LoRAs, and the files of those LoRAs (random ones: what they hold costs no time)."""

    def __init__(self, n_loras: int, device: str, folder: Path, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        plan = make_plan(load_study(shipped_study("article"), "quick").spec)
        self.spec = plan.spec.sample
        sources = [run.source for run in plan.runs][:n_loras]
        self.names = list(map(str, sources))
        self.blocks: dict[str, list[BlockPlan]] = {str(source): [b for b in plan.blocks if b.source == source] for source in sources}
        self.base: Base = load_base("petri", LoadSpec(device=device, precision=precision))
        prompts = list(dict.fromkeys([*(b.prompt for blocks in self.blocks.values() for b in blocks), self.spec.negative]))
        self.embeddings = dict(zip(prompts, embed_prompts(self.base, prompts), strict=True))
        self.files = {name: folder / f"{name}.safetensors" for name in self.names}
        for seed, file in enumerate(self.files.values()):
            save_adapter(file, make_adapter(self.base, TrainSpec(rank=2), seed), metadata={})

    @property
    def n_images(self) -> int:
        """Pictures in the grid."""
        return sum(len(block.seeds) for blocks in self.blocks.values() for block in blocks)

    def draw_with_lab(self, crew: Crew) -> None:
        """Draw the grid as the engine does."""
        adapters = {name: load_adapter(file, self.base) for name, file in self.files.items()}
        blocks = [ImageBlock(name, b.prompt, b.strength, b.seeds) for name, found in self.blocks.items() for b in found]
        for _ in sample_batches(self.base, plan_batches(blocks, MAX_IMAGES), adapters, self.spec, self.embeddings, crew):
            pass

    def draw_with_pipeline(self, pipeline: Any, batch_images: int) -> None:
        """Draw the grid LoRA after LoRA."""
        for name, file in self.files.items():
            pipeline.load_lora_weights(str(file))
            pipeline.fuse_lora()
            items = [(block.prompt, seed) for block in self.blocks[name] for seed in block.seeds]
            for start in range(0, len(items), batch_images):
                self.draw_one_batch(pipeline, items[start : start + batch_images])
            pipeline.unfuse_lora()
            pipeline.unload_lora_weights()

    def draw_one_batch(self, pipeline: Any, items: list[tuple[str, int]]) -> None:
        """Draw (prompt, seed) pictures with whatever the pipeline has on."""
        pipeline(
            prompt_embeds=torch.stack([self.embeddings[prompt] for prompt, _ in items]).to(self.base.dtype),
            negative_prompt_embeds=torch.stack([self.embeddings[self.spec.negative]] * len(items)).to(self.base.dtype),
            latents=image_noise([seed for _, seed in items], self.base.latent_shape).to(self.base.device, self.base.dtype),
            num_inference_steps=self.spec.steps, guidance_scale=self.spec.guidance, output_type="np",
        )  # fmt: skip


def load_pipeline(base: Base) -> Any:
    """Return diffusers' pipeline over petri with the solver that the article uses."""
    pipeline = StableDiffusionPipeline.from_pretrained(petri_folder(), safety_checker=None, local_files_only=True, torch_dtype=base.dtype)
    names = ("beta_start", "beta_end", "beta_schedule", "prediction_type")
    pipeline.scheduler = DPMSolverMultistepScheduler(**{name: base.scheduler_config[name] for name in names})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(base.device)


def best_batch(bench: Bench, grid: Grid, pipeline: Any, sizes: list[int]) -> int:
    """Return the batch size at which the bare pipeline takes least time a picture."""
    found = {}
    for size in sizes:
        items = [("", seed) for seed in range(size)]
        grid.embeddings.setdefault("", embed_prompts(grid.base, [""])[0])
        grid.draw_one_batch(pipeline, items)
        found[size] = bench.seconds(lambda items=items: grid.draw_one_batch(pipeline, items)) / size
    text = ", ".join(f"{size}: {seconds * 1000:.0f} ms" for size, seconds in found.items())
    bench.show(f"diffusers' pipeline, a picture, by batch size: {text}", {"name": "batch sizes", "seconds_a_picture": found})
    return min(found, key=lambda size: found[size])


def parse() -> argparse.ArgumentParser:
    """Return the script's options."""
    parser = parser_of(__doc__)
    parser.add_argument("--loras", type=int, default=None, help="LoRAs of the article's plan. Default: 16, with --quick 4.")
    parser.add_argument("--batches", type=int, nargs="+", default=None, help="Batch sizes tried for the pipeline. Default: 8 16 32 64.")
    return parser


def main() -> None:
    """Run the comparison."""
    # diffusers hands a tensor to np.array, and torch's tensors do not know the `copy` that numpy 2 asks them for
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
    with benching(parse()) as bench, tempfile.TemporaryDirectory() as folder:
        options = bench.options
        grid = Grid(options.loras or (4 if options.quick else 16), options.device, Path(folder), options.precision)
        pipeline = load_pipeline(grid.base)
        grid.draw_with_lab(bench.crew)  # starts the lab's processes
        size = best_batch(bench, grid, pipeline, options.batches or ([8, 32] if options.quick else [8, 16, 32, 64]))
        name = f"drawing {grid.n_images} pictures with {len(grid.names)} LoRAs"
        bench.compare(
            name, f"diffusers' pipeline (batches of {size})",
            lambda: bench.seconds(lambda: grid.draw_with_pipeline(pipeline, size)),
            lambda: bench.seconds(lambda: grid.draw_with_lab(bench.crew)),
        )  # fmt: skip


if __name__ == "__main__":
    main()
