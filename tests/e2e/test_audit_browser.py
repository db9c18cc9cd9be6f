"""The audit's page of a 9:1 set in a real browser: legible in both colour schemes, on a phone and on a desk, without sideways scrolling."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from browsers import show
from test_report_browser import CONTRAST

from loralab.auditing import run_audit

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from auditing.test_balance import save_nine_to_one

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_nine_to_one(tmp_path_factory.mktemp("set") / "mine")
    (folder / "10_zok" / "broken.png").write_bytes(b"no picture")
    (folder / "10_zok" / "a-file-name-that-goes-on-and-on-without-a-blank-or-an-end-to-break-at.tiff").write_bytes(b"II")
    return run_audit(folder, out=tmp_path_factory.mktemp("page") / "audit.html")[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_is_legible(browser, page: Path, width: int, scheme: str) -> None:
    show(browser, page, width, scheme)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
    assert browser.execute_script(CONTRAST) == []


def test_what_a_remark_is_about_is_shown_with_its_name(browser, page: Path) -> None:
    show(browser, page, 1280, "light")
    first = browser.execute_script("const r = document.querySelector('.remark'); return [r.querySelector('h3').innerText, r.innerText]")
    assert first[0].startswith("9 of 10 pictures are of one kind and 1 of another")
    assert "10_zok/09.png" in first[1]
