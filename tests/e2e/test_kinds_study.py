"""A study whose arms train other kinds of adapters: each is trained, drawn at several strengths, told in its file, and found again."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
from safetensors import safe_open

from loralab.engine.whole import run_study
from loralab.spec import load_study

ARMS = {
    "dora": "{dora: true}", "loha": "{algo: loha}", "lokr": "{algo: lokr, lokr_factor: 4}", "ia3": "{algo: ia3, lr: 0.3}",
    "pissa": "{start: pissa}", "blocks": "{block_ranks: {down: 1, up: 4}, block_lrs: {mid: 0}, rank_dropout: 0.2, scale_weight_norms: 1}",
}  # fmt: skip
CLAIM = """      - {say: NAME, measure: change, cell: 'NAME @ "myshape"', expect: higher, margin_absolute: 1}\n"""
SHOWN = """      - 'NAME @ "myshape", strength 0.3'\n"""
STUDY = f"""
study: kinds
base: petri
data: {{grey: {{generate: shapes, shapes: [circle, square], fill: grey}}}}
train: {{rank: 2, lr: 5e-2, steps: 2, batch: 1, replicates: 2}}
sample: {{steps: 2, guidance: 2, seeds: 1}}
arms:
{"".join(f"  {name}: {{data: grey, captions: myshape, train: {train}}}" + chr(10) for name, train in ARMS.items())}
experiments:
  one:
    question: Does every kind change pictures, the more the stronger?
    claims:
{"".join(CLAIM.replace("NAME", name) for name in ARMS)}
    show:
{"".join(SHOWN.replace("NAME", name) for name in ARMS)}
"""
MODULES = {"dora": "lycoris.kohya", "loha": "lycoris.kohya", "lokr": "lycoris.kohya", "ia3": "lycoris.kohya"}
ARGUMENTS = {
    "dora": {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"}, "loha": {"algo": "loha"}, "lokr": {"algo": "lokr", "factor": "4"},
    "ia3": {"algo": "ia3"}, "pissa": {}, "blocks": {"rank_dropout": "0.2", "mid_lr_weight": "0"},
}  # fmt: skip


def test_every_kind_is_trained_drawn_told_and_found_again(tmp_path: Path):
    (tmp_path / "kinds.yaml").write_text(STUDY, encoding="utf-8")
    outcome = run_study(load_study(tmp_path / "kinds.yaml"), tmp_path / "lab", lambda event: None)
    assert not outcome.failures
    store, folder = tmp_path / "lab" / "store" / "adapters", tmp_path / "lab" / "studies" / "kinds"
    made = {path.parent.name: path.stat().st_mtime_ns for path in store.glob("*/manifest.json")}
    assert len(made) == 2 * len(ARMS)
    readings = pl.read_parquet(folder / "readings.parquet").filter((pl.col("measure") == "change") & ~pl.col("is_base"))
    for name in ARMS:
        own = readings.filter(pl.col("arm") == name)
        changes = {strength: own.filter(pl.col("strength") == strength)["value"].mean() for strength in (0.3, 1.0)}
        assert 0 < changes[0.3] < changes[1.0], (name, changes)
        with safe_open(folder / "loras" / f"{name}-r0.safetensors", "pt") as file:
            metadata = file.metadata()
        assert metadata["ss_network_module"] == MODULES.get(name, "networks.lora")
        assert ARGUMENTS[name].items() <= json.loads(metadata["ss_network_args"]).items()
        assert metadata.get("loralab.train.start") == ("pissa" if name == "pissa" else None)
    run_study(load_study(tmp_path / "kinds.yaml"), tmp_path / "lab", lambda event: None)
    assert {path.parent.name: path.stat().st_mtime_ns for path in store.glob("*/manifest.json")} == made
