"""What of a model goes into a key or a hash: one rule for all of them.

A slice holds what differs from the model's defaults, so that a field that comes later, at its default, renames nothing: a study keeps its
hash, and what lies in the store is found. The fields that keys held in full before there was this rule are still written in full, at their
default too; they stand in the table below, to which none is ever added. A default never changes without a new version of its stage.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

#: model -> the fields that are written whatever their value
IN_FULL: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "TrainSpec": "rank alpha lr steps batch replicates text_encoder_lr weight_decay warmup schedule max_grad_norm targets",
        "SampleSpec": "steps guidance seeds sampler schedule negative clip_skip unrelated",
        "ShapesData": "generate shapes fill outline outline_px background size position blur",
        "GridsData": "generate sizes line line_px background blur",
        "ImagesOfData": "images_of prompts guidance steps",
        "FolderData": "folder masks regularisation prior_loss_weight trigger caption_prefix caption_suffix caption_separator "
        "secondary_separator shuffle_caption keep_tokens keep_tokens_separator caption_dropout_rate caption_dropout_every_n_epochs "
        "caption_tag_dropout_rate enable_wildcard enable_bucket resolution min_bucket_reso max_bucket_reso bucket_reso_steps "
        "bucket_no_upscale flip_aug random_crop alpha_mask",
        "LoadSpec": "precision prediction zero_terminal_snr size_px",
        "StackedLora": "arm adapters strength text_strength",
        "ArmSpec": "data captions train adapters control",
        "ClaimSpec": "say measure cell versus expect margin margin_absolute needs_trigger article anyway",
        "CurveSpec": "say measure cell over at more expect margin margin_absolute damage article anyway",
        "ExperimentSpec": "question article claims show",
        "StudySpec": "study about base seed data train sample arms experiments",
    }.items()
}
#: model -> the fields that are in no key: budgets and second versions are applied before, who says it asks nothing else, and where and in
#: how much memory the work is done changes no result
NEVER: Mapping[str, frozenset[str]] = {
    "StudySpec": frozenset({"presets", "said_by", "twice"}),
    "LoadSpec": frozenset({"device", "memory_gib", "gradient_checkpointing", "side_by_side"}),
}


def slice_of(model: BaseModel, *, exclude: Collection[str] = (), later: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON-able part of ``model`` that keys and hashes hold: what differs from its defaults.

    ``exclude`` names fields that the key does not depend on, ``later`` those that came after the key, though its model's table has them.
    """
    kind = type(model)
    in_full = IN_FULL.get(kind.__name__, frozenset()) - frozenset(later)
    left_out = NEVER.get(kind.__name__, frozenset()) | frozenset(exclude)
    written = model.model_dump(mode="json")
    kept = {}
    for name, field in kind.model_fields.items():
        if name in left_out:
            continue
        value = _slice(getattr(model, name), written[name])
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if field.is_required() or name in in_full or value != _slice(default, default):
            kept[name] = value
    return kept


def _slice(value: Any, written: Any) -> Any:
    """Return ``value`` as slices hold it; ``written`` is its JSON form."""
    if isinstance(value, BaseModel):
        return slice_of(value)
    if isinstance(value, Mapping):
        return {str(key): _slice(item, written[key]) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_slice(item, its) for item, its in zip(value, written, strict=True)]
    return written
