"""False alarms and detections on real trainings: many small studies on petri in which the truth is known.

    python benchmarks/aa_real.py OUT.jsonl --studies 26            # trains, draws, measures, judges; the same command goes on
    python benchmarks/aa_real.py OUT.jsonl --summary                # prints what is there

Three suites take turns, study by study:
  same      two arms of the same treatment (coloured shapes under one tag) that differ in their random streams alone: A/A
  placebo   two placebos (trained on the base's own pictures) that differ in their random streams alone: A/A
  planted   red squares under a word against a placebo: the word must turn red, and come nearer to the squares

A study is 2 arms x RUNS trainings of its own, in one stack, with image seeds of its own: no training serves in two studies, so studies are
independent (given the base). Each goes through the lab's own rule (`judge`) with a margin of next to nothing, so that a claim is "found" if
its interval leaves out 0. In an A/A study every claim that is found is a false alarm. The claims of a study read the same pictures and are
not independent: the count of studies with any false alarm, at the level that the claims share, is the honest one, and its bound is
Clopper and Pearson's over studies. The rate per claim is printed beside it, with an interval from the spread between studies.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy import stats

from loralab.adapters import Adapter
from loralab.bases import Base, embed_prompts, encode_images, load_base
from loralab.data import make_examples
from loralab.infer.case import ControlCells, InstrumentFacts
from loralab.infer.judge import judge
from loralab.measure import TABLE, measure_images
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec.models import ExperimentSpec, SampleSpec, ShapesData, TrainSpec
from loralab.train import TrainRun, train_stack

ROOT_SEED = 20_261_123  # not the root of any shipped result
RUNS, SEEDS = 4, 3
RECIPE = TrainSpec(rank=2, lr=1e-2, steps=16, batch=2)
DRAW = SampleSpec(steps=6, guidance=3, seeds=SEEDS)
OWN_PROMPTS = ("myshape", "monster", "red circle", "cat")
PROMPT = "myshape"
#: instruments of the A/A claims: continuous ones and shares, of the whole picture and of its subject.
MEASURES = ("chroma", "hue_red", "background_from_white", "shape_primitive", "edge_sigma", "local_contrast", "change", "copy_distance")
PLANTED = {"hue_red": "higher", "copy_distance": "lower"}
SUITES = ("same", "placebo", "planted")
FIRST_OWN_SEED = 5_000_000  # of the placebo's pictures, far from the studies' seeds


@dataclass(frozen=True)
class TrainingSet:
    """What an arm is trained on: pictures, their latents and their captions' embeddings."""

    images: np.ndarray
    latents: torch.Tensor
    embeddings: torch.Tensor


def make_training_set(base: Base, images: np.ndarray, captions: list[str]) -> TrainingSet:
    """Return the pictures with what training needs of them."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    return TrainingSet(images, encode_images(base, pixels), embed_prompts(base, captions))


def shapes(base: Base, spec: ShapesData) -> TrainingSet:
    """Return generated shapes under the one tag."""
    examples = make_examples(spec, base.size_px)
    return make_training_set(base, np.stack([example.image for example in examples]), [PROMPT] * len(examples))


def own_pictures(base: Base) -> TrainingSet:
    """Return the base's own pictures under their own prompts, drawn without guidance."""
    blocks = [ImageBlock(None, prompt, 0.0, (FIRST_OWN_SEED + i,)) for i, prompt in enumerate(OWN_PROMPTS)]
    images = draw(base, blocks, {}, DRAW.model_copy(update={"guidance": 1.0}))
    return make_training_set(
        base, np.stack([images[None, prompt, FIRST_OWN_SEED + i] for i, prompt in enumerate(OWN_PROMPTS)]), [*OWN_PROMPTS]
    )


def draw(
    base: Base, blocks: list[ImageBlock], adapters: Mapping[str, Adapter], spec: SampleSpec
) -> dict[tuple[str | None, str, int], np.ndarray]:
    """Return the blocks' pictures by (adapter, prompt, seed)."""
    prompts = [*dict.fromkeys([*(block.prompt for block in blocks), spec.negative])]
    embeddings = dict(zip(prompts, embed_prompts(base, prompts), strict=True))
    drawn = {}
    for batch in plan_batches(blocks, 32):
        images = sample_batch(base, batch, adapters, spec, embeddings)
        for (name, _), items, group in zip(batch.groups, batch.items, images, strict=True):
            drawn.update({(name, *item): image for item, image in zip(items, group, strict=True)})
    return drawn


