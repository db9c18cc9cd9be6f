"""A training that is cut off: what goes on from a kept state ends in the same bits, what does not belong to it is never used."""

from __future__ import annotations

import ast
import itertools
import math
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import loralab
from loralab.adapters import adapter_sha256
from loralab.bases import tokenise
from loralab.crew import crew_of
from loralab.data.training_picture import TrainingPicture
from loralab.spec.datasets import SubsetSpec
from loralab.spec.models import TrainSpec
from loralab.train import Feed, TrainRun, kept, train_in_parts, train_stack
from loralab.train.kept import STATE, Keeper, State, identity_of
from loralab.train.loop import Training
from loralab.train.optimisers import OPTIMISERS
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS, KEEP = 7, frozenset({2, 5})


@pytest.fixture
def keep_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a state after every step, whatever it costs."""
    monkeypatch.setattr(kept, "SHARE", math.inf)


def plain_run(name: str, data: int = 1, **recipe: Any) -> TrainRun:
    generator = torch.Generator().manual_seed(data)
    latents, embeddings = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 12, 16, generator=generator)
    replicate = recipe.pop("replicate", 0)
    return TrainRun(name, TrainSpec(**({"rank": 2, "steps": STEPS, "batch": 2} | recipe)), latents, embeddings, replicate)


def plain_stack(_base: Any) -> list[TrainRun]:
    return [plain_run("a"), plain_run("b", 2, rank=4, lr=3e-3, schedule="cosine", warmup=2, replicate=1)]


def text_stack(base: Any) -> list[TrainRun]:
    spec = TrainSpec(rank=2, steps=STEPS, batch=2, text_encoder_lr=1e-3)
    return [TrainRun("text", spec, plain_run("x").latents, None, 0, tokens=tokenise(base, ["abc", "cat", "red"]))]


def fed_stack(base: Any) -> list[TrainRun]:
    """Pictures in two buckets, cut, mirrored and captioned anew at each showing, some of them masked."""
    pictures = []
    for k, size in enumerate([(24, 8), (8, 24), (16, 16), (18, 16)]):
        generator = np.random.default_rng(k)
        options = SubsetSpec(image_dir="x", flip_aug=True, shuffle_caption=True, random_crop=True, caption_dropout_rate=0.3)
        mask = np.full((size[1], size[0]), 128, np.uint8) if k % 2 else None
        bucket = (16, 16) if size == (18, 16) else size
        pixels = generator.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        pictures.append(TrainingPicture(pixels, mask, "a, b, c", options, bucket))
    spec = TrainSpec(rank=2, steps=STEPS, batch=2)
    return [TrainRun("fed", spec, torch.empty(0), None, 1, feed=Feed(base, pictures, False))]


def stopped_stack(_base: Any) -> list[TrainRun]:
    """The second run stops when it first sees its last picture."""
    wild = plain_run("wild", 2)
    wild.latents[-1] = float("nan")
    return [plain_run("a"), wild, plain_run("c", 3)]


def optimiser_stack(name: str) -> Callable[[Any], list[TrainRun]]:
    """Two runs that differ in settings of their optimiser, their noise, loss and average."""
    turned = {"ema_decay": 0.9, "noise_offset": 0.1, "ip_noise_gamma": 0.1, "loss_type": "huber", "timestep_sampling": "sigmoid"}
    runs = [plain_run("a", optimiser=name, beta1=0.8, epsilon=1e-7), plain_run("b", 2, optimiser=name, replicate=1, **turned)]
    return lambda _base: runs


STACKS: dict[str, Callable[[Any], list[TrainRun]]] = {
    "plain": plain_stack, "text": text_stack, "feed": fed_stack, "stopped": stopped_stack,
} | {name: optimiser_stack(name) for name in OPTIMISERS}  # fmt: skip


@dataclass
class Outcome:
    """All that a caller sees of a training, tensors as hashes."""

    steps: list[tuple[int, list[float | None], list[str | None]]]
    runs: list[tuple[str, str, list[float], str, str | None]]


def outcome(loop: Any) -> Outcome:
    trained, told = finish(loop)
    steps = [(step.step, step.losses, [None if one is None else adapter_sha256(one) for one in step.adapters]) for step in told]
    return Outcome(steps, [(run.run_id, adapter_sha256(run.adapter), run.losses, run.initial_sha256, run.failed) for run in trained])


def cut_off(loop: Iterator[Any], steps: int) -> None:
    """Take some steps of a training and give it up."""
    list(itertools.islice(loop, steps))
    loop.close()  # type: ignore[attr-defined]


def n_steps_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows by the number of each step that is computed."""
    made: list[int] = []
    step = Training.step

    def counted(training: Training) -> list[float | None]:
        made.append(training.done + 1)
        return step(training)

    monkeypatch.setattr(Training, "step", counted)
    return made


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.usefixtures("keep_always")
def test_cut_off_anywhere_and_resumed_is_uninterrupted_bit_for_bit(tiny_base, tmp_path, monkeypatch, name):
    expected = outcome(train_stack(tiny_base, STACKS[name](tiny_base), root_seed=3, keep=KEEP))
    if name == "stopped":
        assert expected.runs[1][4] is not None
    for at in (1, 5, STEPS) if name == "plain" else (4,):
        folder = tmp_path / str(at)
        cut_off(train_stack(tiny_base, STACKS[name](tiny_base), root_seed=3, keep=KEEP, resume=folder), at)
        with monkeypatch.context() as patched:
            made = n_steps_made(patched)
            assert outcome(train_stack(tiny_base, STACKS[name](tiny_base), root_seed=3, keep=KEEP, resume=folder)) == expected
            assert made == list(range(at + 1, STEPS + 1))  # it did go on, and did not begin again


