"""What may be said of a training folder beyond its path, under the names of kohya's dataset files: captions, cuts, flips, masks."""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from loralab.strict import Strict

MOST_REPEATS = 100_000
LEAST_SIDE_PX, MOST_SIDE_PX = 8, 16_384
ENDING = re.compile(r"\.[^/\\\s.]{1,30}")


class CaptionSpec(Strict):
    """How captions change from one showing of a picture to the next; all left out = the caption as it is."""

    trigger: str = Field("", description="Trigger word, put in front of every caption that lacks it.")
    caption_prefix: str = Field("", description="Text before every caption.")
    caption_suffix: str = Field("", description="Text behind every caption.")
    caption_separator: str = Field(",", min_length=1, description="What stands between two tags.")
    secondary_separator: str = Field("", description="Joins tags that are shuffled and dropped together; becomes the separator at the end.")
    shuffle_caption: bool = Field(False, description="Shuffle the tags at each showing.")
    keep_tokens: int = Field(0, ge=0, description="How many tags at the front stay where they are and are never dropped.")
    keep_tokens_separator: str = Field("", description="Tags before this mark (such as |||) stay, and so do tags behind a second one.")
    caption_dropout_rate: float = Field(0, ge=0, le=1, description="Share of showings without any caption.")
    caption_dropout_every_n_epochs: int = Field(0, ge=0, description="Every n-th epoch shows all pictures without captions; 0 = never.")
    caption_tag_dropout_rate: float = Field(0, ge=0, le=1, description="Share of the tags left out at each showing.")
    enable_wildcard: bool = Field(False, description="Draw one of {a|b} and one line of a caption of several lines, at each showing.")

    @property
    def draws(self) -> bool:
        """Whether a picture's caption may differ from one showing to the next."""
        rates = self.caption_dropout_rate, self.caption_dropout_every_n_epochs, self.caption_tag_dropout_rate
        return self.shuffle_caption or self.enable_wildcard or any(rates)


class PictureSpec(Strict):
    """How pictures are cut for training."""

    enable_bucket: bool = Field(False, description="Keep each picture's aspect: train on several resolutions of about the same area.")
    resolution: int | tuple[int, int] | None = Field(None, description="Side, or width and height, in px. Default: the base's own.")
    min_bucket_reso: int | None = Field(
        None, ge=LEAST_SIDE_PX, le=MOST_SIDE_PX, description="Shortest side of a bucket in px. Default: half the resolution."
    )
    max_bucket_reso: int | None = Field(
        None, ge=LEAST_SIDE_PX, le=2 * MOST_SIDE_PX, description="Longest side of a bucket in px. Default: twice the resolution."
    )
    bucket_reso_steps: int | None = Field(
        None, ge=1, le=MOST_SIDE_PX, description="Sides of buckets are multiples of this. Default: the base's unit."
    )
    bucket_no_upscale: bool = Field(False, description="Do not enlarge pictures that are smaller than the resolution.")
    flip_aug: bool = Field(False, description="Mirror each picture in half of its showings.")
    random_crop: bool = Field(False, description="Cut at a place drawn anew at each showing, instead of the centre.")
    alpha_mask: bool = Field(False, description="Transparent places count less in the loss.")

    @model_validator(mode="after")
    def _bounds(self) -> PictureSpec:
        sides = self.resolution if isinstance(self.resolution, tuple) else (self.resolution,)
        for side in sides:
            if side is not None and not LEAST_SIDE_PX <= side <= MOST_SIDE_PX:
                raise ValueError(f"a resolution of {side} px is not between {LEAST_SIDE_PX} and {MOST_SIDE_PX} px a side")
        if self.min_bucket_reso and self.max_bucket_reso and self.min_bucket_reso > self.max_bucket_reso:
            raise ValueError(f"min_bucket_reso {self.min_bucket_reso} exceeds max_bucket_reso {self.max_bucket_reso}")
        return self


class SubsetSpec(CaptionSpec, PictureSpec):
    """One folder of pictures with its options: a subset of a kohya dataset file."""

    image_dir: str = Field(min_length=1, description="The folder; a relative path is relative to the file that names it.")
    num_repeats: int = Field(1, ge=1, le=MOST_REPEATS, description="How often an epoch shows each picture.")
    class_tokens: str = Field("", description="The caption of pictures that have none.")
    caption_extension: str = Field("", description="Ending of the caption files. Default: .txt and .caption are both read.")
    is_reg: bool = Field(False, description="Regularisation pictures: shown as often as training pictures, at the prior loss weight.")
    conditioning_data_dir: str = Field("", description="Folder of masks, white where the loss counts, named as the pictures.")

    @field_validator("caption_extension")
    @classmethod
    def _ending(cls, ending: str) -> str:
        if ending and not ENDING.fullmatch(ending):
            raise ValueError(f"{ending[:40]!r} is no ending of files; write it with its dot, such as .txt")
        return ending

    def captions(self) -> CaptionSpec:
        """Return the options for captions alone."""
        return CaptionSpec(**{name: getattr(self, name) for name in CaptionSpec.model_fields})

    def pictures(self) -> PictureSpec:
        """Return the options for cutting alone."""
        return PictureSpec(**{name: getattr(self, name) for name in PictureSpec.model_fields})
