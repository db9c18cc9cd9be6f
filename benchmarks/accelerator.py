"""On an accelerator: K LoRAs trained and drawn with together, K = 1 to 64, against one at a time, on UNets of the size of SD1.5 and SDXL.

    python benchmarks/accelerator.py --device cuda [--sizes petri sd15 sdxl] [--precision bf16] [--quick]

NOT YET RUN on an accelerator: written on a machine without one. The UNets and the VAE have random weights (nothing is downloaded): what
they draw is noise, what they cost is real. Training is compared with the peft loop of benchmarks/peft_training.py, drawing with the same
LoRAs one after the other. A K that does not fit into the device's memory is said to, and the next size begins. On a CPU it runs with
`--sizes petri --quick`, to see that it runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft_training import train_with_peft
from turns import Bench, benching, parser_of

from loralab.adapters import adapted_layers, make_adapter
from loralab.bases import Base, load_base, text_shape
from loralab.bases.diffusion import make_noise_schedule
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec import LoadSpec, SampleSpec, TrainSpec
from loralab.train import TrainRun, train_stack

STACKS = (1, 2, 4, 8, 16, 32, 64)
STEPS, RANK, TOKENS = 6, 8, 77
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
POOLED_WIDTH = 1280

#: the sizes: configuration of the UNet (diffusers' names), side of the latents, width of the text
SIZES: Mapping[str, tuple[dict[str, Any], int, int]] = {
    "sd15": ({"cross_attention_dim": 768, "attention_head_dim": 8}, 64, 768),
    "sdxl": (
        {
            "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "transformer_layers_per_block": (1, 2, 10),
            "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        128,
        2048,
    ),
}  # fmt: skip


class Pooled(torch.nn.Module):
    """Stands where SDXL's second text encoder is: the base reads from it how wide the pooled vector is."""

    config = SimpleNamespace(projection_dim=POOLED_WIDTH)


def make_base(size: str, device: str, precision: str) -> Base:
    """Return petri, or a base of that size with random weights."""
    petri = load_base("petri", LoadSpec(device=device))
    if size == "petri":
        return petri
    config, side, _ = SIZES[size]
    vae = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2}
    with torch.device(device):
        unet = UNet2DConditionModel(**config).to(DTYPES[precision]).requires_grad_(False).eval()
        decoder = AutoencoderKL(**vae, block_out_channels=(128, 256, 512, 512), latent_channels=4).requires_grad_(False).eval()
    parts = {"unet": unet, "vae": decoder} | ({"text_encoder_2": Pooled()} if size == "sdxl" else {})
    family = "sdxl" if size == "sdxl" else "sd1"
    return replace(
        petri.with_parts(**parts), name=size, family=family, latent_shape=(4, side, side), size_px=8 * side, dtype=DTYPES[precision]
    )


def random_text(base: Base, size: str, n: int) -> torch.Tensor:
    """Return embeddings (n, T, D) as the base takes them: SDXL's pooled vector stands in one more row."""
    rows, width = text_shape(base) if size not in SIZES else (TOKENS + (1 if base.family == "sdxl" else 0), SIZES[size][2])
    return torch.randn(n, rows, width, device=base.device)


def waited(bench: Bench, work: Callable[[], object]) -> float:
    """Return the seconds of ``work``, the device's own part included."""

    def whole() -> None:
        work()
        if bench.options.device != "cpu":
            torch.cuda.synchronize()

    return bench.seconds(whole)


