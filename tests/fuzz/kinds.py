"""The kinds of strangers' input: each makes one from a seed in an empty folder and reads it as the lab does."""

from __future__ import annotations

import importlib.util
import json
import random
import struct
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import folders
import mutate

from loralab.adapters import load_adapter
from loralab.auditing import audit_dataset
from loralab.auditing.page import render_audit
from loralab.auditing.whole import shrink
from loralab.bases.checkpoint import configs_of, family_of, unwrapped
from loralab.bases.family import FAMILIES
from loralab.bases.header import read_header
from loralab.data import draw_caption, find_trigger, gather_dataset, guess_trigger, make_showings, make_training_pictures
from loralab.data.buckets import make_rule, resize_to_cover
from loralab.data.folders import Cut
from loralab.errors import LabError
from loralab.preflight import checked_study
from loralab.spec.datasets import SubsetSpec
from loralab.study.plan import make_plan

TESTS = Path(__file__).parents[1]
#: a folder is audited whole once in so many
AUDITED = 4


def data_folder(rng: random.Random, place: Path) -> bool:
    root = folders.make_folder(rng, place / "set")
    if rng.randrange(AUDITED) == 0:
        audit = audit_dataset(root)
        json.dumps(audit.to_json(), ensure_ascii=False).encode("utf-8")
        render_audit(audit).encode("utf-8")
        return not audit.problems
    contents = gather_dataset(root, _cut)
    "\n".join(contents.notes).encode("utf-8")
    guess_trigger([example.caption for example in contents.examples])
    return not contents.problems


def _cut(options: SubsetSpec) -> Cut:
    rule = make_rule(options.pictures(), 64, 8)
    return shrink if options.image_dir < "b" else lambda picture: resize_to_cover(picture, rule)


def dataset_file(rng: random.Random, place: Path) -> bool:
    contents = gather_dataset(
        folders.make_dataset_file(rng, place), lambda options: partial(resize_to_cover, rule=make_rule(options.pictures(), 64, 8))
    )
    captions = [example.caption for example in contents.examples]
    rules = [make_rule(subset.options.pictures(), 64, 8) for subset in contents.subsets]
    shown = make_training_pictures(contents.subsets, captions, rules)
    make_showings(shown)
    for picture in shown:
        for epoch in (1, 2):
            draw_caption(picture.caption, picture.options, epoch=epoch, seed=rng.randrange(1000)).encode("utf-8")
    return not contents.problems


STUDY = """
study: fuzzed
about: a study
base: petri
seed: 3
data:
  shapes: {generate: shapes, shapes: [circle, square], fill: [red, blue], background: white, size: 0.6}
  grids: {generate: grids, sizes: [2x2, 3x3], line: black}
  mine: {folder: mine, enable_bucket: true, keep_tokens: 1, trigger: zok}
  own: {images_of: base, prompts: [cat, house], guidance: 1}
train: {rank: 2, alpha: 2, lr: 1e-3, steps: 16, batch: 2, replicates: 3}
sample: {steps: 4, guidance: 3, seeds: 2, unrelated: [cat]}
presets:
  smoke: {train: {steps: 2, replicates: 1}, sample: {steps: 2, seeds: 1}, verdicts: false}
arms:
  one: {data: shapes, captions: "{fill} monster, white background"}
  two: {data: grids, captions: grid layout, train: {lr: 2e-3}, trigger: grid}
  three: {data: mine}
  placebo: {data: own, captions: "{prompt}", control: placebo}
  both: {stack: [{arm: one}, {arm: two, strength: 0.5}]}
experiments:
  first:
    question: Does it?
    claims:
      - {say: it does, measure: chroma, cell: one @ "red monster", expect: higher, margin_absolute: 5}
      - {say: more, measure: chroma, cell: one @ "(monster:1.2)", versus: two @ "grid layout", expect: higher, margin: 0.2}
    curves:
      - {say: more with more, measure: chroma, cell: one @ "red monster", over: strength, at: [0, 0.5, 1], expect: higher}
    show: [both @ "red monster"]
"""


#: short ones are read several times as fast, and a change in one more often leaves it whole
SHORT = (
    """
study: crossed
data: {grey: {generate: shapes, shapes: [circle], fill: grey, background: white}}
train: {rank: 2, steps: 8, replicates: 3, optimiser: lion, min_snr_gamma: 5, noise_offset: 0.05, schedule: cosine, warmup: 2}
sample: {steps: 4, seeds: 2, negative: "", sampler: euler, schedule: karras, clip_skip: 1}
arms: {grey: {data: grey, captions: myshape, factors: {rank: [2, 4], lr: [1e-3, 4e-3]}}}
experiments:
  dose: {question: what, claims: [{say: more, measure: chroma, cell: grey @ "myshape", expect: lower, effect: rank x lr, margin: 0.3}]}
""",
    """
study: two
seed: 7
load: {precision: fp32, side_by_side: false}
data:
  one: {folder: mine, shuffle_caption: true, keep_tokens: 1, caption_dropout_rate: 0.1}
  two: {generate: grids, sizes: [2x2], line: red}
arms:
  a: {data: one, trigger: zok, train: {text_encoder_lr: 1e-4, alpha: 1}}
  b: {data: two, captions: "a {cells} grid"}
experiments:
  e:
    question: q
    claims:
    - {say: s, measure: "hue[magenta]", cell: 'a @ "zok, cat", strength 0.8', versus: 'b @ "x", step 8', expect: higher, margin: 3}
""",
    """
study: words
data: {s: {generate: shapes, shapes: [star, hexagon], fill: [magenta, grey], outline: black, background: white, size: 0.5}}
sample: {seeds: 2, steps: 3}
presets: {quick: {train: {steps: 4}, alpha: 0.1, null_of: [x]}}
arms: {x: {data: s, captions: "{shape}, {fill}"}}
experiments:
  e:
    question: q
    claims: [{say: s, measure: "shape[hexagon]", cell: x @ "hexagon BREAK (black:1.2)", expect: higher, needs_trigger: true, anyway: true}]
    curves: [{say: c, measure: chroma, cell: x @ "star", over: step, at: [2, 4], more: {quick: [1]}, expect: higher, damage: change}]
""",
)


