"""What a training keeps on disk so that a kill does not end it: a state in, the newest whole state of the same training out.

A state is one file, renamed into place, so that it is whole or absent; the adapters of the steps to keep lie beside it, in files that are
there before any state behind them is. Each bears the identity of its training (data, recipes, base, code, threads): what another training
left is never used. How often a state is kept follows from what that costs: at most a hundredth of the time worked, and at least once a
minute.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import safetensors.torch
import torch
import transformers
from safetensors import SafetensorError

import loralab
from loralab.bases import Base
from loralab.store import canonical_json, write_atomically
from loralab.train.feed import Feed
from loralab.train.runs import TrainRun

#: raised when the same tensors mean something else
STATE_VERSION = 1
#: what may be spent on keeping, as a share of the time worked; and the longest work that a kill may undo
SHARE, MOST_SECONDS = 0.01, 60.0
#: what a file is taken to cost before the first has been timed: its opening, and its bytes (a laptop's disk, flushed)
FILE_SECONDS, BYTES_A_SECOND = 0.004, 500e6
#: packages and modules of which a change may change a training
CODE = ("train", "adapters", "bases", "data", "spec", "seeds", "pixels")
STATE, TOLD = "state.safetensors", "told"


@dataclass(frozen=True)
class State:
    """All that the steps of a stack have changed: tensors by name, a row of losses a step (None = stopped), why runs have stopped."""

    tensors: dict[str, torch.Tensor]
    curve: list[list[float | None]]
    failed: list[str | None]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with ``prefix``, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Found:
    """A state that was kept, and the stack's values (K, P) at each kept step before it."""

    state: State
    kept: dict[int, torch.Tensor]


@dataclass
class Keeper:
    """Keeps the states of one training in ``folder``, as often as their cost allows."""

    folder: Path
    identity: str
    clock: Callable[[], float] = time.perf_counter
    worked: float = 0.0  # seconds in steps
    spent: float = 0.0  # seconds in keeping
    cost: float | None = None  # seconds of the last keeping
    saved_at: float = 0.0  # of `worked`
    waiting: dict[int, torch.Tensor] = field(default_factory=dict)  # values of kept steps that are not on disk yet

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the time in the block as work."""
        before = self.clock()
        yield
        self.worked += self.clock() - before

    def offer(self, step: int, state: Callable[[], State], values: torch.Tensor | None) -> None:
        """Keep ``state()`` where it is time for it; ``values`` (K, P) are those of a step to keep."""
        if values is not None:
            self.waiting[step] = values.detach().cpu().clone()
        if self.cost is None:
            self.cost = _guess(state())
        if self.spent + self.cost <= SHARE * self.worked or self.worked - self.saved_at >= MOST_SECONDS:
            self.save(state())

    def save(self, state: State) -> None:
        """Keep ``state`` now: first the values that wait, then the state, which says that they are there."""
        before = self.clock()
        for step, values in self.waiting.items():
            self._write(kept_name(step), {"values": values}, {})
        self.waiting.clear()
        rows = [[math.nan if value is None else value for value in row] for row in state.curve]
        self._write(STATE, {**state.tensors, "curve": torch.tensor(rows, dtype=torch.float64)}, {"failed": state.failed})
        self.cost = self.clock() - before
        self.spent, self.saved_at = self.spent + self.cost, self.worked

    def load(self, keep: Collection[int]) -> Found | None:
        """Return the state that is there, with the values of the steps of ``keep`` before it; None without a whole one of this training."""
        found = self._read(STATE)
        if found is None:
            return None
        tensors, told = found
        curve = [[None if math.isnan(value) else value for value in row] for row in tensors.pop("curve").tolist()]
        before = {step: self._read(kept_name(step)) for step in keep if step <= len(curve)}
        kept = {step: read[0]["values"] for step, read in before.items() if read is not None}
        return Found(State(tensors, curve, told["failed"]), kept) if len(kept) == len(before) else None

    def _write(self, name: str, tensors: dict[str, torch.Tensor], told: dict[str, Any]) -> None:
        text = canonical_json({"identity": self.identity, **told}).encode()
        held = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        held[TOLD] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        write_atomically(self.folder / name, safetensors.torch.save(held))

    def _read(self, name: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """Return a file's tensors and what it tells; None where it is missing, damaged, or another training's."""
        try:
            tensors = safetensors.torch.load((self.folder / name).read_bytes())
            told: dict[str, Any] = json.loads(bytes(tensors.pop(TOLD).tolist()))
        except (FileNotFoundError, SafetensorError, ValueError, KeyError):
            return None
        return (tensors, told) if told.get("identity") == self.identity else None


def kept_name(step: int) -> str:
    """Return the name of the file with the values of a step to keep."""
    return f"kept-{step:08d}.safetensors"


def _guess(state: State) -> float:
    """Return the seconds that keeping a state will take, before one has been timed."""
    return FILE_SECONDS + sum(value.nbytes for value in state.tensors.values()) / BYTES_A_SECOND


# --- whose a state is -------------------------------------------------------------------------------------------------------


def identity_of(base: Base, runs: Sequence[TrainRun], root_seed: int, keep: Collection[int], *, checkpointing: bool) -> str:
    """Return the sha256 (hex) of all that a training's bits depend on: a state of any other identity is another training's."""
    told = {
        "state": STATE_VERSION, "code": code_sha256(), "base": base.fingerprint, "scheduler": repr(sorted(base.scheduler_config.items())),
        "device": str(base.device), "dtype": str(base.dtype), "threads": torch.get_num_threads(),
        "machine": torch.backends.cpu.get_cpu_capability(), "root_seed": root_seed, "keep": sorted(keep), "checkpointing": checkpointing,
        "runs": [[run.run_id, run.replicate, run.spec.model_dump(mode="json", exclude={"replicates"}), _data_sha256(run)] for run in runs],
    }  # fmt: skip
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()


@functools.cache
def code_sha256(packages: tuple[str, ...] = CODE) -> str:
    """Return the sha256 (hex) of the sources in ``packages``, and of the versions of what computes."""
    root = Path(loralab.__file__).parent
    digest = hashlib.sha256(f"{loralab.__version__} {torch.__version__} {diffusers.__version__} {transformers.__version__}".encode())
    for package in packages:
        for file in [*sorted((root / package).rglob("*.py")), *root.glob(f"{package}.py")]:
            digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _data_sha256(run: TrainRun) -> str:
    digest = hashlib.sha256()
    for tensor in (run.latents, run.text, *([] if run.preserved is None else [run.preserved])):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    if run.feed is not None:
        _add_feed(digest, run.feed)
    return digest.hexdigest()


def _add_feed(digest: Any, feed: Feed) -> None:
    digest.update(repr((feed.trains_text, feed.prior_loss_weight, feed.clip_skip)).encode())
    for picture in feed.pictures:
        digest.update(repr((picture.caption, picture.bucket, picture.image.shape)).encode() + picture.options.model_dump_json().encode())
        for pixels in (picture.image, picture.mask):
            digest.update(b"none" if pixels is None else pixels.tobytes())
