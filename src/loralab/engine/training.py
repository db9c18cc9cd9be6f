"""The training stage: stacks of runs in, one adapter artefact a run out; a stack that is complete is never trained again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from loralab.adapters import Adapter, load_adapter, save_adapter
from loralab.bases import Base, embed_captions, encode_images, model_hashes, same_length, tokenise
from loralab.crew import ALONE, Crew
from loralab.engine.datasets import Dataset
from loralab.engine.events import Event
from loralab.engine.plan import RunPlan, StudyPlan, trains_alone
from loralab.errors import lab_error
from loralab.spec import AdapterSource, StudySpec, TrainSpec, base_of, slice_of
from loralab.store import Store, artefact_key, canonical_json
from loralab.train import Feed, TrainedRun, TrainRun, pack_runs, train_in_parts
from loralab.train.null import make_null_twins

TRAIN_VERSION = 2
NULL_VERSION = 1
KIND = "adapters"
ELSEWHERE_VERSION = 1


def adapter_key(base: Base, run: RunPlan, dataset: Dataset, study: StudySpec, step: int | None = None) -> str:
    """Return the key of a run's adapter, or of its checkpoint at ``step``.

    The number of replicates is no part of it, so that `full` builds on `quick`.
    """
    train = slice_of(run.train, exclude={"replicates"})
    spec_slice = {"train": train, "replicate": run.replicate, "root_seed": study.seed} | ({} if step is None else {"step": step})
    spec_slice |= {"clip_skip": study.sample.clip_skip} if study.sample.clip_skip != 1 else {}
    return artefact_key("train", TRAIN_VERSION, spec_slice, [dataset.key, base.fingerprint])


def train_runs(
    store: Store,
    base: Base,
    plan: StudyPlan,
    datasets: Mapping[str, Dataset],
    keys: Mapping[AdapterSource, str],
    wanted: Sequence[AdapterSource],
    crew: Crew = ALONE,
) -> Iterator[Event]:
    """Train one stack, the runs ``wanted``, and keep the checkpoints that the plan draws from; yields an event a step.

    A stack of which anything is missing is trained again as a whole: the same bytes come out, and what the store holds stays.
    """
    planned = {run.source: run for run in plan.runs}
    kept = {source: plan.kept_steps(source.arm) for source in wanted}
    needed = [AdapterSource(source.arm, source.replicate, step) for source in wanted for step in (None, *kept[source])]
    if all(store.has(KIND, keys[source]) for source in needed):
        return
    recipes = {source.arm: planned[source].train for source in wanted}
    inputs = {arm: _training_inputs(base, datasets[arm], recipe, plan.spec.sample.clip_skip) for arm, recipe in recipes.items()}
    _bring_to_one_length(base, inputs)
    runs = [TrainRun(str(source), planned[source].train, **inputs[source.arm], replicate=source.replicate) for source in wanted]
    keep = {step for steps in kept.values() for step in steps}
    steps = train_in_parts(base, runs, crew, root_seed=plan.spec.seed, keep=keep, checkpointing=plan.sizes.checkpointing)
    n_steps = runs[0].spec.steps
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            trained: list[TrainedRun] = end.value
            break
        for source, adapter in zip(wanted, step.adapters, strict=False):  # no adapters at a step that is not kept
            if step.step in kept[source]:
                key = keys[AdapterSource(source.arm, source.replicate, step.step)]
                _publish_checkpoint(store, base, plan, key, planned[source], datasets[source.arm], step.step, adapter)
        yield Event("train", step.step, n_steps, f"{len(runs)} LoRAs together")
    for source, run in zip(wanted, trained, strict=True):
        _publish(store, base, plan, keys[source], planned[source], datasets[source.arm], run)


def stacks_of(plan: StudyPlan) -> list[list[AdapterSource]]:
    """Return which runs are trained together: a function of the whole plan, so that a resumed study groups identically."""
    alone = {run.source for run in plan.runs if trains_alone(plan.spec, run.arm)}
    groups: dict[tuple[int, int], list[tuple[AdapterSource, TrainSpec]]] = {}
    for run in plan.runs:
        arm = plan.spec.arms[run.arm]
        origin = 2 if arm.stack else 1 if arm.adapters is not None else 0  # what several LoRAs are made of comes before them
        place = plan.bases.index(base_of(plan.spec, run.arm))
        groups.setdefault((origin, place), []).append((run.source, run.train))
    return [stack for _, runs in sorted(groups.items()) for stack in pack_runs(runs, plan.sizes.stack, alone)]


def _training_inputs(base: Base, dataset: Dataset, recipe: TrainSpec, clip_skip: int) -> dict[str, Any]:
    """Return what a TrainRun takes: a feed where showings differ, else tensors that are computed once."""
    if dataset.pictures is None:
        return dict(_training_tensors(base, dataset, recipe, clip_skip))
    _check_clip_skip(recipe, clip_skip)
    feed = Feed(base, dataset.pictures, recipe.trains_text, dataset.prior_loss_weight, clip_skip)
    return {"latents": torch.empty(0), "embeddings": None, "feed": feed}


def _training_tensors(base: Base, dataset: Dataset, recipe: TrainSpec, clip_skip: int) -> dict[str, torch.Tensor | None]:
    """Return latents (N, C, h, w) and the captions, each computed once; a picture of n repeats stands there n times."""
    pixels = torch.from_numpy(dataset.images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    shown = torch.repeat_interleave(torch.arange(len(pixels)), torch.tensor(dataset.repeats))
    text = caption_tensors(base, list(dataset.captions), recipe, clip_skip)
    return {"latents": encode_images(base, pixels)[shown]} | {name: None if value is None else value[shown] for name, value in text.items()}


def caption_tensors(base: Base, captions: list[str], recipe: TrainSpec, clip_skip: int = 1) -> dict[str, torch.Tensor | None]:
    """Return `embeddings` (N, T, D), or `tokens` (N, T) where the recipe trains the text encoder and embeddings change with every step."""
    _check_clip_skip(recipe, clip_skip)
    if recipe.trains_text:
        return {"embeddings": None, "tokens": tokenise(base, captions)}
    return {"embeddings": embed_captions(base, captions, clip_skip=clip_skip), "tokens": None}


def _check_clip_skip(recipe: TrainSpec, clip_skip: int) -> None:
    if recipe.trains_text and clip_skip != 1:
        raise lab_error(
            "spec", f"clip_skip {clip_skip} and text_encoder_lr together", "one of them", "a trained text encoder is read at its end"
        )


def _bring_to_one_length(base: Base, inputs: dict[str, dict[str, Any]]) -> None:
    """Repeat the embeddings of arms with shorter captions, in place: arms in one stack are one batch."""
    found = {arm: tensors["embeddings"] for arm, tensors in inputs.items()}
    embeddings = {arm: value for arm, value in found.items() if value is not None}
    if embeddings:
        for arm, value in zip(embeddings, same_length(base, list(embeddings.values())), strict=True):
            inputs[arm]["embeddings"] = value


def _publish(store: Store, base: Base, plan: StudyPlan, key: str, run: RunPlan, dataset: Dataset, trained: TrainedRun) -> None:
    if store.has(KIND, key):
        return
    manifest = {"run_id": str(run.source), "initial_sha256": trained.initial_sha256, "failed": trained.failed, "data": dataset.key}
    with store.publish(KIND, key, manifest) as scratch:
        rows = [{"step": index + 1, "loss": loss} for index, loss in enumerate(trained.losses)]
        (scratch / "losses.jsonl").write_text("".join(canonical_json(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
        if trained.failed is None:
            metadata = _metadata(base, plan, key, run, dataset) | {"loralab.initial_sha256": trained.initial_sha256}
            save_adapter(scratch / "adapter.safetensors", trained.adapter, metadata=metadata, family=base.family)


def _publish_checkpoint(
    store: Store, base: Base, plan: StudyPlan, key: str, run: RunPlan, dataset: Dataset, step: int, adapter: Adapter | None
) -> None:
    """Put the adapter of a run at a step into the store; of a run that has stopped, only that it has."""
    if store.has(KIND, key):
        return
    failed = "the run had stopped before" if adapter is None else None
    with store.publish(KIND, key, {"run_id": str(run.source), "step": step, "failed": failed, "data": dataset.key}) as scratch:
        if adapter is not None:
            metadata = _metadata(base, plan, key, run, dataset) | {"ss_steps": str(step)}
            save_adapter(scratch / "adapter.safetensors", adapter, metadata=metadata, family=base.family)


def _metadata(base: Base, plan: StudyPlan, key: str, run: RunPlan, dataset: Dataset) -> dict[str, str]:
    """Return what the lab knows of a run, as the field's tools spell it."""
    tags: dict[str, int] = {}
    for caption in dataset.captions:
        for tag in caption.split(","):
            tags[tag.strip()] = tags.get(tag.strip(), 0) + 1
    return {
        "ss_output_name": str(run.source),
        "ss_sd_model_name": base.name,
        "ss_tag_frequency": canonical_json({f"1_{run.arm}": tags}),
        "ss_dataset_dirs": canonical_json({f"1_{run.arm}": {"n_repeats": 1, "img_count": len(dataset.captions)}}),
        "ss_seed": str(plan.spec.seed),
        "ss_learning_rate": str(run.train.lr),
        "ss_unet_lr": str(run.train.lr),
        "ss_text_encoder_lr": str(run.train.text_encoder_lr),
        "ss_max_train_steps": str(run.train.steps),
        "ss_batch_size_per_device": str(run.train.batch),
        "ss_resolution": str((base.size_px, base.size_px)),
        **({"ss_clip_skip": str(plan.spec.sample.clip_skip)} if plan.spec.sample.clip_skip != 1 else {}),
        "loralab.study": plan.spec.study,
        "loralab.arm": run.arm,
        "loralab.replicate": str(run.replicate),
        "loralab.key": key,
        "loralab.data_key": dataset.key,
        "loralab.base_sha256": base.fingerprint,
    } | _base_hashes(base)


