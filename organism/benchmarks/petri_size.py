"""How large should petri be? What autoencoders of several shapes carry, by the instruments' own cards, and what UNets cost.

    python -m organism.benchmarks.petri_size [--out docs/results/petri-size.md] [--pool FOLDER] [--quick]

But for petri's own no autoencoder is trained (petri_codes.py trains decoders): encoder and decoder are principal components of patches and
their transpose, as petri's own encoder is set. That is the best that a linear code of that size can do, so a property that it loses must be
won back by a decoder that guesses. The components are fitted to petri's world at 64 px (its shapes, or with --pool the whole world) and
used at 96 and 128 px too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from loralab.bases import load_base
from loralab.bases.round_trip import round_trip_of
from loralab.measure import Card, make_cards
from loralab.petri.draw import make_picture
from loralab.pixels import images_of, pixels_of
from organism.card import write_result
from organism.patches import principal_axes
from organism.pool import load_pictures
from organism.speed import write_costs
from organism.world import SHAPES_ONLY, sample_truth

INSTRUMENTS = (
    "chroma", "background_from_white", "shape_circle", "shape_primitive", "outline_dark", "edge_sigma", "depth_of_field", "grid_present",
    "grid_beyond",
)  # fmt: skip
N_FIT, N_HELD_OUT = 1024, 512


@dataclass(frozen=True)
class Code:
    """A linear autoencoder: patches of `factor` px, `channels` numbers each."""

    factor: int
    channels: int

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return f"f{self.factor}/{self.channels}"

    def positions(self, size_px: int) -> int:
        """Return the latent positions of a picture: the tokens that the UNet works on."""
        return (size_px // self.factor) ** 2


CODES = (Code(8, 16), Code(4, 4), Code(4, 16))
SIZES_PX = (64, 96, 128)
UNETS = (((64, 128), 1), ((64, 128), 2), ((96, 160), 1), ((128, 224), 1), ((128, 224), 2))


def patches_of(pixels: torch.Tensor, factor: int) -> torch.Tensor:
    """Return the patches of pictures (N, 3, H, W) as rows (N * H/f * W/f, 3 f f)."""
    return torch.nn.functional.pixel_unshuffle(pixels, factor).movedim(1, -1).flatten(0, 2)


def fit_code(code: Code, pixels: torch.Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """Return the round trip of uint8 pictures (N, H, W, 3) through the code's principal components and back."""
    rows = patches_of(pixels, code.factor)
    mean = rows.mean(dim=0)
    axes, _ = principal_axes(rows, code.channels)
    return partial(round_trip, code, mean, axes)


def round_trip(code: Code, mean: torch.Tensor, axes: torch.Tensor, pictures: np.ndarray) -> np.ndarray:
    """Return what is left of pictures when each patch is projected on the axes."""
    pixels = pixels_of(pictures)
    side = pixels.shape[-1] // code.factor
    kept = (patches_of(pixels, code.factor) - mean) @ axes.T @ axes + mean
    back = torch.nn.functional.pixel_shuffle(kept.unflatten(0, (len(pixels), side, side)).movedim(-1, 1), code.factor)
    return images_of(back)


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean over pictures of the peak signal-to-noise ratio."""
    errors = ((one.astype(np.float64) - other) ** 2).mean(axis=(1, 2, 3))
    return float((10 * np.log10(255**2 / np.maximum(errors, 1e-3))).mean())


def describe(card: Card) -> str:
    """Return a card's error and sensitivity, marked where the base does not carry the instrument."""
    text = f"{card.error:.2f} ({card.sensitivity:.2f})"
    return text if card.carried else f"~~{text}~~"


def write_cards(columns: dict[str, dict[str, Card]]) -> str:
    """Return one row an instrument and one column an autoencoder as a Markdown table."""
    lines = [f"| error (sensitivity) | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [f"| `{name}` | {' | '.join(describe(cards[name]) for cards in columns.values())} |" for name in INSTRUMENTS]
    return "\n".join(lines)


def make_columns(pixels: torch.Tensor, pictures: np.ndarray, sizes_px: Sequence[int]) -> tuple[dict[str, dict[str, Card]], list[str]]:
    """Return the cards without any autoencoder, through petri's own, and through each code at each size; and notes on reconstruction."""
    columns: dict[str, dict[str, Card]] = {}
    notes = []
    for size_px in sizes_px:
        columns[f"{size_px} px, none"] = make_cards(lambda images: images, size_px, INSTRUMENTS)
        for code in CODES:
            through = fit_code(code, pixels)
            columns[f"{size_px} px, {code.name}"] = make_cards(through, size_px, INSTRUMENTS)
            print(f"{size_px} px, {code.name}", flush=True)
        own = round_trip_of(load_base("petri"))  # trained at 64 px, and used as it is at the others
        columns[f"{size_px} px, petri's own"] = make_cards(own, size_px, INSTRUMENTS)
        if size_px == 64:
            notes = [f"{code.name} {psnr_db(fit_code(code, pixels)(pictures), pictures):.1f}" for code in CODES]
            notes.append(f"petri's own {psnr_db(own(pictures), pictures):.1f}")
    return columns, notes


def main() -> None:
    """Measure, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pool", type=Path, help="folder of petri's pool, for the whole world instead of its shapes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="64 px alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.pool is None:
        world = np.stack([make_picture(sample_truth(seed, SHAPES_ONLY)) for seed in range(N_FIT + N_HELD_OUT)])
    else:
        world = load_pictures(given.pool)
    speeds = write_costs(
        [(*unet, 8, 16) for unet in UNETS] + [((96, 160), 1, side, n) for side, n in ((12, 16), (16, 16), (16, 4))], given.rounds
    )
    print(speeds)
    columns, notes = make_columns(pixels_of(world[:N_FIT]), world[-N_HELD_OUT:], SIZES_PX[:1] if given.quick else SIZES_PX)
    told = f"Reconstruction of {N_HELD_OUT} pictures that nothing was fitted to or trained on, dB: {', '.join(notes)}."
    meaning = "Struck through: this autoencoder does not carry what the instrument measures."
    body = "\n\n".join([write_cards(columns), f"{meaning} {told}", speeds])
    print(body)
    if given.out is not None:
        command = "python -m organism.benchmarks.petri_size" + (" --pool POOL" if given.pool else "") + (" --quick" if given.quick else "")
        write_result(given.out, "How large should petri be?", body, load_base("petri").fingerprint, command)


if __name__ == "__main__":
    main()
