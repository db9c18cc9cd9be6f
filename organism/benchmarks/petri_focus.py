"""Is it the instrument or the autoencoder that loses depth of field? The instrument's own specimens, as they are and through linear codes.

    python -m organism.benchmarks.petri_focus [--out docs/results/petri-focus.md]

A code keeps the principal components of patches, fitted to shapes of petri's world, and needs no training: what it loses, a decoder must
guess. Rank correlations with the true difference of blur between subject and background; half a minute, no torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from loralab.measure import measure_images
from loralab.measure.truth import make_specimens
from loralab.petri.draw import make_picture
from organism.world import SHAPES_ONLY, sample_truth

RoundTrip = Callable[[np.ndarray], np.ndarray]
N_FIT = 120
CODES = {"f8/16": (8, 16), "f4/4": (4, 4), "f4/16": (4, 16)}


def cut(pictures: np.ndarray, side: int) -> np.ndarray:
    """Return patches (N, H/s, W/s, s * s * 3) of pictures (N, H, W, 3)."""
    n, height, width, c = pictures.shape
    rows = pictures.reshape(n, height // side, side, width // side, side, c).swapaxes(2, 3)
    return rows.reshape(n, height // side, width // side, side * side * c)


def join(patches: np.ndarray, side: int) -> np.ndarray:
    """Return the pictures that `cut` took apart."""
    n, rows, columns, _ = patches.shape
    return patches.reshape(n, rows, columns, side, side, 3).swapaxes(2, 3).reshape(n, rows * side, columns * side, 3)


def fit_code(pictures: np.ndarray, side: int, n_kept: int) -> RoundTrip:
    """Return the round trip through the leading principal components of patches."""
    rows = cut(pictures.astype(float), side).reshape(-1, side * side * 3)
    mean = rows.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    kept = axes[:, ::-1][:, :n_kept]

    def round_trip(images: np.ndarray) -> np.ndarray:
        back = (cut(images.astype(float), side) - mean) @ kept @ kept.T + mean
        return join(back, side).clip(0, 255).round().astype(np.uint8)

    return round_trip


def correlation(truth: np.ndarray, values: np.ndarray) -> float:
    """Return Spearman's rank correlation over what could be measured."""
    read = ~np.isnan(values)
    return float(spearmanr(truth[read], values[read]).statistic)


def make_rows(sizes_px: tuple[int, ...] = (64, 128)) -> Iterator[str]:
    """Yield the table's rows."""
    world = np.stack([make_picture(sample_truth(seed, SHAPES_ONLY)) for seed in range(N_FIT)])
    codes: dict[str, RoundTrip] = {"none": lambda images: images}
    codes |= {name: fit_code(world, *shape) for name, shape in CODES.items()}
    for size_px in sizes_px:
        specimens = [s for s in make_specimens(size_px) if "depth_of_field" in s.truth]
        images, truth = np.stack([s.image for s in specimens]), np.array([s.truth["depth_of_field"] for s in specimens])
        sharp = np.array([s.factors["subject blur"] == 0 for s in specimens])
        for name, round_trip in codes.items():
            readings = measure_images(round_trip(images), ["depth_of_field"])["depth_of_field"]
            values = np.array([np.nan if reading.value is None else reading.value for reading in readings])
            means = " | ".join(f"{np.nanmean(values[truth == level]):.2f}" for level in (0, 1.5, 3))
            yield f"| {size_px} px, {name} | {correlation(truth, values):.2f} | {correlation(truth[sharp], values[sharp]):.2f} | {means} |"


def main() -> None:
    """Print the table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    head = "| picture, code | correlation | where the subject is sharp | read at 0 px | at 1.5 px | at 3 px |"
    table = "\n".join([head, "|---|---|---|---|---|---|", *make_rows()])
    print(table)
    if given.out is not None:
        title = "# Depth of field: the instrument or the autoencoder?"
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(
            f"{title}\n\nMade by `python -m organism.benchmarks.petri_focus`.\n\n{table}\n", encoding="utf-8", newline="\n"
        )


if __name__ == "__main__":
    main()