@pytest.mark.usefixtures("keep_always")
def test_a_training_that_is_cut_off_at_every_step_ends_in_the_same_bits(tiny_base, tmp_path):
    expected = outcome(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP))
    for at in range(1, STEPS + 1):
        cut_off(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP, resume=tmp_path), at)
    assert outcome(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP, resume=tmp_path)) == expected


@pytest.mark.parametrize("lost", ["optimiser.first", "optimiser.second", "optimiser.steps", "noise.0", "values"])
@pytest.mark.usefixtures("keep_always")
def test_no_part_of_a_state_is_there_for_nothing(tiny_base, tmp_path, monkeypatch, lost):
    """Cold in one part (as other trainers resume: weights without moments, or data without their order), it ends elsewhere."""
    expected = outcome(train_stack(tiny_base, plain_stack(None), root_seed=3))
    cut_off(train_stack(tiny_base, plain_stack(None), root_seed=3, resume=tmp_path), 4)
    cold = Training(tiny_base, plain_stack(None), 3, checkpointing=False).state().tensors[lost].clone()
    load = Keeper.load

    def without(keeper: Keeper, keep: Any) -> Any:
        found = load(keeper, keep)
        found.state.tensors[lost] = cold
        return found

    monkeypatch.setattr(Keeper, "load", without)
    assert outcome(train_stack(tiny_base, plain_stack(None), root_seed=3, resume=tmp_path)).runs != expected.runs


def changed_latents(runs: list[TrainRun]) -> list[TrainRun]:
    latents = runs[0].latents.clone()
    latents[0, 0, 0, 0] += 1e-6
    return [replace(runs[0], latents=latents), *runs[1:]]


@pytest.mark.parametrize(
    "foreign",
    [
        {"runs": changed_latents},
        {"runs": lambda runs: runs[::-1]},
        {"runs": lambda runs: [replace(runs[0], spec=runs[0].spec.model_copy(update={"lr": 2e-3})), *runs[1:]]},
        {"runs": lambda runs: [replace(runs[0], replicate=5), *runs[1:]]},
        {"root_seed": 4},
        {"keep": {2}},
        {"checkpointing": True},
    ],
)
def test_the_identity_of_a_training_holds_all_that_its_bits_depend_on(tiny_base, foreign):
    given = {"runs": lambda runs: runs, "root_seed": 3, "keep": KEEP, "checkpointing": False}

    def identity(says: dict[str, Any]) -> str:
        return identity_of(tiny_base, says["runs"](plain_stack(None)), says["root_seed"], says["keep"], checkpointing=says["checkpointing"])

    assert identity(given) == identity(given)
    assert identity(given) != identity(given | foreign)


