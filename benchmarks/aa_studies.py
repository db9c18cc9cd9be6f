"""Small studies on petri in which the truth is known: two arms that are trained alike, or a planted change; drawn, and read.

In: the base, a suite, the number of a study. Out: its frame of readings. No training and no image seed serves in two studies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from loralab.adapters import Adapter
from loralab.bases import Base, embed_prompts, encode_images
from loralab.data import make_examples
from loralab.measure import TABLE, measure_images
from loralab.pixels import pixels_of
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec.models import SampleSpec, ShapesData, TrainSpec
from loralab.train import TrainRun, finished, train_stack

ROOT_SEED = 20_261_128  # not the root of any shipped result
STACK, SEEDS, KNOWN = 32, 3, 512
MOST_RUNS = 16  # of an arm: how far the streams and image seeds of two studies lie apart
LOOKS = (8, 16)
#: three steps, a quarter of petri's twelve: blurred pictures of the same things, at a quarter of the price
DRAW = SampleSpec(steps=3, guidance=3, seeds=SEEDS)
OWN_PROMPTS = ("myshape", "monster", "red circle", "cat")
PROMPT = "myshape"
FIRST_OWN_SEED, FIRST_KNOWN_SEED = 5_000_000, 6_000_000  # far from the studies' seeds
#: the instruments, continuous ones and a share, of the whole picture and of its subject; and a change of the usual size that counts.
MARGINS: Mapping[str, float] = {
    "chroma": 5, "hue_red": 0.1, "background_from_white": 10, "shape_primitive": 0.15, "edge_sigma": 0.25, "local_contrast": 2,
    "change": 3, "copy_distance": 3,
}  # fmt: skip
MEASURES = tuple(MARGINS)
PLANTED = {"hue_red": "higher", "copy_distance": "lower"}
#: four steps of one picture: short, and trainings of so few pictures differ as much as any
BRIEF = TrainSpec(rank=2, lr=2e-2, steps=4, batch=1)


@dataclass(frozen=True)
class Suite:
    """What a suite's two arms are trained on, the recipe, and the trainings of each arm at the last look."""

    ours: str
    theirs: str
    recipe: TrainSpec
    runs: int


SUITES = {
    "same": Suite("shapes", "shapes", BRIEF, LOOKS[-1]),
    "placebo": Suite("own", "own", BRIEF, LOOKS[-1]),
    "planted": Suite("red", "own", BRIEF.model_copy(update={"steps": 8}), LOOKS[0]),
}
A_A = ("same", "placebo")


@dataclass(frozen=True)
class TrainingSet:
    """What an arm is trained on: pictures, their latents and their captions' embeddings."""

    images: np.ndarray
    latents: torch.Tensor
    embeddings: torch.Tensor


@dataclass(frozen=True)
class Place:
    """Where a training stands: its study, its arm, its replicate there, its own random stream and its image seeds."""

    study: int
    arm: str
    replicate: int

    @property
    def stream(self) -> int:
        """A stream that no other training has."""
        return (self.study * 2 + (self.arm == "b")) * MOST_RUNS + self.replicate

    @property
    def seeds(self) -> tuple[int, ...]:
        """The image seeds of the replicate, which both arms and the base share."""
        first = (self.study * MOST_RUNS + self.replicate) * SEEDS
        return tuple(range(first, first + SEEDS))

    @property
    def name(self) -> str:
        """The name of the training."""
        return f"{self.study}{self.arm}{self.replicate}"


def make_training_set(base: Base, images: np.ndarray, captions: list[str]) -> TrainingSet:
    """Return the pictures with what training needs of them."""
    return TrainingSet(images, encode_images(base, pixels_of(images)), embed_prompts(base, captions))


def shapes(base: Base, spec: ShapesData) -> TrainingSet:
    """Return generated shapes under the one tag."""
    examples = make_examples(spec, base.size_px)
    return make_training_set(base, np.stack([example.image for example in examples]), [PROMPT] * len(examples))


def own_pictures(base: Base) -> TrainingSet:
    """Return the base's own pictures under their own prompts, drawn without guidance."""
    blocks = [ImageBlock(None, prompt, 0.0, (FIRST_OWN_SEED + i,)) for i, prompt in enumerate(OWN_PROMPTS)]
    images = draw(base, blocks, {}, SampleSpec(steps=12, guidance=1))
    own = np.stack([images[None, prompt, FIRST_OWN_SEED + i] for i, prompt in enumerate(OWN_PROMPTS)])
    return make_training_set(base, own, list(OWN_PROMPTS))


def make_sets(base: Base) -> dict[str, TrainingSet]:
    """Return the training sets by name."""
    coloured = ShapesData(generate="shapes", shapes=("circle", "square", "triangle"), fill=("red", "green", "blue"), outline="black")
    red = ShapesData(generate="shapes", shapes=("square", "square", "square"), fill="red", size=0.75)
    return {"shapes": shapes(base, coloured), "red": shapes(base, red), "own": own_pictures(base)}


