"""How an arm's training set is shown: the set, the arm's settings, its regularisation pictures in; the set as training pictures out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from loralab.data import TrainingPicture
from loralab.errors import lab_error
from loralab.generators import Generated, generator_of
from loralab.spec import DataSpec
from loralab.spec.datasets import RegularisationSpec, ShowingSpec, SubsetSpec
from loralab.stages.data import Dataset
from loralab.store import canonical_json

#: setting of an arm's pictures -> the key that sd-scripts gives it in an adapter's metadata (train_network.py)
KEYS: Mapping[str, str] = {
    name: f"ss_{name}"
    for name in ("shuffle_caption", "keep_tokens", "flip_aug", "caption_dropout_rate", "caption_dropout_every_n_epochs",
                 "caption_tag_dropout_rate", "keep_tokens_separator", "enable_wildcard")
}  # fmt: skip


def shown_metadata(showing: ShowingSpec, spec: RegularisationSpec | None, others: Sequence[Dataset]) -> dict[str, str]:
    """Return what an adapter's metadata say of how its pictures were shown, as sd-scripts writes it; nothing where as they are."""
    changed = showing.model_dump(exclude_defaults=True, exclude={"num_repeats"})  # repeats stand with the folder
    found = {KEYS.get(name, f"loralab.showing.{name}"): str(value) for name, value in changed.items()}
    if spec is None:
        return found
    count = sum(len(each.captions) for each in others)
    found |= {"ss_prior_loss_weight": str(spec.prior_loss_weight), "ss_num_reg_images": str(count)}
    found["ss_reg_dataset_dirs"] = canonical_json({f"1_{spec.data}": {"n_repeats": 1, "img_count": count}})
    return found | ({"loralab.regularisation.target": "base"} if spec.target == "base" else {})


def shown_as(
    dataset: Dataset, showing: ShowingSpec, spec: RegularisationSpec | None = None, others: Dataset | None = None,
    masks: Sequence[np.ndarray] = (),
) -> Dataset:  # fmt: skip
    """Return ``dataset`` with the pictures that its arm shows, under ``masks`` (H, W) if any; as it is where the arm asks for nothing.

    An epoch shows as many regularisation pictures (``others``) as training pictures, and all of them: where there are more of those, each
    training picture comes more often.
    """
    if showing == ShowingSpec() and others is None:
        return dataset
    own = tuple(_with_options(picture, showing) for picture in pictures_of(dataset))
    own = tuple(replace(picture, mask=mask) for picture, mask in zip(own, masks, strict=True)) if masks else own
    if others is None or spec is None:
        return replace(dataset, pictures=own)
    reg = tuple(_as_regularisation(picture, spec) for picture in pictures_of(others) if not picture.options.is_reg)
    n_own = sum(picture.options.num_repeats for picture in own if not picture.options.is_reg)
    own = tuple(_more_often(picture, -(-len(reg) // n_own)) for picture in own)
    return replace(dataset, pictures=own + reg, prior_loss_weight=spec.prior_loss_weight)


def subject_masks(data: DataSpec, size_px: int) -> tuple[np.ndarray, ...]:
    """Return where each generated picture shows its subject, (size_px, size_px) uint8, in the order of the pictures."""
    if not isinstance(data, Generated) or (make := generator_of(data).mask) is None:
        raise lab_error("spec", "masks of the subject", "generated data whose subject is known")
    return tuple(make(data, factors, size_px) for factors in generator_of(data).factors(data))


def pictures_of(dataset: Dataset) -> tuple[TrainingPicture, ...]:
    """Return the pictures of a set as training shows them; those that are shown as they are with their repeats and no other option."""
    return tuple(_plain_pictures(dataset)) if dataset.pictures is None else dataset.pictures


def _plain_pictures(dataset: Dataset) -> Iterator[TrainingPicture]:
    for image, caption, repeats in zip(dataset.images, dataset.captions, dataset.repeats, strict=True):
        options = SubsetSpec(image_dir="pictures", num_repeats=repeats)
        yield TrainingPicture(image, None, caption, options, (image.shape[1], image.shape[0]))


def _with_options(picture: TrainingPicture, showing: ShowingSpec) -> TrainingPicture:
    """Return a training picture under an arm's settings, those that differ from the defaults; its repeats are multiplied."""
    if picture.options.is_reg:
        return picture
    changes = {name: value for name, value in showing.model_dump(exclude_defaults=True).items() if name not in ("num_repeats", "masks")}
    changes["num_repeats"] = picture.options.num_repeats * showing.num_repeats
    return replace(picture, options=picture.options.model_copy(update=changes))


def _as_regularisation(picture: TrainingPicture, spec: RegularisationSpec) -> TrainingPicture:
    changes = {"is_reg": True, "num_repeats": 1, "diff_output_preservation": spec.target == "base"}
    return replace(picture, options=picture.options.model_copy(update=changes))


def _more_often(picture: TrainingPicture, times: int) -> TrainingPicture:
    if picture.options.is_reg or times <= 1:
        return picture
    return replace(picture, options=picture.options.model_copy(update={"num_repeats": picture.options.num_repeats * times}))