def test_other_code_threads_and_bases_are_other_trainings(tiny_base, monkeypatch):
    def identity(base: Any = tiny_base) -> str:
        return identity_of(base, plain_stack(None), 0, (), checkpointing=False)

    own = identity()
    assert identity(replace(tiny_base, fingerprint="f" * 64)) != own
    torch.set_num_threads(2)
    assert identity() != own
    torch.set_num_threads(1)
    assert identity() == own
    monkeypatch.setattr(kept, "code_sha256", lambda *_packages: "another version")
    assert identity() != own


#: what training imports and no bit hangs on: weights and pictures are in the identity themselves
NO_BIT = ("crew", "errors", "generators", "petri", "portable", "quiet", "store", "strict")


def test_the_code_of_a_training_is_all_that_it_imports():
    """A package that training imports and the identity does not know could change its bits unnoticed."""
    root = Path(loralab.__file__).parent
    seen = {"loralab." + name for name in (*kept.CODE, *NO_BIT)}
    for package in kept.CODE:
        for file in (root / package).rglob("*.py"):  # of a module that is no package there are none
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                name = node.module if isinstance(node, ast.ImportFrom) else None
                if name and name.startswith("loralab."):
                    assert any(name == each or name.startswith(each + ".") for each in seen), f"{file.name} imports {name}"


