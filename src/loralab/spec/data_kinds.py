"""The kinds of data that a study may name: drawn shapes and grids, the base's own pictures, people's folders; one model a kind."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, field_validator, model_validator

from loralab.spec.datasets import CaptionSpec, PictureSpec
from loralab.spec.strict import Strict

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (221, 30, 40), "orange": (255, 140, 20), "yellow": (250, 225, 40), "green": (35, 165, 60), "cyan": (50, 205, 215),
    "blue": (40, 70, 220), "purple": (130, 50, 185), "magenta": (225, 30, 170), "pink": (250, 120, 185),
    "brown": (130, 80, 40), "black": (12, 12, 12), "white": (255, 255, 255), "grey": (128, 128, 128),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross")

Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "magenta", "pink", "brown", "black", "white", "grey"]
Shape = Literal["circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross"]
Background = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "magenta", "pink", "brown", "black", "white", "grey"]


class ShapesData(Strict):
    """One image a shape, drawn with known geometry."""

    generate: Literal["shapes"]
    shapes: tuple[Shape, ...] = Field(min_length=1, description="Which shapes are drawn, one image each.")
    fill: Colour | tuple[Colour, ...] = Field("grey", description="Fill colour: one for all, or one for each shape.")
    outline: Colour | None = Field(None, description="Colour of the outline; none if left out.")
    outline_px: float = Field(3.0, gt=0, le=12, description="Width of the outline in px of a 64 px image.")
    background: Background = Field("white", description="Background colour.")
    size: float = Field(0.7, gt=0.1, le=1, description="Extent of the shape as a share of the image side.")
    position: tuple[float, float] = Field((0.5, 0.5), description="Centre (x, y) as shares of the image side.")
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) over the whole image.")

    @model_validator(mode="after")
    def _one_fill_each(self) -> ShapesData:
        if isinstance(self.fill, tuple) and len(self.fill) != len(self.shapes):
            raise ValueError(f"fill lists {len(self.fill)} colours for {len(self.shapes)} shapes; give one colour, or one for each shape")
        return self


class GridsData(Strict):
    """Line grids of n x m cells, one image a size."""

    generate: Literal["grids"]
    sizes: tuple[str, ...] = Field(min_length=1, description="Grid sizes, columns x rows: 2x2, 3x3, ...")
    line: Colour = Field("black", description="Line colour.")
    line_px: float = Field(2.0, gt=0, le=8, description="Line width in px of a 64 px image.")
    background: Background = Field("white", description="Colour of the cells.")
    blur: float = Field(0, ge=0, le=12, description="Gaussian blur (sigma in px of a 64 px image) over the whole image.")

    @field_validator("sizes")
    @classmethod
    def _sizes(cls, sizes: tuple[str, ...]) -> tuple[str, ...]:
        for size in sizes:
            if not re.fullmatch(r"[1-9]x[1-9]", size):
                raise ValueError(f"{size!r} is not a grid size; write columns x rows with digits from 1 to 9, such as 3x3")
        return sizes


class ImagesOfData(Strict):
    """The base's own images under their own prompts: the training set of a placebo."""

    images_of: Literal["base"]
    prompts: tuple[str, ...] = Field(min_length=1, description="One image is drawn for each prompt; the prompt is its caption.")
    guidance: float = Field(
        1.0, ge=1, le=30, description="Guidance when drawing them; 1 = off, so that they are the base's own distribution."
    )
    steps: int = Field(25, ge=1, le=1000, description="Solver steps when drawing them.")


class FolderData(CaptionSpec, PictureSpec):
    """The user's own images: a folder (kohya layout, sidecar captions, or metadata.jsonl), or a kohya dataset file (.toml)."""

    folder: str = Field(description="Path of the folder or of the dataset file; a relative path is relative to the study file.")
    masks: str = Field("", description="Folder of masks named as the pictures: white where the loss counts.")
    regularisation: str = Field("", description="Folder of regularisation pictures, shown as often as the training pictures.")
    prior_loss_weight: float = Field(1.0, ge=0, le=10, description="What a regularisation picture's loss counts for.")

    @model_validator(mode="after")
    def _options_in_one_place(self) -> FolderData:
        doubled = sorted(self.options_set - {"prior_loss_weight"})
        if self.is_file and doubled:
            raise ValueError(f"{', '.join(doubled)}: with a dataset file these stand in the file")
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


def _data_kind(value: Any) -> str | None:
    if isinstance(value, BaseModel):
        return {ShapesData: "shapes", GridsData: "grids", ImagesOfData: "images_of", FolderData: "folder"}.get(type(value))
    if not isinstance(value, dict):
        return None
    if "generate" in value:
        return str(value["generate"])
    return next((key for key in ("images_of", "folder") if key in value), None)


DataSpec = Annotated[
    Annotated[ShapesData, Tag("shapes")]
    | Annotated[GridsData, Tag("grids")]
    | Annotated[ImagesOfData, Tag("images_of")]
    | Annotated[FolderData, Tag("folder")],
    Discriminator(
        _data_kind,
        custom_error_type="data_kind",
        custom_error_message="this is no kind of data; write `generate: shapes`, `generate: grids`, `images_of: base` or `folder: PATH`",
    ),
]