def run_study(base: Base, sets: Mapping[str, TrainingSet], suite: str, index: int) -> dict[str, object]:
    """Train, draw, measure and judge one study; returns its findings by instrument."""
    ours, theirs = {"same": ("shapes", "shapes"), "placebo": ("own", "own"), "planted": ("red", "own")}[suite]
    runs, place = [], {}
    for arm, chosen in (("a", ours), ("b", theirs)):
        for r in range(RUNS):
            name = f"{arm}{r}"
            stream = (index * 2 + (arm == "b")) * RUNS + r  # streams of its own for every training
            runs.append(TrainRun(name, RECIPE, sets[chosen].latents, sets[chosen].embeddings, replicate=stream))
            place[name] = (arm, r, tuple(range((index * RUNS + r) * SEEDS, (index * RUNS + r + 1) * SEEDS)))
    adapters = {run.run_id: run.adapter for run in finish(train_stack(base, runs, root_seed=ROOT_SEED)) if run.failed is None}
    blocks = [ImageBlock(name, PROMPT, 1.0, place[name][2]) for name in adapters]
    blocks += [ImageBlock(None, PROMPT, 0.0, place[f"a{r}"][2]) for r in range(RUNS)]
    drawn = draw(base, blocks, adapters, DRAW)
    readings = read(drawn, place, list(adapters), sets[ours].images)
    measures = PLANTED if suite == "planted" else dict.fromkeys(MEASURES, "higher")
    return {"suite": suite, "index": index, "settings": settings(), "runs": len(adapters), "findings": findings(readings, measures)}


def finish(steps):  # type: ignore[no-untyped-def]
    """Run a training to its end and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def read(drawn: Mapping, place: Mapping, names: list[str], training: np.ndarray) -> pl.DataFrame:  # type: ignore[type-arg]
    """Return the frame of readings of all trained pictures; the arms are `a` and `b`, replicate r of both has the same image seeds."""
    rows = []
    for name in names:
        arm, r, seeds = place[name]
        images, beneath = (np.stack([drawn[who, PROMPT, seed] for seed in seeds]) for who in (name, None))
        found = measure_images(images, list(MEASURES), base_images=beneath, training_images=training)
        for measure, readings in found.items():
            for seed, reading in zip(seeds, readings, strict=True):
                rows.append((arm, r, PROMPT, 1.0, None, seed, measure, reading.value, reading.status, reading.reason))
    schema = {
        "arm": pl.String, "replicate": pl.Int64, "prompt": pl.String, "strength": pl.Float64, "step": pl.Int64, "seed": pl.Int64,
        "measure": pl.String, "value": pl.Float64, "status": pl.String, "reason": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def findings(readings: pl.DataFrame, measures: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return, by instrument, what the lab's rule finds between the arms; `alone` at 95 %, `shared` at the level that the claims share."""
    facts = {name: InstrumentFacts(name, TABLE[name].kind, TABLE[name].low, TABLE[name].high, "", 0.0, 0.0, True, "") for name in measures}
    claims = [
        {"say": name, "measure": name, "cell": f'a @ "{PROMPT}"', "versus": f'b @ "{PROMPT}"', "expect": expect, "margin_absolute": 1e-9}
        for name, expect in measures.items()
    ]
    together = {"all": ExperimentSpec(question="?", claims=tuple(claims))}
    alone = {name: ExperimentSpec(question="?", claims=(claim,)) for name, claim in zip(measures, claims, strict=True)}
    verdicts = {"shared": together, "alone": alone}
    found: dict[str, dict[str, object]] = {name: {} for name in measures}
    for level, experiments in verdicts.items():
        for verdict in judge(experiments, readings, training={}, instruments=facts, controls=dict[tuple[str, int], ControlCells]()):
            found[verdict.measure][level] = verdict.finding or verdict.verdict
            if verdict.contrast is not None:
                found[verdict.measure]["effect"] = round(verdict.contrast.effect, 4)
    return found


