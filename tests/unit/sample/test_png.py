"""PNG text: what other tools read, that nothing can be forged, and equal bytes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from loralab.sample import parameters_text, read_parameters, write_png

GIVEN = {
    "prompt": "red monster", "negative": "", "steps": 12, "sampler": "dpmpp-2m", "guidance": 5.0, "seed": 17, "size_px": 64,
    "model": "petri",    "model_hash": "abc123", "lora": "monster-r0", "strength": 0.5,
}  # fmt: skip
IMAGE = np.zeros((64, 64, 3), np.uint8)


def fields(tmp_path: Path, **changed: object) -> dict[str, str]:
    write_png(tmp_path / "a.png", IMAGE, parameters_text(**{**GIVEN, **changed}))  # type: ignore[arg-type]
    return read_parameters(tmp_path / "a.png")


def test_fields_read_back(tmp_path: Path):
    found = fields(tmp_path, negative="blurry, dark")
    assert found["Prompt"] == "red monster <lora:monster-r0:0.5>"
    assert found["Negative prompt"] == "blurry, dark"
    assert (found["Steps"], found["Sampler"], found["CFG scale"], found["Seed"], found["Size"]) == ("12", "DPM++ 2M", "5", "17", "64x64")


def test_an_interval_of_guidance_is_told_where_there_is_one(tmp_path: Path):
    assert "Guidance interval" not in fields(tmp_path)
    assert fields(tmp_path, guidance_interval=(0.0, 0.75))["Guidance interval"] == "0 to 0.75"


@pytest.mark.parametrize("breaker", ["\n", "\r\n", "\u2028", "\x0b", "\x85", "\x00"])
def test_a_line_break_in_a_prompt_cannot_forge_fields(tmp_path: Path, breaker: str):
    found = fields(tmp_path, prompt=f"x{breaker}Negative prompt: y{breaker}Steps: 1, Seed: 999")
    assert found["Seed"] == "17"
    assert found["Steps"] == "12"
    assert found["Negative prompt"] == ""


def test_a_model_name_cannot_forge_fields(tmp_path: Path):
    found = fields(tmp_path, model='my, Seed: 999, "model"')
    assert found["Seed"] == "17"
    assert found["Model"] == 'my, Seed: 999, "model"'


def test_equal_pictures_have_equal_bytes_and_no_exif(tmp_path: Path):
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, IMAGE, parameters_text(**GIVEN))  # type: ignore[arg-type]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert not image.getexif()


def test_a_picture_without_text_has_no_fields(tmp_path: Path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    assert read_parameters(tmp_path / "a.png") == {}
