"""Adapter files made to harm: each ends in one LabError, with little memory taken and nothing but plain text on the terminal."""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from safetensors.torch import save_file

from loralab.adapters import Adapter, load_adapter, save_adapter
from loralab.adapters.header import MAX_HEADER_BYTES
from loralab.bases import Base
from loralab.errors import LabError

pytestmark = pytest.mark.usefixtures("one_thread")
FIXTURES = Path(__file__).parents[2] / "fixtures" / "adapters"
KEY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
UP, DOWN, ALPHA = f"{KEY}.lora_up.weight", f"{KEY}.lora_down.weight", f"{KEY}.alpha"


def error(path: Path, base: Base) -> str:
    with pytest.raises(LabError) as raised:
        load_adapter(path, base)
    assert raised.value.kind == "model"
    text = str(raised.value)
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text) < 2_000
    return text


def write(path: Path, header: object, data: bytes = b"") -> Path:
    """Write a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """The tensors of a small good file."""
    return {UP: torch.ones(8, 2), DOWN: torch.ones(2, 8), ALPHA: torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("alpha", "says"),
    [(1e30, "alpha of 1e+30"), (0.0, "alpha of 0"), (-1.0, "alpha of -1"), (float("nan"), "NaN"), (float("inf"), "NaN or infinity")],
)
def test_alphas(tmp_path, other_tools_base, tensors, alpha, says):
    save_file(tensors | {ALPHA: torch.tensor(alpha)}, tmp_path / "a.safetensors")
    assert says in error(tmp_path / "a.safetensors", other_tools_base)


@pytest.mark.parametrize("kind", ["up", "down", "loha"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e30])
def test_values(tmp_path, other_tools_base, tensors, kind, value):
    if kind == "loha":
        tensors = {f"{KEY}.hada_w{i}_{side}": torch.ones((8, 2) if side == "a" else (2, 8)) for i in (1, 2) for side in "ab"}
    chosen = {"up": UP, "down": DOWN, "loha": f"{KEY}.hada_w2_a"}[kind]
    tensors[chosen][0, 0] = value
    save_file(tensors, tmp_path / "a.safetensors")
    assert ("NaN or infinity" if value != 1e30 else "would change the weights by up to") in error(
        tmp_path / "a.safetensors", other_tools_base
    )


@pytest.mark.parametrize(
    ("up", "down"), [((8, 9), (8, 9)), ((8, 0), (0, 8)), ((8, 100_000), (100_000, 9)), ((4, 2), (2, 8)), ((16,), (16,)), ((), ())]
)
def test_ranks_and_shapes(tmp_path, other_tools_base, up, down):
    save_file({UP: torch.zeros(up), DOWN: torch.zeros(down)}, tmp_path / "a.safetensors")
    assert any(word in error(tmp_path / "a.safetensors", other_tools_base) for word in ("has a rank", "another base"))


@pytest.mark.parametrize("shape", [(), (3,), (8, 9), (9, 8)])
def test_shapes_of_a_loha(tmp_path, other_tools_base, shape):
    w = {f"{KEY}.hada_w{i}_{side}": torch.ones((8, 2) if side == "a" else (2, 8)) for i in (1, 2) for side in "ab"}
    for role in list(w):
        save_file(w | {role: torch.ones(shape)}, tmp_path / "a.safetensors")
        assert any(word in error(tmp_path / "a.safetensors", other_tools_base) for word in ("has a rank", "another base"))


def entry(shape: list, start: int, stop: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


HEADERS = {
    "a giant shape": ({UP: entry([1 << 40, 1 << 40], 0, 8)}, "beyond the end of the file"),
    "a shape of 1000 sides": ({UP: entry([1] * 1000, 0, 4)}, "at most 6"),
    "a number of 5000 digits": (b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,8]}}', "cannot be read"),
    "numbers of 4000 digits": (b'{"a":{"dtype":"F32","shape":[' + b"9" * 4000 + b'],"data_offsets":[0,8]}}', "beyond the end of the file"),
    "NaN as an offset": (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,NaN]}}', "cannot be read"),
    "a fraction as an offset": ({UP: entry([2], 0, 8.0)}, "whole numbers"),
    "offsets behind the end": ({UP: entry([4], 0, 16)}, "beyond the end of the file"),
    "offsets the wrong way round": ({UP: entry([0], 8, 0)}, "beyond the end of the file"),
    "overlapping tensors": ({UP: entry([2], 0, 8), DOWN: entry([1], 4, 8)}, "overlap"),
    "a hole": ({UP: entry([1], 0, 4)}, "leave gaps"),
    "an unaligned tensor": ({DOWN: entry([1], 0, 2, "F16"), UP: entry([1], 2, 6), ALPHA: entry([1], 6, 8, "F16")}, "middle of a number"),
    "a key twice": (b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":3}', "twice"),
    "metadata that is no text": ({"__metadata__": {"a": 1}, UP: entry([2], 0, 8)}, "must be text"),
    "half a character": (b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "cannot be read"),
    "another encoding": ('{"a":1}'.encode("utf-16"), "cannot be read"),
    "no mapping for a tensor": ({UP: 3}, "cannot be read"),
    "an unknown type": ({UP: entry([2], 0, 8, "F8_\x1b[31m")}, "stored as F8_?[31m"),
    "deep nesting": (b'{"a":' * 200_000, "cannot be read"),
    "control characters in a name": ({"\x1b]0;owned\x07\n<script>": entry([2], 0, 8)}, "?]0;owned??<script>"),
    "an endless name": ({"x" * 100_000: entry([2], 0, 8)}, "match nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_headers(tmp_path, other_tools_base, name):
    header, says = HEADERS[name]
    assert says in error(write(tmp_path / "a.safetensors", header, bytes(8)), other_tools_base)


def test_lengths_of_headers(tmp_path, other_tools_base):
    good = (FIXTURES / "lycoris-lokr.safetensors").read_bytes()
    for name, content in {
        "empty": b"", "seven bytes": good[:7], "a length alone": good[:8], "a truncated header": good[:200], "a length of 0": bytes(100),
        "a length beyond the file": struct.pack("<Q", len(good)) + good[8:], "the longest length": b"\xff" * 8 + good[8:],
        "a pickle": b"\x80\x04}\x94.", "a zip of pickles": b"PK\x03\x04" + bytes(200),
    }.items():  # fmt: skip
        (tmp_path / "a.safetensors").write_bytes(content)
        assert any(
            word in error(tmp_path / "a.safetensors", other_tools_base) for word in ("not a complete safetensors file", "is a pickle")
        ), name


def test_a_header_beyond_the_limit_is_not_read(tmp_path, other_tools_base):
    with (tmp_path / "a.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 1 << 30))
        file.truncate(2 << 30)  # a sparse file: 2 GiB that take no room on the disk
    tracemalloc.start()
    try:
        assert "header would be 1073741824 bytes" in error(tmp_path / "a.safetensors", other_tools_base)
        assert tracemalloc.get_traced_memory()[1] < MAX_HEADER_BYTES / 8
    finally:
        tracemalloc.stop()


def test_a_large_file_that_does_not_fit_is_refused_before_its_data_are_read(tmp_path, other_tools_base):
    side = 1 << 14
    header = {UP: entry([side, side], 0, 4 * side**2), DOWN: entry([side, side], 4 * side**2, 8 * side**2)}
    path = write(tmp_path / "a.safetensors", header)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 8 * side**2)  # 2 GiB, sparse
    tracemalloc.start()
    try:
        assert f"has down [{side}, {side}]" in error(path, other_tools_base)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_budget_counts_what_will_be_allocated(tmp_path, other_tools_base, monkeypatch):
    name = "lycoris-loha.safetensors"
    # the LoRA of rank r1 * r2: more bytes than the file holds for the convolutions
    expected = sum(4 * (down.numel() + up.numel()) for down, up in load_adapter(FIXTURES / name, other_tools_base).weights.values())
    monkeypatch.setattr("loralab.adapters.files.BUDGET_BYTES", expected)
    load_adapter(FIXTURES / name, other_tools_base)
    monkeypatch.setattr("loralab.adapters.files.BUDGET_BYTES", expected - 1)
    monkeypatch.setattr("loralab.adapters.header._read_tensor", lambda *_: pytest.fail("a tensor was read"))
    assert "would take" in error(FIXTURES / name, other_tools_base)


def test_places_that_are_no_file(tmp_path, other_tools_base):
    good = FIXTURES / "lycoris-loha-alpha.safetensors"
    (tmp_path / "folder.safetensors").mkdir()
    assert "is a folder" in error(tmp_path / "folder.safetensors", other_tools_base)
    assert "no LoRA file" in error(tmp_path / "nowhere.safetensors", other_tools_base)
    if sys.platform != "win32":
        (tmp_path / "link.safetensors").symlink_to(good)
        (tmp_path / "broken.safetensors").symlink_to(tmp_path / "nowhere")
        os.mkfifo(tmp_path / "pipe.safetensors")
        assert "is a link" in error(tmp_path / "link.safetensors", other_tools_base)
        assert "is a link" in error(tmp_path / "broken.safetensors", other_tools_base)
        assert "no LoRA file" in error(tmp_path / "pipe.safetensors", other_tools_base)
    assert "no LoRA file" in error(tmp_path / "\x1b[31m\nred.safetensors", other_tools_base)
    with pytest.raises(LabError):
        load_adapter(tmp_path / "zero\0byte", other_tools_base)


def test_html_in_metadata_stays_text(tmp_path, other_tools_base, tensors):
    html = {"ss_output_name": "<script>alert(1)</script>", "</script>": '"><img src=x onerror=alert(1)>'}
    save_file(tensors, tmp_path / "a.safetensors", metadata=html)
    adapter = load_adapter(tmp_path / "a.safetensors", other_tools_base)
    assert dict(adapter.metadata) == html
    save_adapter(tmp_path / "b.safetensors", adapter, metadata=adapter.metadata)
    assert dict(load_adapter(tmp_path / "b.safetensors", other_tools_base).metadata).items() >= html.items()


# --- fuzzing: whatever the bytes, an adapter or a LabError ------------------------------------------------------------------------

N_BYTES, N_HEADERS, N_MUTATIONS = 100, 200, 250
COUNTS: Counter[str] = Counter()
FUZZ = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def outcome(kind: str, path: Path, base: Base) -> None:
    """Load a file and count what came of it; whatever is no LabError fails the test."""
    try:
        found: Adapter | LabError = load_adapter(path, base)
    except LabError as raised:
        found = raised
    if isinstance(found, LabError):
        COUNTS[f"{kind} refused"] += 1
        assert str(found).replace("\n", "").isprintable()
    else:
        COUNTS[f"{kind} read"] += 1
        assert all(torch.isfinite(factor).all() for pair in found.weights.values() for factor in pair)


@settings(max_examples=N_BYTES, **FUZZ)
@given(body=st.binary(max_size=400), length=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_any_bytes(tmp_path, other_tools_base, body, length):
    prefix = b"" if length is None else struct.pack("<Q", length if length > 400 else min(length, len(body)))
    (tmp_path / "a.safetensors").write_bytes(prefix + body)
    outcome("bytes", tmp_path / "a.safetensors", other_tools_base)


NAMES = st.one_of(
    st.sampled_from([UP, DOWN, ALPHA, f"{KEY}.hada_w1_a", "base_model.model.conv_in.lora_A.weight", "unet.conv_in.lora_B.weight"]),
    st.text(),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)
ENTRIES = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {
            "dtype": st.one_of(st.sampled_from(["F32", "F16", "BF16"]), VALUES),
            "shape": st.one_of(st.lists(st.integers(-1, 9), max_size=4), VALUES),
            "data_offsets": st.one_of(st.lists(st.integers(-1, 65), min_size=2, max_size=2), VALUES),
        }
    ),
)


@settings(max_examples=N_HEADERS, **FUZZ)
@given(
    header=st.one_of(st.dictionaries(st.one_of(NAMES, st.just("__metadata__")), ENTRIES, max_size=4), VALUES), data=st.binary(max_size=64)
)
def test_any_header(tmp_path, other_tools_base, header, data):
    outcome("headers", write(tmp_path / "a.safetensors", header, data), other_tools_base)


GOOD = [FIXTURES / f"{name}.safetensors" for name in ("kohya-lora", "lycoris-loha-alpha", "diffusers-alpha", "lycoris-lokr")]


@settings(max_examples=N_MUTATIONS, **FUZZ)
@given(
    source=st.sampled_from(GOOD), places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6), value=st.integers(0, 255),
    how=st.sampled_from(["set", "cut", "insert", "repeat"]), in_header=st.booleans(),
)  # fmt: skip
def test_good_files_with_changed_bytes(tmp_path, other_tools_base, source, places, value, how, in_header):
    content = bytearray(source.read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0]
    for place in places:
        at = int(place * (length if in_header else len(content)))
        match how:
            case "set":
                content[at : at + 1] = bytes([value])
            case "cut":
                del content[at : at + value]
            case "insert":
                content[at:at] = bytes([value])
            case "repeat":
                content[at:at] = content[at : at + value]
    (tmp_path / "a.safetensors").write_bytes(content)
    outcome("changed files", tmp_path / "a.safetensors", other_tools_base)


def test_the_fuzzing_above_met_as_many_inputs_as_it_says():
    """550 inputs; of the changed files some are read, because a changed number is a number."""
    if not COUNTS:
        pytest.skip("the fuzzing tests did not run in this process")
    assert sum(COUNTS.values()) >= N_BYTES + N_HEADERS + N_MUTATIONS == 550
    assert COUNTS["bytes read"] == 0
    assert COUNTS["changed files read"] > 0
    assert COUNTS["changed files refused"] > COUNTS["changed files read"]
