"""The kinds of data that a study may name: what generators draw, the base's own pictures, people's folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from loralab.generators.colours import COLOURS
from loralab.generators.generator import Generated
from loralab.generators.grids import GridsData
from loralab.generators.shapes import SHAPES, ShapesData
from loralab.generators.table import TABLE
from loralab.spec.datasets import CaptionSpec, PictureSpec
from loralab.strict import PathText, Strict

__all__ = ["COLOURS", "KINDS", "SHAPES", "DataSpec", "FolderData", "Generated", "GridsData", "ImagesOfData", "ShapesData"]


class ImagesOfData(Strict):
    """The base's own images under their own prompts: the training set of a placebo."""

    images_of: Literal["base"]
    prompts: tuple[str, ...] = Field(min_length=1, description="One image is drawn for each prompt, and the prompt becomes its caption.")
    count: int | None = Field(
        None, ge=1, le=10_000, description="How many images are drawn, the prompts taking turns. Default: one for each prompt."
    )
    guidance: float = Field(
        1.0, ge=1, le=30, description="Guidance scale for drawing them; 1 = off, so that they follow the base's own distribution."
    )
    steps: int = Field(25, ge=1, le=1000, description="Sampling steps for drawing them.")

    @property
    def drawn_prompts(self) -> tuple[str, ...]:
        """The prompt of each image, in order."""
        n = len(self.prompts) if self.count is None else self.count
        return tuple(self.prompts[index % len(self.prompts)] for index in range(n))


class FolderData(CaptionSpec, PictureSpec):
    """The user's own images: a folder (kohya layout, sidecar captions, or metadata.jsonl), or a kohya dataset file (.toml)."""

    folder: PathText = Field(description="Path to the folder or dataset file; a relative path starts from the study file.")
    masks: PathText = Field("", description="Folder of masks with the same names as the pictures: white where the loss should count.")
    regularisation: PathText = Field("", description="Folder of regularisation pictures; they are shown as often as the training pictures.")
    prior_loss_weight: float = Field(1.0, ge=0, le=10, description="Weight of the loss on regularisation pictures.")

    @model_validator(mode="after")
    def _options_in_one_place(self) -> FolderData:
        doubled = sorted(self.options_set - {"prior_loss_weight"})
        if self.is_file and doubled:
            raise ValueError(f"{', '.join(doubled)}: with a dataset file these are set in that file")
        return self

    @property
    def is_file(self) -> bool:
        """Whether a kohya dataset file is named."""
        return self.folder.lower().endswith(".toml")

    @property
    def options_set(self) -> set[str]:
        """The options that ask for something."""
        return {name for name, field in type(self).model_fields.items() if name != "folder" and getattr(self, name) != field.default}

    @property
    def has_showings(self) -> bool:
        """Whether pictures are prepared and drawn anew at each showing, instead of being cut to squares once."""
        return self.is_file or bool(self.options_set)

    @property
    def trains_alone(self) -> bool:
        """Whether steps may differ in resolution, so that no other run can share them."""
        return self.is_file or self.enable_bucket or self.resolution is not None


#: kind -> its model: the generators by their names, then the others by the key that tells them
KINDS: Mapping[str, type[BaseModel]] = {
    **{name: generator.model for name, generator in TABLE.items()}, "images_of": ImagesOfData, "folder": FolderData,
}  # fmt: skip
WRITE = ", ".join([*(f"`generate: {name}`" for name in TABLE), "`images_of: base`"])


def _data_kind(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return next((kind for kind, model in KINDS.items() if type(value) is model), None)
    if not isinstance(value, dict):
        return None
    if "generate" in value:
        return str(value["generate"])
    return next((key for key in ("images_of", "folder") if key in value), None)


if TYPE_CHECKING:
    DataSpec = Generated | ImagesOfData | FolderData
else:
    DataSpec = Annotated[
        Union[tuple(Annotated[model, Tag(kind)] for kind, model in KINDS.items())],  # noqa: UP007 (made from a table)
        Discriminator(
            _data_kind,
            custom_error_type="data_kind",
            custom_error_message=f"this is not a kind of data; write {WRITE} or `folder: PATH`",
        ),
    ]
