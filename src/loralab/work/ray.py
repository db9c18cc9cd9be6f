"""Groups of tasks on many machines, by Ray: a group is one Ray task that reports as it goes on; whoever asked publishes what it made.

A place is one processor core, or one CUDA device where the study's base is on one. The base travels once to each node, by its
fingerprint, and is unpacked once by each process there. A node or a process that is lost takes nothing published with it: its group
runs again elsewhere; the third time it is given up. Where the nodes see the lab's folder, artefacts are read and written there, and a
training goes on from the state that it kept; where they do not, what a group needs is carried there and what it made is carried back.
"""

from __future__ import annotations

import importlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from loralab.crew import ALONE, THREAD_VARIABLES
from loralab.errors import LabError, lab_error
from loralab.measure import Instrument, own_instruments, with_instruments
from loralab.portable import move
from loralab.quiet import VARIABLES, quiet_libraries
from loralab.store import Ref
from loralab.work.inline import RunStage
from loralab.work.place import Place
from loralab.work.task import Ended, Group, Made, Message, Progress, Work

if TYPE_CHECKING:
    from loralab.bases import Base

#: how often a group is begun before it is given up
MOST_BEGINNINGS = 3
#: seconds between two reports of progress that travel
REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Cluster:
    """What a Ray cluster has: nodes that are alive, and places on them."""

    nodes: int
    processors: int
    devices: int


@dataclass
class Running:
    """A group that runs somewhere: its work as it was given and as it was begun last, its reports, what is still to be made."""

    given: Work
    work: Work
    reports: Any
    left: set[Ref]
    beginnings: int = 1


class RayExecutor:
    """An executor on the Ray cluster at ``address`` (HOST:PORT), or on a Ray of this machine that it starts, and ends with `close`."""

    def __init__(
        self, bases: Mapping[str, Base], lab: Path, address: str | None = None, *, on_device: bool = False, run_stage: RunStage
    ) -> None:
        self._ours = join(address)
        cluster = examine_cluster()
        self.places = cluster.devices if on_device else cluster.processors
        if self.places < 1:
            self.close()
            found = f"a Ray cluster of {cluster.nodes} nodes without a {'CUDA device' if on_device else 'processor core'} to work on"
            raise lab_error("spec", found, "at least one", "start nodes with `ray start`, or choose another --on")
        self.shared = sees_everywhere(lab)
        self._needs: dict[str, Any] = {"num_cpus": 1, "num_gpus": 1} if on_device else {"num_cpus": 1}
        self._bases = {fingerprint: _ray().put(base) for fingerprint, base in bases.items()}
        self._run_stage, self._carried = run_stage, dict[Ref, Any]()
        self._own = tuple(own_instruments().values())  # other processes do not know them
        self._running: list[Running] = []

    def takes(self, group: Group) -> bool:
        """Return whether a place is free for another group."""
        return len(self._running) < self.places

    def submit(self, work: Work) -> None:
        """Begin a group; returns at once."""
        self._running.append(Running(work, work, self._begin(work), set(work.wanted)))

    def next(self) -> tuple[Group, Message | Ended]:
        """Wait for the next report of any group; raises what a stage raised, and LabError where a group was lost too often."""
        ray = _ray()
        while True:
            ready, _ = ray.wait([running.reports for running in self._running], num_returns=1)
            running = next(each for each in self._running if each.reports is ready[0])
            try:
                report = ray.get(next(running.reports))
            except ray.exceptions.RayTaskError as error:
                self._running.remove(running)
                raise _cause_of(error) from error
            except _losses(ray) as loss:
                if (given_up := self._again(running, loss)) is not None:
                    return given_up
                continue
            return self._taken(running, report)

    def close(self) -> None:
        """Drop what still runs, and leave the cluster; a Ray that was started here ends."""
        for running in getattr(self, "_running", []):
            with suppress(Exception):  # it may have ended with its node
                _ray().cancel(running.reports, force=True)
        self._running = []
        if self._ours:
            _ray().shutdown()

    def _begin(self, work: Work) -> Any:
        task = _ray().remote(_carry_out).options(num_returns="streaming", max_retries=0, **self._needs)
        carried = None if self.shared else {ref: self._packed(ref, folder) for ref, folder in work.folders.items()}
        base = self._bases.get(work.group.base)
        held = {} if base is None else {work.group.base: [base]}
        return task.remote(self._run_stage, self._own, work, held, carried and {ref: [one] for ref, one in carried.items()})

    def _packed(self, ref: Ref, folder: Path) -> Any:
        """Return an artefact's files in the object store, put there once however many groups need them."""
        if ref not in self._carried:
            self._carried[ref] = _ray().put(_files_of(folder))
        return self._carried[ref]

    def _taken(self, running: Running, report: Any) -> tuple[Group, Message | Ended]:
        """Return a report as the one who asked wants it: what was made lies in the scratch folder that was given."""
        message, files = report
        if isinstance(message, Ended):
            self._running.remove(running)
        if isinstance(message, Made):
            running.left.discard(message.ref)
            home = running.given.scratch / message.ref.key
            if files is not None:
                _lay_out(files, home)
            elif running.work.scratch != running.given.scratch:
                shutil.rmtree(home, ignore_errors=True)
                move(running.work.scratch / message.ref.key, home)
        return running.given.group, message

    def _again(self, running: Running, loss: BaseException) -> tuple[Group, Made | Ended] | None:
        """Begin a lost group anew; give it up where that was done often enough: its trainings have failed then, other work is an error."""
        work = running.given
        if not running.left:
            self._running.remove(running)
            return work.group, Ended()
        if running.beginnings < MOST_BEGINNINGS:
            # a folder of its own: what was thought lost may still be writing into the other
            scratch = work.scratch / f"again-{running.beginnings}"
            scratch.mkdir()
            running.work = replace(work, wanted=frozenset(running.left), scratch=scratch)
            running.reports, running.beginnings = self._begin(running.work), running.beginnings + 1
            return None
        told = f"its process or its node was lost {MOST_BEGINNINGS} times ({type(loss).__name__})"
        if work.group.stage != "trained":
            self._running.remove(running)
            do = "check the nodes' memory; run the same command again to continue from what is done"
            raise lab_error("measurement", f"{work.group.title}: {told}", "nodes that stay up", do)
        ref = running.left.pop()
        (work.scratch / ref.key).mkdir(parents=True, exist_ok=True)
        return work.group, Made(ref, {"failed": told})


