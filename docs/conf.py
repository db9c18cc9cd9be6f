"""The documentation as a site: Sphinx reads the Markdown of this folder and the reference that `reference_pages` writes from the package's own tables."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reference_pages import write_reference

project = "loralab"
author = "the loralab authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "loralab"
html_show_sphinx = False
html_copy_source = False
myst_heading_anchors = 4
exclude_patterns = ["_site", "results/article/*.md", "results/sibling-grid/*.md"]
# titles of pages repeat where two results ask the same question of two bases
suppress_warnings = ["autosectionlabel.*"]

#: links that leave this folder: to files of the repository, which a site does not hold
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((\.\./[^)]*)\)")


def _without_links_outside(app, name, source) -> None:  # type: ignore[no-untyped-def]
    """Leave the words of a link to a file of the repository, and the file's name, where the site has no such page."""
    here = Path(app.srcdir) / f"{name}.md"

    def kept(found: re.Match[str]) -> str:
        target = (here.parent / found[2].split("#")[0]).resolve()
        inside = target.is_relative_to(Path(app.srcdir).resolve())
        return found[0] if inside else f"{found[1]} (`{target.name}`)"

    source[0] = _OUTSIDE.sub(kept, source[0])


def _code_for_the_keyboard(app, pagename, templatename, context, doctree) -> None:  # type: ignore[no-untyped-def]
    """Let code that is wider than the page be scrolled without a mouse."""
    if "body" in context:
        context["body"] = context["body"].replace("<pre>", '<pre tabindex="0">')


def setup(app) -> None:  # type: ignore[no-untyped-def]
    """Write the reference before anything is read."""
    write_reference(Path(__file__).parent / "reference")
    app.connect("source-read", _without_links_outside)
    app.connect("html-page-context", _code_for_the_keyboard)
