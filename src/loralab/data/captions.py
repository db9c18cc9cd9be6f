"""Caption templates: `{fill} monster` and an example in, a caption out."""

from __future__ import annotations

import string

from loralab.errors import LabError, lab_error
from loralab.generators.example import Example


def caption_for(template: str, example: Example) -> str:
    """Return ``template`` with its {placeholders} filled from the example's factors; `{{` is a brace.

    Python's format specs work on numbers (`{size:.2f}`). Raises LabError("spec") for a placeholder that the example does not have, with
    those that it has, and for a template that is not well formed.
    """
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise _malformed(template, error) from error
    unknown = sorted(names - example.factors.keys())
    if unknown:
        found = f"the caption template {template!r} uses {{{unknown[0]}}}"
        raise lab_error(
            "spec", found, f"one of {', '.join(f'{{{name}}}' for name in sorted(example.factors))}", "this data set has no such factor"
        )
    try:
        return template.format_map(dict(example.factors))
    except (ValueError, KeyError) as error:  # a format spec that the value does not know, or a placeholder inside a spec
        raise _malformed(template, error) from error


def _malformed(template: str, error: Exception) -> LabError:
    return lab_error("spec", f"the caption template {template!r} is not well formed: {error}", "{name}, or {{ for a brace")
