"""What a check opens before it draws: training sets of every kind, and the trigger of each file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image

from loralab.checking.found import CheckedFile, Found
from loralab.checking.opening import find_triggers, training_set
from loralab.checking.request import CheckRequest
from loralab.errors import LabError


def write_pictures(folder: Path, n: int, caption: str) -> None:
    folder.mkdir(parents=True)
    for k in range(n):
        Image.fromarray(np.full((80, 96, 3), 40 * k, np.uint8)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(caption, encoding="utf-8")


def test_a_kohya_dataset_file_is_a_training_set_without_its_regularisation_pictures(tmp_path: Path):
    write_pictures(tmp_path / "own", 3, "zor, red")
    write_pictures(tmp_path / "reg", 2, "a thing")
    subsets = [("own", "false"), ("reg", "true")]
    text = "[[datasets]]\n" + "".join(f'[[datasets.subsets]]\nimage_dir = "{name}"\nis_reg = {is_reg}\n' for name, is_reg in subsets)
    (tmp_path / "set.toml").write_text(text, encoding="utf-8")
    examples, _ = training_set(tmp_path / "set.toml", 64)
    assert [example.caption for example in examples] == ["zor, red"] * 3
    assert {example.image.shape for example in examples} == {(64, 64, 3)}


def test_what_a_folder_holds_beside_its_pictures_is_noted(tmp_path: Path):
    write_pictures(tmp_path / "own", 2, "zor")
    (tmp_path / "own" / "movie.gif").write_bytes(b"GIF89a")
    examples, notes = training_set(tmp_path / "own", 64)
    assert len(examples) == 2
    assert any("movie.gif" in note for note in notes)


def files(*words: str) -> list[CheckedFile]:
    """Return files by label whose metadata say that all pictures carry a word."""
    told = {word: json.dumps({"10_x": {word: 9, "smile": 3}}) for word in words}
    sizes = json.dumps({"10_x": {"img_count": 9, "n_repeats": 10}})
    return [
        CheckedFile(Path(f"{word}.safetensors"), word, k, {"ss_tag_frequency": told[word], "ss_dataset_dirs": sizes} if word else {})
        for k, word in enumerate(words)
    ]


def words_of(request: CheckRequest, found: Found, *, needed: bool = True) -> list[str | None]:
    return [trigger.words if trigger else None for trigger in find_triggers(request, found, [], needed=needed)]


def test_different_loras_have_triggers_of_their_own_and_epochs_share_that_of_the_last():
    request = CheckRequest((Path("x"),))
    assert words_of(request, Found("files", files("anna", "berta"))) == ["anna", "berta"]
    assert words_of(request, Found("epochs", files("anna", "berta"))) == ["berta", "berta"]


def test_triggers_are_given_for_all_files_or_for_each():
    found = Found("files", files("anna", "berta"))
    assert words_of(CheckRequest((Path("x"),), trigger="zor"), found) == ["zor", "zor"]
    assert words_of(CheckRequest((Path("x"),), trigger=("one", "two")), found) == ["one", "two"]
    with pytest.raises(LabError, match="3 triggers for 2 files"):
        words_of(CheckRequest((Path("x"),), trigger=("one", "two", "three")), found)


def test_a_file_without_a_trigger_is_named_unless_prompts_are_given():
    found, request = Found("files", files("anna", "")), CheckRequest((Path("x"),))
    with pytest.raises(LabError, match="--trigger WORD"):
        words_of(request, found)
    assert words_of(request, found, needed=False) == ["anna", None]


def test_a_lora_on_two_bases_draws_two_pictures():
    """Pictures are found again by what drew them: the LoRA's weights and the base that it stood on."""
    from types import SimpleNamespace

    from loralab.checking.drawing import blocks_of
    from loralab.checking.opening import Checked, Variant
    from loralab.spec import BASE, AdapterSource, SampleSpec

    def refs(fingerprint: str, index: int | None) -> set[object]:
        files = [SimpleNamespace(label="x")]
        check = SimpleNamespace(
            base=SimpleNamespace(fingerprint=fingerprint), files=files, weights={"x": "w"}, sample=SampleSpec(),
            source=lambda which: BASE if which is None else AdapterSource("x", 0), prompts_of=lambda variant: ("a",),
            first_seed=lambda owner: 0,
        )  # fmt: skip
        return set(blocks_of(cast(Checked, check), Variant(index, 0), 0).values())

    assert len(refs("one", 0) | refs("other", 0) | refs("one", None) | refs("other", None)) == 4
    assert refs("one", 0) == refs("one", 0)
