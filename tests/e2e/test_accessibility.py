"""Every page that the lab writes, under axe-core: nothing serious, light and dark, small and wide, folded and open; nothing goes out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from browsers import asked_for, beyond, serious, show
from factory import make_input
from test_cards_page import make_sheet
from test_check_page import page_input
from test_explorer import make_explored

from loralab.auditing import run_audit
from loralab.report import write_report
from loralab.report.cards_page import render_cards
from loralab.report.check_page import render_check
from loralab.report.explorer import write_explorer
from loralab.report.shell import write_page

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from auditing.test_balance import save_nine_to_one

pytestmark = pytest.mark.browser
DOCS = Path(__file__).parents[2] / "docs"


def report(folder: Path) -> Path:
    return write_report(replace(make_input(), has_explorer=True), folder / "index.html")


def explorer(folder: Path) -> Path:
    return write_explorer(make_explored(folder), folder / "report")


def check(folder: Path) -> Path:
    return write_page(render_check(page_input()), folder / "check.html")


def audit(folder: Path) -> Path:
    return run_audit(save_nine_to_one(folder / "mine"), out=folder / "audit.html")[1]


def cards(folder: Path) -> Path:
    return write_page(render_cards([make_sheet()], "petri", "ab" * 32, 64), folder / "cards.html")


def docs(folder: Path) -> Path:
    """The tutorial, with the theme and the settings of the site."""
    (folder / "source").mkdir()
    shutil.copyfile(DOCS / "tutorial.md", folder / "source" / "index.md")
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-c", str(DOCS), str(folder / "source"), str(folder / "site")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site" / "index.html"


PAGES = {page.__name__: page for page in (report, explorer, check, audit, cards, docs)}
OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a page by its name, made when it is first asked for."""
    return cache(lambda name: PAGES[name](tmp_path_factory.mktemp(name)))


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, made: Callable[[str], Path]) -> Path:
    return made(request.param)


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (768, "dark"), (1280, "light"), (1920, "dark")])
def test_no_serious_finding_and_no_request_beyond_this_machine(browser, page: Path, width: int, scheme: str) -> None:
    asked_for(browser)
    show(browser, page, width, scheme)
    assert beyond(asked_for(browser)) == []
    if width == 390:  # what is folded is the same at every width and in every scheme; what is open is looked at in all
        assert serious(browser) == []
    browser.execute_script(OPEN)
    assert serious(browser) == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_sites_code_is_scrolled_by_the_keyboard(made: Callable[[str], Path]) -> None:
    text = made("docs").read_text(encoding="utf-8")
    assert text.count("<pre") == text.count('<pre tabindex="0"') > 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_explorers_dialog_has_no_serious_finding(browser, made: Callable[[str], Path], scheme: str) -> None:
    show(browser, made("explorer"), 1280, scheme)
    browser.execute_script("document.querySelectorAll('.tile')[15].click(); document.getElementById('zoomIn').click()")
    assert serious(browser) == []


def test_the_engine_finds_what_is_wrong(browser, tmp_path: Path) -> None:
    """A page that nobody could use is not passed: the check itself works."""
    text = '<!doctype html><html><title>x</title><img src="data:,"><p style="color:#ccc;background:#fff">pale</p><button></button></html>'
    show(browser, write_page(text, tmp_path / "bad.html"), 1280, "light")
    assert {"image-alt", "color-contrast", "button-name", "html-has-lang"} <= {rule for rule, _, _ in serious(browser)}
