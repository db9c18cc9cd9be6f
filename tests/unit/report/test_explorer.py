"""The explorer's files: every picture has its place on a sheet, its readings stand in the page, and nothing a prompt says is obeyed."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loralab.report.explorer import Asked, Explored, Shown, write_explorer
from loralab.report.explorer.sheets import LARGE_PX, SMALL_PX

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028"


def save_grey(path: Path, level: int, size: tuple[int, int] = (64, 64)) -> Path:
    Image.fromarray(np.full((size[1], size[0], 3), level % 256, np.uint8)).save(path)
    return path


def make_explored(folder: Path, size: tuple[int, int] = (64, 64), seeds: int = 10, prompt: str = "cat") -> Explored:
    """Base and one arm, one training; the picture at seed s is grey 20 s for the base, 20 s + 10 for the arm."""
    shown = [
        Shown(
            save_grey(folder / f"{arm}{s}.png", 20 * s + add, size), arm, prompt, 1, s, strength, None, base,
            {"chroma": None if s == 3 else s / 3},
        )
        for arm, add, strength, base in (("base", 0, 0.0, ""), ("grey", 10, 1.0, "base"))
        for s in range(seeds)
    ]  # fmt: skip
    claim = Asked("q:claim:0", "What?", "Grey is learned", "yes", "supported", "chroma", (("grey", prompt, 1.0, None),))
    training = (save_grey(folder / "t.png", 128),)
    return Explored("study", "about", "petri", tuple(shown), (claim,), {"chroma": "deltaE"}, {"grey": training}, {"grey": ("myshape",)})


def data_in(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def read_sheet(path: Path) -> tuple[str, int, np.ndarray]:
    name, side, address = re.fullmatch(
        r'sheet\("([\w-]+)",(\d+),"data:image/webp;base64,([^"]+)"\)\n', path.read_text(encoding="utf-8")
    ).groups()  # type: ignore[union-attr]
    with Image.open(io.BytesIO(base64.b64decode(address))) as image:
        return name, int(side), np.asarray(image.convert("RGB")).astype(int)


def test_every_picture_lies_where_its_row_says(tmp_path: Path) -> None:
    page = write_explorer(make_explored(tmp_path), tmp_path / "report")
    data = data_in(page)
    assert len(data["rows"]) == 20
    for arm, _, _, seed, *_, sheet, position, large, _ in data["rows"]:
        name, side, pixels = read_sheet(tmp_path / "report" / "explore" / f"{data['sheets'][sheet]}.js")
        assert (name, side, large) == (data["sheets"][sheet], 64, 0)
        top, left = position // data["columns"] * side, position % data["columns"] * side
        wanted = 20 * seed + (10 if data["arms"][arm] == "grey" else 0)
        assert np.abs(pixels[top : top + side, left : left + side] - wanted).max() <= 3  # what compression may do to a plain grey


def test_readings_stand_beside_their_pictures_and_missing_ones_are_told_apart(tmp_path: Path) -> None:
    data = data_in(write_explorer(make_explored(tmp_path), tmp_path))
    assert data["measures"] == ["chroma"]
    assert data["units"] == ["deltaE"]
    values = [row[-1][0] for row in data["rows"][:5]]
    assert values == [0.0, 0.3333, 0.6667, None, 1.333]  # four digits; seed 3 could not be measured


def test_large_pictures_have_a_file_of_their_own_besides_the_sheet(tmp_path: Path) -> None:
    page = write_explorer(make_explored(tmp_path, size=(1024, 512), seeds=2), tmp_path / "report")
    row = data_in(page)["rows"][0]
    assert row[9] == 1
    _, side, sheet = read_sheet(tmp_path / "report" / "explore" / "s0.js")
    assert side == SMALL_PX
    assert sheet.shape == (SMALL_PX, 2 * SMALL_PX, 3)
    name, alone, pixels = read_sheet(tmp_path / "report" / "explore" / "s0-1.js")
    assert (name, alone, pixels.shape) == ("s0-1", 0, (LARGE_PX // 2, LARGE_PX, 3))


def test_what_a_prompt_says_cannot_end_the_data(tmp_path: Path) -> None:
    page = write_explorer(make_explored(tmp_path, prompt=HOSTILE), tmp_path)
    assert "alert(1)" not in page.read_text(encoding="utf-8").replace("\\u003cscript>alert(1)", "")
    assert data_in(page)["prompts"] == [HOSTILE]


def test_the_policy_names_the_script_and_the_style_that_the_page_holds(tmp_path: Path) -> None:
    import hashlib

    text = write_explorer(make_explored(tmp_path), tmp_path).read_text(encoding="utf-8")
    for element in ("script", "style"):
        inside = re.search(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert inside is not None
        digest = base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()
        assert f"sha256-{digest}" in text
    assert "http:" not in text
    assert "https:" not in text


def test_an_older_explorer_is_replaced_whole(tmp_path: Path) -> None:
    write_explorer(make_explored(tmp_path, seeds=70), tmp_path / "report")
    assert len(list((tmp_path / "report" / "explore").glob("s*.js"))) == 4  # 70 pictures of one home need two sheets of 64
    write_explorer(make_explored(tmp_path, seeds=2), tmp_path / "report")
    assert sorted(file.name for file in (tmp_path / "report" / "explore").iterdir()) == ["s0.js", "s1.js", "t0.js"]


def test_without_a_picture_there_is_nothing_to_explore(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        write_explorer(Explored("s", "", "petri", ()), tmp_path)
