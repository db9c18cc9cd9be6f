"""Examines this machine and this installation: a lab folder in, a flat table of facts out."""

from __future__ import annotations

import os
import platform
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from loralab import __version__
from loralab.portable import busy_cores, memory_bytes
from loralab.store import Store

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "diffusers", "transformers", "safetensors", "numpy", "polars")


def examine(lab: Path) -> dict[str, str]:
    """Return what this machine has, whether the lab can be written, and how long the embedded base takes to load and draw."""
    facts = {"loralab": __version__, "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    facts |= {name: version(name) for name in PACKAGES}
    facts["cores"] = str(os.cpu_count())
    facts["memory"] = f"{memory_bytes() / 2**30:.1f} GiB"
    facts["busy cores"] = f"{busy_cores():.1f}"
    facts |= _lab_facts(lab)
    return facts | _base_facts()


def examine_places(lab: Path, on: str) -> dict[str, str]:
    """Return what the Ray cluster at ``on`` has, node by node, and whether each node sees the lab and has what this machine has."""
    from loralab.work import ray

    ours = ray.join(ray.address_of(on))
    try:
        cluster = ray.examine_cluster()
        facts = {"nodes": str(cluster.nodes), "places": f"{cluster.processors} processor cores, {cluster.devices} CUDA devices"}
        here = {"loralab": __version__, "torch": version("torch"), "python": platform.python_version()}
        for number, row in enumerate(ray.examine_nodes(lab), start=1):
            other = [f"{name} {row[name]} (here {value})" for name, value in here.items() if row[name] != value]
            told = f"{row['machine']}, {row['cores']} cores, sees the lab: {row['sees the lab']}"
            facts[f"node {number}, {row['address']}"] = told + (f"; differs: {', '.join(other)}" if other else "")
        return facts
    finally:
        if ours:
            ray.leave()


def _lab_facts(lab: Path) -> dict[str, str]:
    store = Store(lab / "store")
    free = shutil.disk_usage(lab).free / 2**30
    held = ", ".join(f"{len(store.keys(kind))} {kind}" for kind in store.kinds()) or "empty"
    return {"lab": str(lab), "lab contains": held, "free disk space": f"{free:.1f} GiB"}


def _base_facts() -> dict[str, str]:
    import torch

    from loralab.bases import embed_prompts, load_base
    from loralab.bases.load import device_names
    from loralab.sample import ImageBlock, plan_batches, sample_batch
    from loralab.spec import SampleSpec

    before = time.perf_counter()
    base = load_base("petri")
    loaded = time.perf_counter()
    recipe = SampleSpec(steps=4, seeds=1)
    embeddings = dict(zip(["red circle", ""], embed_prompts(base, ["red circle", ""]), strict=True))
    for batch in plan_batches([ImageBlock(None, "red circle", 0.0, (0,))], 1):
        sample_batch(base, batch, {}, recipe, embeddings)
    drawn = time.perf_counter()
    return {
        "threads": str(torch.get_num_threads()),
        "accelerators": ", ".join(map(_device_words, device_names())) or "none that this torch can use",
        "bfloat16 arithmetic": _bfloat16_words(),
        "petri": base.fingerprint[:12],
        "petri loads in": f"{loaded - before:.2f} s",
        "petri draws (4 steps) in": f"{drawn - loaded:.2f} s",
    }


def _device_words(name: str) -> str:
    """Return a device's name for `load.device` and what it is called."""
    import torch

    names = {"cuda": torch.cuda.get_device_name, "xpu": torch.xpu.get_device_name}
    kind = name.partition(":")[0]
    return f"{name} ({names[kind](torch.device(name))})" if kind in names else name


def _bfloat16_words() -> str:
    """Say how fast matrix products of this processor are in bfloat16 against float32."""
    import torch

    seconds = {dtype: _product_seconds(torch.ones(1024, 1024, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)}
    ratio = seconds[torch.float32] / seconds[torch.bfloat16]
    return f"{ratio:.1f} times as fast as float32" + (": `--precision bf16` is worth trying" if ratio > 1.5 else "")


def _product_seconds(square: torch.Tensor, rounds: int = 5) -> float:
    """Return the seconds of the fastest of several products of a matrix with itself; the first sets up and does not count."""
    square @ square
    found = []
    for _ in range(rounds):
        before = time.perf_counter()
        square @ square
        found.append(time.perf_counter() - before)
    return min(found)
