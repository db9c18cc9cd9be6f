"""The explorer in a real browser, opened from disk: arranged, searched, looked at closely, saved, and nothing asked of any network."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browsers import asked_for, beyond, show, until
from factory import make_verdict
from PIL import Image
from test_explorer import make_explored

from loralab.report.explorer import Explored, write_explorer
from loralab.report.explorer.records import training_address

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explorer")
    return write_explorer(make_explored(folder), folder / "report")


def painted(browser) -> int:
    return browser.execute_script(
        "return [...document.querySelectorAll('.tile i')].filter(i => i.style.backgroundImage.startsWith('url')).length"
    )


def tiles(browser) -> int:
    return browser.execute_script("return document.querySelectorAll('.tile').length")


def choose(browser, name: str, value: str) -> None:
    browser.execute_script(
        "const e = document.getElementById(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))", name, value
    )


def pixel_of(browser, selector: str) -> list[int]:
    """The colour in the middle of an element, as the screen shows it."""
    shot = Image.open(io.BytesIO(base64.b64decode(browser.get_screenshot_as_base64()))).convert("RGB")
    box = browser.execute_script(
        "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]",
        selector,
    )
    return list(shot.getpixel((round(box[0]), round(box[1]))))


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (768, "dark"), (1280, "light"), (1920, "dark")])
def test_it_opens_from_disk_without_a_complaint_and_without_sideways_scrolling(browser, page: Path, width: int, scheme: str) -> None:
    show(browser, page, width, scheme)
    until(lambda: painted(browser) > 5)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    asked = asked_for(browser)
    assert any(address.endswith("explore/s0.js") for address in asked)
    assert beyond(asked) == []


def test_pictures_are_arranged_by_what_is_chosen(browser, page: Path) -> None:
    show(browser, page, 1280, "light")
    assert tiles(browser) == 20
    choose(browser, "cols", "")
    assert browser.execute_script("return document.querySelectorAll('#table td').length") == 2  # one cell an arm
    choose(browser, "rows", "seed")
    assert browser.execute_script("return document.querySelectorAll('#table tbody tr:not(.group)').length") == 10
    assert "rows=seed" in browser.current_url
    browser.get(browser.current_url)
    browser.refresh()
    assert browser.execute_script("return document.getElementById('rows').value") == "seed"  # the address keeps what is shown


def test_all_prompts_and_no_prompt_are_two_choices(browser, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    said, none = make_explored(tmp_path, seeds=2), make_explored(tmp_path / "none", seeds=2, prompt="")
    page = write_explorer(Explored("two", "", "petri", (*said.pictures, *none.pictures)), tmp_path / "two")
    show(browser, page, 1280, "light")
    select = "document.querySelector('#pins select')"
    assert browser.execute_script(f"return [...{select}.options].map(o => o.text).includes('all')")
    prompts = "[...document.querySelectorAll('#pins label')].find(l => l.textContent.startsWith('prompt')).querySelector('select')"
    assert browser.execute_script(f"return {prompts}.selectedOptions[0].text") == "all"
    assert tiles(browser) == 8
    browser.execute_script(f"const s = {prompts}; s.value = '='; s.dispatchEvent(new Event('change'))")
    assert tiles(browser) == 4
    assert browser.execute_script(f"return {prompts}.selectedOptions[0].text") == "no prompt"


def test_the_highest_readings_are_found_in_order(browser, page: Path) -> None:
    show(browser, page, 1280, "light")
    browser.execute_script("document.getElementById('most').value = 3; document.getElementById('search').click()")
    assert browser.execute_script("return [...document.querySelectorAll('.tile span')].map(s => s.textContent)") == ["3", "2.667", "2.333"]


def test_looking_closer_shows_the_base_beside_and_flickers_between_them(browser, page: Path) -> None:
    show(browser, page, 1280, "light")
    until(lambda: painted(browser) == 20)
    browser.execute_script("document.querySelectorAll('.tile')[15].click()")  # the arm at seed 5: grey 110, the base's is 100
    until(lambda: abs(pixel_of(browser, "#own")[0] - 110) <= 3 and abs(pixel_of(browser, "#other")[0] - 100) <= 3)
    assert browser.execute_script("return document.querySelector('#readings tbody').innerText").split() == [
        "chroma",
        "(deltaE)",
        "1.667",
        "1.667",
        "0",
    ]
    browser.execute_script("document.getElementById('flicker').click()")
    until(lambda: abs(pixel_of(browser, "#own")[0] - 100) <= 3)
    until(lambda: abs(pixel_of(browser, "#own")[0] - 110) <= 3)
    browser.execute_script("document.getElementById('flicker').click(); document.getElementById('close').click()")


def test_keys_move_between_pictures_and_show_the_base(browser, page: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    show(browser, page, 1280, "light")
    until(lambda: painted(browser) == 20)
    browser.execute_script("document.querySelectorAll('.tile')[0].focus()")
    at = "return [...document.querySelectorAll('.tile')].indexOf(document.activeElement)"
    ActionChains(browser).send_keys(Keys.ARROW_RIGHT).perform()
    assert browser.execute_script(at) == 1
    ActionChains(browser).send_keys(Keys.ARROW_DOWN).perform()
    assert browser.execute_script(at) == 11  # below it stands the arm at the same seed
    tile = ".tile[aria-label^='grey'][aria-label*='seed 1,'] i"
    assert abs(pixel_of(browser, tile)[0] - 30) <= 3
    ActionChains(browser).key_down("b").perform()
    until(lambda: abs(pixel_of(browser, tile)[0] - 20) <= 3)
    ActionChains(browser).key_up("b").perform()
    until(lambda: abs(pixel_of(browser, tile)[0] - 30) <= 3)
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert browser.execute_script("return document.getElementById('closer').open")
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert browser.execute_script(at) == 11


def test_a_claim_leads_to_its_pictures(browser, page: Path) -> None:
    show(browser, page, 1280, "light")
    browser.get(page.as_uri() + "#claim=q%3Aclaim%3A0")
    until(lambda: tiles(browser) == 10)
    assert browser.execute_script("return document.querySelector('.chip').textContent") == "yes"
    assert "Grey is learned" in browser.execute_script("return document.getElementById('told').textContent")
    assert browser.execute_script("return document.querySelector('.claim').getAttribute('aria-pressed')") == "true"


def test_a_dot_of_the_report_leads_to_the_pictures_of_its_training(browser, tmp_path: Path) -> None:
    """A claim, and of that one training: its own pictures and the base's beside it, nobody else's."""
    pictures = make_explored(tmp_path, seeds=4)
    twice = [replace(p, training=t, seed=p.seed + 4 * (t - 1)) for t in (1, 2) for p in pictures.pictures]
    page = write_explorer(replace(pictures, pictures=tuple(twice)), tmp_path / "twice")
    verdict = make_verdict(None, None, experiment="q", say="Grey is learned")
    show(browser, page, 1280, "light")
    browser.get((page.parent / "index.html").as_uri().replace("index.html", training_address(verdict, 2)))
    until(lambda: tiles(browser) == 4)
    labels = browser.execute_script("return [...document.querySelectorAll('.tile')].map(t => t.getAttribute('aria-label'))")
    assert all("training 2, seed " in label for label in labels)
    browser.execute_script("document.querySelector('.claim').click()")
    until(lambda: tiles(browser) == 8)  # as it is begun: one training of both arms


def test_claims_are_sorted_by_outcome(browser, tmp_path: Path) -> None:
    explored = make_explored(tmp_path, seeds=1)
    kinds = ["open", "contradicted", "not_measurable", "supported", "leaning"]
    claims = tuple(replace(explored.claims[0], key=f"q:claim:{n}", say=kind, kind=kind) for n, kind in enumerate(kinds))
    show(browser, write_explorer(replace(explored, claims=claims), tmp_path / "sorted"), 1280, "light")
    said = browser.execute_script("return [...document.querySelectorAll('.claim > span:first-child')].map(s => s.textContent)")
    assert said == ["supported", "leaning", "contradicted", "open", "not_measurable"]


def test_both_pictures_are_enlarged_together_by_button_key_and_wheel(browser, page: Path) -> None:
    from selenium.webdriver import ActionChains, Keys

    show(browser, page, 1280, "light")
    until(lambda: painted(browser) == 20)
    browser.execute_script("document.querySelectorAll('.tile')[15].click(); document.getElementById('zoomIn').click()")
    sizes = "return [...document.querySelectorAll('.large')].map(l => l.getBoundingClientRect().width / l.parentElement.clientWidth)"
    assert browser.execute_script(sizes) == pytest.approx([2, 2])
    ActionChains(browser).send_keys("+").perform()
    assert browser.execute_script(sizes) == pytest.approx([4, 4])
    places = "return [...document.querySelectorAll('.window')].map(w => [Math.round(w.scrollLeft), Math.round(w.scrollTop)])"
    browser.execute_script("document.querySelector('.window').focus()")
    before = browser.execute_script(places)
    ActionChains(browser).send_keys(Keys.ARROW_RIGHT).send_keys(Keys.ARROW_DOWN).perform()
    until(lambda: browser.execute_script(places)[0] != before[0])
    until(lambda: len({tuple(place) for place in browser.execute_script(places)}) == 1)  # the other moves with it
    assert "seed 5" in browser.execute_script("return document.getElementById('ownSays').textContent")  # the picture is still the same
    browser.execute_script("document.querySelector('.window').dispatchEvent(new WheelEvent('wheel', { deltaY: 9, cancelable: true }))")
    assert browser.execute_script(sizes)[0] == pytest.approx(3.2, abs=1e-3)
    ActionChains(browser).send_keys("0").perform()
    assert browser.execute_script(sizes) == pytest.approx([1, 1])
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()


def test_where_nothing_is_left_it_says_so_and_saves_nothing(browser, page: Path) -> None:
    show(browser, page, 1280, "light")
    browser.get(page.as_uri() + "#arm=%3Dgrey&strength=%3D9")
    until(lambda: tiles(browser) == 0)
    assert "No picture" in browser.execute_script("return document.getElementById('told').textContent")
    assert browser.execute_script("return [document.getElementById('png').disabled, document.getElementById('csv').disabled]") == [
        True,
        True,
    ]
    browser.execute_script("document.getElementById('reset').click()")
    assert tiles(browser) == 20


def test_what_is_shown_is_saved_as_picture_and_as_table(browser, page: Path, tmp_path: Path) -> None:
    show(browser, page, 1280, "light")
    until(lambda: painted(browser) == 20)
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    browser.execute_script("document.getElementById('csv').click(); document.getElementById('png').click()")
    until(lambda: sorted(file.name for file in tmp_path.iterdir()) == ["study-pictures.png", "study-readings.csv"])
    table = (tmp_path / "study-readings.csv").read_text(encoding="utf-8-sig").splitlines()
    assert table[0] == "arm,prompt,training,seed,strength,step,chroma"
    assert table[11] == "grey,cat,1,0,1,,0"
    assert len(table) == 21
    picture = np.asarray(Image.open(tmp_path / "study-pictures.png").convert("RGB")).astype(int)
    greys = {int(v) for v in picture[..., 0].ravel()}
    assert all(min(abs(grey - (20 * s + add)) for grey in greys) <= 3 for s in range(10) for add in (0, 10))


def test_five_thousand_pictures_open_quickly_and_load_as_they_are_looked_at(browser, tmp_path: Path) -> None:
    few = make_explored(tmp_path, seeds=8)
    many = [
        type(p)(p.file, f"arm {n}" if p.base else p.arm, p.prompt, t, 8 * t + p.seed, p.strength, None, p.base, p.readings)
        for n in range(20) for t in range(32) for p in few.pictures if p.base or n == 0
    ]  # fmt: skip
    path = write_explorer(Explored("many", "", "petri", tuple(many)), tmp_path / "many")
    assert len(many) == 5376
    show(browser, path, 1280, "light")
    browser.get(path.as_uri() + "#training=&cols=training")
    until(lambda: tiles(browser) == 5376, 30)
    loaded = browser.execute_script("return document.querySelectorAll('head script').length")
    assert 0 < loaded < 672  # what is out of sight is not fetched