# --- on the nodes -----------------------------------------------------------------------------------------------------------

#: the bases that this process has unpacked, and what its stages keep beside them
_UNPACKED: dict[str, Base] = {}
_PLACE = Place(bases=_UNPACKED, crew=ALONE)


def _carry_out(
    run_stage: RunStage, own: Sequence[Instrument], work: Work, bases: Mapping[str, list[Any]], carried: Mapping[Ref, list[Any]] | None
) -> Iterator[tuple[Any, Any]]:
    """Yield (message, files or None) of a group; references come in lists, so that Ray hands them over without fetching them."""
    if bases:
        import torch

        torch.set_num_threads(1)
    for fingerprint, (reference,) in bases.items():
        if fingerprint not in _UNPACKED:
            _UNPACKED[fingerprint] = _ray().get(reference)
    with quiet_libraries(), with_instruments(*own), TemporaryDirectory(prefix="loralab-") as folder:
        there = work if carried is None else _laid_out(work, carried, Path(folder))
        for message in _thinned(run_stage(there, _PLACE)):
            carries = carried is not None and isinstance(message, Made)
            yield message, _files_of(there.scratch / message.ref.key) if carries else None
    yield Ended(), None


def _thinned(messages: Iterator[Any]) -> Iterator[Any]:
    """Yield everything that was made, and of the progress what is new after REPORT_SECONDS."""
    last = 0.0
    for message in messages:
        if isinstance(message, Progress) and time.monotonic() - last < REPORT_SECONDS and message.done < message.total:
            continue
        last = time.monotonic()
        yield message


def _laid_out(work: Work, carried: Mapping[Ref, list[Any]], folder: Path) -> Work:
    """Return the work with its inputs, its scratch and its kept state in a folder of this node."""
    folders = {}
    for ref, (reference,) in carried.items():
        folders[ref] = folder / ref.kind / ref.key
        _lay_out(_ray().get(reference), folders[ref])
    scratch, resume = folder / "scratch", folder / "resume"
    scratch.mkdir()
    return replace(work, folders=folders, scratch=scratch, resume=resume)