def compare_training(bench: Bench, base: Base, size: str, k: int, batch: int) -> None:
    """Compare a stack of k LoRAs with k LoRAs trained by peft, of which one is measured."""
    spec = TrainSpec(rank=RANK, steps=STEPS, batch=batch)
    latents, text = torch.randn(4, *base.latent_shape, device=base.device), random_text(base, size, 4)
    runs = [TrainRun(str(index), spec, latents, text, replicate=index) for index in range(k)]
    layers = [path.removeprefix("unet.") for path in adapted_layers(base, spec.targets)]
    schedule = make_noise_schedule(base.scheduler_config)
    schedule.alphas_cumprod = schedule.alphas_cumprod.to(base.device)
    tokens, told = text, None
    if base.family == "sdxl":
        tokens, side = text[:, :-1], base.size_px
        ids = torch.tensor([[side, side, 0, 0, side, side]] * batch, dtype=torch.float32, device=base.device)
        pooled = text[:1, -1, :POOLED_WIDTH].expand(batch, -1).to(base.dtype)
        told = {"added_cond_kwargs": {"text_embeds": pooled, "time_ids": ids}}

    def lab() -> None:
        for _ in train_stack(base, runs, root_seed=0):
            pass

    def peft() -> None:
        train_with_peft(base.unet, layers, schedule, spec, latents, tokens, 0, told)

    lab()  # both warm up
    peft()
    name = f"{size}: training {k} LoRAs, {STEPS} steps of batch {batch}"
    bench.compare(name, "peft, one at a time", lambda: k * waited(bench, peft), lambda: waited(bench, lab), "peer from 1 adapter")


def compare_drawing(bench: Bench, base: Base, size: str, k: int) -> None:
    """Compare k LoRAs in one batch, a picture each, with the same LoRAs one by one."""
    spec = SampleSpec(steps=STEPS, guidance=5)
    adapters = {str(index): make_adapter(base, TrainSpec(rank=RANK), index) for index in range(k)}
    embeddings = dict(zip(["a", ""], random_text(base, size, 2), strict=True))
    blocks = [ImageBlock(name, "a", 1.0, (0,)) for name in adapters]

    def draw(chosen: list[ImageBlock]) -> None:
        for batch in plan_batches(chosen, k):
            sample_batch(base, batch, adapters, spec, embeddings)

    draw(blocks)
    draw(blocks[:1])
    name = f"{size}: drawing a picture with each of {k} LoRAs, {STEPS} steps"
    bench.compare(
        name, "one by one", lambda: k * waited(bench, lambda: draw(blocks[:1])), lambda: waited(bench, lambda: draw(blocks)), "peer from 1"
    )


def show_memory(bench: Bench, name: str) -> None:
    """Show the device's peak memory since the last time."""
    if bench.options.device != "cpu":
        mib = torch.cuda.max_memory_allocated() / 2**20
        bench.show(f"{name}: peak memory on the device {mib:.0f} MiB", {"name": name, "device_mib": mib})
        torch.cuda.reset_peak_memory_stats()


def run_until_full(bench: Bench, name: str, stacks: tuple[int, ...], work: Callable[[int], None]) -> None:
    """Run ``work`` for growing K until the device's memory is full."""
    for k in stacks:
        try:
            work(k)
        except torch.OutOfMemoryError:
            bench.show(f"{name}: {k} LoRAs do not fit into the device's memory", {"name": name, "does_not_fit": k})
            torch.cuda.empty_cache()
            return
        show_memory(bench, f"{name}, {k} LoRAs")


def parse() -> argparse.ArgumentParser:
    """Return the script's options."""
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", nargs="+", choices=["petri", *SIZES], default=["petri", *SIZES], help="Bases.")
    parser.set_defaults(precision="bf16")  # of the UNets other than petri's
    parser.add_argument("--stacks", type=int, nargs="+", default=None, help="Values of K. Default: 1 2 4 ... 64, with --quick 1 4.")
    return parser


def main() -> None:
    """Compare training and drawing on every base asked for."""
    with benching(parse()) as bench:
        options = bench.options
        stacks = tuple(options.stacks or ((1, 4) if options.quick else STACKS))
        for size in options.sizes:
            base = make_base(size, options.device, options.precision)
            for batch in (1, 4):
                run_until_full(
                    bench, f"{size}: training at batch {batch}", stacks,
                    lambda k, base=base, size=size, batch=batch: compare_training(bench, base, size, k, batch),
                )  # fmt: skip
            run_until_full(bench, f"{size}: drawing", stacks, lambda k, base=base, size=size: compare_drawing(bench, base, size, k))


if __name__ == "__main__":
    main()
