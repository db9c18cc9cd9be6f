"""Measures what petri draws by itself at the prompts of the study that ships, on 512 pictures a prompt.

In: the base, the study's prompts and drawing. Out: the table that ``loralab.petri.base_means`` reads. Every instrument is read that needs
no other picture.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from loralab.bases import Base, embed_prompts, load_base
from loralab.measure import TABLE, Reading, measure_images
from loralab.measure.companions import companion_of
from loralab.petri.base_means import FILE, BaseMean, drawing_of
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec.load import load_study
from loralab.spec.models import SampleSpec, StudySpec
from loralab.study.plan import make_plan

#: far beyond the image seeds of any study (replicate r of S pictures owns r*S to r*S+S-1) and of the benchmarks
FIRST_SEED = 50_000_000
PICTURES, AT_ONCE = 512, 32
STUDY = Path("studies/article.yaml")


def run_means(args: argparse.Namespace) -> None:
    """Draw 512 pictures at each prompt of studies/article.yaml and write every instrument's mean; goes on where it was cut off.

    Where the file has a prompt, only the instruments that lack there are added: the pictures are drawn again, their seeds are the same.
    """
    spec, base, began = load_study(STUDY).spec, load_base("petri"), time.perf_counter()
    head = {
        "made_by": f"python -m organism means --pictures {args.pictures}", "base": base.fingerprint, "drawing": drawing_of(spec.sample),
        "first_seed": FIRST_SEED,
    }  # fmt: skip
    before = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {}
    rows = before["prompts"] if before and {name: before[name] for name in head} == head else {}
    for prompt in dict.fromkeys(cell.prompt for cell in make_plan(spec).cells if cell.is_base):
        there = rows.get(prompt, {})
        lacking = [measure for measure in measures_at(spec, prompt, base.name) if not is_there(measure, there)]
        if lacking:
            rows[prompt] = {**there, **dict(means_at(base, prompt, spec.sample, args.pictures, lacking))}
            document = json.dumps({**head, "prompts": rows}, indent=1, sort_keys=True) + "\n"
            args.out.write_text(document, encoding="utf-8", newline="\n")
        print(f"{prompt!r}: {len(rows[prompt])} instruments, {(time.perf_counter() - began) / 60:.1f} min", flush=True)


def measures_at(spec: StudySpec, prompt: str, base_name: str) -> list[str]:
    """Return what is read at a prompt: every instrument that needs no other picture, concepts that it names or claims ask for there."""
    companion = companion_of(base_name)
    named = [f"concept[{name}]" for name in (companion.names if companion is not None else ()) if name in prompt.split()]
    claims = [claim for experiment in spec.experiments.values() for claim in experiment.claims]
    asked = [claim.measure for claim in claims if claim.measure.startswith("concept[") and claim.cell.prompt == prompt]
    return list(dict.fromkeys([*(name for name, row in TABLE.items() if row.needs == ""), *named, *asked]))


def is_there(measure: str, rows: Mapping[str, Sequence[float]]) -> bool:
    """Return whether a prompt's row has the measure in this version; where hardly any picture can be measured it is left out for good."""
    told = rows.get(measure)
    return told[-1] == TABLE[measure.partition("[")[0]].version if told is not None else bool(rows) and "[" not in measure


def means_at(base: Base, prompt: str, sample: SampleSpec, n_pictures: int, measures: Sequence[str]) -> Iterator[tuple[str, BaseMean]]:
    """Yield (measure, mean) of the base's own pictures at a prompt."""
    images, companion = draw(base, prompt, sample, n_pictures), companion_of(base.name)
    found = dict(measure_images(images, [name for name in measures if "[" not in name]))
    for name in measures:
        if "[" in name and companion is not None:
            found[name] = measure_images(images, ["concept"], concept=companion.concept(name.partition("[")[2][:-1]))["concept"]
    for measure, readings in found.items():
        row = TABLE[measure.partition("[")[0]]
        mean = mean_of(row.kind, readings, row.version)
        if mean is not None:
            yield measure, mean


def mean_of(kind: str, readings: Sequence[Reading], version: int) -> BaseMean | None:
    """Return mean and variance of what counts: a share counts an unmeasurable picture as "no"; None of fewer than 24 readings."""
    values = np.array([reading.value or 0.0 for reading in readings if kind == "share" or reading.value is not None])
    return None if len(values) < 24 else BaseMean(round(float(values.mean()), 6), round(float(values.var(ddof=1)), 8), len(values), version)


def draw(base: Base, prompt: str, sample: SampleSpec, n_pictures: int, first_seed: int = FIRST_SEED) -> np.ndarray:
    """Return the base's pictures (N, H, W, 3) uint8 at a prompt, one a seed."""
    texts = list(dict.fromkeys([prompt, sample.negative]))
    embeddings = dict(zip(texts, embed_prompts(base, texts, clip_skip=sample.clip_skip), strict=True))
    drawn = []
    for batch in plan_batches([ImageBlock(None, prompt, 0.0, tuple(range(first_seed, first_seed + n_pictures)))], AT_ONCE):
        drawn += [image for group in sample_batch(base, batch, {}, sample, embeddings) for image in group]
    return np.stack(drawn)


__all__ = ["FILE", "PICTURES", "run_means"]
