"""Whole data sets: roots of kohya folders, kohya dataset files, and what is refused in them by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from loralab.data import read_dataset
from loralab.data.buckets import make_rule, resize_to_cover
from loralab.data.dataset import load_dataset_file, unique_names
from loralab.data.folders import Cut
from loralab.errors import LabError
from loralab.spec.datasets import PictureSpec, SubsetSpec

TOML = """
[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 1
color_aug = false

[[datasets]]
resolution = 512
batch_size = 4
enable_bucket = true
keep_tokens = 2

  [[datasets.subsets]]
  image_dir = "mine"
  num_repeats = 10
  keep_tokens = 3

  [[datasets.subsets]]
  is_reg = true
  image_dir = "reg"
  class_tokens = "person"
"""


def as_it_is(_: SubsetSpec) -> Cut:
    return lambda picture: picture


def save(file: Path, caption: str | None = None, size: tuple[int, int] = (20, 10)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(file)
    if caption is not None:
        file.with_suffix(".txt").write_text(caption, encoding="utf-8")


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    save(tmp_path / "mine" / "a.png", "one, two")
    save(tmp_path / "reg" / "b.png")
    (tmp_path / "sets.toml").write_text(TOML, encoding="utf-8")
    return tmp_path / "sets.toml"


def problems_of(file: Path, text: str) -> list[str]:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LabError) as caught:
        load_dataset_file(file)
    assert caught.value.kind == "data"
    return [str(problem) for problem in caught.value.problems]


def test_options_go_from_general_to_dataset_to_subset(toml: Path):
    mine, reg = load_dataset_file(toml)
    assert (mine.keep_tokens, mine.shuffle_caption, mine.resolution, mine.num_repeats, mine.is_reg) == (3, True, 512, 10, False)
    assert (reg.keep_tokens, reg.enable_bucket, reg.num_repeats, reg.is_reg, reg.class_tokens) == (2, True, 1, True, "person")


def test_the_subsets_are_read_with_captions_and_sizes(toml: Path):
    mine, reg = read_dataset(toml, as_it_is).subsets
    assert [(example.caption, example.image.shape) for example in mine.examples] == [("one, two", (10, 20, 3))]
    assert [example.caption for example in reg.examples] == ["person"]


def test_every_unknown_or_unsupported_key_is_named_at_once(toml: Path):
    text = TOML.replace("color_aug = false", "color_aug = true").replace("num_repeats = 10", "num_repeat = 10") + "[more]\n"
    found = problems_of(toml, text)
    assert any("unknown key 'num_repeat'" in each and "did you mean num_repeats?" in each and "[[subsets]] 1" in each for each in found)
    assert any("color_aug = True is not supported" in each and "[general]" in each for each in found)
    assert any("unknown key 'more'" in each for each in found)


@pytest.mark.parametrize("text", ["= 3", "[[datasets]]\nresolution = 64", "datasets = 3", "[[datasets]]\nsubsets = [1]"])
def test_files_that_are_none_are_refused(toml: Path, text: str):
    assert problems_of(toml, text)


@pytest.mark.parametrize(
    "line", ["num_repeats = 0", "caption_dropout_rate = 1.5", "resolution = 'big'", "min_bucket_reso = 512\nmax_bucket_reso = 256"]
)
def test_values_out_of_range_are_refused(toml: Path, line: str):
    assert problems_of(toml, f'[[datasets]]\n[[datasets.subsets]]\nimage_dir = "mine"\n{line}\n')


def test_the_problems_of_all_subsets_are_reported_together(toml: Path):
    (toml.parent / "mine" / "broken.png").write_bytes(b"")
    (toml.parent / "reg" / "cut.png").write_bytes(b"no picture")
    with pytest.raises(LabError) as caught:
        read_dataset(toml, as_it_is)
    assert [problem.where for problem in caught.value.problems] == ["mine/broken.png", "reg/cut.png"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["alice/images", "bob/images"], ["alice/images", "bob/images"]),
        (["alice/images", "bob/pictures"], ["images", "pictures"]),
        (["images", "bob/images"], ["images", "bob/images"]),
        (["a/x/images", "a/y/images", "b/y/images", "other"], ["x/images", "a/y/images", "b/y/images", "other"]),
        (["a/images", "a/images/", "./a/images"], ["a/images", "a/images (2)", "a/images (3)"]),
        ([r"C:\alice\images", r"D:\bob\images"], ["alice/images", "bob/images"]),
        (["alice/Images", "bob/images"], ["alice/Images", "bob/images"]),  # one folder where a file system folds case
        (["x", "x", "x (2)"], ["x", "x (3)", "x (2)"]),
        ([".", "/"], [".", "/"]),
        ([], []),
    ],
)
def test_no_two_sets_share_a_name(paths: list[str], names: list[str]):
    assert unique_names(paths) == names


def test_folders_of_one_name_are_two_subsets_with_their_own_repeats_and_files(tmp_path: Path):
    for who in ("alice", "bob"):
        save(tmp_path / who / "images" / "0.png", who)
    subset = '[[datasets.subsets]]\nimage_dir = "{0}/images"\nnum_repeats = {1}\n'
    (tmp_path / "sets.toml").write_text("[[datasets]]\n" + subset.format("alice", 1) + subset.format("bob", 20), encoding="utf-8")
    subsets = read_dataset(tmp_path / "sets.toml", as_it_is).subsets
    assert [(each.name, each.options.num_repeats, each.examples[0].source, each.examples[0].caption) for each in subsets] == [
        ("alice/images", 1, "alice/images/0.png", "alice"),
        ("bob/images", 20, "bob/images/0.png", "bob"),
    ]


def test_pictures_of_a_root_and_of_a_folder_with_the_roots_name_are_two_subsets(tmp_path: Path):
    root = tmp_path / "images"
    save(root / "a.png")
    save(root / "images" / "b.png")
    lines = ['{"file_name": "a.png", "text": "x"}', '{"file_name": "images/b.png", "text": "y"}']
    (root / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    subsets = read_dataset(root, as_it_is).subsets
    assert [(each.name, [example.caption for example in each.examples]) for each in subsets] == [("images", ["x"]), ("images (2)", ["y"])]


def test_a_root_of_several_folders_is_several_subsets(tmp_path: Path):
    save(tmp_path / "10_one" / "a.png", "x")
    save(tmp_path / "2_two" / "b.png")
    contents = read_dataset(tmp_path, as_it_is)
    assert [(subset.name, subset.options.num_repeats, len(subset.examples)) for subset in contents.subsets] == [
        ("10_one", 10, 1),
        ("2_two", 2, 1),
    ]


def test_pictures_that_share_a_name_and_captions_without_a_picture(tmp_path: Path):
    save(tmp_path / "a.png", "x")
    (tmp_path / "orphan.txt").write_text("y", encoding="utf-8")
    (tmp_path / "a.txt").write_text("", encoding="utf-8")
    notes = read_dataset(tmp_path, as_it_is).notes
    assert "skipped: captions without a picture: orphan.txt" in notes
    assert "an empty caption: the picture is shown without words: a.png" in notes
    save(tmp_path / "a.jpg")
    with pytest.raises(LabError, match=r"a\.jpg and a\.png differ only in their extension"):
        read_dataset(tmp_path, as_it_is)


def test_masks_are_read_and_missing_or_misfitting_ones_are_all_reported(tmp_path: Path):
    (tmp_path / "s.toml").write_text(
        '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "in"\nconditioning_data_dir = "masks"\n', encoding="utf-8"
    )
    for name in ("a", "b", "c"):
        save(tmp_path / "in" / f"{name}.png", "x")
    (tmp_path / "masks").mkdir()
    Image.new("L", (20, 10), 128).save(tmp_path / "masks" / "a.png")
    Image.new("L", (5, 5), 128).save(tmp_path / "masks" / "b.png")
    with pytest.raises(LabError) as caught:
        read_dataset(tmp_path / "s.toml", as_it_is)
    assert [(problem.where, problem.found) for problem in caught.value.problems] == [
        ("in/b.png", "a mask of 5 x 5 px"),
        ("in/c.png", "0 masks"),
    ]
    for name in ("b", "c"):
        Image.new("L", (20, 10), 128).save(tmp_path / "masks" / f"{name}.png")
    masks = [example.mask for example in read_dataset(tmp_path / "s.toml", as_it_is).examples]
    assert [(mask.shape, int(mask[0, 0])) for mask in masks if mask is not None] == [((10, 20), 128)] * 3


def test_alpha_is_a_mask_where_it_is_asked_for(tmp_path: Path):
    (tmp_path / "s.toml").write_text('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "in"\nalpha_mask = true\n', encoding="utf-8")
    (tmp_path / "in").mkdir()
    Image.new("RGBA", (8, 8), (255, 0, 0, 64)).save(tmp_path / "in" / "a.png")
    save(tmp_path / "in" / "b.png")
    first, second = (example.mask for example in read_dataset(tmp_path / "s.toml", as_it_is).examples)
    assert first is not None
    assert int(first[0, 0]) == 64
    assert second is None


# --- paths and endings --------------------------------------------------------------------------------------------------


def subset_problem(file: Path, *lines: str) -> str:
    return "\n".join(problems_of(file, "[[datasets]]\n[[datasets.subsets]]\n" + "\n".join(lines)))


@pytest.mark.parametrize("ending", ["txt", ".", "..", "./x", "txt.", ".a b", "." + "x" * 50])
def test_endings_that_are_none_are_refused(toml: Path, ending: str):
    assert "is not a file extension; write it with its dot, such as .txt" in subset_problem(
        toml, 'image_dir = "mine"', f'caption_extension = "{ending}"'
    )


@pytest.mark.parametrize("path", [r"C:\Users\me\pics", r"D:\train\new", r"pics\new", r"a\0"])
def test_backslashes_of_windows_are_explained(toml: Path, path: str):
    assert "put the path in single quotes" in subset_problem(toml, f'image_dir = "{path}"')


@pytest.mark.parametrize("quoted", [r"'mine\inner'", r'"mine\\inner"'])
def test_a_path_from_windows_beside_the_file_is_read(toml: Path, quoted: str):
    save(toml.parent / "mine" / "inner" / "c.png", "x")
    toml.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = {quoted}\n", encoding="utf-8")
    assert [example.caption for example in read_dataset(toml, as_it_is).examples] == ["x"]


@pytest.mark.skipif(os.name == "nt", reason="there it is a path on this machine")
@pytest.mark.parametrize("path", [r"'C:\Users\me'", "'D:/pics'", r"'\\server\share\pics'"])
def test_a_path_of_another_machine_is_named(toml: Path, path: str):
    toml.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = {path}\n", encoding="utf-8")
    with pytest.raises(LabError, match="is a Windows path"):
        read_dataset(toml, as_it_is)


def test_a_thread_is_not_enlarged_beyond_what_a_picture_may_have():
    rule = make_rule(PictureSpec(), 1024, 8)
    with pytest.raises(LabError, match="1 x 1500 px would be enlarged to 1024 x 1536000 px"):
        resize_to_cover(Image.new("RGB", (1, 1500)), rule)
