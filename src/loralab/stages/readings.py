"""The measuring stage: image blocks in, one row a reading out; readings of copying name the training set they refer to, readings of a
concept name the concept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loralab.crew import ALONE, torch_threads
from loralab.measure import TABLE, Companion, Concept, Reading, measure_images, own_instruments
from loralab.measure.companions import companion_of
from loralab.measure.files import Asked, measure_files
from loralab.spec import is_base
from loralab.stages.data import Dataset, load_dataset
from loralab.stages.images import image_files
from loralab.study.measures import concept_of, data_of, plain_measure
from loralab.study.plan import BlockPlan
from loralab.work.place import Place
from loralab.work.task import Made, Message, Progress, Work

READINGS_FILE = "readings.parquet"
#: a process takes about as long to start as so many blocks take to measure
LEAST_CALLS = 32
SCHEMA = {
    "arm": pl.String, "replicate": pl.Int64, "prompt": pl.String, "strength": pl.Float64, "step": pl.Int64, "seed": pl.Int64,
    "measure": pl.String, "value": pl.Float64, "status": pl.String, "reason": pl.String, "is_base": pl.Boolean,
}  # fmt: skip


def bound_concept(companion: Companion | None, measure: str) -> Concept | None:
    """Return what a measure asks of the base's encoder; None where it asks nothing, or where there is no encoder that knows it."""
    name = concept_of(measure)
    return companion.concept(name) if companion is not None and name in companion.names else None


def make_readings(work: Work, place: Place) -> Iterator[Message]:
    """Measure what is missing of a base's blocks, in processes where there are some and enough is missing."""
    shared = work.group.spec
    companion = companion_of(shared.base_name)
    asked = [(plain_measure(measure), data_of(measure), concept_of(measure)) for measure in shared.measures]
    training = {data: load_dataset(work.folders[shared.datasets[data]], shared.size_px).images for _, data, _ in asked if data}
    concepts = {name: bound for m in shared.measures if (name := concept_of(m)) and (bound := bound_concept(companion, m)) is not None}
    missing = work.missing
    own = any(measure in own_instruments() for measure in shared.measures)  # other processes do not know them
    used = place.crew if not own and (place.crew.started or len(missing) >= LEAST_CALLS * place.crew.n) else ALONE
    given = used.lend(training), used.lend(concepts)
    files = [tuple(image_files(work.folders[ref], task.spec) for ref in task.inputs[:2]) for task in missing]
    with used.results(_measure_block, [(asked, *given, *both) for both in files]) as found:
        yield Progress(0, len(missing))  # the processes have begun
        for done, (task, readings) in enumerate(zip(missing, found, strict=True), start=1):
            frame = pl.DataFrame(_rows(task.spec, shared.measures, readings), schema=SCHEMA, orient="row")
            frame.write_parquet(work.folder(task.ref) / READINGS_FILE)
            yield Made(task.ref, {"images": task.inputs[0].key, "measures": list(shared.measures)})
            yield Progress(done, len(missing))


def _measure_block(
    asked: Sequence[Asked], training: Mapping[str, np.ndarray], concepts: Mapping[str, Concept], files: Sequence[Path],
    base_files: Sequence[Path],
) -> list[list[Reading]]:  # fmt: skip
    """Return the block's readings; encoders run on one thread, so that a reading does not depend on where it is made."""
    with torch_threads(1) if concepts else nullcontext():
        return measure_files(asked, training, concepts, files, base_files)


def _rows(block: BlockPlan, measures: Sequence[str], found: Sequence[Sequence[Reading]]) -> list[tuple[Any, ...]]:
    bare = is_base(block.source)
    where = (str(block.who), block.replicate, block.prompt, 1.0 if bare else block.strength, block.step)
    return [
        (*where, seed, measure, reading.value, reading.status, reading.reason, bare)
        for measure, readings in zip(measures, found, strict=True)
        for seed, reading in zip(block.seeds, readings, strict=True)
    ]


def _measure_concept(images: np.ndarray, measure: str, companion: Companion | None) -> list[Reading]:
    plain = plain_measure(measure)
    return measure_images(images, [plain], concept=bound_concept(companion, measure))[plain]


def training_means(
    datasets: Mapping[str, Dataset],
    data_of_arm: Mapping[str, str],
    measures: Sequence[str],
    round_trip: Callable[[np.ndarray], np.ndarray],
    companion: Companion | None = None,
) -> dict[tuple[str, str], float | None]:
    """Return the mean reading of each arm's training images (as the base's VAE gives them back), by (arm, measure).

    Through the VAE, since that is the most that a LoRA on this base can reach; None where more than one in seven cannot be measured. What
    a reading of copying says of the training pictures themselves is its positive control: a perfect copy reads no more.
    """
    means: dict[tuple[str, str], float | None] = {}
    for arm, dataset in datasets.items():
        seen = round_trip(dataset.images)
        own = [measure for measure in measures if TABLE[plain_measure(measure)].needs in ("", "peers")]
        found = measure_images(seen, own, together=True)
        found |= {measure: _measure_concept(seen, measure, companion) for measure in measures if concept_of(measure)}
        for measure in (measure for measure in measures if data_of(measure) == data_of_arm[arm]):
            found[measure] = measure_images(seen, [plain_measure(measure)], training_images=dataset.images)[plain_measure(measure)]
        for measure, readings in found.items():
            means[arm, measure] = _mean(TABLE[plain_measure(measure)].kind, [reading.value for reading in readings])
    return means


def _mean(kind: str, values: Sequence[float | None]) -> float | None:
    measured = [value for value in values if value is not None]
    if kind == "share":
        return sum(measured) / len(values)
    return sum(measured) / len(measured) if len(measured) >= 0.85 * len(values) else None