@pytest.mark.usefixtures("keep_always")
def test_a_foreign_state_is_not_used(tiny_base, tmp_path, monkeypatch):
    cut_off(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP, resume=tmp_path), 4)
    expected = outcome(train_stack(tiny_base, plain_stack(None), root_seed=4, keep=KEEP))
    made = n_steps_made(monkeypatch)
    assert outcome(train_stack(tiny_base, plain_stack(None), root_seed=4, keep=KEEP, resume=tmp_path)) == expected
    assert made == list(range(1, STEPS + 1))


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "no values of a kept step"])
@pytest.mark.usefixtures("keep_always")
def test_a_damaged_state_is_not_used(tiny_base, tmp_path, damage):
    expected = outcome(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP))
    cut_off(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP, resume=tmp_path), 4)
    whole = (tmp_path / STATE).read_bytes()
    if damage == "no values of a kept step":
        (tmp_path / kept.kept_name(2)).unlink()
    else:
        (tmp_path / STATE).write_bytes({"cut": whole[: len(whole) // 2], "noise": b"x" * 4096, "empty": b""}[damage])
    assert outcome(train_stack(tiny_base, plain_stack(None), root_seed=3, keep=KEEP, resume=tmp_path)) == expected


@pytest.mark.usefixtures("keep_always")
def test_a_state_is_whole_or_absent(tiny_base, tmp_path, monkeypatch):
    """A write that is cut off before its file is renamed leaves the state before it, and nothing else."""
    cut_off(train_stack(tiny_base, plain_stack(None), root_seed=3, resume=tmp_path), 3)
    before = (tmp_path / STATE).read_bytes()

    def gone(*_args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", gone)
    with pytest.raises(KeyboardInterrupt):
        cut_off(train_stack(tiny_base, plain_stack(None), root_seed=3, resume=tmp_path), 5)
    assert [file.name for file in tmp_path.iterdir()] == [STATE]
    assert (tmp_path / STATE).read_bytes() == before


@pytest.mark.usefixtures("forked_crews")
def test_parts_in_killed_processes_go_on_each_from_its_own_state(tiny_base, tmp_path):
    """Closing a part kills its process; the processes are not at the same step, and their caller saw fewer steps than were made."""
    runs = [plain_run(str(k), k, replicate=k % 3, steps=40) for k in range(8)]
    keep = {2, 31}
    here = [outcome(train_stack(tiny_base, part, root_seed=1, keep=keep)) for part in (runs[:4], runs[4:])]
    with crew_of(2, 2) as crew:
        cut_off(train_in_parts(tiny_base, runs, crew, root_seed=1, keep=keep, resume=tmp_path), 30)
    done = [len(safetensors.torch.load(file.read_bytes())["curve"]) for file in sorted(tmp_path.glob(f"part-*/{STATE}"))]
    assert len(done) == 2
    assert min(done) >= 1
    with crew_of(2, 2) as crew:
        found = outcome(train_in_parts(tiny_base, runs, crew, root_seed=1, keep=keep, resume=tmp_path))
    assert found.runs == here[0].runs + here[1].runs
    for step, one, other in zip(found.steps, here[0].steps, here[1].steps, strict=True):
        assert step == (one[0], one[1] + other[1], one[2] + other[2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed where they can be forked")
@pytest.mark.usefixtures("keep_always")
def test_forty_kills_at_any_moment_end_in_the_same_bits(tiny_base, tmp_path):
    """SIGKILL in the middle of steps and of writing: after each, whatever lies there is whole, and the end is as if nothing had been."""
    runs = [plain_run("a", steps=60, optimiser="prodigy", lr=1.0), plain_run("b", 2, steps=60, optimiser="prodigy", lr=1.0, replicate=1)]
    keep, dice, done = {5, 30, 31}, random.Random(0), [0]
    expected = outcome(train_stack(tiny_base, runs, root_seed=3, keep=keep))
    for _ in range(40):
        child = os.fork()
        if child == 0:
            try:
                list(train_stack(tiny_base, runs, root_seed=3, keep=keep, resume=tmp_path))
            finally:
                os._exit(0)
        time.sleep(dice.uniform(0.02, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        state = tmp_path / STATE
        done.append(len(safetensors.torch.load(state.read_bytes())["curve"]) if state.is_file() else 0)
    assert done == sorted(done)  # nothing that was kept was ever lost
    assert outcome(train_stack(tiny_base, runs, root_seed=3, keep=keep, resume=tmp_path)) == expected


# --- how often ------------------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only where work is done: ``step`` seconds a step, ``cost`` seconds a keeping."""

    def __init__(self, folder: Path, step: float, cost: float) -> None:
        self.now, self.step, self.cost, self.kept_at = 0.0, step, cost, list[float]()
        self.keeper = Keeper(folder, "one", clock=lambda: self.now)
        self.keeper._write = self._write  # type: ignore[method-assign]

    def _write(self, *_args: Any) -> None:
        self.now += self.cost
        self.kept_at.append(self.keeper.worked)

    def work(self, seconds: float) -> Clock:
        for step in range(1, round(seconds / self.step) + 1):
            with self.keeper.working():
                self.now += self.step
            self.keeper.offer(step, lambda: State({"values": torch.zeros(2, 8)}, [], []), None)
        return self


@pytest.mark.parametrize(("step", "cost"), [(0.01, 0.002), (0.05, 0.01), (0.5, 0.1), (30.0, 0.5)])
def test_keeping_costs_at_most_a_hundredth_and_a_kill_undoes_little(tmp_path, step, cost):
    clock = Clock(tmp_path, step, cost).work(900)
    assert clock.keeper.spent <= 0.0101 * clock.keeper.worked
    gaps = np.diff([0, *clock.kept_at])
    assert gaps.max() <= max(200 * cost, step, 0.5) + step  # what a hundredth allows, as soon as a step has ended
    assert gaps.max() <= 60 + step


def test_a_state_is_kept_once_a_minute_whatever_it_costs(tmp_path):
    clock = Clock(tmp_path, 5.0, 20.0).work(600)
    assert np.diff([0, *clock.kept_at]).max() <= 65


def test_the_first_state_is_kept_early(tmp_path):
    """Before any keeping has been timed it is taken to cost a few milliseconds, so that a kill after six seconds finds a state."""
    assert Clock(tmp_path, 0.05, 0.02).work(60).kept_at[0] < 1
