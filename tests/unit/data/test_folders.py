"""People's folders: what is read, what is noted, and that all problems are reported together."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loralab.data import read_folder
from loralab.errors import LabError


def picture(mode: str = "RGB", size: tuple[int, int] = (80, 60), colour: object = "red") -> Image.Image:
    return Image.new("RGB", size, "red").convert(mode) if mode != "RGBA" else Image.new("RGBA", size, colour)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "10_my char").mkdir()
    picture().save(tmp_path / "10_my char" / "a.png")
    (tmp_path / "10_my char" / "a.txt").write_text("a red thing\nsecond line", encoding="utf-8")
    return tmp_path


def test_sidecars_class_tokens_and_repeats(folder: Path):
    picture().save(folder / "10_my char" / "b.jpg")
    contents = read_folder(folder, 64)
    assert [(example.caption, example.factors["repeats"]) for example in contents.examples] == [("a red thing", 10), ("my char", 10)]


def test_a_caption_file_of_kohyas_other_kind_is_read_too(folder: Path):
    picture().save(folder / "10_my char" / "b.png")
    (folder / "10_my char" / "b.caption").write_text("another", encoding="utf-8")
    assert read_folder(folder, 64).examples[1].caption == "another"


def test_a_folder_without_repeats_is_left_out_and_that_is_said(folder: Path):
    (folder / "extras").mkdir()
    picture().save(folder / "extras" / "c.png")
    contents = read_folder(folder, 64)
    assert len(contents.examples) == 1
    assert any("extras" in note for note in contents.notes)


def test_metadata_jsonl(tmp_path: Path):
    picture().save(tmp_path / "x.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "x.png", "text": "hello"}) + "\n", encoding="utf-8")
    assert [example.caption for example in read_folder(tmp_path, 64).examples] == ["hello"]


@pytest.mark.parametrize("mode", ["P", "L", "CMYK", "1"])
def test_unusual_modes_become_rgb(folder: Path, mode: str):
    suffix = "jpg" if mode == "CMYK" else "png"
    picture(mode).save(folder / "10_my char" / f"b.{suffix}")
    assert read_folder(folder, 64).examples[1].image.shape == (64, 64, 3)


def test_sixteen_bits_keep_their_brightness(folder: Path):
    Image.fromarray(np.full((80, 80), 32896, dtype=np.uint16)).save(folder / "10_my char" / "b.png")
    assert read_folder(folder, 64).examples[1].image[5, 5, 0] == 128


def test_alpha_is_laid_on_white(folder: Path):
    picture("RGBA", colour=(255, 0, 0, 0)).save(folder / "10_my char" / "b.png")
    assert tuple(read_folder(folder, 64).examples[1].image[5, 5]) == (255, 255, 255)


def test_exif_orientation_is_applied(folder: Path):
    upright = np.zeros((60, 60, 3), dtype=np.uint8)
    upright[:30] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # rotated by 180 degrees
    Image.fromarray(upright[::-1, ::-1].copy()).save(folder / "10_my char" / "b.png", exif=exif)
    image = read_folder(folder, 64).examples[1].image
    assert image[5, 5, 0] == 255
    assert image[-5, -5, 0] == 0


def test_every_problem_is_reported_at_once(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    inner = folder / "10_my char"
    (inner / "empty.png").write_bytes(b"")
    whole = folder / "whole.png"
    Image.effect_noise((200, 200), 50).save(whole)
    (inner / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (inner / "text.png").write_text("I am no picture", encoding="utf-8")
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    picture().save(outside)
    os.symlink(outside, inner / "link.png")
    picture().save(inner / "two.png")
    (inner / "two.txt").write_text("one thing", encoding="utf-8")
    (inner / "two.caption").write_text("another thing", encoding="utf-8")
    with pytest.raises(LabError) as caught:
        read_folder(folder, 64)
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    for name in ("empty.png", "cut.png", "text.png", "link.png", "two.png"):
        assert name in text


def test_a_picture_of_too_many_pixels_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("loralab.data.pictures.MAX_PIXELS", 1000)
    with pytest.raises(LabError, match="far too many pixels"):
        read_folder(folder, 64)


def test_a_wrong_ending_is_noted(folder: Path):
    picture().save(folder / "10_my char" / "b.png", format="JPEG")
    assert any("JPEG" in note for note in read_folder(folder, 64).notes)


def test_missing_and_empty_folders(tmp_path: Path):
    with pytest.raises(LabError, match="no folder at"):
        read_folder(tmp_path / "nowhere", 64)
    with pytest.raises(LabError, match="no pictures in"):
        read_folder(tmp_path, 64)
