"""Claim: the reader of concepts in petri's fidelity table agrees with the eye more often than the reader of outlines
that it replaced.

    python -m organism.benchmarks.concepts_by_eye --sheet concepts.png       numbered pictures, to be named without the prompts
    python -m organism.benchmarks.concepts_by_eye --labels organism/benchmarks/concepts_by_eye.txt [--out FILE.md]

Half of the pictures are asked for by a concept alone, half in a colour that it was never drawn in; their order says nothing. The names, one
a picture in the sheet's order ("?" where the eye cannot tell), belong to the weights whose fingerprint stands in the file's first line; for
other weights they would have to be given anew. The reader of outlines is a linear discriminant over histograms of oriented gradients (Dalal
and Triggs 2005), fitted to the world's own pictures.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from skimage.feature import hog

from loralab.petri import petri_folder
from loralab.petri.draw import make_picture
from loralab.petri.encoder import encoder_folder, load_encoder
from loralab.petri.sprites import load_sprites
from loralab.petri.words import CONCEPTS, HELD_OUT_CONCEPTS
from loralab.store.keys import fingerprint_of
from organism.card import write_result
from organism.encoder_train import read_names
from organism.fidelity import ask_concept
from organism.focus import fit_discriminant
from organism.sampling import AS_STUDIES, draw_as_studies
from organism.world import SMALL, sample_truth

SHOWN, COLUMNS = 96, 12
FIRST_SEED, OUTLINE_SEED = 3000, 20_000_000
SINGLE = replace(
    SMALL, share_shapes=0.0, share_pairs=0.0, share_grids=0.0, share_gradient=0.0, share_checkered=0.0,
    share_textured=0.0, share_blurry=0.0, share_depth_of_field=0.0, share_dark=0.0, share_bright=0.0,
)  # fmt: skip


def draw_asked() -> tuple[np.ndarray, list[str]]:
    """Return the pictures that are shown (96, 64, 64, 3) and the nouns they were asked for."""
    rng = np.random.default_rng(11)
    own = [(None, str(noun)) for noun in rng.choice(list(CONCEPTS), size=SHOWN // 2)]
    rare = [sorted(HELD_OUT_CONCEPTS)[int(i)] for i in rng.integers(len(HELD_OUT_CONCEPTS), size=SHOWN // 2)]
    rows = [
        ask_concept("", "{noun}, white background", own, read_nothing),
        ask_concept("", "a {colour} {noun} on a white background", rare, read_nothing),
    ]
    prompts = [prompt for row in rows for prompt in row.prompts]
    asked = [noun for row in rows for noun in row.expected]
    order = rng.permutation(SHOWN)
    pictures = draw_as_studies(petri_folder(), prompts, list(range(FIRST_SEED, FIRST_SEED + SHOWN)), AS_STUDIES)
    return pictures[order], [asked[int(i)] for i in order]


def read_nothing(picture: np.ndarray) -> str | None:
    """Stand in for a reader where only prompts are wanted."""
    return None


def read_outlines(pictures: np.ndarray, n: int = 6000) -> list[str]:
    """Return each picture's concept by its outlines, after fitting to n of the world's pictures, softened (a minute)."""
    sprites = load_sprites(encoder_folder() / "sprites.npz")
    truths = [sample_truth(seed, SINGLE) for seed in range(OUTLINE_SEED, OUTLINE_SEED + n)]
    softness = [0.5 + 0.6 * (truth.seed % 3) / 2 for truth in truths]
    drawn = (gaussian_filter(make_picture(t, sprites), (s, s, 0)) for t, s in zip(truths, softness, strict=True))
    nouns = tuple(CONCEPTS)
    axes, offsets = fit_discriminant(outlines_of(drawn), np.array([nouns.index(t.things[0].noun) for t in truths]), shrinkage=0.05)
    return [nouns[int(k)] for k in np.argmax(outlines_of(pictures) @ axes + offsets, axis=1)]


def outlines_of(pictures: object) -> np.ndarray:
    """Return histograms of oriented gradients (N, 1764) of uint8 pictures."""
    features = [hog(p, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=-1) for p in pictures]  # type: ignore[attr-defined]
    return np.stack(features).astype(np.float32)


def make_numbered_sheet(pictures: np.ndarray) -> Image.Image:
    """Return the pictures in rows, half as large again, each with its number below."""
    sheet = Image.new("RGB", (COLUMNS * 100, -(-len(pictures) // COLUMNS) * 112), "white")
    pen = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        x, y = k % COLUMNS * 100, k // COLUMNS * 112
        sheet.paste(Image.fromarray(picture).resize((96, 96), Image.Resampling.BICUBIC), (x, y))
        pen.text((x + 2, y + 97), str(k), fill="black")
    return sheet


def options_of(about: str | None) -> argparse.Namespace:
    """Return what the command of a check by eye was given: where the sheet goes, what the eye saw, where the table goes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheet", type=Path, default=None, help="Where the sheet goes (.png).")
    parser.add_argument("--labels", type=Path, default=None, help="What the eye saw: a fingerprint, then one label a picture.")
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


def seen_by_eye(options: argparse.Namespace, pictures: np.ndarray, fingerprint: str) -> list[str] | None:
    """Write the sheet where it is asked for, and return what the eye saw, a label a picture; None where nothing is given yet."""
    if options.sheet is not None:
        make_numbered_sheet(pictures).save(options.sheet)
    if options.labels is None:
        return None
    named_for, *eye = options.labels.read_text(encoding="utf-8").split()
    if not fingerprint.startswith(named_for) or len(eye) != len(pictures):
        shown = f"these are {fingerprint[:12]} and show {len(pictures)}"
        raise SystemExit(f"{options.labels} holds {len(eye)} labels for weights {named_for}; {shown}")
    return eye


def same(one: list[str], other: list[str]) -> str:
    """Return how many of two lists of names agree."""
    return f"{sum(a == b for a, b in zip(one, other, strict=True))} / {len(one)}"


def main() -> None:
    """Draw, and write the sheet or the table."""
    options = options_of(__doc__)
    torch.set_num_threads(1)
    pictures, asked = draw_asked()
    fingerprint = fingerprint_of(petri_folder())
    eye = seen_by_eye(options, pictures, fingerprint)
    if eye is None:
        return
    readers = {"petri's encoder": read_names(load_encoder(), pictures, tuple(CONCEPTS)), "outlines": read_outlines(pictures)}
    lines = ["| reader | as the eye | as asked |", "|---|---|---|", f"| the eye | | {same(eye, asked)} |"]
    lines += [f"| {name} | {same(found, eye)} | {same(found, asked)} |" for name, found in readers.items()]
    unsure = [f"{noun} ({eye[i]})" for i, noun in enumerate(asked) if eye[i] != noun]
    table = "\n".join([*lines, "", f"Asked for, and what the eye saw instead: {', '.join(unsure) or 'nothing'}."])
    print(table)
    if options.out is not None:
        command = "python -m organism.benchmarks.concepts_by_eye --labels organism/benchmarks/concepts_by_eye.txt"
        write_result(options.out, "petri's concepts, by the eye and by two readers", table, fingerprint, command)


if __name__ == "__main__":
    main()
