"""The training stage: a stack of trainings in, one adapter out of each, and of the steps that are drawn from.

A stack of which anything is missing is trained again as a whole: the same bytes come out, and what the store holds stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from loralab.adapters import Adapter, load_adapter, save_adapter
from loralab.bases import Base, embed_captions, encode_images, model_hashes, same_length, tokenise
from loralab.errors import lab_error
from loralab.pixels import pixels_of
from loralab.spec import AdapterSource, TrainSpec
from loralab.stages.data import Dataset, load_dataset
from loralab.stages.shown import shown_as, shown_metadata, subject_masks
from loralab.store import Ref, canonical_json
from loralab.study.slices import StackSlice
from loralab.train import Feed, Step, TrainedRun, TrainRun, train_in_parts
from loralab.train.kohya_blocks import block_arguments
from loralab.train.kohya_words import recipe_metadata
from loralab.train.preserving import preserved_caption
from loralab.train.streams import stream_of
from loralab.work.place import Place
from loralab.work.task import Made, Message, Progress, Task, Work, read_manifest

ADAPTER_FILE, LOSSES_FILE = "adapter.safetensors", "losses.jsonl"


def make_adapters(work: Work, place: Place) -> Iterator[Message]:
    """Train one stack, and keep the checkpoints that are drawn from."""
    base, shared = place.bases[work.group.base], work.group.spec
    ends = [task for task in work.tasks if task.spec.source.step is None]
    kept = {task.spec.source: task for task in work.tasks if task.spec.source.step is not None}
    datasets = _datasets(work, base)
    steps = train_in_parts(
        base, _runs(base, shared, ends, _shown(ends, datasets, base.size_px)), place.crew, root_seed=shared.root_seed,
        keep={source.step for source in kept if source.step is not None}, checkpointing=shared.checkpointing, resume=work.resume,
    )  # fmt: skip
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            trained: list[TrainedRun] = end.value
            break
        yield from _checkpoints(work, base, step, ends, kept, datasets)
        yield Progress(step.step, ends[0].spec.recipe.steps, f"{len(ends)} LoRAs together")
    for task, run in zip(ends, trained, strict=True):
        if task.ref in work.wanted:
            yield Made(task.ref, _write(base, shared, task, [datasets[ref] for ref in task.inputs], run, work.folder(task.ref)))


def _datasets(work: Work, base: Base) -> dict[Ref, Dataset]:
    """Return every set that the stack is trained on, regularisation pictures included."""
    others = {ref: 1.0 for task in work.tasks for ref in task.inputs[1:]}
    weights = others | {task.inputs[0]: task.spec.prior_loss_weight for task in work.tasks}
    return {ref: load_dataset(work.folders[ref], base.size_px, weight) for ref, weight in weights.items()}


def _shown(ends: Sequence[Task], datasets: Mapping[Ref, Dataset], size_px: int) -> dict[str, Dataset]:
    """Return each arm's training set as the arm shows it."""
    found = {}
    for task in {task.spec.source.arm: task for task in ends}.values():
        its, (own, *others) = task.spec, [datasets[ref] for ref in task.inputs]
        masks = subject_masks(its.data, size_px) if its.showing.masks == "subject" else ()
        found[its.source.arm] = shown_as(own, its.showing, its.regularisation, others[0] if others else None, masks)
    return found


def _checkpoints(
    work: Work, base: Base, step: Step, ends: Sequence[Task], kept: Mapping[AdapterSource, Task], datasets: Mapping[Ref, Dataset]
) -> Iterator[Made]:
    for end, adapter in zip(ends, step.adapters, strict=False):  # no adapters at a step that is not kept
        source = end.spec.source
        task = kept.get(AdapterSource(source.arm, source.replicate, step.step))
        if task is not None and task.ref in work.wanted:
            sets, folder = [datasets[ref] for ref in task.inputs], work.folder(task.ref)
            yield Made(task.ref, _write_checkpoint(base, work.group.spec, task, sets, adapter, folder))


# --- what a training is given -------------------------------------------------------------------------------------------