def _base_hashes(base: Base) -> dict[str, str]:
    """Return the base's hashes as the field computes them, over the one file that holds its UNet, and that file's name."""
    hashes = model_hashes(base)
    if base.weights is None or hashes is None:
        return {}
    return {"ss_sd_model_hash": hashes.short, "ss_new_sd_model_hash": hashes.sha256, "loralab.base_file": base.weights.name}


def load_or_make_twin(
    store: Store, base: Base, key: str, trained: Adapter, dataset: Dataset, recipe: TrainSpec, seed: int, clip_skip: int = 1
) -> str:
    """Return the key of the random twin of the adapter under ``key``, made if the store lacks it."""
    own = artefact_key("null", NULL_VERSION, {"seed": seed}, [key, dataset.key])
    if not store.has(KIND, own):
        tensors = _training_tensors(base, dataset, recipe, clip_skip)
        latents, text = tensors["latents"], tensors["tokens" if recipe.trains_text else "embeddings"]
        assert latents is not None  # always there, and the text under the name that the recipe wants
        assert text is not None
        (twin,) = make_null_twins(base, [trained], latents, text, [seed], is_tokens=recipe.trains_text)
        manifest = {"twin_of": key, "failed": None, "trained_change": twin.trained_change, "change": twin.change}
        with store.publish(KIND, own, manifest) as scratch:
            metadata = {"loralab.null_twin_of": key, "loralab.base_sha256": base.fingerprint}
            save_adapter(scratch / "adapter.safetensors", twin.adapter, metadata=metadata)
    return own


def take_adapter(store: Store, base: Base, file: Path, run_id: str, dataset: Dataset) -> str:
    """Return the key of a LoRA file from elsewhere, copied into the store; raises LabError("model") where it does not fit the base."""
    key = artefact_key("elsewhere", ELSEWHERE_VERSION, {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}, [base.fingerprint])
    if not store.has(KIND, key):
        load_adapter(file, base)
        with store.publish(KIND, key, {"run_id": run_id, "file": file.name, "failed": None, "data": dataset.key}) as scratch:
            shutil.copyfile(file, scratch / "adapter.safetensors")
            (scratch / "losses.jsonl").write_text("", encoding="utf-8", newline="\n")
    return key


def load_run(store: Store, base: Base, key: str) -> Adapter | None:
    """Return a run's adapter from the store; None for a run that failed."""
    if store.manifest(KIND, key)["failed"] is not None:
        return None
    return load_adapter(store.path(KIND, key) / "adapter.safetensors", base)


def adapter_file(store: Store, key: str) -> Path:
    """Return the path of a run's adapter file."""
    return store.path(KIND, key) / "adapter.safetensors"
