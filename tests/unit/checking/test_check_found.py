"""Which files a check is about and what they are to one another: found, put in order, labelled; nothing here needs a base."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from loralab.checking.found import Found, find_files
from loralab.errors import LabError
from loralab.spec.elsewhere import adapter_files, expand

#: what sd-scripts writes about a recipe, by hand
RECIPE = {
    "ss_learning_rate": "0.0001", "ss_network_dim": "16", "ss_network_alpha": "8", "ss_network_module": "networks.lora",
    "ss_max_train_steps": "1000", "ss_output_name": "mychar", "ss_dataset_dirs": json.dumps({"10_my": {"n_repeats": 10, "img_count": 9}}),
}  # fmt: skip


def write_lora(path: Path, rank: int = 4, **metadata: str) -> Path:
    """Write a safetensors file of one small tensor and metadata."""
    entry = {"dtype": "F32", "shape": [rank, 1], "data_offsets": [0, 4 * rank]}
    text = json.dumps({"__metadata__": metadata, "a": entry}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4 * rank))
    return path


def write_all(folder: Path, files: Mapping[str, Mapping[str, str]]) -> Found:
    """Write files by name with their metadata, in that order, and return how they are found."""
    for name, metadata in files.items():
        write_lora(folder / f"{name}.safetensors", **metadata)
    return find_files([folder])


def labels(found: Found) -> list[str]:
    return [file.label for file in found.files]


def stems(found: Found) -> list[str]:
    return [file.path.stem for file in found.files]


# --- order --------------------------------------------------------------------------------------------------------------


def test_epochs_follow_their_steps_and_the_last_one_has_no_ending(tmp_path: Path):
    told = {name: {"ss_steps": n, "ss_epoch": str(int(n) // 10), "ss_seed": "5"} for name, n in (("a-000008", "80"), ("a", "100"))}
    found = write_all(tmp_path, {**told, "a-000002": {"ss_steps": "20", "ss_epoch": "2", "ss_seed": "5"}})
    assert (found.role, labels(found), [file.at for file in found.files]) == ("epochs", ["epoch 2", "epoch 8", "epoch 10"], [20, 80, 100])


@pytest.mark.parametrize(
    ("names", "in_order"),
    [
        (["a", "a-000010", "a-000009"], ["a-000009", "a-000010", "a"]),  # kohya
        (["char_v2", "char_v2-000010", "char_v2-000009"], ["char_v2-000009", "char_v2-000010", "char_v2"]),
        (["a", "a-step00000500", "a-step00010000"], ["a-step00000500", "a-step00010000", "a"]),
        (["c_v2", "c_v2_000001000", "c_v2_000000500"], ["c_v2_000000500", "c_v2_000001000", "c_v2"]),  # ai-toolkit
        (["a-save-1000-20-0", "a-save-500-10-0", "a"], ["a-save-500-10-0", "a-save-1000-20-0", "a"]),  # OneTrainer
        (
            ["2026-01-02_03-04-05-save-900-9-0", "2026-01-02_02-59-01-save-1000-10-0"],
            ["2026-01-02_03-04-05-save-900-9-0", "2026-01-02_02-59-01-save-1000-10-0"],
        ),
        (["checkpoint-1000/pytorch_lora_weights", "checkpoint-500/pytorch_lora_weights"], ["500", "1000"]),  # diffusers
        (["epoch10/adapter_model", "epoch9/adapter_model"], ["9", "10"]),  # diffusion-pipe
        (["l_1000_steps_00001_", "l_500_steps_00001_"], ["l_500_steps_00001_", "l_1000_steps_00001_"]),  # ComfyUI
        (["x_e10", "x_e9"], ["x_e9", "x_e10"]),
        (["x-last", "x-000010", "x-000009"], ["x-000009", "x-000010", "x-last"]),
        (["x_final", "x_000001000", "x_000000500"], ["x_000000500", "x_000001000", "x_final"]),
        (["x-epoch10-step900", "x-epoch9-step1000"], ["x-epoch10-step900", "x-epoch9-step1000"]),
        (["step_200", "step_1000"], ["step_200", "step_1000"]),
    ],
)
def test_the_names_that_trainers_give_are_in_the_order_of_training(tmp_path: Path, names: list[str], in_order: list[str]):
    found = write_all(tmp_path, {name: {} for name in names})
    told = (
        stems(found)
        if "/" not in names[0]
        else [file.path.parent.name.removeprefix("checkpoint-").removeprefix("epoch") for file in found.files]
    )
    assert (found.role, told) == ("epochs", in_order)
    assert len(set(labels(found))) == len(names)


@pytest.mark.parametrize(
    "names",
    [
        ["001000/pytorch_lora_weights", "000500/pytorch_lora_weights"],  # finetrainers
        ["2026-01-02_03-04-05-backup-1000-20-0/lora/lora", "2026-01-02_02-04-05-backup-500-10-0/lora/lora"],  # OneTrainer's backups
        ["global_step1000/adapter_model", "global_step500/adapter_model"],
    ],
)
def test_folders_of_moments_are_in_the_order_of_training(tmp_path: Path, names: list[str]):
    found = write_all(tmp_path, {name: {} for name in names})
    assert (found.role, labels(found)) == ("epochs", ["step 500", "step 1000"])


def test_the_whole_training_ends_a_tree_of_checkpoints(tmp_path: Path):
    found = write_all(tmp_path, {f"{folder}pytorch_lora_weights": {} for folder in ("", "checkpoint-500/", "checkpoint-1000/")})
    assert (found.role, labels(found)) == ("epochs", ["step 500", "step 1000", "the last"])
    assert [file.at for file in found.files] == [500, 1000, None]


def test_ai_toolkit_tells_steps_in_its_metadata(tmp_path: Path):
    info = {"c_v2": 750, "c_v2_000000250": 250, "c_v2_000000500": 500}
    found = write_all(tmp_path, {name: {"training_info": json.dumps({"step": n, "epoch": 1})} for name, n in info.items()})
    assert labels(found) == ["step 250", "step 500", "step 750"]


def test_a_resumed_training_goes_on_where_its_first_part_ended(tmp_path: Path):
    parts = {"x-000005": ("100.5", "500"), "x": ("100.5", "1000"), "y-000005": ("900.25", "500"), "y": ("900.25", "700")}
    told = {name: {**RECIPE, "ss_seed": "7", "ss_training_started_at": at, "ss_steps": n} for name, (at, n) in reversed(parts.items())}
    found = write_all(tmp_path, told)
    assert (found.role, stems(found)) == ("epochs", ["x-000005", "x", "y-000005", "y"])
    assert [file.at for file in found.files] == [500, 1000, 1500, 1700]
    assert labels(found)[2] == "part 2, step 500"
    assert "resumed" in found.notes[0]


def test_a_resumed_training_that_counts_on_is_not_added_up(tmp_path: Path):
    told = {name: {"ss_training_started_at": at, "ss_steps": n} for name, at, n in (("x-000001", "1.0", "500"), ("x", "2.0", "800"))}
    assert [file.at for file in write_all(tmp_path, told).files] == [500, 800]


@pytest.mark.parametrize(
    "files",
    [
        {"first": {}, "second": {}},
        {"mychar_v1": {}, "mychar_v2": {}},  # versions are trainings of their own
        {"x-240601": {}, "x-240715": {}},  # dates
        {"x-000002": {"ss_steps": "100"}, "x-000001": {"ss_steps": "200"}},  # names and metadata contradict one another
        {"a/x-000001": {}, "b/x-000001": {}},
    ],
)
def test_an_order_that_cannot_be_known_is_said_and_asked_for(tmp_path: Path, files: dict[str, dict[str, str]]):
    found = write_all(tmp_path, files)
    assert found.role == "files"
    assert any("--order" in note for note in found.notes)


def test_the_users_order_holds(tmp_path: Path):
    paths = [write_lora(tmp_path / f"{name}.safetensors") for name in ("one", "two", "three")]
    named = find_files([tmp_path], "two,one.safetensors, three")
    assert (named.role, stems(named)) == ("epochs", ["two", "one", "three"])
    assert stems(find_files(paths, "given")) == ["one", "two", "three"]


@pytest.mark.parametrize(("order", "said"), [("one", "leaves out two"), ("one,two,one", "twice"), ("one,four", "'four' is none")])
def test_an_order_that_does_not_fit_the_files_is_refused(tmp_path: Path, order: str, said: str):
    for name in ("one", "two"):
        write_lora(tmp_path / f"{name}.safetensors")
    with pytest.raises(LabError, match=said):
        find_files([tmp_path], order)


def test_the_labs_own_checkpoints_end_with_the_whole_training(tmp_path: Path):
    own = {"loralab.key": "k", "loralab.replicate": "0", "ss_max_train_steps": "64"}
    found = write_all(tmp_path, {"arm-r0": own, **{f"arm-r0-step{n}": {**own, "ss_steps": n} for n in ("8", "16")}})
    assert (found.role, labels(found)) == ("epochs", ["step 8", "step 16", "step 64"])


# --- what files are to one another --------------------------------------------------------------------------------------


def test_files_of_one_recipe_and_different_seeds_are_seeds(tmp_path: Path):
    found = write_all(tmp_path, {f"x{seed}": {"ss_seed": str(seed)} for seed in (11, 7, 3)})
    assert (found.role, labels(found)) == ("seeds", ["seed 3", "seed 7", "seed 11"])
    whole = write_all(tmp_path / "whole", {f"try {seed}": {**RECIPE, "ss_seed": str(seed)} for seed in (5, 6)})
    assert whole.role == "seeds"


def test_the_labs_own_replicates_are_seeds_and_its_arms_are_not(tmp_path: Path):
    own = {"loralab.key": "k", "loralab.study": "s", "ss_seed": "0", "ss_max_train_steps": "8"}
    told = {f"red-r{r}": {**own, "loralab.arm": "red", "loralab.replicate": str(r), "ss_output_name": f"red-r{r}"} for r in range(3)}
    assert write_all(tmp_path / "one", told).role == "seeds"
    assert (
        write_all(tmp_path / "two", {**told, "blue-r3": {**told["red-r0"], "loralab.arm": "blue", "loralab.replicate": "3"}}).role
        == "files"
    )


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("ss_learning_rate", "0.0004", "learning rate"),
        ("ss_network_dim", "32", "rank"),
        ("ss_network_alpha", "16", "alpha"),
        ("ss_network_module", "lycoris.kohya", "network"),
        ("ss_max_train_steps", "2000", "steps requested"),
        ("ss_dataset_dirs", json.dumps({"10_her": {"n_repeats": 10, "img_count": 9}}), "data"),
        ("ss_tag_frequency", json.dumps({"10_my": {"her": 9}}), "tags"),
    ],
)
def test_a_recipe_that_differs_makes_files_side_by_side(tmp_path: Path, field: str, value: str, word: str):
    whole = {**RECIPE, "ss_tag_frequency": json.dumps({"10_my": {"mychar": 9}})}
    found = write_all(tmp_path, {"x1": {**whole, "ss_seed": "1"}, "x2": {**whole, "ss_seed": "2", field: value}})
    assert (found.role, list(found.differences)) == ("files", [word])


@pytest.mark.parametrize(
    ("key", "one", "other", "word"),
    [
        ("ss_network_dropout", "0.1", "0", "network dropout"),
        ("ss_prior_loss_weight", "1.0", "0.5", "prior loss weight"),
        ("ss_loss_type", "l2", "huber", "loss type"),
        ("ss_shuffle_caption", "True", "False", "shuffle caption"),
        ("loralab.train.ema_decay", "0.9", "0.99", "ema decay"),
        ("ss_datasets", *(json.dumps([{"subsets": [{"image_dir": "my", "keep_tokens": n}]}]) for n in (0, 1)), "keep tokens"),
    ],
)
def test_every_setting_that_differs_makes_another_recipe(tmp_path: Path, key: str, one: str, other: str, word: str):
    files = {"a": RECIPE | {"ss_seed": "1", key: one}, "b": RECIPE | {"ss_seed": "2", key: other}}
    found = write_all(tmp_path, files)
    assert (found.role, list(found.differences)) == ("files", [word])


def test_what_changes_from_training_to_training_makes_no_other_recipe(tmp_path: Path):
    told = {
        "ss_training_comment": "{}",
        "ss_session_id": "{}",
        "ss_training_started_at": "17{}.5",
        "ss_bucket_info": "{}",
        "ss_lowram": "{}",
    }
    files = {n: RECIPE | {"ss_seed": n} | {key: value.format(n) for key, value in told.items()} for n in ("1", "2")}
    assert write_all(tmp_path, files).role == "seeds"


def test_another_output_name_is_another_recipe(tmp_path: Path):
    told = {"x1": {**RECIPE, "ss_seed": "1"}, "x2": {**RECIPE, "ss_seed": "2", "ss_output_name": "anna"}}
    assert write_all(tmp_path, told).role == "files"


def test_numbers_are_compared_as_numbers(tmp_path: Path):
    told = {"x1": {**RECIPE, "ss_seed": "1"}, "x2": {**RECIPE, "ss_seed": "2", "ss_learning_rate": "1e-4"}}
    assert write_all(tmp_path, told).role == "seeds"


def test_a_recipe_that_one_file_keeps_to_itself_is_not_taken_for_the_same(tmp_path: Path):
    told = {"x1": {**RECIPE, "ss_seed": "1"}, "x2": {"ss_seed": "2", "ss_output_name": "mychar"}}
    assert write_all(tmp_path, told).role == "files"


def test_tensors_of_other_shapes_are_another_recipe(tmp_path: Path):
    for seed, rank in ((1, 4), (2, 8)):
        write_lora(tmp_path / f"x-seed{seed}.safetensors", rank)
    assert find_files([tmp_path]).role == "files"


def test_several_epochs_of_several_seeds_stand_side_by_side(tmp_path: Path):
    found = write_all(tmp_path, {name: {"ss_seed": seed} for name, seed in (("a", "1"), ("b", "1"), ("c", "2"))})
    assert (found.role, labels(found)) == ("files", ["a", "b", "c"])


def test_two_files_of_one_name_have_labels_of_their_own(tmp_path: Path):
    for folder, rank in (("anna", 4), ("berta", 8)):
        write_lora(tmp_path / folder / "pytorch_lora_weights.safetensors", rank)
        write_lora(tmp_path / folder / "deep" / "x.safetensors", rank)
    same = find_files([tmp_path / "anna", tmp_path / "berta"])
    assert (same.role, labels(same)) == ("files", ["anna", "berta"])
    deeper = find_files([tmp_path / "anna" / "deep", tmp_path / "berta" / "deep"])
    assert labels(deeper) == ["anna/deep/x", "berta/deep/x"]


def test_names_that_differ_in_their_ending_alone_are_numbered(tmp_path: Path):
    write_lora(tmp_path / "x.safetensors")
    write_lora(tmp_path / "x.SAFETENSORS", 8)
    if len(list(tmp_path.iterdir())) == 2:  # the disk tells capitals apart
        assert len(set(labels(find_files([tmp_path])))) == 2


# --- finding ------------------------------------------------------------------------------------------------------------


def test_hidden_and_broken_files_of_a_folder_are_passed_over_with_a_note(tmp_path: Path):
    write_lora(tmp_path / "x.safetensors")
    write_lora(tmp_path / "y.SAFETENSORS")
    (tmp_path / "._x.safetensors").write_bytes(bytes.fromhex("00051607") + bytes(4080))
    (tmp_path / "broken.safetensors").write_bytes(b"half a download")
    (tmp_path / "notes.txt").write_text("not a LoRA", encoding="utf-8")
    found = find_files([tmp_path])
    assert stems(found) == ["x", "y"]
    assert sum("._x.safetensors" in note for note in found.notes) == 1
    assert sum("broken.safetensors" in note for note in found.notes) == 1


def test_a_broken_file_that_was_named_is_an_error(tmp_path: Path):
    good, bad = write_lora(tmp_path / "x.safetensors"), tmp_path / "broken.safetensors"
    bad.write_bytes(b"half a download")
    with pytest.raises(LabError, match="broken"):
        find_files([good, bad])


def test_links_are_followed_where_they_are_named_and_refused_where_they_leave_a_folder(tmp_path: Path):
    blob = write_lora(tmp_path / "blobs" / "0a1b2c")
    (tmp_path / "snapshots").mkdir()
    link = tmp_path / "snapshots" / "lora.safetensors"
    link.symlink_to("../blobs/0a1b2c")
    assert stems(find_files([link])) == ["lora"]
    assert adapter_files("snapshots/lora.safetensors", tmp_path) == [link]
    assert adapter_files("blobs/0a1b2c", tmp_path) == [blob]
    with pytest.raises(LabError, match="link that leads out"):
        find_files([tmp_path / "snapshots"])
    with pytest.raises(ValueError, match="give the link itself"):
        adapter_files("snapshots/*.safetensors", tmp_path)


def test_a_link_beside_its_target_is_one_file(tmp_path: Path):
    write_lora(tmp_path / "x.safetensors")
    (tmp_path / "latest.safetensors").symlink_to("x.safetensors")
    found = find_files([tmp_path])
    assert len(found.files) == 1
    assert "the same file (a link)" in found.notes[0]


def test_folders_that_were_not_looked_into_are_named(tmp_path: Path):
    for name in ("x", "old/y", "old/z"):
        write_lora(tmp_path / f"{name}.safetensors")
    found = find_files([tmp_path])
    assert stems(found) == ["x"]
    assert found.notes == ("The folder old contains 2 files more, not checked here; give that folder to check them.",)


@pytest.mark.parametrize("folder", ["LoRA [v1] (final)", "a*b", "what?", "a b", "[x]", "~home"])
def test_a_path_is_first_read_letter_by_letter_then_as_a_pattern(tmp_path: Path, folder: str):
    for n in (10, 9):
        write_lora(tmp_path / folder / f"seed{n}.safetensors")
    whole = tmp_path / folder
    assert stems(find_files([whole / "seed9.safetensors"])) == ["seed9"]
    assert [path.name for path in expand(f"{folder}/seed*.safetensors", tmp_path)] == ["seed9.safetensors", "seed10.safetensors"]
    assert len(find_files([whole / "*.safetensors"]).files) == 2
    assert [path.name for path in adapter_files(f"{folder}/seed9.safetensors", tmp_path)] == ["seed9.safetensors"]


def test_the_home_of_the_user_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_lora(tmp_path / "x.safetensors")
    assert stems(find_files([Path("~/x.safetensors")])) == ["x"]
    assert [path.name for path in adapter_files("~/*.safetensors", Path("elsewhere"))] == ["x.safetensors"]


@pytest.mark.parametrize("what", ["missing", "empty folder", "pickle", "no such pattern"])
def test_files_that_cannot_be_checked_are_named(tmp_path: Path, what: str):
    path = tmp_path / "x.safetensors"
    if what == "pickle":
        path.write_bytes(b"PK\x03\x04" + bytes(100))
    said = {"missing": "no file or folder", "empty folder": "no .safetensors", "pickle": "pickle", "no such pattern": "no file or folder"}
    where = {"empty folder": tmp_path, "no such pattern": tmp_path / "*.safetensors"}
    with pytest.raises(LabError, match=said[what]):
        find_files([where.get(what, path)])