def _runs(base: Base, shared: StackSlice, ends: Sequence[Task], datasets: Mapping[str, Dataset]) -> list[TrainRun]:
    """Return the runs of a stack; arms are prepared once each, in the order of the stack, from their ``datasets`` by arm."""
    recipes = {task.spec.source.arm: task.spec.recipe for task in ends}
    inputs = {arm: training_inputs(base, datasets[arm], recipe, recipe.read_at(shared.clip_skip)) for arm, recipe in recipes.items()}
    _bring_to_one_length(base, inputs)
    sources = [(task.spec.source, task.spec.recipe) for task in ends]
    streams = {source: stream_of(source.replicate, recipe.seed) for source, recipe in sources}
    return [TrainRun(str(source), recipe, **inputs[source.arm], replicate=streams[source]) for source, recipe in sources]


def training_inputs(base: Base, dataset: Dataset, recipe: TrainSpec, clip_skip: int) -> dict[str, Any]:
    """Return what a TrainRun takes: a feed where showings differ, else tensors that are computed once."""
    if dataset.pictures is None:
        return dict(training_tensors(base, dataset, recipe, clip_skip))
    _check_clip_skip(recipe, clip_skip)
    preserve = partial(preserved_caption, recipe) if recipe.preserves else None
    feed = Feed(base, dataset.pictures, recipe.trains_text, dataset.prior_loss_weight, clip_skip, preserve)
    return {"latents": torch.empty(0), "embeddings": None, "feed": feed}


def training_tensors(base: Base, dataset: Dataset, recipe: TrainSpec, clip_skip: int) -> dict[str, torch.Tensor | None]:
    """Return latents (N, C, h, w) and the captions, each computed once; a picture of n repeats stands there n times."""
    pixels = pixels_of(dataset.images)
    shown = torch.repeat_interleave(torch.arange(len(pixels)), torch.tensor(dataset.repeats))
    text = caption_tensors(base, list(dataset.captions), recipe, clip_skip)
    if recipe.preserves:
        text["preserved"] = preserved_tensor(base, list(dataset.captions), recipe, clip_skip)
    return {"latents": encode_images(base, pixels)[shown]} | {name: None if value is None else value[shown] for name, value in text.items()}


def preserved_tensor(base: Base, captions: list[str], recipe: TrainSpec, clip_skip: int = 1) -> torch.Tensor | None:
    """Return the captions under which the base's predictions are kept, as `caption_tensors` returns captions."""
    found = caption_tensors(base, [preserved_caption(recipe, caption) for caption in captions], recipe, clip_skip)
    return found["tokens" if recipe.trains_text else "embeddings"]


def caption_tensors(base: Base, captions: list[str], recipe: TrainSpec, clip_skip: int = 1) -> dict[str, torch.Tensor | None]:
    """Return `embeddings` (N, T, D), or `tokens` (N, T) where the recipe trains the text encoder and embeddings change with every step."""
    _check_clip_skip(recipe, clip_skip)
    if recipe.trains_text:
        return {"embeddings": None, "tokens": tokenise(base, captions)}
    return {"embeddings": embed_captions(base, captions, clip_skip=clip_skip), "tokens": None}


def _check_clip_skip(recipe: TrainSpec, clip_skip: int) -> None:
    if recipe.trains_text and clip_skip != 1:
        raise lab_error(
            "spec",
            f"clip_skip {clip_skip} and text_encoder_lr together",
            "one of them",
            "a text encoder that is being trained is read at its last layer",
        )


def _bring_to_one_length(base: Base, inputs: dict[str, dict[str, Any]]) -> None:
    """Repeat the embeddings of arms with shorter captions, in place: arms in one stack are one batch."""
    found = {arm: tensors["embeddings"] for arm, tensors in inputs.items()}
    embeddings = {arm: value for arm, value in found.items() if value is not None}
    if embeddings:
        for arm, value in zip(embeddings, same_length(base, list(embeddings.values())), strict=True):
            inputs[arm]["embeddings"] = value


# --- what a training leaves ---------------------------------------------------------------------------------------------


