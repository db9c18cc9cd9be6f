"""Caption templates: `{fill} monster` and an example in, a caption out."""

from __future__ import annotations

import string

from loralab.data.example import Example
from loralab.errors import lab_error


def caption_for(template: str, example: Example) -> str:
    """Return ``template`` with its {placeholders} filled from the example's factors; `{{` is a brace.

    Raises LabError("spec") for a placeholder that the example does not have, with those that it has.
    """
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise lab_error("spec", f"the caption template {template!r} is not well formed: {error}", "{name}, or {{ for a brace") from error
    unknown = sorted(names - example.factors.keys())
    if unknown:
        found = f"the caption template {template!r} asks for {{{unknown[0]}}}"
        raise lab_error(
            "spec", found, f"one of {', '.join(f'{{{name}}}' for name in sorted(example.factors))}", "this data has no such factor"
        )
    return template.format_map(dict(example.factors))
