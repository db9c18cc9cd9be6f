"""The measuring stage: image blocks in, one row a reading out; readings of copying name the training set they refer to, readings of a
concept name the concept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loralab.crew import ALONE, Crew, torch_threads
from loralab.engine.datasets import Dataset
from loralab.engine.images import KeyedBlock, image_files
from loralab.engine.measure_names import concept_of, data_of, plain_measure, qualified_measure
from loralab.infer.pairs import with_sources
from loralab.measure import TABLE, Companion, Concept, Reading, measure_images, own_instruments
from loralab.measure.files import Asked, measure_files
from loralab.spec import BaseSource, Cell, StudySpec, base_of, is_base
from loralab.spec.sources import spelled
from loralab.store import Store, artefact_key

READINGS_VERSION = 1
KIND = "readings"
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


def study_measures(spec: StudySpec, base: BaseSource | None = None) -> list[str]:
    """Return the qualified names of all that the study's claims and curves measure, in order; of pictures on one base, if it is given."""

    def asked(*cells: Cell) -> bool:
        return base is None or any(base_of(spec, cell.arm) == base for cell in cells)

    claims = [claim for e in spec.experiments.values() for claim in e.claims if asked(claim.cell, claim.versus_cell)]
    names = [qualified_measure(spec, claim.measure, claim.cell) for claim in claims]
    curves = [curve for e in spec.experiments.values() for curve in e.curves if curve.at and asked(curve.cell)]
    names += [qualified_measure(spec, curve.measure, curve.cell) for curve in curves]
    names += [qualified_measure(spec, curve.damage, curve.cell) for curve in curves if spec.sample.unrelated]
    names += ["change"] if spec.sample.unrelated else []  # side damage is told of every study that names unrelated prompts
    return list(dict.fromkeys(names))


@contextmanager
def measuring(
    store: Store,
    blocks: Sequence[KeyedBlock],
    base_blocks: Mapping[tuple[int, str], KeyedBlock],
    datasets: Mapping[str, Dataset],
    measures: Sequence[str],
    companion: Companion | None = None,
    crew: Crew = ALONE,
) -> Iterator[Iterator[tuple[int, int, pl.DataFrame]]]:
    """Yield what iterates over (blocks done, blocks in all, readings of the block); ``datasets`` are by the name of the data.

    Where enough is missing the crew measures it while the block does something else; this process alone writes to the store, when a
    block's turn comes.
    """
    beneath = [base_blocks[block.plan.replicate, block.plan.prompt] for block in blocks]
    keys = [_readings_key(block, base, datasets, measures, companion) for block, base in zip(blocks, beneath, strict=True)]
    missing = {key: (block, base) for key, block, base in zip(keys, blocks, beneath, strict=True) if not store.has(KIND, key)}
    asked = [(plain_measure(measure), data_of(measure), concept_of(measure)) for measure in measures]
    training = {data: datasets[data].images for _, data, _ in asked if data}
    concepts = {name: bound for m in measures if (name := concept_of(m)) and (bound := bound_concept(companion, m)) is not None}
    own = any(measure in own_instruments() for measure in measures)  # other processes do not know them
    used = crew if not own and (crew.started or len(missing) >= LEAST_CALLS * crew.n) else ALONE
    given = used.lend(training), used.lend(concepts)
    calls = [(asked, *given, image_files(store, block), image_files(store, base)) for block, base in missing.values()]
    with used.results(_measure_block, calls) as found:
        yield _readings(store, blocks, keys, measures, zip(missing, found, strict=True))


def _measure_block(
    asked: Sequence[Asked], training: Mapping[str, np.ndarray], concepts: Mapping[str, Concept], files: Sequence[Path],
    base_files: Sequence[Path],
) -> list[list[Reading]]:  # fmt: skip
    """Return the block's readings; encoders run on one thread, so that a reading does not depend on where it is made."""
    with torch_threads(1) if concepts else nullcontext():
        return measure_files(asked, training, concepts, files, base_files)


def _readings(
    store: Store, blocks: Sequence[KeyedBlock], keys: Sequence[str], measures: Sequence[str],
    measured: Iterator[tuple[str, Sequence[Sequence[Reading]]]],
) -> Iterator[tuple[int, int, pl.DataFrame]]:  # fmt: skip
    for done, (block, key) in enumerate(zip(blocks, keys, strict=True), start=1):
        if store.has(KIND, key):
            yield done, len(blocks), with_sources(pl.read_parquet(store.path(KIND, key) / "readings.parquet"))
            continue
        each = next(readings for its, readings in measured if its == key)
        frame = pl.DataFrame(_rows(block, measures, each), schema=SCHEMA, orient="row")
        with store.publish(KIND, key, {"images": block.key, "measures": list(measures)}) as scratch:
            frame.write_parquet(scratch / "readings.parquet")
        yield done, len(blocks), frame


def _readings_key(
    block: KeyedBlock, beneath: KeyedBlock, datasets: Mapping[str, Dataset], measures: Sequence[str], companion: Companion | None
) -> str:
    versions = {measure: TABLE[plain_measure(measure)].told_apart for measure in measures}
    context = [datasets[data_of(measure)].key for measure in measures if data_of(measure)]
    if companion is not None and any(concept_of(measure) for measure in measures):
        context.append(companion.sha256)
    place = {"arm": spelled(block.plan.who), "replicate": block.plan.replicate, "seeds": list(block.plan.seeds)}
    return artefact_key("readings", READINGS_VERSION, {"measures": versions, "place": place}, [block.key, beneath.key, *context])


def _rows(block: KeyedBlock, measures: Sequence[str], found: Sequence[Sequence[Reading]]) -> list[tuple[Any, ...]]:
    place = block.plan
    bare = is_base(place.source)
    where = (str(place.who), place.replicate, place.prompt, 1.0 if bare else place.strength, place.step)
    return [
        (*where, seed, measure, reading.value, reading.status, reading.reason, bare)
        for measure, readings in zip(measures, found, strict=True)
        for seed, reading in zip(place.seeds, readings, strict=True)
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