def _write(base: Base, shared: StackSlice, task: Task, sets: Sequence[Dataset], trained: TrainedRun, folder: Path) -> dict[str, Any]:
    rows = [{"step": index + 1, "loss": loss} for index, loss in enumerate(trained.losses)]
    (folder / LOSSES_FILE).write_bytes("".join(canonical_json(row) + "\n" for row in rows).encode())
    if trained.failed is None:
        metadata = _metadata(base, shared, task, sets) | {"loralab.initial_sha256": trained.initial_sha256}
        save_adapter(folder / ADAPTER_FILE, trained.adapter, metadata=metadata, family=base.family)
    source = str(task.spec.source)
    return {"run_id": source, "initial_sha256": trained.initial_sha256, "failed": trained.failed, "data": sets[0].key}


def _write_checkpoint(
    base: Base, shared: StackSlice, task: Task, sets: Sequence[Dataset], adapter: Adapter | None, folder: Path
) -> dict[str, Any]:  # fmt: skip
    """Write the adapter of a training at a step; of a training that has stopped, only that it has."""
    source = task.spec.source
    if adapter is not None:
        metadata = _metadata(base, shared, task, sets) | {"ss_steps": str(source.step)}
        save_adapter(folder / ADAPTER_FILE, adapter, metadata=metadata, family=base.family)
    failed = "the training had already stopped" if adapter is None else None
    return {"run_id": str(source.run), "step": source.step, "failed": failed, "data": sets[0].key}


def _metadata(base: Base, shared: StackSlice, task: Task, sets: Sequence[Dataset]) -> dict[str, str]:
    """Return what the lab knows of a training, as the field's tools spell it; ``sets`` are its own and its regularisation pictures."""
    run, recipe, dataset = task.spec.source.run, task.spec.recipe, sets[0]
    tags: dict[str, int] = {}
    for caption in dataset.captions:
        for tag in caption.split(","):
            tags[tag.strip()] = tags.get(tag.strip(), 0) + 1
    return {
        "ss_output_name": str(run),
        "ss_sd_model_name": base.name,
        "ss_tag_frequency": canonical_json({f"1_{run.arm}": tags}),
        "ss_dataset_dirs": canonical_json(
            {f"1_{run.arm}": {"n_repeats": task.spec.showing.num_repeats, "img_count": len(dataset.captions)}}
        ),
        "ss_seed": str(shared.root_seed if recipe.seed is None else recipe.seed),
        "ss_learning_rate": str(recipe.lr),
        "ss_unet_lr": str(recipe.lr),
        "ss_text_encoder_lr": str(recipe.text_encoder_lr),
        "ss_max_train_steps": str(recipe.steps),
        "ss_batch_size_per_device": str(recipe.batch),
        "ss_resolution": str((base.size_px, base.size_px)),
        **({"ss_clip_skip": str(skipped)} if (skipped := recipe.read_at(shared.clip_skip)) != 1 else {}),
        **shown_metadata(task.spec.showing, task.spec.regularisation, sets[1:]),
        **recipe_metadata(recipe, block_arguments(base, recipe)),
        "loralab.study": shared.study,
        "loralab.arm": run.arm,
        "loralab.replicate": str(run.replicate),
        "loralab.key": task.ref.key,
        "loralab.data_key": dataset.key,
        "loralab.base_sha256": base.fingerprint,
    } | _base_hashes(base)


def _base_hashes(base: Base) -> dict[str, str]:
    """Return the base's hashes as the field computes them, over the one file that holds its UNet, and that file's name."""
    hashes = model_hashes(base)
    if base.weights is None or hashes is None:
        return {}
    return {"ss_sd_model_hash": hashes.short, "ss_new_sd_model_hash": hashes.sha256, "loralab.base_file": base.weights.name}


def load_from(folder: Path, base: Base) -> Adapter | None:
    """Return the adapter that lies in ``folder``, an artefact; None for a training that failed."""
    return None if read_manifest(folder)["failed"] is not None else load_adapter(folder / ADAPTER_FILE, base)