def draw(
    base: Base, blocks: list[ImageBlock], adapters: Mapping[str, Adapter], spec: SampleSpec
) -> dict[tuple[str | None, str, int], np.ndarray]:
    """Return the blocks' pictures by (adapter, prompt, seed)."""
    prompts = [*dict.fromkeys([*(block.prompt for block in blocks), spec.negative])]
    embeddings = dict(zip(prompts, embed_prompts(base, prompts), strict=True))
    drawn: dict[tuple[str | None, str, int], np.ndarray] = {}
    for batch in plan_batches(blocks, 32):
        images = sample_batch(base, batch, adapters, spec, embeddings)
        for (name, _), items, group in zip(batch.groups, batch.items, images, strict=True):
            drawn.update({(None if name is None else str(name), *item): image for item, image in zip(items, group, strict=True)})
    return drawn


def known_values(
    base: Base, sets: Mapping[str, TrainingSet], suites: Mapping[str, Suite] = SUITES, drawn_as: SampleSpec = DRAW
) -> dict[str, dict[str, list[float]]]:
    """Return what the instruments read on 512 pictures of the base that no study has, by suite and instrument."""
    seeds = tuple(range(FIRST_KNOWN_SEED, FIRST_KNOWN_SEED + KNOWN))
    drawn = draw(base, [ImageBlock(None, PROMPT, 0.0, seeds)], {}, drawn_as)
    images = np.stack([drawn[None, PROMPT, seed] for seed in seeds])
    found = {}
    for name, suite in suites.items():
        read = measure_images(images, list(MEASURES), base_images=images, training_images=sets[suite.ours].images)
        found[name] = {measure: counted(measure, readings) for measure, readings in read.items()}
    return found


def counted(measure: str, readings: Sequence[Any]) -> list[float]:
    """Return the values that count: a share counts an unmeasurable picture as "no"."""
    share = TABLE[measure].kind == "share"
    return [float(reading.value or 0.0) for reading in readings if share or reading.value is not None]


def read_studies(
    base: Base, sets: Mapping[str, TrainingSet], suite: Suite, studies: Sequence[int], drawn_as: SampleSpec = DRAW
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Train and draw some studies of a suite together, then yield each one's number and readings."""
    places = {p.name: p for p in (Place(index, arm, r) for index in studies for arm in ("a", "b") for r in range(suite.runs))}
    chosen = {"a": sets[suite.ours], "b": sets[suite.theirs]}
    runs = [
        TrainRun(place.name, suite.recipe, chosen[place.arm].latents, chosen[place.arm].embeddings, replicate=place.stream)
        for place in places.values()
    ]
    adapters = {run.run_id: run.adapter for run in finished(train_stack(base, runs, root_seed=ROOT_SEED)) if run.failed is None}
    blocks = [ImageBlock(run_id, PROMPT, 1.0, places[run_id].seeds) for run_id in adapters]
    blocks += [ImageBlock(None, PROMPT, 0.0, place.seeds) for place in places.values() if place.arm == "a"]
    drawn = draw(base, blocks, adapters, drawn_as)
    for index in studies:
        own = [place for place in places.values() if place.study == index and place.name in adapters]
        yield index, frame_of(drawn, own, sets[suite.ours].images)


def frame_of(drawn: Mapping[Any, np.ndarray], places: Sequence[Place], training: np.ndarray) -> pl.DataFrame:
    """Return the frame of readings of a study: arms `a` and `b` and the base, replicate r of each at the same image seeds."""
    wanted = [(place.arm, place.name, place) for place in places] + [("base", None, place) for place in places if place.arm == "a"]
    keys = [(arm, who, place, seed) for arm, who, place in wanted for seed in place.seeds]
    images, beneath = (
        np.stack([drawn[w, PROMPT, seed] for _, w, _, seed in rows]) for rows in (keys, [(a, None, p, s) for a, _, p, s in keys])
    )
    found = measure_images(images, list(MEASURES), base_images=beneath, training_images=training)
    rows = [
        (arm, who is None, place.replicate, PROMPT, 0.0 if who is None else 1.0, None, seed, measure, told.value, told.status, told.reason)
        for measure, readings in found.items()
        for (arm, who, place, seed), told in zip(keys, readings, strict=True)
    ]
    schema = {
        "arm": pl.String, "is_base": pl.Boolean, "replicate": pl.Int64, "prompt": pl.String, "strength": pl.Float64, "step": pl.Int64,
        "seed": pl.Int64, "measure": pl.String, "value": pl.Float64, "status": pl.String, "reason": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")