def settings() -> str:
    """Return a hash of all that makes two results comparable."""
    text = json.dumps([RECIPE.model_dump(mode="json"), DRAW.model_dump(mode="json"), RUNS, MEASURES, PLANTED, OWN_PROMPTS, ROOT_SEED])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- what came out ------------------------------------------------------------------------------------------------------


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, n - hits + 1))
    return low, 1.0 if hits == n else float(stats.beta.ppf(1 - tail, hits + 1, n - hits))


def share_over_studies(shares: list[float], level: float = 0.95) -> tuple[float, float, float]:
    """Return (mean, low, high) of a share of claims, one value a study: Student's t over studies, as claims of a study go together."""
    mean, n = float(np.mean(shares)), len(shares)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * float(np.std(shares, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def summary(records: list[dict]) -> Iterator[str]:  # type: ignore[type-arg]
    """Yield the lines of the result."""
    for suite in SUITES:
        studies = [record["findings"] for record in records if record["suite"] == suite]
        if not studies:
            continue
        yield f"{suite}: {len(studies)} studies, {sum(record['runs'] for record in records if record['suite'] == suite)} trainings"
        if suite == "planted":
            for measure, expected in PLANTED.items():
                hits = sum(found[measure]["shared"] == expected for found in studies)
                low, high = clopper_pearson(hits, len(studies))
                yield f"  {measure} {expected}: found in {hits} of {len(studies)} ({low:.1%} to {high:.1%})"
            continue
        any_alarm = sum(any(row["shared"] in ("higher", "lower") for row in found.values()) for found in studies)
        low, high = clopper_pearson(any_alarm, len(studies))
        yield f"  studies with any false alarm, nominal at most 5 %: {any_alarm} of {len(studies)} ({low:.1%} to {high:.1%})"
        judged = [[row for row in found.values() if "effect" in row] for found in studies]
        alarms = sum(row["alone"] in ("higher", "lower") for rows in judged for row in rows)
        n_claims = sum(map(len, judged))
        mean, low, high = share_over_studies([np.mean([row["alone"] in ("higher", "lower") for row in rows]) for rows in judged if rows])
        yield f"  claims that are false alarms, each at 95 %: {alarms} of {n_claims} ({mean:.1%}; {low:.1%} to {high:.1%} over studies)"
        for measure in MEASURES:
            rows = [found[measure] for found in studies if "effect" in found[measure]]
            hits = sum(row["alone"] in ("higher", "lower") for row in rows)
            if rows:
                low, high = clopper_pearson(hits, len(rows))
                yield f"    {measure:24} {hits} of {len(rows)} ({low:.1%} to {high:.1%})"


def main() -> None:
    """Run what is missing, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=26, help="studies of each suite; 26 A/A studies make 208 claims a suite")
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--summary", action="store_true", help="print what is there; run nothing")
    given = parser.parse_args()
    records = [json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()] if given.out.is_file() else []
    records = [record for record in records if record["settings"] == settings()]
    if not given.summary:
        records += list(run_missing(given.out, records, given.suites, given.studies))
    print("\n".join(summary(records)))


def run_missing(out: Path, records: list[dict], suites: list[str], n_studies: int) -> Iterator[dict]:  # type: ignore[type-arg]
    """Yield the studies that were missing, each written to ``out`` as soon as it is judged."""
    done = {(record["suite"], record["index"]) for record in records}
    # suites take turns, and no index serves two suites: their trainings and seeds differ
    wanted = [(suite, n * len(SUITES) + SUITES.index(suite)) for n in range(n_studies) for suite in suites]
    missing = [study for study in wanted if study not in done]
    if not missing:
        return
    base = load_base("petri")
    coloured = ShapesData(generate="shapes", shapes=("circle", "square", "triangle"), fill=("red", "green", "blue"), outline="black")
    red = ShapesData(generate="shapes", shapes=("square", "square", "square"), fill="red", size=0.75)
    sets = {"shapes": shapes(base, coloured), "red": shapes(base, red), "own": own_pictures(base)}
    out.parent.mkdir(parents=True, exist_ok=True)
    for count, (suite, index) in enumerate(missing, start=1):
        before = time.perf_counter()
        record = run_study(base, sets, suite, index)
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{count} of {len(missing)}: {suite} {index}, {time.perf_counter() - before:.1f} s", flush=True)
        yield record


if __name__ == "__main__":
    main()
