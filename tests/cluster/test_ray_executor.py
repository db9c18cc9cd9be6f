"""The executor on Ray, on a cluster of several nodes in one machine, with stages of a few lines: made, carried, lost, given up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loralab.errors import LabError, lab_error
from loralab.store import Ref, Store
from loralab.work import ray as on_ray
from loralab.work.events import StageClock
from loralab.work.execute import execute
from loralab.work.place import Place
from loralab.work.ray import MOST_BEGINNINGS, RayExecutor, address_of, examine_cluster, examine_nodes
from loralab.work.task import Group, Made, Progress, Task, Work

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 (its name); by default its processes give way to all others on the machine
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1, num_gpus=1)
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    on_ray.join(made.address)
    yield made
    on_ray._ray().shutdown()
    made.shutdown()


def make_texts(work: Work, place: Place) -> Iterator[Progress | Made]:
    """Each task's text is its own and those of its inputs, in order; a task may ask for a kill, an error or a pause."""
    for number, task in enumerate(work.tasks):
        if task.ref not in work.wanted:
            continue
        given = "".join((work.folders[ref] / "text").read_text(encoding="utf-8") for ref in task.inputs)
        _obey(task.spec, work)
        folder = work.folder(task.ref)
        (folder / "text").write_text(given + task.spec["say"], encoding="utf-8")
        yield Made(task.ref, {"by": os.getpid(), "failed": None})
        yield Progress(number + 1, len(work.tasks))


def _obey(spec: dict, work: Work) -> None:
    time.sleep(spec.get("seconds", 0.0))
    if spec.get("meets"):  # nobody goes on before all three have come
        (Path(spec["meets"]) / spec["mine"]).write_text("", encoding="utf-8")
        end = time.monotonic() + 80
        while len(list(Path(spec["meets"]).iterdir())) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(list(Path(spec["meets"]).iterdir())) == 3
    if spec.get("error"):
        raise lab_error("data", "found", "expected", "do")
    marker = spec.get("killed_at")
    if marker and (marker == "always" or not Path(marker).exists()):
        if marker != "always":
            Path(marker).write_text("", encoding="utf-8")
        (work.scratch / "half").mkdir(exist_ok=True)
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def executor(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayExecutor]:
    made = RayExecutor({}, tmp_path / "lab", run_stage=make_texts)
    yield made
    made.close()


def group(name: str, *says: str, inputs: tuple[Ref, ...] = (), stage: str = "texts", **more) -> Group:
    tasks = tuple(Task(Ref("texts", f"{name}{n}"), {"say": say, **more}, inputs) for n, say in enumerate(says))
    return Group(stage, name, tasks, word="made", weight=len(says))


def run(groups: list[Group], folder: Path, executor: RayExecutor) -> Store:
    store = Store(folder / "lab" / "store")
    for _ in execute(groups, store, executor, StageClock()):
        pass
    return store


def text(store: Store, key: str) -> str:
    return (store.path("texts", key) / "text").read_text(encoding="utf-8")


def test_groups_are_made_when_their_inputs_are_there(executor: RayExecutor, tmp_path: Path) -> None:
    first, second = group("a", "x", "y"), group("b", "z", inputs=(Ref("texts", "a0"), Ref("texts", "a1")))
    store = run([second, first], tmp_path, executor)
    assert text(store, "b0") == "xyz"
    assert executor.places == 3


def test_places_work_beside_each_other(executor: RayExecutor, tmp_path: Path) -> None:
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    store = run([group(name, "x", meets=str(meeting), mine=name) for name in "abc"], tmp_path, executor)
    assert len({store.manifest("texts", f"{name}0")["by"] for name in "abc"}) == 3


def test_where_nodes_do_not_see_the_lab_files_are_carried_there_and_back(executor: RayExecutor, tmp_path: Path) -> None:
    executor.shared = False
    store = run([group("a", "x"), group("b", "y", inputs=(Ref("texts", "a0"),))], tmp_path, executor)
    assert text(store, "b0") == "xy"


def test_a_killed_process_loses_nothing(executor: RayExecutor, tmp_path: Path) -> None:
    store = run([group("a", "x", "y", killed_at=str(tmp_path / "marker"))], tmp_path, executor)
    assert (text(store, "a0"), text(store, "a1")) == ("x", "y")
    assert store.keys("texts") == ["a0", "a1"]


def test_what_is_lost_again_and_again_is_an_error_and_of_a_training_a_recorded_failure(
    executor: RayExecutor, tmp_path: Path, monkeypatch
) -> None:
    with pytest.raises(LabError, match=f"lost {MOST_BEGINNINGS} times"):
        run([group("a", "x", killed_at="always")], tmp_path, executor)
    monkeypatch.setattr(on_ray, "MOST_BEGINNINGS", 2)
    store = run([group("t", "x", stage="trained", killed_at="always"), group("b", "y")], tmp_path, executor)
    assert "lost 2 times" in store.manifest("texts", "t0")["failed"]
    assert text(store, "b0") == "y"


def test_what_a_stage_raises_is_raised_here(executor: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="found"):
        run([group("a", "x", error=True)], tmp_path, executor)


def test_a_lost_node_loses_nothing(cluster, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    executor = RayExecutor({}, tmp_path / "lab", run_stage=make_texts)
    assert executor.places == 5
    groups, store = [group(f"g{n}-", "x", "y", seconds=0.4) for n in range(12)], Store(tmp_path / "lab" / "store")
    for count, _ in enumerate(execute(groups, store, executor, StageClock())):
        if count == 3:
            cluster.remove_node(node)
    assert len(store.keys("texts")) == 24
    executor.close()


def test_a_device_is_asked_for_where_the_base_is_on_one(cluster, tmp_path: Path) -> None:
    executor = RayExecutor({}, tmp_path / "lab", on_device=True, run_stage=tell_device)
    assert executor.places == 1
    store = run([group("a", "x")], tmp_path, executor)
    assert store.manifest("texts", "a0")["devices"] == [0]
    executor.close()
    assert examine_cluster().devices == 1  # a cluster that was there before is left as it was


def tell_device(work: Work, place: Place) -> Iterator[Made]:
    for task in work.tasks:
        (work.folder(task.ref) / "text").write_text("", encoding="utf-8")
        yield Made(task.ref, {"devices": on_ray._ray().get_gpu_ids(), "failed": None})


def test_the_doctor_sees_every_node_and_whether_it_sees_this_lab(cluster, tmp_path: Path) -> None:
    rows = examine_nodes(tmp_path / "lab")
    assert len(rows) == examine_cluster().nodes == 3
    assert {row["sees the lab"] for row in rows} == {"yes"}
    assert list((tmp_path / "lab").iterdir()) == []  # the marker is gone
    assert {row["sees the lab"] for row in on_ray._asked_everywhere(tmp_path / "none")} == {"no"}


def test_where_on_points() -> None:
    assert address_of("ray") is None
    assert address_of("ray://head:6379") == "head:6379"
    with pytest.raises(LabError, match="--on slurm"):
        address_of("slurm")
