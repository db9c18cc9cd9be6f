"""Writes the page of an audit: one HTML file with everything inside, no script, in the manner of the report.

In: an ``Audit``. Out: the file. Every text is escaped; the content security policy allows pictures inside the file and its style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.auditing.remark import Remark
from loralab.auditing.result import Audit, PictureFacts
from loralab.errors import lab_error
from loralab.png import png_bytes
from loralab.report.input import Picture
from loralab.report.page import MOST_BYTES
from loralab.report.shell import content_policy, write_page
from loralab.report.sprites import make_sprite
from loralab.report.words import without_paths

MOST_TAGS, PICTURES_A_REMARK, MOST_FILES = 60, 8, 500
STYLES = (("loralab.report", "report.css"), ("loralab.auditing", "audit.css"))
#: how many pictures the page shows; fewer where it would grow too large
GALLERY_CHOICES = (400, 200, 100, 50, 20)


@dataclass(frozen=True)
class Tile:
    """One picture with what stands below it."""

    address: str
    caption: str
    file: str
    alt: str


def write_audit(audit: Audit, path: Path) -> Path:
    """Return ``path``, behind writing the audit's page there in one step; raises LabError("store") above 5 MB."""
    for most in GALLERY_CHOICES:
        page = render_audit(audit, most)
        if len(page.encode("utf-8")) < MOST_BYTES:
            return write_page(page, path)
    raise lab_error(
        "store",
        f"an audit of {len(page.encode('utf-8')) / 1e6:.1f} MB",
        f"less than {MOST_BYTES / 1e6:.0f} MB",
        "audit fewer pictures at a time",
    )


def render_audit(audit: Audit, most_pictures: int = GALLERY_CHOICES[0]) -> str:
    """Return the page as text, with at most ``most_pictures`` in its gallery."""
    css = "".join(files(package).joinpath(name).read_text(encoding="utf-8").replace("\r\n", "\n") for package, name in STYLES)
    return (
        _environment()
        .get_template("audit.html.j2")
        .render(
            audit=audit, css=Markup(css), policy=content_policy(css), tags=audit.tags[:MOST_TAGS],
            n_tags_left_out=max(0, len(audit.tags) - MOST_TAGS), gallery=[_tile(each) for each in audit.pictures[:most_pictures]],
            n_pictures_left_out=max(0, len(audit.pictures) - most_pictures),
            MOST_FILES=MOST_FILES, shown={remark: _tiles(audit.pictures, remark) for remark in audit.remarks},
        )
    )  # fmt: skip


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("loralab.auditing", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["safe_path"] = without_paths
    return environment


def _tiles(pictures: Sequence[PictureFacts], remark: Remark) -> list[Tile]:
    return [_tile(pictures[index]) for index in remark.pictures[:PICTURES_A_REMARK]]


def _tile(picture: PictureFacts) -> Tile:
    alt = f"{picture.file}, {picture.width} x {picture.height} px"
    return Tile(make_sprite([Picture(png_bytes(picture.image), picture.caption, alt)]), picture.caption, picture.file, alt)
