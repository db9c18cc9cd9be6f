"""The keys of all artefacts: what an artefact follows from in, the key under which the store finds it out.

A version rises when a stage would make something else of the same inputs; then nothing older is taken for new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loralab.data.content import folder_path, folder_sha256, sources_sha256
from loralab.measure import TABLE
from loralab.petri.concept_names import FOCUS_NAMES
from loralab.spec import AdapterSource, ArmSpec, FolderData, ImagesOfData, SampleSpec, StudySpec, TrainSpec, slice_of
from loralab.spec.elsewhere import config_of
from loralab.spec.sources import spelled
from loralab.store import Ref, artefact_key
from loralab.study.facts import BaseFacts
from loralab.study.measures import card_name, concept_of, data_of, plain_measure
from loralab.study.plan import BlockPlan

DATA_VERSION = 2
TRAIN_VERSION = 2
ELSEWHERE_VERSION = 1
TOGETHER_VERSION = 1
NULL_VERSION = 1
IMAGES_VERSION = 1
READINGS_VERSION = 1
FEATURES_VERSION = 1
PLUMBING_VERSION = 2
CARDS_VERSION = 3


# --- training sets ------------------------------------------------------------------------------------------------------


def dataset_ref(base: BaseFacts, spec: StudySpec, arm: ArmSpec, study_folder: Path) -> Ref:
    """Return the training set of an arm; raises LabError("data") where a folder is missing."""
    data = spec.data[arm.data]
    spec_slice = {"data": slice_of(data), "captions": arm.captions, "size_px": base.size_px}
    if isinstance(data, FolderData):
        spec_slice["data"] = _folder_slice(data, study_folder, base)
    if isinstance(data, ImagesOfData) and spec.sample.clip_skip != 1:
        spec_slice["clip_skip"] = spec.sample.clip_skip
    inputs = [base.fingerprint] if isinstance(data, ImagesOfData) else []
    return Ref("data", artefact_key("data", DATA_VERSION, spec_slice, inputs))


def _folder_slice(data: FolderData, study_folder: Path, base: BaseFacts) -> dict[str, Any]:
    """Return what a folder's data set follows from: its bytes, and its options where it has any."""
    if not data.has_showings:
        return {"content": folder_sha256(folder_path(data, study_folder))}
    options = slice_of(data, exclude={"folder", "masks", "regularisation"})
    return {"content": sources_sha256(data, study_folder), "options": options, "unit_px": base.unit_px}


# --- adapters -----------------------------------------------------------------------------------------------------------


def adapter_ref(
    base: BaseFacts, source: AdapterSource, recipe: TrainSpec, dataset: Ref, study: StudySpec, others: Ref | None = None
) -> Ref:  # fmt: skip
    """Return the adapter of a training, or its checkpoint at the source's step; ``others`` are its regularisation pictures.

    The number of replicates is no part of it, so that `full` builds on `quick`.
    """
    spec_slice: dict[str, Any] = {"train": slice_of(recipe, exclude={"replicates"}), "replicate": source.replicate, "root_seed": study.seed}
    spec_slice |= {} if source.step is None else {"step": source.step}
    spec_slice |= {"clip_skip": study.sample.clip_skip} if study.sample.clip_skip != 1 else {}
    arm = study.arms[source.arm]
    spec_slice |= {"showing": shown} if (shown := slice_of(arm.showing)) else {}
    spec_slice |= {"regularisation": slice_of(arm.regularisation, exclude={"data", "captions"})} if arm.regularisation else {}
    inputs = [dataset.key, base.fingerprint, *([] if others is None else [others.key])]
    return Ref("adapters", artefact_key("train", TRAIN_VERSION, spec_slice, inputs))


def imported_ref(base: BaseFacts, file: Path) -> Ref:
    """Return the artefact of a LoRA file that was made elsewhere, with the configuration that it needs."""
    told = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    if config := config_of(file):
        told["config"] = hashlib.sha256(config.read_bytes()).hexdigest()
    return Ref("adapters", artefact_key("elsewhere", ELSEWHERE_VERSION, told, [base.fingerprint]))


