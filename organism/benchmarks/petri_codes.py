"""Would another code have served petri better? Decoders of three codes, trained for as long as one another, and what the instruments see.

    python -m organism.benchmarks.petri_codes --pool build/petri/pool [--minutes 6] [--out docs/results/petri-codes.md]

As in petri_size.py the encoders are principal components of patches, half whitened as petri's own; here the decoders are convolutional, of
petri's widths, trained on petri's world at 64 px with petri's own loss, behind noise of the same size in the latents. Without a trained
decoder f8/16 must come out ahead of f4/4: principal components of 8 px patches lose less than any other linear code of 16 numbers a patch,
and four 4 px patches of 4 numbers each are such a code. The last 512 pictures of the pool measure the error.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.vae import Decoder

from loralab.bases import load_base
from loralab.bases.round_trip import round_trip_of
from loralab.measure import Card, make_cards
from loralab.pixels import images_of, pixels_of
from organism.benchmarks.petri_size import CODES, INSTRUMENTS, Code, patches_of, psnr_db, write_cards
from organism.card import write_result
from organism.clock import Deadline
from organism.patches import WHITENING, principal_axes
from organism.pool import load_pictures
from organism.vae import DecoderState, start_linear, train_decoder

N_FIT, HELD_OUT, BATCH = 1024, 512, 16
WIDTHS = {8: (16, 32, 64, 128), 4: (32, 64, 128)}


@dataclass(frozen=True)
class TrainedCode:
    """A set encoder and its trained decoder."""

    code: Code
    mean: torch.Tensor  # (3 f f,)
    axes: torch.Tensor  # (channels, 3 f f), each over the root of its component's size
    decoder: Decoder

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return latents (B, channels, H/f, W/f)."""
        side = pixels.shape[-1] // self.code.factor
        rows = (patches_of(pixels, self.code.factor) - self.mean) @ self.axes.T
        return rows.unflatten(0, (len(pixels), side, side)).movedim(-1, 1).contiguous()

    @torch.no_grad()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Return uint8 pictures (N, H, W, 3) through the code and back."""
        parts = [self.decoder(self.encode(pixels_of(pictures[i : i + 32]))) for i in range(0, len(pictures), 32)]
        return images_of(torch.cat(parts))


def make_code(code: Code, pixels: torch.Tensor) -> TrainedCode:
    """Return a code whose encoder is fitted to pictures (N, 3, H, W), with an untrained decoder."""
    rows = patches_of(pixels, code.factor)
    axes, deviations = principal_axes(rows, code.channels)
    widths = WIDTHS[code.factor]
    torch.manual_seed(0)
    decoder = Decoder(
        in_channels=code.channels, out_channels=3, up_block_types=("UpDecoderBlock2D",) * len(widths), block_out_channels=widths,
        layers_per_block=1, norm_num_groups=1,
    )  # fmt: skip
    start_linear(decoder)
    return TrainedCode(code, rows.mean(dim=0), axes / deviations[:, None] ** WHITENING, decoder)


def main() -> None:
    """Train, measure, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="Folder of petri's pool.")
    parser.add_argument("--minutes", type=float, default=6.0, help="Training of each decoder, one thread.")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pictures = load_pictures(given.pool)
    trained, held_out = pictures[:-HELD_OUT], pictures[-HELD_OUT:]
    columns: dict[str, dict[str, Card]] = {}
    notes = []
    for code in CODES:
        made = make_code(code, pixels_of(trained[:N_FIT]))
        *_, last = train_decoder(DecoderState(made.decoder), made.encode, trained, Deadline(60 * given.minutes), batch=BATCH)
        columns[code.name] = make_cards(made, 64, INSTRUMENTS)
        notes.append(f"| {code.name} | {code.positions(64)} | {last.examples:,} | {psnr_db(made(held_out), held_out):.1f} |")
        print(notes[-1], flush=True)
    own = round_trip_of(load_base("petri"))
    columns["petri's own, f8/16"] = make_cards(own, 64, INSTRUMENTS)
    notes.append(f"| petri's own, f8/16 | 64 | (see the card) | {psnr_db(own(held_out), held_out):.1f} |")
    heads = ["| code | latent positions | examples of the decoder's training | held-out pictures, dB |", "|---|---|---|---|"]
    machine = f"{given.minutes:g} minutes of one thread of {platform.machine()} each, torch {torch.__version__}."
    struck = "Struck through: this autoencoder does not carry what the instrument measures."
    body = "\n\n".join([write_cards(columns), struck, "\n".join([*heads, *notes]), machine])
    print(body)
    if given.out is not None:
        command = f"python -m organism.benchmarks.petri_codes --pool POOL --minutes {given.minutes:g}"
        write_result(given.out, "Trained decoders of three codes at 64 px", body, load_base("petri").fingerprint, command)


if __name__ == "__main__":
    main()
