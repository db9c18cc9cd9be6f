"""What a LoRA file says of the recipe that made it: metadata in, comparable values out; what differs between files, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Metadata = Mapping[str, str]
NOTHING = (None, "", "None")
#: what a value was made of: told apart from "" (the file says it was left empty)
Known = str | None


def _plain(keys: Sequence[str]) -> Callable[[Metadata], Known]:
    """Return a reader of the first of ``keys`` that a file has; numbers compare as numbers: 1e-4 is 0.0001."""

    def read(metadata: Metadata) -> Known:
        return next((_normal(metadata[key]) for key in keys if metadata.get(key) not in NOTHING), None)

    return read


def _normal(text: str) -> str:
    try:
        return f"{float(text):g}"
    except ValueError:
        return text.strip()


def _json(text: str) -> Any:
    try:
        return json.loads(text) if len(text) < 1 << 24 else None
    except (ValueError, RecursionError):
        return None


def _data(metadata: Metadata) -> Known:
    """Return the data folders with their repeats and counts of pictures; the lab's own data key where there is one."""
    if key := metadata.get("loralab.data_key"):
        return key[:10]
    folders = _json(metadata.get("ss_dataset_dirs", ""))
    regular = _json(metadata.get("ss_reg_dataset_dirs", ""))
    told = [_folder(name, entry) for part in (folders, regular) if isinstance(part, dict) for name, entry in sorted(part.items())]
    return ", ".join(told) or None


def _folder(name: str, entry: Any) -> str:
    if not isinstance(entry, dict):
        return name
    return f"{name} ({entry.get('img_count', '?')} pictures, {entry.get('n_repeats', '?')} repeats)"


def _captions(metadata: Metadata) -> Known:
    """Return how the tags of a training are counted, shortened to what tells two of them apart."""
    folders = _json(metadata.get("ss_tag_frequency", ""))
    if not isinstance(folders, dict) or not folders:
        return None
    counts = [(tag, n) for tags in folders.values() if isinstance(tags, dict) for tag, n in tags.items()]
    return ", ".join(f"{tag} {n}" for tag, n in sorted(counts, key=lambda item: (-_number(item[1]), str(item[0]))))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


#: what makes a recipe -> the keys that tell it, the first that is there; the order is that of the page
KEYS: dict[str, tuple[str, ...]] = {
    "study": ("loralab.study",),
    "arm": ("loralab.arm",),
    "base": ("loralab.base_sha256", "ss_sd_model_hash", "ss_sd_model_name", "ss_base_model_version", "modelspec.architecture"),
    "network": ("ss_network_module",),
    "rank": ("ss_network_dim",),
    "alpha": ("ss_network_alpha",),
    "network arguments": ("ss_network_args",),
    "learning rate": ("ss_learning_rate",),
    "UNet learning rate": ("ss_unet_lr",),
    "text encoder learning rate": ("ss_text_encoder_lr",),
    "optimiser": ("ss_optimizer",),
    "learning-rate schedule": ("ss_lr_scheduler",),
    "warm-up steps": ("ss_lr_warmup_steps",),
    "batch": ("ss_total_batch_size", "ss_batch_size_per_device"),
    "resolution": ("ss_resolution",),
    "clip skip": ("ss_clip_skip",),
    "noise offset": ("ss_noise_offset",),
    "min SNR gamma": ("ss_min_snr_gamma",),
    "caption dropout": ("ss_caption_dropout_rate",),
}
#: the length of a training: a resumed one may be given another, seeds of one recipe may not
LENGTH: dict[str, tuple[str, ...]] = {
    "steps requested": ("ss_max_train_steps",),
    "epochs requested": ("ss_num_epochs",),
    "steps trained": ("ss_steps",),
}
FIELD_ORDER = ("study", "arm", "base", "data", "tags", *KEYS)
FIELDS: dict[str, Callable[[Metadata], Known]] = {"data": _data, "tags": _captions} | {name: _plain(keys) for name, keys in KEYS.items()}
#: kohya's keys of one training, not of its recipe; every other one that differs is a difference of recipes
OF_ONE_TRAINING = frozenset(
    f"ss_{name}"
    for name in (
        "session_id", "training_started_at", "training_finished_at", "output_name", "seed", "epoch", "training_comment",
        "sd_scripts_commit_hash", "gradient_checkpointing", "cache_latents", "cache_latents_to_disk", "lowram", "bucket_info",
    )
)  # fmt: skip
TOLD = OF_ONE_TRAINING.union(
    ("ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_tag_frequency", "ss_datasets"), *KEYS.values(), *LENGTH.values()
)
#: what a data set's entry in `ss_datasets` says that is told otherwise, or is not asked of it
DATA_TOLD = frozenset(
    (
        "subsets", "tag_frequency", "image_dir", "img_count", "num_repeats", "n_repeats", "is_reg", "metadata_file", "bucket_info",
        "num_train_images", "num_reg_images", "resolution", "batch_size_per_device",
    )
)  # fmt: skip