def combined_ref(base: BaseFacts, members: Sequence[tuple[Ref, float, float]]) -> Ref:
    """Return the sum of adapters, each at its strengths in the UNet and the text encoders, on ``base``."""
    strengths = [[strength, text_strength] for _, strength, text_strength in members]
    inputs = [*(ref.key for ref, _, _ in members), base.fingerprint]
    return Ref("adapters", artefact_key("together", TOGETHER_VERSION, {"strengths": strengths}, inputs))


def null_ref(adapter: Ref, dataset: Ref, seed: int) -> Ref:
    """Return the random twin of an adapter."""
    return Ref("adapters", artefact_key("null", NULL_VERSION, {"seed": seed}, [adapter.key, dataset.key]))


# --- pictures and readings ----------------------------------------------------------------------------------------------


def block_ref(sample: SampleSpec, block: BlockPlan, source_key: str) -> Ref:
    """Return a block's pictures; ``source_key`` is the adapter's key, or the base's fingerprint."""
    recipe = slice_of(sample, exclude={"seeds", "unrelated"}, later={"schedule", "clip_skip"})
    spec_slice = {"sample": recipe, "prompt": block.prompt, "strength": block.strength, "seeds": list(block.seeds)}
    return Ref("images", artefact_key("images", IMAGES_VERSION, spec_slice, [source_key]))


def readings_ref(
    base: BaseFacts, block: BlockPlan, images: Ref, beneath: Ref, datasets: Mapping[str, Ref], measures: Sequence[str]
) -> Ref:  # fmt: skip
    """Return the readings of a block; ``datasets`` are the training sets by data that measures refer to."""
    versions = {measure: TABLE[plain_measure(measure)].told_apart for measure in measures}
    context = [datasets[data_of(measure)].key for measure in measures if data_of(measure)]
    context += _readers_of(base, measures)
    place = {"arm": spelled(block.who), "replicate": block.replicate, "seeds": list(block.seeds)}
    inputs = [images.key, beneath.key, *context]
    return Ref("readings", artefact_key("readings", READINGS_VERSION, {"measures": versions, "place": place}, inputs))


def features_ref(embedder: str, images: Ref) -> Ref:
    """Return what an embedder, told by its identity, makes of a block's pictures."""
    return Ref("features", artefact_key("features", FEATURES_VERSION, {"embedder": embedder}, [images.key]))


def plumbing_ref(base: BaseFacts, recipe: SampleSpec, prompt: str, adapters: Mapping[AdapterSource, Ref]) -> Ref:
    """Return the check of a few adapters at strengths 0 and 1."""
    spec_slice = {"sample": slice_of(recipe, exclude={"unrelated"}), "prompt": prompt, "runs": list(map(str, adapters))}
    inputs = [base.fingerprint, *(ref.key for ref in adapters.values())]
    return Ref("plumbing", artefact_key("plumbing", PLUMBING_VERSION, spec_slice, inputs))


def cards_ref(base: BaseFacts, names: Sequence[str]) -> Ref:
    """Return the calibration cards of instruments that ask nothing of an encoder."""
    versions = {name: TABLE[name].told_apart for name in names}
    row = {"instruments": versions, "size_px": base.size_px}
    return Ref("cards", artefact_key("cards", CARDS_VERSION, row, [base.vae_sha256]))


def concept_card_ref(base: BaseFacts, measure: str) -> Ref:
    """Return the card of one concept."""
    row = {"instruments": {card_name(measure): TABLE[plain_measure(measure)].version}, "size_px": base.size_px}
    return Ref("cards", artefact_key("cards", CARDS_VERSION, row, [base.vae_sha256, *_readers_of(base, [measure])]))


def _readers_of(base: BaseFacts, measures: Sequence[str]) -> list[str]:
    """Return the hashes of what reads the concepts among ``measures``; what reads sharpness is apart, so that it can be fitted anew."""
    asked = {concept for measure in measures if (concept := concept_of(measure))}
    told = [base.encoder_sha256 if asked - set(FOCUS_NAMES) else None, base.focus_sha256 if asked & set(FOCUS_NAMES) else None]
    return [sha256 for sha256 in told if sha256 is not None]
