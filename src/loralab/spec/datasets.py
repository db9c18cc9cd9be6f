"""What may be said of a training folder beyond its path, under the names of kohya's dataset files: captions, cuts, flips, masks."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from loralab.strict import Strict

MOST_REPEATS = 100_000
LEAST_SIDE_PX, MOST_SIDE_PX = 8, 16_384
ENDING = re.compile(r"\.[^/\\\s.]{1,30}")


class CaptionDraws(Strict):
    """How captions change from one showing of a picture to the next; all left out = the caption as it is."""

    caption_separator: str = Field(",", min_length=1, description="Separator between tags.")
    secondary_separator: str = Field(
        "", description="Joins tags that are shuffled and dropped together; it is replaced by the separator at the end."
    )
    shuffle_caption: bool = Field(False, description="Shuffle the tags each time a picture is shown.")
    keep_tokens: int = Field(0, ge=0, description="Number of leading tags that stay in place and are never dropped.")
    keep_tokens_separator: str = Field(
        "", description="Tags before this mark (such as |||) stay in place, and so do tags after a second one."
    )
    caption_dropout_rate: float = Field(0, ge=0, le=1, description="Share of the times a picture is shown without any caption.")
    caption_dropout_every_n_epochs: int = Field(0, ge=0, description="Every n-th epoch shows all pictures without captions; 0 = never.")
    caption_tag_dropout_rate: float = Field(0, ge=0, le=1, description="Share of the tags dropped each time a picture is shown.")
    enable_wildcard: bool = Field(
        False, description="Pick one option of {a|b}, and one line of a multi-line caption, each time a picture is shown."
    )

    @property
    def draws(self) -> bool:
        """Whether a picture's caption may differ from one showing to the next."""
        rates = self.caption_dropout_rate, self.caption_dropout_every_n_epochs, self.caption_tag_dropout_rate
        return self.shuffle_caption or self.enable_wildcard or any(rates)


class CaptionSpec(CaptionDraws):
    """What stands around a caption, and how it changes from one showing to the next."""

    trigger: str = Field("", description="Trigger word; it is put in front of every caption that lacks it.")
    caption_prefix: str = Field("", description="Text added before every caption.")
    caption_suffix: str = Field("", description="Text added after every caption.")


class PictureSpec(Strict):
    """How pictures are cut for training."""

    enable_bucket: bool = Field(
        False, description="Keep each picture's aspect ratio: train on several resolutions with about the same area."
    )
    resolution: int | tuple[int, int] | None = Field(None, description="Side in px, or width and height. Default: the base's own.")
    min_bucket_reso: int | None = Field(
        None, ge=LEAST_SIDE_PX, le=MOST_SIDE_PX, description="Shortest side of a bucket in px. Default: half the resolution."
    )
    max_bucket_reso: int | None = Field(
        None, ge=LEAST_SIDE_PX, le=2 * MOST_SIDE_PX, description="Longest side of a bucket in px. Default: twice the resolution."
    )
    bucket_reso_steps: int | None = Field(
        None, ge=1, le=MOST_SIDE_PX, description="Bucket sides are multiples of this. Default: the base's unit."
    )
    bucket_no_upscale: bool = Field(False, description="Do not enlarge pictures that are smaller than the resolution.")
    flip_aug: bool = Field(False, description="Mirror each picture half of the times it is shown.")
    random_crop: bool = Field(False, description="Crop at a random place each time a picture is shown, instead of the centre.")
    alpha_mask: bool = Field(False, description="Transparent areas count less in the loss.")

    @model_validator(mode="after")
    def _bounds(self) -> PictureSpec:
        sides = self.resolution if isinstance(self.resolution, tuple) else (self.resolution,)
        for side in sides:
            if side is not None and not LEAST_SIDE_PX <= side <= MOST_SIDE_PX:
                raise ValueError(f"a side of {side} px is not between {LEAST_SIDE_PX} and {MOST_SIDE_PX} px")
        if self.min_bucket_reso and self.max_bucket_reso and self.min_bucket_reso > self.max_bucket_reso:
            raise ValueError(f"min_bucket_reso {self.min_bucket_reso} exceeds max_bucket_reso {self.max_bucket_reso}")
        return self


class ShowingSpec(CaptionDraws):
    """How an arm's pictures are shown in training, whatever they are: generated, the base's own, or a folder's."""

    flip_aug: bool = Field(False, description="Mirror each picture half of the times it is shown.")
    num_repeats: int = Field(1, ge=1, le=MOST_REPEATS, description="How many times each picture is shown per epoch.")
    masks: Literal["none", "subject"] = Field(
        "none", description="subject: the loss counts only where a generated picture shows its subject; what is around it is masked."
    )


class RegularisationSpec(Strict):
    """Regularisation pictures of an arm: another data set, of whatever kind, that is shown as often as the arm's own."""

    data: str = Field(min_length=1, description="Name of an entry under `data`; with `images_of: base` the base draws the pictures.")
    captions: str | None = Field(None, description="Caption template for these pictures. Default: the data set's own captions.")
    prior_loss_weight: float = Field(1.0, ge=0, le=10, description="Weight of the loss on these pictures.")
    target: Literal["pictures", "base"] = Field(
        "pictures",
        description="What is to be predicted for them: pictures = the noise on them, as ever; base = whatever the base itself predicts.",
    )


class SubsetSpec(CaptionSpec, PictureSpec):
    """One folder of pictures with its options: a subset of a kohya dataset file."""

    image_dir: str = Field(min_length=1, description="The folder; a relative path starts from the file that contains it.")
    num_repeats: int = Field(1, ge=1, le=MOST_REPEATS, description="How many times each picture is shown per epoch.")
    class_tokens: str = Field("", description="The caption for pictures that have none.")
    caption_extension: str = Field("", description="Extension of the caption files. Default: .txt and .caption are both read.")
    is_reg: bool = Field(
        False, description="Marks regularisation pictures: they are shown as often as training pictures, at the prior loss weight."
    )
    conditioning_data_dir: str = Field(
        "", description="Folder of masks with the same names as the pictures: white where the loss should count."
    )

    @field_validator("caption_extension")
    @classmethod
    def _ending(cls, ending: str) -> str:
        if ending and not ENDING.fullmatch(ending):
            raise ValueError(f"{ending[:40]!r} is not a file extension; write it with its dot, such as .txt")
        return ending

    diff_output_preservation: bool = Field(
        False, description="The base's own prediction is the target for these pictures (custom_attributes.diff_output_preservation)."
    )

    def captions(self) -> CaptionSpec:
        """Return the options for captions alone."""
        return CaptionSpec(**{name: getattr(self, name) for name in CaptionSpec.model_fields})

    def pictures(self) -> PictureSpec:
        """Return the options for cutting alone."""
        return PictureSpec(**{name: getattr(self, name) for name in PictureSpec.model_fields})
