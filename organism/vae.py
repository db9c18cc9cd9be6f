"""The autoencoder: in goes a pool of pictures, out comes an `AutoencoderKL` (f8, 16 channels) with centred latents.

The posterior has one fixed deviation instead of a learned one: the decoder must bear errors of that size, which is what
a diffusion model with few steps of training makes.
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from loralab.pixels import pixels_of
from organism.clock import Deadline, save_whole, warm_cosine
from organism.parallel import bfloat16_training

POSTERIOR_DEVIATION = 0.1
LATENT_CHANNELS = 16
LATENT_SIZE = 0.5  # at 1 the mean colours, twice as large, show through the most noise, and words go unheard


@dataclass(frozen=True)
class VaeReading:
    """One line of the training log."""

    examples: int
    seconds: float
    loss: float


def make_vae() -> AutoencoderKL:
    """Return an untrained autoencoder whose posterior has a constant deviation."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,  # groups of two channels normalise the colour of a plain picture away
        sample_size=64,
        scaling_factor=1.0,
        force_upcast=False,
    )
    start_linear(vae)
    quant = vae.quant_conv
    with torch.no_grad():
        quant.weight[LATENT_CHANNELS:] = 0
        quant.bias[LATENT_CHANNELS:] = 2 * log(POSTERIOR_DEVIATION)
    return vae


@torch.no_grad()
def start_linear(vae: nn.Module) -> None:
    """Set the last layer of every residual branch to zero, so that training begins with a short, nearly linear path."""
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.zero_()
            module.conv2.bias.zero_()
        if isinstance(module, Attention):
            module.to_out[0].weight.zero_()
            module.to_out[0].bias.zero_()


def encode_means(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Return the posterior means, (B, 16, H/8, W/8), unscaled."""
    return vae.encode(pixels).latent_dist.mean


def reconstruction_loss(decoded: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Return L1 at five scales, for colours, plus L1 of the finite differences, which keeps edges and lines sharp."""
    loss = F.l1_loss(decoded, pixels) + 2 * F.mse_loss(decoded, pixels)
    for scale in (2, 4, 8, 16):
        loss = loss + 0.5 * F.l1_loss(F.avg_pool2d(decoded, scale), F.avg_pool2d(pixels, scale))
    for dim in (2, 3):
        loss = loss + 0.5 * F.l1_loss(decoded.diff(dim=dim), pixels.diff(dim=dim))
    return loss


def decoder_of(vae: AutoencoderKL) -> nn.Module:
    """Return what takes unscaled latents (B, 16, H/8, W/8) to pixels (B, 3, H, W)."""
    return nn.Sequential(vae.post_quant_conv, vae.decoder)


class DecoderState:
    """A decoder and its optimiser: all that a resumed run needs."""

    def __init__(self, decoder: nn.Module, lr: float = 1.5e-3) -> None:
        self.decoder = decoder.train()
        self.lr = lr
        self.optimiser = torch.optim.AdamW(decoder.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self.examples = 0
        self.spent_seconds = 0.0

    def save(self, path: Path) -> None:
        """Write everything; an older file is replaced only when the new one is complete."""
        packed = {"decoder": self.decoder.state_dict(), "optimiser": self.optimiser.state_dict()}
        save_whole(packed | {"counts": (self.examples, self.spent_seconds)}, path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        packed = torch.load(path)
        self.decoder.load_state_dict(packed["decoder"])
        self.optimiser.load_state_dict(packed["optimiser"])
        self.examples, self.spent_seconds = packed["counts"]


def train_decoder(
    state: DecoderState, encode: Callable[[torch.Tensor], torch.Tensor], pictures: np.ndarray, deadline: Deadline, batch: int = 6
) -> Iterator[VaeReading]:
    """Train a decoder in place until the deadline; yields a reading every 100 batches, and the last one.

    `encode` takes pixels (B, 3, H, W) to latents, such as the set encoder's (`patches.encode_patches`). Batches are small: a picture
    holds 64 patches, and steps count for more than examples.
    """
    state.decoder.train()
    parameters = list(state.decoder.parameters())
    loss = float("nan")
    while (fraction := deadline.fraction_at(state.examples)) < 1:
        for group in state.optimiser.param_groups:
            group["lr"] = state.lr * warm_cosine(fraction, state.examples + batch, 100 * batch)
        rng = np.random.Generator(np.random.Philox(key=[0, state.examples]))
        pixels = pixels_of(pictures[rng.integers(len(pictures), size=batch)])
        latents = encode(pixels)
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32))
        mean_loss = slice_loss(state.decoder, latents + POSTERIOR_DEVIATION * noise, pixels, slice(None))
        for parameter, gradient in zip(parameters, torch.autograd.grad(mean_loss, parameters), strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        state.optimiser.step()
        state.examples += batch
        state.spent_seconds, loss = deadline.spent_seconds, mean_loss.item()
        if state.examples // batch % 100 == 0:
            yield VaeReading(state.examples, state.spent_seconds, loss)
    state.decoder.eval()
    yield VaeReading(state.examples, state.spent_seconds, loss)


def slice_loss(decoder: nn.Module, latents: torch.Tensor, pixels: torch.Tensor, part: slice) -> torch.Tensor:
    """Return the loss of a slice of a batch, computed in bfloat16 where that is safe."""
    with bfloat16_training():
        decoded = decoder(latents[part]).float()
    return reconstruction_loss(decoded, pixels[part])


@torch.no_grad()
def centre_latents(vae: AutoencoderKL, pictures: np.ndarray) -> None:
    """Move the latents' means into the 1x1 convolutions and set the scaling factor: centred, of deviation LATENT_SIZE.

    Channels keep their relative sizes: one that carries little stays small and costs the diffusion model little.
    """
    latents = torch.cat([encode_means(vae, pixels_of(pictures[i : i + 64])) for i in range(0, len(pictures), 64)])
    mean = latents.mean(dim=(0, 2, 3))
    vae.quant_conv.bias[:LATENT_CHANNELS] -= mean
    vae.post_quant_conv.bias += vae.post_quant_conv.weight[:, :, 0, 0] @ mean
    vae.register_to_config(scaling_factor=round(LATENT_SIZE / float((latents - mean[:, None, None]).std()), 5))


@torch.no_grad()
def measure_error(vae: AutoencoderKL, pictures: np.ndarray) -> dict[str, float]:
    """Return the reconstruction's mean absolute error in grey levels (0 to 255) and its PSNR in dB."""
    errors = []
    for start in range(0, len(pictures), 64):
        pixels = pixels_of(pictures[start : start + 64])
        decoded = vae.decode(encode_means(vae, pixels)).sample.clamp(-1, 1)
        errors.append((decoded - pixels) * 127.5)
    error = torch.cat(errors)
    mse = error.square().mean(dim=(1, 2, 3))
    psnr = 10 * torch.log10(255**2 / mse.clamp_min(1e-3))
    return {"mean_absolute_error": float(error.abs().mean()), "psnr_db": float(psnr.mean())}
