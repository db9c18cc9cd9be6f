"""The one place that finds, makes and publishes: order, what is void, what goes on beside, what is left behind when a stage raises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loralab.crew import Crew
from loralab.errors import LabError, lab_error
from loralab.store import Ref, Store
from loralab.work.events import StageClock
from loralab.work.execute import execute
from loralab.work.inline import Inline
from loralab.work.place import Place
from loralab.work.task import Group, Made, Message, Progress, Task, Work


class Stages:
    """A stage that writes what it was told, joined to its inputs' texts; it notes what it made."""

    def __init__(self, fails: str = "", raises: str = "") -> None:
        self.fails, self.raises, self.made = fails, raises, list[str]()

    def __call__(self, work: Work, place: Place) -> Iterator[Message]:
        work.resume.mkdir(parents=True, exist_ok=True)
        (work.resume / "state").write_text("half", encoding="utf-8")
        for number, task in enumerate(work.tasks, start=1):
            if task.ref in work.wanted:
                if task.spec == self.raises:
                    raise lab_error("training", f"{task.spec} cannot be made")
                texts = [(work.folders[ref] / "text").read_text(encoding="utf-8") for ref in task.inputs if ref in work.folders]
                (work.folder(task.ref) / "text").write_text("".join([*texts, task.spec]), encoding="utf-8")
                self.made.append(task.spec)
                yield Made(task.ref, {"failed": "it did" if task.spec == self.fails else None})
            yield Progress(number, len(work.tasks))


def task(name: str, *inputs: str, any_input: bool = False) -> Task:
    return Task(Ref("things", name), name, tuple(Ref("things", each) for each in inputs), any_input)


def group(title: str, *tasks: Task, beside: bool = False) -> Group:
    return Group("any", title, tasks, word="draw", beside=beside)


GROUPS = [group("last", task("c", "a", "b")), group("first", task("a"), task("b")), group("then", task("d", "c"))]


def carried(groups: list[Group], folder: Path, stages: Stages, crew: Crew | None = None) -> Store:
    store = Store(folder / "store")
    executor = Inline(Place({}, crew or Crew()), stages)
    events = list(execute(groups, store, executor, StageClock()))
    assert all(0 <= event.done <= event.total for event in events)
    assert [*(store.root / "scratch").iterdir()] == []
    return store


def text(store: Store, name: str) -> str:
    return (store.path("things", name) / "text").read_text(encoding="utf-8")


def test_groups_wait_for_their_inputs_and_nothing_is_made_twice(tmp_path: Path):
    stages = Stages()
    store = carried(GROUPS, tmp_path, stages)
    assert stages.made == ["a", "b", "c", "d"]
    assert text(store, "d") == "abcd"
    assert [*(store.root / "unfinished").iterdir()] == []  # what is whole needs nothing to go on from
    carried(GROUPS, tmp_path, stages)
    assert stages.made == ["a", "b", "c", "d"]


def test_only_what_is_missing_of_a_group_is_wanted(tmp_path: Path):
    store = carried(GROUPS, tmp_path, Stages())
    store.drop("things", "b")
    stages = Stages()
    carried(GROUPS, tmp_path, stages)
    assert stages.made == ["b"]


def test_what_needs_something_that_failed_is_void_and_nobody_waits_for_it(tmp_path: Path):
    stages = Stages(fails="b")
    groups = [*GROUPS, group("either", task("e", "a", "b", any_input=True), task("f", "b"))]
    store = carried(groups, tmp_path, stages)
    assert stages.made == ["a", "b", "e"]
    assert text(store, "e") == "ae"  # of what did not fail
    carried(groups, tmp_path, stages)
    assert stages.made == ["a", "b", "e"]


def test_what_a_stage_raises_ends_the_work_and_keeps_what_was_published(tmp_path: Path):
    with pytest.raises(LabError, match="b cannot be made"):
        carried(GROUPS, tmp_path, Stages(raises="b"))
    store = Store(tmp_path / "store")
    assert store.keys("things") == ["a"]
    assert [(folder / "state").read_text(encoding="utf-8") for folder in (store.root / "unfinished").iterdir()] == ["half"]
    stages = Stages()
    carried(GROUPS, tmp_path, stages)
    assert stages.made == ["b", "c", "d"]


def test_an_input_that_nothing_makes_is_told(tmp_path: Path):
    with pytest.raises(LabError, match="nothing produces the inputs of 'then'"):
        carried(GROUPS[2:], tmp_path, Stages())


@pytest.mark.parametrize("n", [1, 2])
def test_a_group_that_needs_no_processes_is_made_beside_one_that_they_work_at(tmp_path: Path, n: int):
    stages = Stages()
    carried([group("crew", task("a"), task("b")), group("beside", task("c"), task("d"), beside=True)], tmp_path, stages, Crew(n))
    # with processes beside this one the two take turns, message by message
    assert sorted(stages.made) == ["a", "b", "c", "d"]
    assert (stages.made == ["a", "b", "c", "d"]) is (n == 1)


def test_a_groups_key_is_that_of_what_it_makes():
    assert group("x", task("a")).key == group("another title", task("a", "z")).key
    assert group("x", task("a")).key != group("x", task("a"), task("b")).key
