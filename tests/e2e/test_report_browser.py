"""The report in a real browser: opened from file://, no console errors, both colour schemes, phone and desk without sideways scrolling."""

from __future__ import annotations

from pathlib import Path

import pytest
from browsers import show, until
from factory import make_input

from loralab.report import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_input(), tmp_path_factory.mktemp("report") / "index.html")


CONTRAST = """
const linear = v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 };
const lum = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(linear);
  return .2126 * r + .7152 * g + .0722 * b };
const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
  if (!/, 0\\)$/.test(c)) return c } return 'rgb(255, 255, 255)' };
const low = [];
const texts = document.evaluate('//body//text()[normalize-space()]', document, null, 7, null);
for (let i = 0; i < texts.snapshotLength; i++) {
  const e = texts.snapshotItem(i).parentElement, style = getComputedStyle(e), svg = e.closest('svg');
  if (e.closest('title') || style.color === 'rgba(0, 0, 0, 0)') continue;
  const [a, b] = [lum(svg ? style.fill : style.color), lum(ground(svg ? svg.parentElement : e))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) low.push([e.textContent.slice(0, 40), ratio]);
}
return low;
"""


BOXES = """
return [...document.querySelectorAll('.block')].map(block => [...block.querySelectorAll('img')].map(image => {
  const box = image.getBoundingClientRect(); return [box.left, box.width, box.height] }))
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 390, 761, 1000, 1280, 1680])
def test_the_page_fits_and_is_legible(browser, page: Path, width: int, scheme: str) -> None:
    show(browser, page, width, scheme)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 0)")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 128) == (scheme == "dark")
    assert browser.execute_script(CONTRAST) == []


def test_pictures_of_one_seed_stand_in_one_column_at_an_integer_scale(browser, page: Path) -> None:
    for width, side in ((390, 64), (1280, 128)):
        show(browser, page, width, "light")
        boxes = browser.execute_script(BOXES)
        assert boxes
        for block in boxes:
            assert all(box == pytest.approx(block[0]) for box in block)
            assert block[0][1:] == pytest.approx([side * (4 + 3 / 32), side])
    lefts = (
        "return [...document.querySelectorAll('.blocks')].map(b => [...b.querySelectorAll('.block')]"
        ".map(c => c.getBoundingClientRect().left))"
    )
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert all(len(row) == 2 and len(set(row)) == 1 for row in browser.execute_script(lefts))  # later seeds lie below, in the same columns


def test_a_link_to_a_claim_opens_what_it_is_folded_in(browser, page: Path) -> None:
    """Without a script: the browser itself unfolds what an address points into."""
    show(browser, page, 1280, "light")
    assert not browser.execute_script("return document.getElementById('claim-1-3').checkVisibility()")
    browser.execute_script("document.querySelector('.claim-list a[href=\"#claim-1-3\"]').click()")
    until(lambda: browser.execute_script("return document.getElementById('claim-1-3').checkVisibility()"))
    assert not browser.execute_script("return document.getElementById('claim-2-1').checkVisibility()")


def test_each_section_unfolds_by_the_keyboard(browser, page: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    show(browser, page, 1280, "light")
    n = browser.execute_script("return document.querySelectorAll('details').length")
    assert n >= 12
    for number in range(n):
        browser.execute_script(
            "const d = document.querySelectorAll('details')[arguments[0]]; for (let e = d.parentElement.closest('details'); e; "
            "e = e.parentElement.closest('details')) e.open = true; d.querySelector('summary').focus()",
            number,
        )
        ActionChains(browser).send_keys(Keys.ENTER).perform()
        assert browser.execute_script("return document.querySelectorAll('details')[arguments[0]].open", number)


def test_the_numbers_fold_out_without_a_script(browser, page: Path) -> None:
    show(browser, page, 390, "light")
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert "Sign-flip p" in browser.execute_script("return document.querySelector('.claims-of').innerText")
    assert browser.execute_script("return document.scripts.length") == 0
