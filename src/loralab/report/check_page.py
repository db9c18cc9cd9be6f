"""The page and the shareable picture of a check: a CheckInput in, one HTML file and one PNG out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.resources import files
from textwrap import wrap

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, ImageDraw, ImageFont

from loralab.png import png_bytes
from loralab.report.check_charts import HEIGHT, WIDTH, draw_chart, draw_trails, spread
from loralab.report.check_input import CheckInput
from loralab.report.input import Picture
from loralab.report.shell import content_policy
from loralab.report.sprites import make_sprite

#: pictures of large bases are shown at this side
LARGE_PX = 160


def render_check(input: CheckInput) -> str:
    """Return the page as text: one file, no script, nothing loaded."""
    css = "".join((files("loralab.report") / name).read_text(encoding="utf-8") for name in ("report.css", "check.css"))
    environment = Environment(
        loader=PackageLoader("loralab.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"draw": draw_chart, "draw_trails": draw_trails, "sprite": _sprite, "side": _side, "spread": spread}
    return environment.get_template("check.html.j2").render(check=input, css=Markup(css), policy=content_policy(css), size=(WIDTH, HEIGHT))


def _sprite(pictures: Sequence[Picture]) -> str:
    return make_sprite(pictures, LARGE_PX)


def _side(pictures: Sequence[Picture]) -> str:
    """Return which height a row of pictures is shown at: small ones as they are, large ones made smaller."""
    with Image.open(io.BytesIO(pictures[0].png)) as image:
        return "small" if max(image.size) <= 96 else "large"


# --- the shareable picture ----------------------------------------------------------------------------------------------


def make_card(sentence: str, rows: Sequence[tuple[str, Sequence[Picture]]], footer: str) -> bytes:
    """Return a PNG: the sentence, then rows of pictures at the same seeds under their labels, then the footer."""
    tiles = [(label, [Image.open(io.BytesIO(picture.png)).convert("RGB") for picture in pictures]) for label, pictures in rows]
    side = 160
    columns = max(len(pictures) for _, pictures in tiles)
    width = 40 + columns * (side + 8)
    title, small = ImageFont.load_default(24), ImageFont.load_default(15)
    lines = wrap(sentence, max(20, (width - 40) // 13))
    height = 28 + 32 * len(lines) + len(tiles) * (side + 34) + 44
    card = Image.new("RGB", (width, height), "#ffffff")
    pen = ImageDraw.Draw(card)
    for k, line in enumerate(lines):
        pen.text((20, 20 + 32 * k), line, fill="#1d2326", font=title)
    top = 28 + 32 * len(lines)
    for label, pictures in tiles:
        pen.text((20, top + 4), label, fill="#596469", font=small)
        for k, picture in enumerate(pictures):
            how = Image.Resampling.NEAREST if picture.width < side else Image.Resampling.LANCZOS
            card.paste(picture.resize((side, side), how), (20 + k * (side + 8), top + 26))
        top += side + 34
    pen.text((20, top + 12), footer, fill="#596469", font=small)
    return png_bytes(card, small=True)
