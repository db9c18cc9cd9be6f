"""Training sets with known faults and one without, drawn by the lab's own generators into kohya folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from loralab.data import make_examples
from loralab.spec.models import ShapesData

PX = 64


@dataclass(frozen=True)
class Drawn:
    """One picture to draw, with its caption."""

    shape: str
    fill: str
    background: str
    position: tuple[float, float]
    size: float
    caption: str


def save(drawn: Drawn, file: Path) -> None:
    """Draw one picture with its caption beside it."""
    spec = ShapesData.model_validate({
        "generate": "shapes", "shapes": [drawn.shape], "fill": drawn.fill, "background": drawn.background, "position": drawn.position,
        "size": drawn.size,
    })  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_examples(spec, PX)[0].image).save(file)
    file.with_suffix(".txt").write_text(drawn.caption, encoding="utf-8")


# nothing is shared: shapes, colours, grounds, places and sizes all vary, and every caption says what is there
CLEAN = (
    Drawn("circle", "red", "white", (0.35, 0.4), 0.45, "zok, red circle, white background"),
    Drawn("square", "blue", "yellow", (0.6, 0.4), 0.6, "zok, blue square, yellow background"),
    Drawn("triangle", "green", "black", (0.5, 0.62), 0.7, "zok, green triangle, black background"),
    Drawn("star", "yellow", "blue", (0.4, 0.6), 0.75, "zok, yellow star, blue background"),
    Drawn("heart", "purple", "white", (0.62, 0.6), 0.5, "zok, purple heart, white background, small"),
    Drawn("diamond", "orange", "cyan", (0.5, 0.4), 0.8, "zok, orange diamond, cyan background"),
    Drawn("hexagon", "white", "red", (0.38, 0.5), 0.65, "zok, white hexagon, red background"),
    Drawn("cross", "black", "pink", (0.6, 0.5), 0.55, "zok, black cross, pink background"),
    Drawn("ring", "cyan", "purple", (0.45, 0.35), 0.6, "zok, cyan ring, purple background"),
    Drawn("circle", "pink", "green", (0.65, 0.35), 0.55, "zok, pink circle, green background"),
    Drawn("square", "grey", "orange", (0.35, 0.62), 0.4, "zok, grey square, orange background, tiny"),
    Drawn("triangle", "brown", "grey", (0.55, 0.5), 0.85, "zok, brown triangle, grey background"),
)


def save_clean(root: Path) -> Path:
    """Return a folder in which nothing is wrong."""
    for number, drawn in enumerate(CLEAN):
        save(drawn, root / "3_zok" / f"{number:02d}.png")
    return root


SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "cross", "ring", "circle")
FILLS = ("red", "blue", "green", "orange", "purple", "blue", "green", "red", "purple", "orange")


def save_faulty(root: Path) -> Path:
    """Return a folder with these faults, in 15 pictures.

    All have a white background and the subject in the middle, which no caption says. Two lack captions, and so the trigger; two have it
    last. All 13 captions say "solo". Two name a colour that is not there. One picture lies there twice, the second time mirrored and as
    JPEG. A tag is spelt in two ways. Two captions are the same. A folder of 2 pictures makes 75 % of the training.
    """
    for number, (shape, fill) in enumerate(zip(SHAPES, FILLS, strict=True)):
        said = {1: "green", 4: "blue"}.get(number, fill)
        tags = [
            "zok",
            "solo",
            f"{said}_thing" if number % 2 else f"{said} thing",
            "flat art" if number % 3 else "flat_art",
            f"view {number}",
        ]
        if number in (2, 3):
            tags = [*tags[1:], tags[0]]
        save(Drawn(shape, fill, "white", (0.5, 0.5), 0.4 + 0.05 * number, ", ".join(tags)), root / "1_zok" / f"{number:02d}.png")
    save(Drawn("star", "pink", "white", (0.5, 0.5), 0.5, "zok, solo, starry"), root / "20_extra" / "a.png")
    save(Drawn("heart", "cyan", "white", (0.5, 0.5), 0.8, "zok, solo, starry"), root / "20_extra" / "b.png")
    for number in (10, 11):
        save(Drawn("square", "brown", "white", (0.5, 0.5), 0.15 + 0.05 * number, ""), root / "1_zok" / f"{number}.png")
    with Image.open(root / "1_zok" / "03.png") as twin:
        twin.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "1_zok" / "12.jpg", quality=85)
    (root / "1_zok" / "12.txt").write_text("zok, solo, orange thing, flat art, view 12", encoding="utf-8")
    return root
