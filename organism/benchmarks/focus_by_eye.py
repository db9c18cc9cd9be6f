"""Claim: the instrument of sharp, blurry and depth of field agrees with the eye on what petri and LoRAs on it draw, in 90 of 100 pictures.

    python -m organism.benchmarks.focus_by_eye --sheet focus.png        numbered pictures, to be named without the prompts
    python -m organism.benchmarks.focus_by_eye --labels organism/benchmarks/focus_by_eye.txt [--out docs/results/petri-focus-by-eye.md]

Half of the pictures are the base's, asked for as blurry, with depth of field, or plainly; the other half are drawn by LoRAs of the
article's blur experiment at `monster`: trained on blurred shapes, or on the same shapes sharp, by the article's recipe. Their order says
nothing. The labels (s, b, d; ? where the eye cannot tell, which counts for neither) belong to the weights whose fingerprint stands in the
file's first line.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from loralab.bases import Base, embed_prompts, encode_images, load_base
from loralab.data import make_examples
from loralab.petri.encoder import load_encoder
from loralab.petri.focus import FOCUS, read_focus
from loralab.petri.words import CONCEPTS
from loralab.pixels import pixels_of
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec.models import SampleSpec, ShapesData, TrainSpec
from loralab.train import TrainRun, finished, train_stack
from organism.benchmarks.concepts_by_eye import options_of, seen_by_eye
from organism.card import write_result

SHOWN, TRAININGS, SEEDS = 96, 4, 6
FIRST_SEED, ROOT = 4000, 20_261_129
RECIPE = TrainSpec(rank=2, alpha=2, lr=2e-3, steps=64, batch=4)
DRAW = SampleSpec(steps=12, guidance=3)
ASKED = ("{noun}, white background", "blurry {noun}", "{noun}, depth of field")
LETTERS = dict(zip("sbd", FOCUS, strict=True))


def blur_loras(base: Base) -> dict[str, tuple[str, object]]:
    """Return by name (how its pictures were, the adapter) of LoRAs trained on the article's shapes, blurred and sharp."""
    sets = {}
    for name, blur in (("blurred", 3), ("sharp", 0)):
        spec = ShapesData(
            generate="shapes", shapes=("circle", "square", "triangle"), fill=("red", "green", "blue"), outline="black", background="white",
            blur=blur,
        )  # fmt: skip
        images = np.stack([example.image for example in make_examples(spec, base.size_px)])
        sets[name] = encode_images(base, pixels_of(images)), embed_prompts(base, ["monster"] * len(images))
    runs = [TrainRun(f"{name}{r}", RECIPE, *sets[name], replicate=r) for name in sets for r in range(TRAININGS)]
    trained = finished(train_stack(base, runs, root_seed=ROOT))
    return {run.run_id: (run.run_id.rstrip("0123456789"), run.adapter) for run in trained}


def draw_shown() -> tuple[np.ndarray, list[str]]:
    """Return the pictures that are shown (96, 64, 64, 3) and where each is from."""
    base, rng = load_base("petri"), np.random.default_rng(11)
    loras = blur_loras(base)
    blocks = [ImageBlock(name, "monster", 1.0, tuple(range(k * SEEDS, (k + 1) * SEEDS))) for k, name in enumerate(loras)]
    asked = [form.format(noun=noun) for form in ASKED for noun in rng.choice(list(CONCEPTS), SHOWN // 6, replace=False)]
    blocks += [ImageBlock(None, prompt, 0.0, (FIRST_SEED + k,)) for k, prompt in enumerate(asked)]
    texts = list(dict.fromkeys([block.prompt for block in blocks] + [""]))
    embeddings = dict(zip(texts, embed_prompts(base, texts), strict=True))
    adapters = {name: adapter for name, (_, adapter) in loras.items()}
    pictures, sources = [], []
    for batch in plan_batches(blocks, 32):
        images = sample_batch(base, batch, adapters, DRAW, embeddings)  # type: ignore[arg-type]
        for (name, _), items, group in zip(batch.groups, batch.items, images, strict=True):
            pictures += list(group)
            sources += [f"LoRA, {loras[str(name)][0]}" if name is not None else f"base, {kind_of(item[0])}" for item in items]
    order = rng.permutation(len(pictures))
    return np.stack(pictures)[order], [sources[int(i)] for i in order]


def kind_of(prompt: str) -> str:
    """Return as what the base was asked to draw."""
    return "blurry" if prompt.startswith("blurry") else "depth of field" if "depth" in prompt else "plain"


def compare(eye: list[str], read: list[str], sources: list[str]) -> str:
    """Return a table of agreement by source, pictures left out of which the eye could not tell."""
    lines = ["| pictures | told by the eye | as the instrument | the eye | the instrument |", "|---|---|---|---|---|"]
    for source in (*sorted(set(sources)), "all"):
        rows = [(e, r) for e, r, s in zip(eye, read, sources, strict=True) if e and source in (s, "all")]
        seen, told = (", ".join(f"{n} {name}" for name, n in Counter(names).most_common()) for names in zip(*rows, strict=True))
        lines.append(f"| {source} | {len(rows)} | {sum(e == r for e, r in rows)} | {seen} | {told} |")
    return "\n".join(lines)


def main() -> None:
    """Draw, and write the sheet or the table."""
    options = options_of(__doc__)
    torch.set_num_threads(1)
    pictures, sources = draw_shown()
    fingerprint = load_base("petri").fingerprint
    eye = seen_by_eye(options, pictures, fingerprint)
    if eye is None:
        return
    read = [FOCUS[int(k)] for k in read_focus(load_encoder(), pictures).argmax(axis=1)]
    table = compare([LETTERS.get(letter, "") for letter in eye], read, sources)
    print(table)
    if options.out is not None:
        command = "python -m organism.benchmarks.focus_by_eye --labels organism/benchmarks/focus_by_eye.txt"
        write_result(options.out, "Sharp, blurry and depth of field, by the eye and by the instrument", table, fingerprint, command)


if __name__ == "__main__":
    main()
