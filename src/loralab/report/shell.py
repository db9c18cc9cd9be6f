"""What every page is made of: templates with the report's words and figures, the content policy, a file written in one step.

In: a template's name and its values, or a page's text. Out: text, of which every value was escaped, or the file.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loralab.portable import remove, replace
from loralab.report import words
from loralab.report.bars import make_bar, possible
from loralab.report.doses import damage_caption, damage_figure, dose_caption, dose_figure
from loralab.report.explorer.records import claim_address, training_address
from loralab.report.sentences import clause

FILTERS = {
    "number": words.number, "signed": words.signed, "duration": words.duration, "times": words.times, "safe_path": words.without_paths,
    "clause": clause, "change": words.change,
}  # fmt: skip
GLOBALS = {
    "claim_address": claim_address,
    "training_address": training_address,
    "make_bar": make_bar,
    "possible": possible,
    "dose_figure": dose_figure,
    "damage_figure": damage_figure,
    "dose_caption": dose_caption,
    "damage_caption": damage_caption,
    "directions_of": words.directions_of,
    "would_tell": words.would_tell,
    "reason_sentence": words.reason_sentence,
    "versus_words": words.versus_words,
    "amount": words.amount,
    "axis": words.axis,
    "between": words.between,
    "level": words.level,
    "change": words.change,
    "chips": words.CHIPS,
}


def render(template: str, **values: object) -> Markup:
    """Return a template of this package, filled; every value that is no Markup is escaped. Raises UndefinedError where one lacks."""
    return Markup(_environment().get_template(template).render(**values))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("loralab.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    environment.globals |= GLOBALS
    return environment


def style_sheet(*names: str) -> str:
    """Return the style sheets of this package, one behind the other."""
    return "".join((files("loralab.report") / name).read_text(encoding="utf-8").replace("\r\n", "\n") for name in names)


def content_policy(css: str) -> str:
    """Return the content security policy: pictures inside the file, this style sheet, nothing else."""
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def write_page(text: str, path: Path) -> Path:
    """Return ``path``, behind writing ``text`` there in one step."""
    page = text.encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        scratch.write_bytes(page)
        replace(scratch, path)
    finally:
        remove(scratch)
    return path
