"""Hands a study to another trainer: a loaded study in; for each arm a kohya data folder, its dataset TOML and sd-scripts' commands out."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loralab.bases import Base, family_of, noise_path, text_shape
from loralab.bases.named import load_bases
from loralab.engine.whole import executor_of
from loralab.errors import lab_error
from loralab.exporting.scripts import training_scripts
from loralab.spec import SampleSpec, StudySpec, TrainSpec, base_of
from loralab.spec.datasets import RegularisationSpec, ShowingSpec
from loralab.spec.load import Loaded, train_spec_of
from loralab.stages.cards import facts_of
from loralab.stages.data import Dataset, load_dataset
from loralab.stages.shown import pictures_of, shown_as
from loralab.store import Ref, Store, disk_errors
from loralab.study.plan import RunPlan, StudyPlan, make_plan
from loralab.study.rounds import plan_round
from loralab.train.kohya_blocks import block_arguments
from loralab.train.kohya_presets import PRESET_FILE, lycoris_preset
from loralab.train.kohya_words import by_lycoris, network_alpha, network_arguments, network_module, recipe_options
from loralab.work.events import StageClock
from loralab.work.execute import execute


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    folder: Path
    arms: tuple[str, ...]
    n_runs: int
    notes: tuple[str, ...] = ()


def export_study(loaded: Loaded, lab: Path, folder: Path) -> Exported:
    """Return what was written into ``folder``, which must not hold anything yet; trains nothing.

    Raises LabError("spec") for a folder in use, LabError("model") for a family that sd-scripts cannot train.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise lab_error("spec", f"{folder} is already in use", "a new or empty folder", "choose another one with --out")
    bases, store = load_bases(loaded), Store(lab / "store")
    its = plan_round(make_plan(loaded.spec), {source: facts_of(base) for source, base in bases.items()}, loaded.folder)
    plan = its.plan
    for base in bases.values():
        if not family_of(base).words.trainer_script:
            raise lab_error("model", f"a base of {family_of(base).said}", "one that sd-scripts trains")
    arms = tuple(arm for arm in plan.trained_arms if not loaded.spec.arms[arm].stack)  # nothing of these is to be trained
    groups = [group for group in its.groups if group.stage == "data"]
    for _ in execute(groups, store, executor_of(plan, bases), StageClock()):
        pass
    for arm in arms:
        base = bases[base_of(loaded.spec, arm)]
        dataset, others = (_set(store, found, arm, base) for found in (its.datasets, its.regularisation))
        assert dataset is not None
        if any(each is not None and each.pictures is not None for each in (dataset, others)):
            found = f"arm {arm!r} trains on a folder with options or on a dataset file"
            raise lab_error("spec", found, "folders without options", "give sd-scripts that folder or dataset file directly")
        if loaded.spec.arms[arm].showing.masks != "none":
            found = f"arm {arm!r} masks all but its subject"
            raise lab_error("spec", found, "an arm without `masks`", "remove `masks`, or train such arms with loralab")
        with disk_errors("writing the export"):
            _export_arm(plan, base, arm, (dataset, others), folder / arm)
    notes = dict.fromkeys(note for arm in arms if (note := cannot_load(bases[base_of(loaded.spec, arm)])))
    notes |= dict.fromkeys(note for arm in arms if (note := _other_target(loaded.spec, arm)))
    return Exported(folder, arms, sum(run.arm in arms for run in plan.runs), tuple(notes))


def _set(store: Store, found: Mapping[str, Ref], arm: str, base: Base) -> Dataset | None:
    return load_dataset(store.path(*found[arm]), base.size_px) if arm in found else None


def _other_target(spec: StudySpec, arm: str) -> str:
    """Return a plain word where sd-scripts' `target: base` is another than the lab's; else ""."""
    its = spec.arms[arm]
    if its.regularisation is None or its.regularisation.target != "base" or not train_spec_of(spec, its).trains_text:
        return ""
    return (
        f"arm {arm!r}: for regularisation pictures with `target: base`, sd-scripts lets the base predict under the trained text encoder, "
        "the lab under the base's own"
    )


def cannot_load(base: Base) -> str:
    """Return a plain word where sd-scripts cannot load the base: it builds models of the published shape and of no other; else ""."""
    width = text_shape(base)[1]
    wanted = family_of(base).words.trainer_text_width
    if width == wanted:
        return ""
    published = f"{family_of(base).said} as it was published ({wanted})"
    return (
        f"sd-scripts cannot load {base.name}: its text embedding is {width} numbers wide, but sd-scripts expects {published}. The "
        "exported files are complete; to train on them, set BASE to a base of the published shape."
    )