def study(rng: random.Random, place: Path) -> bool:
    (place / "mine").mkdir()
    folders._write(place / "mine" / "a.png", rng.choice(folders.pictures()))
    good = STUDY if rng.random() < 0.2 else rng.choice(SHORT)
    if rng.random() < 0.5:
        written = mutate.text(rng, good)
    else:
        written = json.dumps(mutate.tree(rng, _tree_of(good)), ensure_ascii=False)  # JSON is YAML
    file = place / "study.yaml"
    file.write_bytes(written.encode("utf-8", "surrogatepass"))
    loaded = checked_study(file, rng.choice((None, None, None, "smoke", "quick")))
    "\n".join(make_plan(loaded.spec).notes).encode("utf-8")
    return True


@cache
def _tree_of(text: str) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(text)


def metadata(rng: random.Random, _: Path) -> bool:
    names = {"10_zok": {"zok": 15, "red": 3}, "1_woman": {"woman": 200}}
    good = {
        "ss_tag_frequency": names, "ss_dataset_dirs": {"10_zok": {"n_repeats": 10, "img_count": 15}, "10_zok (2)": {"img_count": 3}},
        "ss_reg_dataset_dirs": {"1_woman": {"img_count": 200}}, "trained_words": ["zok", "1girl"],
        "ss_datasets": [{"subsets": [{"image_dir": "10_zok", "img_count": 15, "is_reg": False}]}],
    }  # fmt: skip
    kept = {key: mutate.tree(rng, value) for key, value in good.items() if rng.random() < 0.7}
    texts = {key: json.dumps(value) for key, value in kept.items()}
    texts = {key: mutate.text(rng, value) if rng.random() < 0.3 else value for key, value in texts.items()}
    find_trigger(None, [rng.choice(folders.WORDS) for _ in range(rng.randint(0, 4))], texts)
    return True


@cache
def _checkpoint() -> tuple[dict[str, object], int]:
    """Return the header of a small SD1 checkpoint, and how many bytes of tensors follow it."""
    import tempfile

    sys.path.insert(0, str(TESTS / "unit" / "bases"))
    import ldm

    with tempfile.TemporaryDirectory() as place:
        ldm.save_pair(Path(place), "sd1")
        content = (Path(place) / "sd1.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), len(content) - 8 - length


def checkpoint(rng: random.Random, place: Path) -> bool:
    header, n_bytes = _checkpoint()
    text = json.dumps(mutate.tree(rng, header) if rng.random() < 0.7 else header).encode("utf-8", "surrogatepass")
    text = mutate.data(rng, text) if rng.random() < 0.3 else text
    length = len(text) if rng.random() < 0.95 else rng.choice((0, 1, len(text) * 2, 1 << 40, (1 << 64) - 1))
    file = place / "model.safetensors"
    with file.open("wb") as out:
        out.write(struct.pack("<Q", length) + text)
        out.truncate(8 + len(text) + n_bytes)
    found, _ = unwrapped(read_header(file))
    family = family_of(file.name, found)
    FAMILIES[family].schedule_config(found)
    configs_of(file.name, found, family)
    return True


@cache
def _base() -> Any:
    """Return the base for which the LoRA files of the fixtures were written."""
    found = importlib.util.spec_from_file_location("adapters_conftest", TESTS / "unit" / "adapters" / "conftest.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.make_other_tools_base()


#: fixtures that are read as they are; of the others each refusal has its own reason
WHOLE = ("kohya-lora", "lycoris-loha-alpha", "diffusers-alpha", "lycoris-locon")


def adapter(rng: random.Random, place: Path) -> bool:
    files = sorted((TESTS / "fixtures" / "adapters").glob("*.safetensors"))
    chosen = rng.choice([file for file in files if file.stem in WHOLE] if rng.random() < 0.8 else files)
    content = bytearray(chosen.read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0]
    if rng.random() < 0.3:  # a changed number is a number
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(length, len(content))] = rng.randrange(256)
    else:
        content = bytearray(mutate.data(rng, bytes(content), length if rng.random() < 0.8 else None))
    (place / "a.safetensors").write_bytes(content)
    load_adapter(place / "a.safetensors", _base())
    return True


Kind = Callable[[random.Random, Path], bool]
#: kind -> what makes one input and reads it: True = read, False = read in part, LabError = refused; and its share of a long run
TABLE: Mapping[str, tuple[Kind, float]] = {
    "data folders": (data_folder, 0.2), "dataset files (TOML)": (dataset_file, 0.18), "studies (YAML)": (study, 0.05),
    "headers of checkpoints": (checkpoint, 0.12), "LoRA files": (adapter, 0.22), "metadata of LoRA files": (metadata, 0.23),
}  # fmt: skip


def outcome(kind: str, seed: int, place: Path) -> str:
    """Return what becomes of one input: read, read in part, or refused; whatever else is raised goes through."""
    make, _ = TABLE[kind]
    try:
        return "read" if make(random.Random(f"{kind} {seed}"), place) else "read in part"
    except LabError as error:
        text = str(error)
        text.encode("utf-8")
        if not error.problems or not all(problem.found for problem in error.problems):
            raise AssertionError(f"a refusal that says nothing: {error!r}") from error
        return "refused"
