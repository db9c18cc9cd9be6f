"""The article's smoke study on Ray: on several nodes, with a node removed, a process killed, the driver killed and started again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loralab.engine.whole import run_study
from loralab.spec.load import Loaded, load_study, shipped_file
from loralab.work import ray as on_ray

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own


def make_cluster(nodes: int) -> Any:
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (its name); by default its processes give way to all others on the machine
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(nodes - 1):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    return made


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    made = make_cluster(nodes)
    try:
        yield made
    finally:
        on_ray.leave()
        made.shutdown()


@pytest.fixture
def three() -> Iterator[Any]:
    with cluster(3) as made:
        yield made


def smoke() -> Loaded:
    file = shipped_file("article")
    assert file is not None
    return load_study(file, "smoke")


def readings(lab: Path) -> pl.DataFrame:
    frame = pl.read_parquet(lab / "studies" / "article" / "readings.parquet")
    return frame.sort([name for name in frame.columns if name not in ("value", "status", "reason")])


def same(one: pl.DataFrame, other: pl.DataFrame, tolerance: float) -> None:
    """Every picture was read by both, and continuous readings lie within a share of their range of each other, nearly all of them."""
    places = ["arm", "prompt", "replicate", "seed", "strength", "step", "measure", "is_base"]
    assert one.select(places).equals(other.select(places))
    both = one.with_columns(theirs=other["value"]).filter(pl.col("value").is_not_null() & pl.col("theirs").is_not_null())
    moved = both.with_columns(moved=(pl.col("value") - pl.col("theirs")).abs() / (1 + pl.col("value").abs()))
    assert moved.filter(pl.col("moved") > tolerance).height <= moved.height // 50


def hashes(lab: Path) -> dict[str, str]:
    store = lab / "store"
    files = [file for kind in ("adapters", "images", "readings") for file in (store / kind).rglob("*") if file.is_file()]
    return {file.relative_to(store).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_on_one_and_on_three_nodes_the_study_reads_as_at_home(tmp_path: Path) -> None:
    run_study(smoke(), tmp_path / "home", lambda event: None)
    for nodes in (1, 3):
        with cluster(nodes) as made:
            run_study(smoke(), tmp_path / str(nodes), lambda event: None, on=f"ray://{made.address}")
        same(readings(tmp_path / "home"), readings(tmp_path / str(nodes)), 0.05)


def test_a_lost_node_and_a_killed_process_change_no_byte(tmp_path: Path, three) -> None:
    """Five places at first, so that the groups are the same; in the second run two go with their node, and a process is killed."""
    extra = three.add_node(num_cpus=2)
    three.wait_for_nodes()
    run_study(smoke(), tmp_path / "whole", lambda event: None, on=f"ray://{three.address}")
    on_ray.leave()
    seen: list[str] = []
    killed: list[int] = []

    def break_things(event) -> None:
        seen.append(event.stage)
        if len(seen) >= 6 and not killed:
            killed.extend(kill_a_worker())
        if len(seen) == 12:
            three.remove_node(extra)

    run_study(smoke(), tmp_path / "broken", break_things, on=f"ray://{three.address}")
    assert len(seen) > 12
    assert killed
    assert hashes(tmp_path / "broken") == hashes(tmp_path / "whole")
    assert not list((tmp_path / "broken" / "store" / "unfinished").glob("*"))


def kill_a_worker() -> list[int]:
    """Kill a process that carries out a group just now, if there is one; returns its number."""
    import psutil

    busy = [p for p in psutil.process_iter(["name", "cmdline"]) if any("_carry_out" in part for part in p.info["cmdline"] or ())]
    for process in busy[:1]:
        process.send_signal(signal.SIGKILL)
    return [process.pid for process in busy[:1]]


def test_a_killed_driver_goes_on_and_makes_nothing_twice(tmp_path: Path, three) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "loralab", "demo", "--smoke", "--lab", str(tmp_path), "--on", f"ray://{three.address}"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list((tmp_path / "store" / "images").glob("*"))) >= 2, first)
    first.kill()
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("manifest.json")}
    assert before
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["study"] == "article"
    assert {path: path.stat().st_mtime_ns for path in before} == before


def wait_for(told: Callable[[], bool], process: subprocess.Popen, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not told():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.2)
