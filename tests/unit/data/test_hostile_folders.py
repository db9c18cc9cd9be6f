"""Folders that are not what they seem: links out, other programs' formats, files that would be passed over; and captions likewise."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loralab.data import Example, caption_for, read_folder, write_kohya_folder
from loralab.errors import LabError

RED = Image.new("RGB", (40, 30), "red")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good picture, and a secret beside the folder."""
    (tmp_path / "secret.txt").write_text("password", encoding="utf-8")
    RED.save(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    RED.save(tmp_path / "in" / "a.png")
    return tmp_path / "in"


def refusal(folder: Path) -> LabError:
    with pytest.raises(LabError) as caught:
        read_folder(folder, 16)
    assert caught.value.kind == "data"
    assert "password" not in str(caught.value)
    return caught.value


def notes_of(folder: Path) -> list[str]:
    contents = read_folder(folder, 16)
    assert [example.source.rsplit("/")[-1] for example in contents.examples] == ["a.png"]
    return contents.notes


# --- what must not be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".txt", ".caption"])
def test_a_caption_that_links_out_of_the_folder_is_refused(folder: Path, suffix: str):
    os.symlink(folder.parent / "secret.txt", folder / f"a{suffix}")
    assert f"a{suffix}: a link or path that leads out of the folder" in str(refusal(folder))


def test_a_list_that_links_out_of_the_folder_is_refused(folder: Path):
    (folder.parent / "list").write_text('{"file_name": "a.png", "text": "password"}', encoding="utf-8")
    os.symlink(folder.parent / "list", folder / "metadata.jsonl")
    assert "metadata.jsonl: a link or path that leads out of the folder" in str(refusal(folder))


@pytest.mark.parametrize("absolute", [True, False])
def test_a_listed_path_out_of_the_folder_is_refused(folder: Path, absolute: bool):
    name = str(folder.parent / "secret.png") if absolute else "../secret.png"
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": "x"}), encoding="utf-8")
    assert "a link or path that leads out of the folder" in str(refusal(folder))


@pytest.mark.parametrize("target", ["gone.png", "b.png"])
def test_links_that_lead_nowhere_are_reported(folder: Path, target: str):
    os.symlink(target, folder / "b.png")
    assert "b.png: there is no such file, or it is a broken link" in str(refusal(folder))


@pytest.mark.parametrize("form", ["EPS", "TIFF", "GIF"])
def test_formats_that_are_not_asked_for_are_not_opened_under_another_ending(folder: Path, form: str):
    """Pillow would hand an EPS file to Ghostscript."""
    RED.save(folder / "b.png", form)
    assert "b.png: not a picture that can be read" in str(refusal(folder))


def test_messages_do_not_repeat_the_path_of_the_machine(folder: Path):
    (folder / "b.png").write_text("no picture", encoding="utf-8")
    (folder / "c.png").mkdir()
    assert str(folder) not in str(refusal(folder))


def test_damaged_bytes_are_a_problem_or_a_picture_and_nothing_else(tmp_path: Path):
    """200 damaged files of four formats: no exception but LabError, and no warning, leaves the reader."""
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description that is long enough to be cut"
    noise = Image.effect_noise((48, 40), 60).convert("RGB")
    refused = 0
    for number in range(200):
        file = tmp_path / f"{number}" / ("a" + (".png", ".jpg", ".webp", ".bmp")[number % 4])
        file.parent.mkdir()
        noise.save(file, **({} if file.suffix == ".bmp" else {"exif": exif}))
        damaged = bytearray(file.read_bytes())
        for _ in range(4):
            damaged[rng.randrange(min(len(damaged), 200))] = rng.randrange(256)
        file.write_bytes(damaged)
        try:
            assert read_folder(file.parent, 16).examples[0].image.shape == (16, 16, 3)
        except LabError:
            refused += 1
    assert 50 < refused < 200


# --- what must not be passed over ---------------------------------------------------------------------------------------


def test_pictures_beside_numbered_folders_are_noted(folder: Path):
    (folder / "10_x").mkdir()
    (folder / "a.png").rename(folder / "10_x" / "a.png")
    RED.save(folder / "stray.png")
    assert any("pictures outside" in note and "stray.png" in note for note in notes_of(folder))


def test_pictures_that_the_list_leaves_out_are_noted(folder: Path):
    RED.save(folder / "b.png")
    (folder / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}', encoding="utf-8")
    assert any("not listed in metadata.jsonl: b.png" in note for note in notes_of(folder))


def test_hidden_files_are_noted(folder: Path):
    (folder / "._a.png").write_bytes(b"resource fork")
    assert any("hidden files: ._a.png" in note for note in notes_of(folder))


def test_a_folder_of_zero_repeats_is_left_out_and_a_bare_number_is_read(folder: Path):
    for name, file in (("3", "a.png"), ("0_never", "b.png")):
        (folder / name).mkdir()
        RED.save(folder / name / file)
    (folder / "a.png").unlink()
    assert any("0_never" in note for note in notes_of(folder))
    assert read_folder(folder, 16).examples[0].factors["repeats"] == 3


def test_lines_behind_the_first_are_noted(folder: Path):
    (folder / "a.txt").write_text("one\ntwo", encoding="utf-8")
    assert read_folder(folder, 16).examples[0].caption == "one"
    assert any("only the first line" in note for note in notes_of(folder))


def test_transparent_places_of_a_palette_are_laid_on_white_and_noted(folder: Path):
    RED.convert("P").save(folder / "a.png", transparency=RED.convert("P").getpixel((0, 0)))
    assert tuple(read_folder(folder, 16).examples[0].image[8, 8]) == (255, 255, 255)
    assert notes_of(folder) == ["transparent areas were placed on white: a.png"]


def test_a_telephones_jpeg_of_two_pictures_is_a_jpeg(folder: Path):
    (folder / "a.png").unlink()
    RED.save(folder / "a.jpg", "MPO", save_all=True, append_images=[RED])
    contents = read_folder(folder, 16)
    assert (len(contents.examples), contents.notes) == (1, [])


def test_a_note_names_a_few_files_and_counts_the_rest(folder: Path):
    for number in range(11):
        (folder / f"._{number:02d}.png").write_bytes(b"x")
    assert notes_of(folder)[0].endswith("._07.png and 3 more")


# --- lists --------------------------------------------------------------------------------------------------------------


def test_a_list_may_begin_with_a_byte_order_mark_and_hold_any_letter(folder: Path):
    line = json.dumps({"file_name": "a.png", "text": "é\u2028b"}, ensure_ascii=False)
    (folder / "metadata.jsonl").write_text(line, encoding="utf-8-sig")
    assert read_folder(folder, 16).examples[0].caption == "é\u2028b"


def test_every_bad_line_of_a_list_is_reported(folder: Path):
    lines = ['{"file_name": "a.png", "text": null}', "{", '["a.png"]', "[" * 100_000, "", '{"file_name": "gone.png", "text": "x"}']
    (folder / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    where = [problem.where for problem in refusal(folder).problems]
    assert where == [*(f"metadata.jsonl, line {number}" for number in (1, 2, 3, 4)), "gone.png"]


def test_a_list_that_is_not_utf8_is_reported(folder: Path):
    (folder / "metadata.jsonl").write_bytes('{"file_name": "a.png", "text": "é"}'.encode("latin-1"))
    assert "metadata.jsonl: the text is not UTF-8" in str(refusal(folder))


# --- captions -----------------------------------------------------------------------------------------------------------

EXAMPLE = Example(np.zeros((16, 16, 3), np.uint8), "c", {"size": 0.5, "shape": "circle"}, "generated")


@pytest.mark.parametrize("template", ["{size:q}", "{shape:.2f}", "{size:{mood}}", "{shape!z}", "}"])
def test_templates_that_are_not_well_formed_are_refused(template: str):
    with pytest.raises(LabError, match="not well formed") as caught:
        caption_for(template, EXAMPLE)
    assert caught.value.kind == "spec"


@pytest.mark.parametrize("template", ["{}", "{0}", "{shape.__class__}", "{shape[0]}"])
def test_templates_reach_nothing_but_factors(template: str):
    with pytest.raises(LabError, match="uses"):
        caption_for(template, EXAMPLE)


def test_numbers_take_format_specs():
    assert caption_for("{size:.2f}", EXAMPLE) == "0.50"


@pytest.mark.parametrize("breaker", ["\n", "\r", "\r\n", "\u2028"])
def test_a_line_break_in_a_caption_does_not_cut_it(tmp_path: Path, breaker: str):
    write_kohya_folder([EXAMPLE], [f"a{breaker}b"], tmp_path, repeats=1, name="x")
    assert read_folder(tmp_path, 16).examples[0].caption == "a b"


@pytest.mark.parametrize("name", ["../../up", "a/b", "a\\b", "a\0b", "ünï"])
def test_names_of_written_folders_stay_inside(tmp_path: Path, name: str):
    written = write_kohya_folder([EXAMPLE], ["a"], tmp_path / "out", repeats=1, name=name)
    assert written.parent == tmp_path / "out"
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
