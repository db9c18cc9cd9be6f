"""What a study costs here: a short calibration on this machine in, minutes and disk space out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

from loralab.adapters import make_adapter
from loralab.bases import Base, decode_latents, embed_prompts
from loralab.crew import MOST, Crew, crew_of
from loralab.sample import ImageBlock, plan_batches, sample_batches
from loralab.spec import BASE, BaseSource, SampleSpec, TrainSpec, base_of
from loralab.spec.keeping import KeepingKnobs
from loralab.stages.trained import caption_tensors
from loralab.study.beyond import drawn_before, step_factor
from loralab.study.plan import StudyPlan, stacks_of
from loralab.train import TrainRun, train_in_parts

#: what measuring takes in one process; start, judging and the report together; and the cards of a base that ships none, without the
#: pictures that go through its VAE and back: measured on two cores (docs/benchmarks.md).
MEASURE_SECONDS_AN_IMAGE = 0.015
FIXED_SECONDS = 9.0
CARD_SECONDS, CARD_IMAGES = 13.0, 578
#: sizes on disk: a PNG of 64 x 64 px with its text, and the readings of a block.
BYTES_A_PIXEL = 2.0
BLOCK_BYTES = 16_000
CALIBRATION_STEPS = 3
#: steps are measured without what holds a training to its base: `step_factor` counts that for each arm
HELD_TO_NOTHING = {name: field.default for name, field in KeepingKnobs.model_fields.items()}


@dataclass(frozen=True)
class Rates:
    """Seconds of one unit of work on this machine."""

    train_step_seconds: float  # one step of one run inside a full stack, batch as in the study
    image_step_seconds: float  # one solver step of one image, guidance included
    decode_seconds: float  # one image


@dataclass(frozen=True)
class Cost:
    """The bill."""

    minutes: float
    train_minutes: float
    draw_minutes: float
    disk_mib: float


def runs_together(plan: StudyPlan, own: BaseSource = BASE) -> int:
    """Return how many runs stand in the first stack on a base, 1 where nothing is trained there: what a training rate is measured on."""
    return next((len(stack) for stack in stacks_of(plan) if base_of(plan.spec, stack[0].arm) == own), 1)


def measure_rates(base: Base, plan: StudyPlan, own: BaseSource = BASE) -> Rates:
    """Return this machine's rates on one base for the study's own recipe, from a few steps of a full stack and of a full batch."""
    n_runs = runs_together(plan, own)
    recipe = plan.spec.train.model_copy(update={"steps": CALIBRATION_STEPS + 1} | HELD_TO_NOTHING)
    with crew_of(plan.sizes.processes, torch.get_num_threads()) as crew:
        sample = plan.spec.sample.model_copy(update={"steps": CALIBRATION_STEPS, "guidance_interval": (0.0, 1.0)})
        n_images = plan.sizes.images
        batch_seconds = _median_seconds(lambda: _draw(base, sample, recipe, n_images, crew)) / crew.n  # first: it starts all processes
        train = _train_step_seconds(base, recipe, n_runs, crew, checkpointing=plan.sizes.checkpointing) / n_runs
    decode = _median_seconds(lambda: decode_latents(base, torch.zeros(n_images, *base.latent_shape)))
    per_step = max(0.0, batch_seconds - decode) / (CALIBRATION_STEPS * n_images)
    return Rates(train, per_step, decode / n_images)


def _train_step_seconds(base: Base, recipe: TrainSpec, n_runs: int, crew: Crew, *, checkpointing: bool) -> float:
    latents, text = torch.zeros(3, *base.latent_shape), caption_tensors(base, ["a", "b", "c"], recipe)
    runs = [TrainRun(f"calibration-{index}", recipe, latents, replicate=index, **text) for index in range(n_runs)]
    seconds, before = [], time.perf_counter()
    for _ in train_in_parts(base, runs, crew, root_seed=0, checkpointing=checkpointing):
        now = time.perf_counter()
        seconds.append(now - before)
        before = now
    return sorted(seconds[1:])[len(seconds[1:]) // 2]  # the first step also sets up


def _draw(base: Base, sample: SampleSpec, recipe: TrainSpec, n_images: int, crew: Crew) -> None:
    n_adapters = math.gcd(n_images, 4)
    adapters = {f"calibration-{index}": make_adapter(base, recipe, index) for index in range(n_adapters)}
    seeds = tuple(range(n_images // n_adapters))
    blocks = [ImageBlock(name, "a", 1.0, seeds) for name in adapters]
    embeddings = dict(zip(["a", sample.negative], embed_prompts(base, ["a", sample.negative]), strict=True))
    for _ in sample_batches(base, plan_batches(blocks, n_images) * crew.n, adapters, sample, embeddings, crew):
        pass


def _median_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    return sorted(seconds)[rounds // 2]


def _whole_steps(sample: SampleSpec) -> float:
    """Return how many steps with guidance cost as much as all steps of a picture: one without guidance counts half where others have it."""
    return sample.passes / (1 if sample.guidance == 1 else 2)


def estimate_cost(
    plan: StudyPlan, rates: Mapping[BaseSource, Rates], sizes_px: Mapping[BaseSource, int], uncarded: Collection[BaseSource] = ()
) -> Cost:
    """Return the bill of all that is drawn and trained; rates and sides of pictures are by base.

    ``uncarded`` are the bases whose instruments must be calibrated first; an encoder is counted at the price of a decoder.
    """
    train = draw = pixels = 0.0
    for own, rate in rates.items():
        n_images = sum(len(block.seeds) for block in plan.blocks_of(own))
        trained = [run for run in plan.runs if base_of(plan.spec, run.arm) == own and plan.spec.arms[run.arm].trained_here]
        train += sum(run.train.steps * step_factor(plan.spec.arms[run.arm], run.train) for run in trained) * rate.train_step_seconds
        draw += n_images * (_whole_steps(plan.spec.sample) * rate.image_step_seconds + rate.decode_seconds)
        for data in drawn_before(plan.spec, list(dict.fromkeys(run.arm for run in trained))):
            steps = data.steps * (0.5 if data.guidance == 1 and plan.spec.sample.guidance > 1 else 1)
            draw += len(data.drawn_prompts) * (steps * rate.image_step_seconds + rate.decode_seconds)
        pixels += n_images * sizes_px[own] ** 2
    measure = plan.n_images * MEASURE_SECONDS_AN_IMAGE / min(MOST, torch.get_num_threads())
    cards = sum(CARD_SECONDS + 2 * CARD_IMAGES * rates[own].decode_seconds for own in uncarded)
    total = train + draw + measure + cards + FIXED_SECONDS
    disk = pixels * BYTES_A_PIXEL + len(plan.blocks) * BLOCK_BYTES + len(plan.runs) * 400_000
    return Cost(total / 60, train / 60, draw / 60, disk / 2**20)