def _files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def _lay_out(files: Mapping[str, bytes], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


# --- Ray itself -------------------------------------------------------------------------------------------------------------


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as missing:
        raise lab_error("spec", "Ray is not installed", "the extra", "pip install 'loralab[ray]'") from missing


def join(address: str | None) -> bool:
    """Join the cluster at ``address`` (HOST:PORT), or start a Ray of this machine; returns whether it is now this process's to end."""
    ray = _ray()
    if ray.is_initialized():
        return False
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    settings["runtime_env"] = {"env_vars": dict.fromkeys(THREAD_VARIABLES, "1") | VARIABLES}
    try:
        ray.init(**settings, **({"include_dashboard": False} if address is None else {"address": address}))
    except (ConnectionError, RuntimeError, ValueError) as error:
        found = f"no Ray cluster at {address or 'this machine'}: {str(error).splitlines()[0]}"
        do = "on the head node `ray start --head`, then `--on ray://HOST:6379`; `--on ray` needs no cluster"
        raise lab_error("spec", found, "the address of a cluster this machine belongs to", do) from error
    return True


def leave() -> None:
    """Leave the cluster; a Ray of this machine ends."""
    _ray().shutdown()


def examine_cluster() -> Cluster:
    """Return what the cluster that this process belongs to has."""
    found = _ray().cluster_resources()
    alive = sum(1 for node in _ray().nodes() if node["Alive"])
    return Cluster(alive, int(found.get("CPU", 0)), int(found.get("GPU", 0)))


def examine_nodes(lab: Path) -> list[dict[str, str]]:
    """Return for each node its address, what is installed there, and whether it sees the lab's folder."""
    marker = _marked(lab)
    try:
        return _asked_everywhere(marker)
    finally:
        marker.unlink(missing_ok=True)


def sees_everywhere(lab: Path) -> bool:
    """Return whether every node sees this very lab, not only a folder of its name."""
    return all(row["sees the lab"] == "yes" for row in examine_nodes(lab))


def _marked(lab: Path) -> Path:
    lab.mkdir(parents=True, exist_ok=True)
    marker = lab.resolve() / f".seen-{uuid.uuid4().hex}"
    marker.write_bytes(b"")
    return marker


def _asked_everywhere(marker: Path) -> list[dict[str, str]]:
    ray = _ray()
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task = ray.remote(_facts_of_node)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    asked = [task.options(num_cpus=0, scheduling_strategy=place).remote(str(marker)) for place in there]
    return [{"address": str(node["NodeManagerAddress"])} | ray.get(reference) for node, reference in zip(nodes, asked, strict=True)]


def _facts_of_node(marker: str) -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {
        "machine": f"{platform.system()} {platform.machine()}", "python": platform.python_version(), "loralab": version("loralab"),
        "torch": version("torch"), "cores": str(os.cpu_count()), "sees the lab": "yes" if Path(marker).is_file() else "no",
    }  # fmt: skip


def _losses(ray: Any) -> tuple[type[BaseException], ...]:
    """Return the errors by which Ray tells that a process or a node is gone, or has run out of memory."""
    found = ray.exceptions
    return (
        StopIteration,
        found.WorkerCrashedError,
        found.NodeDiedError,
        found.ObjectLostError,
        found.OutOfMemoryError,
        found.LocalRayletDiedError,
    )


def _cause_of(error: Any) -> Exception:
    """Return the exception that the stage itself raised."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, LabError | Exception) else RuntimeError(str(error))


def address_of(on: str) -> str | None:
    """Return the address that `--on` names: None for `ray`, HOST:PORT for `ray://HOST:PORT`; raises LabError("spec") for anything else."""
    if on == "ray":
        return None
    if on.startswith("ray://") and on.removeprefix("ray://"):
        return on.removeprefix("ray://")
    raise lab_error("spec", f"--on {on}", "`ray`, or `ray://HOST:PORT` of a cluster this machine belongs to")
