"""What holding a training to its base costs: seconds of a step of each method in a stack on petri, beside the plain recipe's.

`python -m benchmarks.keeping [RUNS] [STEPS]`: one thread; seconds of the processor, so that a busy machine matters little; with ratios.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from loralab.bases import Base, load_base
from loralab.data import make_examples
from loralab.spec.datasets import RegularisationSpec, ShowingSpec
from loralab.spec.models import ShapesData, TrainSpec
from loralab.stages.data import Dataset
from loralab.stages.shown import shown_as, subject_masks
from loralab.stages.trained import training_inputs
from loralab.train import TrainRun, train_stack

SHAPES = ShapesData(generate="shapes", shapes=("circle", "square", "triangle"), fill="orange", background="blue")
WORDS = {"diff_output_preservation_class": "shape", "diff_output_preservation_trigger": "zorvex"}
METHODS: Mapping[str, dict[str, object]] = {
    "plain": {}, "differential output preservation": {"diff_output_preservation": True, **WORDS},
    "blank-prompt preservation": {"blank_prompt_preservation": True}, "regularisation pictures": {}, "held to the base": {},
    "captions shuffled, flips": {}, "masked prior preservation": {"masked_prior_preservation_weight": 1.0}, "masks alone": {},
}  # fmt: skip


def shown(name: str, dataset: Dataset) -> Dataset:
    """Return the training set as the method shows it."""
    if name in ("regularisation pictures", "held to the base"):
        spec = RegularisationSpec(data="x", target="base" if name == "held to the base" else "pictures")
        return shown_as(dataset, ShowingSpec(), spec, dataset)
    if name == "captions shuffled, flips":
        return shown_as(dataset, ShowingSpec(shuffle_caption=True, flip_aug=True))
    if name.startswith("mask"):
        return shown_as(dataset, ShowingSpec(masks="subject"), masks=subject_masks(SHAPES, dataset.images.shape[1]))
    return dataset


def seconds_a_step(base: Base, name: str, dataset: Dataset, n_runs: int, steps: int) -> float:
    """Return the median seconds of the processor that a step of a stack takes."""
    recipe = TrainSpec(steps=steps + 1, batch=4, rank=2, **METHODS[name])  # type: ignore[arg-type]
    inputs = training_inputs(base, shown(name, dataset), recipe, 1)
    runs = [TrainRun(f"{index}", recipe, **inputs, replicate=index) for index in range(n_runs)]
    seconds, before = [], time.process_time()
    for _ in train_stack(base, runs, root_seed=0):
        now = time.process_time()
        seconds.append(now - before)
        before = now
    return statistics.median(seconds[1:])


def main() -> None:
    """Print a row a method."""
    n_runs, steps = (int(word) for word in (*sys.argv[1:], "16", "4")[:2])
    torch.set_num_threads(1)
    base = load_base("petri")
    examples = make_examples(SHAPES, base.size_px)
    images = np.stack([example.image for example in examples])
    dataset = Dataset("k", images, tuple(f"zorvex, {each.factors['shape']}" for each in examples), (1, 1, 1), Path(), ())
    rounds = [{name: seconds_a_step(base, name, dataset, n_runs, steps) for name in METHODS} for _ in range(3)]
    for name in METHODS:
        ratios = [each[name] / each["plain"] for each in rounds]
        seconds = statistics.median(each[name] for each in rounds)
        print(f"{name:34} {seconds:.3f} s  {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
