"""No file of a data folder is passed over: each is a picture that is read, its caption, or listed with the reason why it is not used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from loralab.data import read_dataset, read_folder
from loralab.data.folders import FolderContents
from loralab.data.picture_formats import read_formats
from loralab.errors import LabError


def noise(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inner = tmp_path / "10_mychar"
    inner.mkdir()
    noise().save(inner / "a.png")
    (inner / "a.txt").write_text("mychar, a", encoding="utf-8")
    return inner


def read(folder: Path) -> FolderContents:
    return read_folder(folder, 16)


def why(folder: Path, name: str) -> str:
    """Return the reason why a file is not used; every file is either used or has one."""
    contents = read(folder)
    on_disk = {file for file in folder.rglob("*") if file.is_file()}
    assert on_disk == {each.path for each in contents.left_out} | {file for file in contents.used if file.is_relative_to(folder)}
    return next(each.why for each in contents.left_out if each.file == name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.gif", "neither sd-scripts nor loralab reads"),
        ("b.TIFF", "neither sd-scripts nor loralab reads"),
        ("b.jfif", "rename it to .jpg"),
        ("b.psd", "save it as PNG"),
        ("b.mp4", "a video"),
        ("a.npz", "cache"),
        ("a_te.safetensors", "cache"),
        ("metadata.csv", "tables"),
        ("meta_cap.json", "JSON"),
        ("other.jsonl", "the only list that is read is a metadata.jsonl"),
        ("set.toml", "dataset file"),
        ("set.zip", "extract it"),
        ("notes.md", "neither a picture nor a caption"),
        ("README", "neither a picture nor a caption"),
        ("Thumbs.db", "operating-system"),
        (".DS_Store", "hidden"),
        ("orphan.txt", "captions without a picture"),
        ("a.png.txt", "without its picture's extension (a.txt)"),
        ("deeper/b.png", "in a subfolder"),
        ("deeper/b.txt", "in a subfolder"),
    ],
)
def test_files_that_are_not_used_have_a_reason(folder: Path, name: str, reason: str):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    assert reason in why(folder, name)


def test_a_caption_whose_ending_is_in_capitals_is_named(folder: Path):
    noise(1).save(folder / "b.png")
    (folder / "b.TXT").write_text("mychar, from Windows", encoding="utf-8")
    assert "capitals" in why(folder, "b.TXT")
    assert read(folder).examples[1].caption == "mychar"  # the folder's name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("stray.png", "outside the folders"),
        ("stray.txt", "outside the folders"),
        ("extras/b.png", "does not start with a number"),
        ("0_never/b.png", "0 repeats"),
        ("10_mychar/deeper/b.png", "inside a folder of pictures"),
    ],
)
def test_files_of_a_root_that_are_not_used_have_a_reason(folder: Path, name: str, reason: str):
    file = folder.parent / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"x")
    assert reason in why(folder.parent, name)


def test_captions_beside_a_list_are_not_used_and_neither_are_pictures_that_it_leaves_out(folder: Path):
    noise(1).save(folder / "b.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "x"}), encoding="utf-8")
    assert why(folder, "a.txt") == "captions come from metadata.jsonl instead"
    assert why(folder, "b.png") == "pictures that are not listed in metadata.jsonl"


def test_what_one_subset_uses_is_not_left_out_by_another(folder: Path):
    root = folder.parent
    noise(1).save(root / "b.png")
    subset = '[[datasets.subsets]]\nimage_dir = "{}"\n'
    (root / "sets.toml").write_text("[[datasets]]\n" + subset.format(".") + subset.format("10_mychar"), encoding="utf-8")
    contents = read_dataset(root / "sets.toml", lambda _: lambda picture: picture)
    assert contents.left_out == ()
    (folder / "c.gif").write_bytes(b"x")
    assert [each.file for each in read_dataset(root / "sets.toml", lambda _: lambda picture: picture).left_out] == ["10_mychar/c.gif"]


def test_an_empty_folder_says_what_lies_there_instead(tmp_path: Path):
    (tmp_path / "a.gif").write_bytes(b"GIF")
    (tmp_path / "deep").mkdir()
    noise().save(tmp_path / "deep" / "b.png")
    with pytest.raises(LabError, match=r"neither sd-scripts nor loralab reads.*a.gif[\s\S]*contain pictures: deep"):
        read(tmp_path)


# --- pictures that Pillow or a plugin reads -----------------------------------------------------------------------------


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read_and_that_trainers_may_not_is_said(folder: Path):
    noise(1).save(folder / "b.avif", quality=100)
    contents = read(folder)
    assert len(contents.examples) == 2
    assert any("AVIF is read here" in note and "b.avif" in note for note in contents.notes)


@pytest.mark.parametrize(("ending", "module"), [(".heic", "pillow_heif"), (".jxl", "pillow_jxl")])
def test_heic_and_jxl_are_read_where_their_plugin_is_there(folder: Path, ending: str, module: str):
    pytest.importorskip(module)
    assert ending in read_formats()
    noise(1).resize((64, 64)).save(folder / f"b{ending}")
    contents = read(folder)
    assert [example.source for example in contents.examples] == ["a.png", f"b{ending}"]
    assert any("is read here" in note for note in contents.notes)


def test_without_a_plugin_the_picture_is_named_with_what_it_needs(folder: Path, monkeypatch: pytest.MonkeyPatch):
    for place in ("unused", "kohya_folders", "pictures", "folders"):
        monkeypatch.setattr(f"loralab.data.{place}.read_formats", lambda: {".png": "PNG"})
    (folder / "b.heic").write_bytes(b"x")
    assert "needs pillow-heif" in why(folder, "b.heic")


@pytest.mark.parametrize(("ending", "options"), [("webp", {}), ("png", {}), ("avif", {})])
def test_frames_behind_the_first_are_named(folder: Path, ending: str, options: dict[str, object]):
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    noise(1).save(folder / f"moving.{ending}", save_all=True, append_images=[noise(2), noise(3)], **options)
    assert f"only the first of 3 frames is read: moving.{ending}" in read(folder).notes


# --- texts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32"])
def test_sixteen_bit_texts_are_read_as_such_and_named(folder: Path, encoding: str):
    (folder / "a.txt").write_bytes("mychar, réd".encode(encoding))
    contents = read(folder)
    assert contents.examples[0].caption == "mychar, réd"
    assert any("text, read as such" in note and "a.txt" in note for note in contents.notes)


@pytest.mark.parametrize("content", [b"mychar\x00, red", b"\x00", b"\x00\x00\x00\x00", b"my\x00char, a red thing on a chair"])
def test_nuls_are_refused(folder: Path, content: bytes):
    (folder / "a.txt").write_bytes(content)
    with pytest.raises(LabError, match="NUL characters"):
        read(folder)


def test_a_byte_order_mark_is_left_out_and_named(folder: Path):
    (folder / "a.txt").write_text("mychar", encoding="utf-8-sig")
    contents = read(folder)
    assert contents.examples[0].caption == "mychar"
    assert any("byte order mark" in note for note in contents.notes)


@pytest.mark.parametrize("content", ["\nmychar", "  \nmychar\n", "\r\nmychar", "\rmychar"])
def test_a_caption_whose_first_line_is_empty_is_empty_as_in_kohya(folder: Path, content: str):
    (folder / "a.txt").write_bytes(content.encode())
    contents = read(folder)
    assert contents.examples[0].caption == ""
    assert any("the first line is empty" in note for note in contents.notes)


@pytest.mark.parametrize("content", ["mychar\n", "mychar\n\n  \n", "mychar\r\n", " mychar \n"])
def test_empty_lines_behind_the_caption_are_nothing(folder: Path, content: str):
    (folder / "a.txt").write_bytes(content.encode())
    assert (read(folder).examples[0].caption, read(folder).notes) == ("mychar", [])


# --- lists --------------------------------------------------------------------------------------------------------------


def listed(folder: Path, *records: object, inside: str = "") -> FolderContents:
    (folder / "a.txt").unlink(missing_ok=True)
    place = folder / inside
    place.mkdir(exist_ok=True)
    if inside:
        (folder / "a.png").rename(place / "a.png")
    (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return read(folder)


@pytest.mark.parametrize("key", ["text", "caption", "prompt", "captions"])
def test_captions_of_a_list_stand_under_several_keys(folder: Path, key: str):
    assert [example.caption for example in listed(folder, {"file_name": "a.png", key: "x"}).examples] == ["x"]


def test_of_several_captions_the_first_is_read_and_that_is_said(folder: Path):
    contents = listed(folder, {"file_name": "a.png", "text": ["x", "y"], "prompt": "z"})
    assert contents.examples[0].caption == "x"
    assert any("several captions" in note for note in contents.notes)
    assert any("text and prompt: only text is read" in note for note in contents.notes)


def test_the_training_split_is_read(folder: Path):
    contents = listed(folder, {"file_name": "a.png", "text": "x"}, inside="train")
    assert [(example.source, example.caption) for example in contents.examples] == [("train/a.png", "x")]
    (folder / "test").mkdir()
    (folder / "test" / "metadata.jsonl").write_text("", encoding="utf-8")
    assert "the only list that is read is a metadata.jsonl" in why(folder, "test/metadata.jsonl")


def test_a_list_from_windows_is_read(folder: Path):
    (folder / "train").mkdir()
    (folder / "a.png").rename(folder / "train" / "a.png")
    contents = listed(folder, {"file_name": "train\\a.png", "text": "x"})
    assert [example.source for example in contents.examples] == ["train/a.png"]
    assert any("backslashes" in note for note in contents.notes)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"file_name": "a.png"}, "no caption under text, caption, prompt or captions (keys found: file_name)"),
        ({"image": "a.png", "text": "x"}, "no file_name (keys found: image, text)"),
        ({"file_name": "a.png", "text": 3}, "text is neither a string nor a list of strings"),
        ({"file_name": "a.png", "text": "x\x00"}, "NUL characters"),
        ({"file_name": "a\x00.png", "text": "x"}, "no file_name"),
        ({"file_name": "a.png", "text": "\ud800"}, "incomplete characters"),
        ([1], "not a JSON object"),
    ],
)
def test_lines_that_say_too_little_are_named(folder: Path, record: object, says: str):
    with pytest.raises(LabError) as caught:
        listed(folder, {"file_name": "a.png", "text": "x"}, record)
    problem = caught.value.problems[0]
    assert (problem.where, says in problem.found) == ("metadata.jsonl, line 2", True), problem.found


def test_a_picture_that_is_listed_twice_is_refused(folder: Path):
    with pytest.raises(LabError, match="listed twice"):
        listed(folder, {"file_name": "a.png", "text": "x"}, {"file_name": "a.png", "text": "y"})


# --- names of folders ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "n"), [("2024_06_x", "2,024"), ("1024_x", "1,024"), ("20240612", "20,240,612")])
def test_numbers_that_are_hardly_repeats_are_named(folder: Path, name: str, n: str):
    folder = folder.rename(folder.with_name(name))
    if name == "20240612":
        with pytest.raises(LabError, match="20,240,612 repeats"):
            read(folder)
    else:
        assert any(f"shown {n} times per epoch" in note and name in note for note in read(folder).notes)


def test_zero_repeats_are_refused(folder: Path):
    with pytest.raises(LabError, match="'0_x' means 0 repeats"):
        read(folder.rename(folder.with_name("0_x")))
