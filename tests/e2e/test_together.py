"""LoRAs applied together, and arms on a base of their own: a whole study on a small random base and a sibling that draws otherwise."""

from __future__ import annotations

import json
import shutil
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from loralab.adapters import Adapter, load_adapter, make_adapter, save_adapter
from loralab.bases import embed_prompts, load_base
from loralab.engine.whole import run_study
from loralab.measure import measure_images
from loralab.sample import Batch, sample_batch
from loralab.spec import LoadSpec, SampleSpec, TrainSpec, load_study

STUDY = """
study: pair
base: own
load: {size_px: 64}
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
  red: {generate: shapes, shapes: [square], fill: red}
train: {rank: 2, lr: 5e-2, steps: 2, batch: 1, replicates: 3}
sample: {steps: 2, guidance: 2, seeds: 1}
arms:
  shape: {data: grey, captions: myshape}
  colour: {data: red, captions: myshape}
  both: {stack: [{arm: shape, strength: 0.8}, {arm: colour, strength: 0.5}, {adapters: style.safetensors, strength: -0.25}]}
  far: {data: grey, captions: myshape, base: sibling}
  moved: {stack: [{arm: shape}], base: sibling}
experiments:
  one:
    question: Anything?
    claims:
      - {say: together, measure: change, cell: both @ "myshape", versus: shape @ "myshape", expect: higher, margin_absolute: 1}
      - {say: far, measure: change, cell: far @ "myshape", expect: higher, margin_absolute: 1}
      - {say: moved, measure: copy_distance, cell: moved @ "myshape", versus: shape @ "myshape", expect: lower, margin_absolute: 0.01}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_base_folder: Path, dry_runs_known: None) -> Path:
    """Return a folder with a study that was carried out twice, the second time from the store alone."""
    folder = tmp_path_factory.mktemp("pair")
    shutil.copytree(tiny_base_folder, folder / "own")
    shutil.copytree(folder / "own", folder / "sibling")
    weights = next((folder / "sibling" / "unet").glob("*.safetensors"))
    tensors = load_file(weights)
    save_file({name: value * (0.5 if name == "conv_out.weight" else 1) for name, value in tensors.items()}, weights)
    style = make_adapter(load_base(str(folder / "own")), TrainSpec(rank=1), seed=5)
    weights_of_style = {path: (down, torch.full_like(up, 0.01)) for path, (down, up) in style.weights.items()}
    save_adapter(folder / "style.safetensors", Adapter(weights_of_style, 1.0, 1), metadata={})
    (folder / "pair.yaml").write_text(STUDY, encoding="utf-8")
    for _ in range(2):
        run_study(load_study(folder / "pair.yaml"), folder / "lab", lambda event: None)
    return folder


def readings(folder: Path, measure: str) -> pl.DataFrame:
    frame = pl.read_parquet(folder / "lab" / "studies" / "pair" / "readings.parquet")
    return frame.filter(pl.col("measure") == measure)


def delta(adapter, path: str) -> torch.Tensor:
    down, up = (factor.flatten(1).double() for factor in adapter.weights[path])
    return adapter.scale * up @ down


def test_the_file_of_an_arm_of_several_is_their_sum(made: Path):
    base, loras = load_base(str(made / "own")), made / "lab" / "studies" / "pair" / "loras"
    for r in range(3):
        sum_, shape, colour = (load_adapter(loras / f"{arm}-r{r}.safetensors", base) for arm in ("both", "shape", "colour"))
        style = load_adapter(made / "style.safetensors", base)  # one file, for all trainings
        for path in shape.weights:
            expected = 0.8 * delta(shape, path) + 0.5 * delta(colour, path) - 0.25 * delta(style, path)
            assert torch.allclose(delta(sum_, path), expected, atol=1e-6), path


def _change(picture: np.ndarray, beneath: np.ndarray) -> float | None:
    one, two = (image[None].astype(np.uint8) for image in (picture, beneath))
    return measure_images(one, ["change"], base_images=two)["change"][0].value


def test_each_arm_is_drawn_beside_its_own_base(made: Path):
    sibling, spec = load_base(str(made / "sibling"), LoadSpec(size_px=64)), SampleSpec(steps=2, guidance=2, seeds=1)
    embeddings = dict(zip(("myshape", ""), embed_prompts(sibling, ["myshape", ""]), strict=True))
    expected = sample_batch(sibling, Batch(((None, 0.0),), ((("myshape", 1),),)), {}, spec, embeddings)[0, 0]
    manifests = {
        path.parent: json.loads(path.read_text(encoding="utf-8")) for path in (made / "lab" / "store" / "images").glob("*/manifest.json")
    }
    drawn = {(told["arm"], told["replicate"]): path for path, told in manifests.items() if told["prompt"] == "myshape"}
    pictures = {key: np.asarray(Image.open(path / f"{key[1]:08d}.png")).astype(int) for key, path in drawn.items()}
    assert np.abs(pictures["base of far", 1] - expected).max() <= 1
    assert np.abs(pictures["base", 1] - expected).max() > 20
    changes = readings(made, "change").filter(pl.col("prompt") == "myshape")
    for arm, own, other in (("shape", "base", "base of far"), ("both", "base", "base of far"), ("far", "base of far", "base")):
        told = changes.filter((pl.col("arm") == arm) & (pl.col("replicate") == 1))["value"].item()
        near, far = (_change(pictures[arm, 1], pictures[base, 1]) for base in (own, other))
        assert told == pytest.approx(near)
        assert abs(told - far) > 0.1
    assert changes.filter(pl.col("arm").is_in(["base", "base of far"]))["value"].to_list() == [0.0] * 6


def test_a_lora_is_moved_to_another_base_unchanged(made: Path):
    base, loras = load_base(str(made / "own")), made / "lab" / "studies" / "pair" / "loras"
    moved, shape, far = (load_adapter(loras / f"{arm}-r0.safetensors", base) for arm in ("moved", "shape", "far"))
    assert all(torch.allclose(delta(moved, path), delta(shape, path), atol=1e-8) for path in shape.weights)
    assert not all(torch.allclose(delta(far, path), delta(shape, path), atol=1e-8) for path in shape.weights)


def test_verdicts_and_report_name_the_bases_and_nothing_is_made_twice(made: Path):
    folder = made / "lab" / "studies" / "pair"
    told = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    assert [verdict["versus"] for verdict in told["verdicts"]] == ['shape @ "myshape"', 'base of far @ "myshape"', 'shape @ "myshape"']
    assert told["version"] == 1
    page = unescape((folder / "report" / "index.html").read_text(encoding="utf-8"))
    assert "applied together: shape at strength 0.8; colour at strength 0.5; style.safetensors at strength -0.25" in page
    assert "base of far: sibling" in page
    assert "LoRA at strength 0 must give the base's picture" in page
    assert "for 5 of 5 LoRAs" in page
    keys = [path.name for path in (made / "lab" / "store" / "adapters").iterdir()]
    assert len(keys) == 4 * 3 + 1 + 3  # shape, colour, both, far; the file; moved