def recipe_of(metadata: Metadata) -> dict[str, str]:
    """Return what a file says of its recipe: the names of ``FIELDS`` and ``LENGTH``, and every other setting under its own.

    What it does not say is left out.
    """
    told = {name: read(metadata) for name, read in FIELDS.items()} | {name: _plain(keys)(metadata) for name, keys in LENGTH.items()}
    others = {key.removeprefix("ss_"): value for key, value in metadata.items() if key.startswith("ss_") and key not in TOLD}
    others |= {key.removeprefix("loralab.train."): value for key, value in metadata.items() if key.startswith("loralab.train.")}
    told |= {name.replace("_", " "): _normal(value) for name, value in {**_options(metadata), **others}.items() if value not in NOTHING}
    return {name: value for name, value in told.items() if value is not None}


def _options(metadata: Metadata) -> dict[str, str]:
    """Return the options of all data sets and their folders, by name: what newer versions of kohya write in place of keys of their own."""
    found: dict[str, list[str]] = {}
    datasets = _json(metadata.get("ss_datasets", ""))
    for dataset in datasets if isinstance(datasets, list) else ():
        subsets = dataset.get("subsets") if isinstance(dataset, dict) else None
        for entry in (dataset, *(subsets if isinstance(subsets, list) else ())):
            for key, value in entry.items() if isinstance(entry, dict) else ():
                if key not in DATA_TOLD:
                    found.setdefault(key, []).append(str(value))
    return {key: " / ".join(dict.fromkeys(values)) for key, values in found.items()}


def fields_of(recipes: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names of everything that the recipes tell, those of the page first."""
    others = sorted({name for recipe in recipes for name in recipe})
    return list(dict.fromkeys([*FIELD_ORDER, *LENGTH, *others]))


def differing(recipes: Sequence[Mapping[str, str]], fields: Iterable[str]) -> dict[str, list[str | None]]:
    """Return, of ``fields``, those that at least two recipes tell differently: each recipe's value, None where it does not say."""
    found = {name: [recipe.get(name) for recipe in recipes] for name in fields}
    return {name: values for name, values in found.items() if len({value for value in values if value is not None}) > 1}


def one_sided(recipes: Sequence[Mapping[str, str]], fields: Iterable[str]) -> list[str]:
    """Return those of ``fields`` that some of the recipes tell and others do not."""
    return [name for name in fields if 0 < sum(name in recipe for recipe in recipes) < len(recipes)]


#: words behind a name that tell a part of one training, not another training
PART = re.compile(r"[-_ .](resumed?|cont(inued?)?|part[-_ ]?\d+)$", re.IGNORECASE)
SEED_IN_NAME = re.compile(r"[-_ .]?seed[-_ ]?(\d{1,18})", re.IGNORECASE)


def seed_of(stem: str, metadata: Metadata) -> int | None:
    """Return the training seed: the lab's replicate, else what the file's name says, else its metadata; None where nothing says it."""
    replicate = metadata.get("loralab.replicate", "")
    if re.fullmatch(r"\d{1,18}", replicate):
        return int(replicate)  # the lab's own files share the study's root seed
    if named := SEED_IN_NAME.search(stem):
        return int(named[1])
    value = metadata.get("ss_seed", "")
    return int(value) if re.fullmatch(r"\d{1,18}", value) else None


def training_name(name: str, seed: int | None) -> str:
    """Return the name of a training without its seed and without the words of a resumed part: what is left names the recipe."""
    bare = SEED_IN_NAME.sub("", name)
    if seed is not None:
        bare = re.sub(rf"[-_ .]?[rs]?0*{seed}$", "", bare)
    return PART.sub("", bare).strip("-_ .").lower()