def _export_arm(plan: StudyPlan, base: Base, arm: str, sets: tuple[Dataset, Dataset | None], folder: Path) -> None:
    runs, its = [run for run in plan.runs if run.arm == arm], plan.spec.arms[arm]
    folder.mkdir(parents=True)
    batch = runs[0].train.batch
    pictures = pictures_of(shown_as(sets[0], its.showing, its.regularisation, sets[1]))
    repeats = [picture.options.num_repeats for picture in pictures if not picture.options.is_reg]
    subsets = _copy_pictures(
        sets[0], arm, folder / "data", full_batches(repeats, batch if sets[1] is None else batch // math.gcd(batch, 2))
    )
    others = {} if sets[1] is None else _copy_pictures(sets[1], arm, folder / "reg", [1] * len(sets[1].captions))
    text = dataset_toml(subsets, base.size_px, batch, its.showing, others, its.regularisation)
    (folder / "dataset.toml").write_text(text, encoding="utf-8", newline="\n")
    if by_lycoris(runs[0].train):
        (folder / PRESET_FILE).write_text(lycoris_preset(runs[0].train), encoding="utf-8", newline="\n")
    kept = plan.kept_steps(arm)
    every = ["--save_every_n_steps", str(math.gcd(*kept))] if kept else []  # the checkpoints that the study draws from are among these
    every += ["--prior_loss_weight", f"{its.regularisation.prior_loss_weight:g}"] if its.regularisation is not None else []
    commands = [[*command_words(base, plan.spec.sample, run, plan.spec.seed), *every] for run in runs]
    scripts = training_scripts(commands, arm=arm, study=plan.spec.study, base=base.name, script=family_of(base).words.trainer_script)
    for name, content in scripts.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)


def full_batches(repeats: Sequence[int], batch: int) -> tuple[int, ...]:
    """Return the repeats multiplied so that an epoch is made of full batches.

    sd-scripts cuts an epoch's last batch short: three pictures under a batch of four would always be trained on by threes.
    """
    factor = batch // math.gcd(sum(repeats), batch)
    return tuple(n * factor for n in repeats)


def _copy_pictures(dataset: Dataset, arm: str, folder: Path, often: Sequence[int]) -> dict[str, int]:
    """Copy the arm's pictures and captions into `<repeats>_<arm>/`; returns the repeats by folder name."""
    pictures = sorted(dataset.folder.rglob("*.png"))
    subsets = {}
    for picture, repeats in zip(pictures, often, strict=True):
        name = f"{repeats}_{arm}"
        subsets[name] = repeats
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in (picture, picture.with_suffix(".txt")):
            shutil.copyfile(file, folder / name / file.name)
    return subsets


def dataset_toml(
    subsets: dict[str, int], size_px: int, batch: int, showing: ShowingSpec, others: dict[str, int], spec: RegularisationSpec | None
) -> str:
    """Return sd-scripts' dataset configuration: nothing shuffled, dropped, flipped or cropped but what the arm says under `showing`.

    ``subsets`` and ``others`` (regularisation pictures) are repeats by folder.
    """
    told = {name: value for name, value in showing.model_dump(exclude_defaults=True).items() if name != "num_repeats"}
    lines = [
        "[general]", 'caption_extension = ".txt"', *([] if "shuffle_caption" in told else ["shuffle_caption = false"]),
        "enable_bucket = false", "", "[[datasets]]", f"resolution = {size_px}", f"batch_size = {batch}", "",
    ]  # fmt: skip
    for name, repeats in sorted(subsets.items()):
        lines += ["[[datasets.subsets]]", f"image_dir = {json.dumps(f'data/{name}')}", f"num_repeats = {repeats}"]
        lines += [*(f"{option} = {json.dumps(value)}" for option, value in told.items()), ""]
    for name, repeats in sorted(others.items()):
        lines += ["[[datasets.subsets]]", f"image_dir = {json.dumps(f'reg/{name}')}", f"num_repeats = {repeats}", "is_reg = true"]
        lines += ["custom_attributes.diff_output_preservation = true"] if spec is not None and spec.target == "base" else []
        lines += [""]
    return "\n".join(lines)


def command_words(base: Base, sample: SampleSpec, run: RunPlan, root_seed: int) -> list[str]:
    """Return the options of sd-scripts' `train_network.py` for one run; replicate r has the same seed in every arm without its own."""
    recipe = run.train
    options = {
        "dataset_config": "dataset.toml", "output_dir": "loras", "output_name": run.source, "save_model_as": "safetensors",
        "save_precision": "float", "mixed_precision": "no", "network_module": network_module(recipe), "network_dim": recipe.rank,
        "network_alpha": network_alpha(recipe, recipe.rank), "learning_rate": f"{recipe.lr:g}", "unet_lr": f"{recipe.lr:g}",
        "max_train_steps": recipe.steps, "seed": (root_seed if recipe.seed is None else recipe.seed) + run.replicate,
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    blocks = block_arguments(base, recipe)
    return words + recipe_options(recipe, blocks) + list(_further(base, sample, recipe, blocks or {}))


def _further(base: Base, sample: SampleSpec, recipe: TrainSpec, blocks: Mapping[str, str]) -> Iterator[str]:
    """Yield the options that only some recipes and bases need."""
    if recipe.trains_text:
        yield from ("--text_encoder_lr", f"{recipe.text_encoder_lr:g}")
    else:
        yield "--network_train_unet_only"
    arguments = network_arguments(recipe, blocks) | ({"preset": PRESET_FILE} if by_lycoris(recipe) else {})
    if arguments:
        yield from ("--network_args", *(f"{name}={value}" for name, value in arguments.items()))
    if (skipped := recipe.read_at(sample.clip_skip)) != 1:
        yield from ("--clip_skip", str(skipped))
    if noise_path(base).tells == "v_prediction":
        yield "--v_parameterization"
    if base.scheduler_config.get("rescale_betas_zero_snr"):
        yield "--zero_terminal_snr"
