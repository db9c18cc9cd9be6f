"""The documentation builds as a site without a warning, leads nowhere that is not there, and its reference names all that can be said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return out


class Links(HTMLParser):
    """All addresses that a page leads to or shows, and all places in it that can be led to."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses += [value for name in ("href", "src") if (value := found.get(name))]
        self.places |= {value for name in ("id", "name") if (value := found.get(name))}


def read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def broken(site: Path) -> Iterator[str]:
    pages = {page: read(page) for page in site.rglob("*.html")}
    for page, links in pages.items():
        for address in links.addresses:
            parts = urlparse(address)
            if parts.scheme or parts.netloc:
                continue
            target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
            if not target.exists():
                yield f"{page.name}: {address}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                yield f"{page.name}: {address} (no such place)"


def test_no_link_of_the_site_leads_nowhere(site: Path) -> None:
    assert list(broken(site)) == []


def test_a_link_to_nowhere_would_be_found(site: Path, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html">x</a><a href="#there">y</a><p id="here"></p>', encoding="utf-8")
    assert list(broken(tmp_path)) == ["a.html: b.html", "a.html: #there (no such place)"]


def test_the_reference_names_every_instrument_command_and_field(site: Path) -> None:
    import typer

    from loralab.cli import app
    from loralab.measure import TABLE
    from loralab.spec import StudySpec

    study = (site / "reference" / "study-file.html").read_text(encoding="utf-8")
    schema = StudySpec.model_json_schema()
    fields = {name for section in (schema, *schema["$defs"].values()) for name in section.get("properties", {})}
    assert [name for name in fields if f">{name}<" not in study] == []
    table = (site / "reference" / "instruments-table.html").read_text(encoding="utf-8")
    assert [name for name in TABLE if f">{name}<" not in table] == []
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert [name for name in typer.main.get_command(app).commands if f"loralab {name}" not in commands] == []  # type: ignore[attr-defined]
