"""The memory model: linear in the stack, near what a process is seen to take; checkpointing saves memory and changes no number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from loralab.bases import Base, embed_prompts
from loralab.cost import memory
from loralab.cost.memory import Demand, LivePeak, fit, train_demand, train_peak_bytes
from loralab.errors import LabError
from loralab.spec import BASE, SampleSpec, TrainSpec, load_study
from loralab.study.plan import Sizes, make_plan
from loralab.train import TrainRun, train_stack
from tests.support.commands import run_python

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = TrainSpec(rank=2, batch=2, steps=2)
ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"


def test_the_counter_sees_each_stretch_of_memory_once_and_forgets_what_is_gone() -> None:
    """By hand: 400 + 400 bytes alive at most; the view shares its memory, the first tensor is gone before the third comes."""
    with LivePeak([]) as counter:
        one = torch.zeros(100)
        view = one.reshape(10, 10)
        two = one + 1
        del one, view
        three = torch.zeros(50)
        assert counter.live == two.nbytes + three.nbytes == 600
    assert counter.peak == 800


def test_a_stack_takes_the_same_for_each_lora(tiny_base: Base) -> None:
    demand = train_demand(tiny_base, [RECIPE], checkpointing=False)
    assert demand.each > 0
    assert train_peak_bytes(tiny_base, RECIPE, 5, checkpointing=False) == pytest.approx(demand.at(5), rel=0.02)


def test_a_dry_run_is_made_once_for_what_it_depends_on(tiny_base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other weights and other rates take the same; another rank, number, precision or part does not, nor does another base."""
    made: list[int] = []
    monkeypatch.setattr(memory, "_FOUND", {})
    monkeypatch.setattr(memory, "dry_step", lambda dry, recipes, checkpointing: made.append(len(recipes)))

    def ask(base: Base = tiny_base, n: int = 1, checkpointing: bool = False, **recipe: float) -> int:
        train_peak_bytes(base, RECIPE.model_copy(update=recipe), n, checkpointing=checkpointing)
        return len(made)

    other = replace(tiny_base, fingerprint="f" * 64)
    assert [ask(), ask(), ask(lr=0.5, steps=90), ask(other)] == [1] * 4
    larger = torch.nn.Linear(2, 2)
    bases = [replace(tiny_base, dtype=torch.bfloat16), tiny_base.with_parts(more=larger), replace(tiny_base, latent_shape=(4, 16, 16))]
    assert [ask(rank=3), ask(batch=4), ask(n=2), ask(checkpointing=True), *map(ask, bases)] == [*range(2, 9)]


def test_checkpointing_saves_memory_and_changes_no_number(tiny_base: Base) -> None:
    kept, again = (train_demand(tiny_base, [RECIPE], checkpointing=on).at(4) for on in (False, True))
    assert again < 0.8 * kept
    latents = torch.randn(3, *tiny_base.latent_shape, generator=torch.Generator().manual_seed(0))
    runs = [TrainRun(f"r{k}", RECIPE, latents, embed_prompts(tiny_base, ["a", "b", "c"]), replicate=k) for k in range(2)]
    losses = [[step.losses for step in train_stack(tiny_base, runs, root_seed=1, checkpointing=on)] for on in (False, True)]
    assert losses[0] == losses[1]
    assert not tiny_base.unet.is_gradient_checkpointing


def fitted(left: float, checkpointing: bool | None = None) -> Sizes:
    """One LoRA takes 10 + 100 bytes, 10 + 40 with checkpointing, a picture 5 + 20; ``left`` bytes are there beside weights and torch."""
    room = left * memory.KERNEL_SHARE + memory.OVERHEAD_BYTES + 1000
    return fit(room, 1000, checkpointing, lambda on: Demand(10, 40 if on else 100), Demand(5, 20))


def test_as_much_goes_together_as_the_memory_allows() -> None:
    five = fitted(510.5)
    assert (five.stack, five.images, five.checkpointing, five.train_bytes, five.draw_bytes) == (5, 25, False, 510, 505)
    assert (fitted(1e9).stack, fitted(1e9).images) == (memory.MAX_STACK, memory.MAX_IMAGES)


def test_checkpointing_comes_on_where_one_lora_would_not_fit_without() -> None:
    saved = fitted(100)
    assert (saved.stack, saved.checkpointing) == (2, True)
    assert fitted(210.5, checkpointing=True).stack == 5
    with pytest.raises(LabError, match="training one LoRA would take"):
        fitted(100, checkpointing=False)
    with pytest.raises(LabError, match="at most the"):
        fitted(30)


def in_processes(left: float, processes: int) -> Sizes:
    """As `fitted`, with ``left`` bytes beside the first process's weights and torch."""
    return fit(left + memory.OVERHEAD_BYTES + 1000, 1000, None, lambda on: Demand(10, 40 if on else 100), Demand(5, 20), processes)


def test_there_are_as_many_processes_as_have_room() -> None:
    each = memory.OVERHEAD_BYTES + 1000 + memory.KERNEL_SHARE * 110.5  # a process with one LoRA
    assert [in_processes(n * each, 8).processes for n in (8, 7.9, 2, 1.9)] == [8, 7, 2, 1]
    assert in_processes(2 * each, 8).stack == 2  # one in each
    alone = in_processes(1.9 * each, 8)
    assert (alone.stack, alone.checkpointing) == (memory.MAX_STACK, False)


@pytest.mark.parametrize(("gib", "processes"), [(64, 8), (4, 2), (1, 1)])
def test_petris_processes_need_room_too(tiny_base: Base, gib: int, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "room_bytes", lambda load, device: gib * 2**30)
    monkeypatch.setattr(memory, "processes_for", lambda plan, bases: 8)
    plan = memory.sized(make_plan(load_study(ARTICLE, "quick").spec), {BASE: replace(tiny_base, name="petri")})
    assert (plan.sizes.processes, plan.sizes.stack) == (processes, processes * memory.MAX_STACK)


def test_drawing_is_sized_by_the_vae_too(tiny_base: Base) -> None:
    demand = memory.draw_demand(tiny_base, SampleSpec(guidance=3), [RECIPE])
    assert demand.at(1) >= memory.decode_peak_bytes(tiny_base)
    assert demand.each > 0


MEASURE = r"""
import re, sys, torch
torch.set_num_threads(1)
from loralab.bases import embed_prompts, load_base
from loralab.spec import TrainSpec
from loralab.train import TrainRun, train_stack
from tests.support.commands import run_python
base, n = load_base(sys.argv[1]), int(sys.argv[2])
recipe = TrainSpec(rank=8, batch=64, steps=2)
latents, text = torch.zeros(1, *base.latent_shape), embed_prompts(base, ["a"])
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])  # ru_maxrss would begin with the parent's
before = peak()
for _ in train_stack(base, [TrainRun(str(k), recipe, latents, text, replicate=k) for k in range(n)], root_seed=0): pass
print((peak() - before) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux tells the most that a process has held")
def test_the_prediction_is_near_what_a_process_is_seen_to_take(tiny_base: Base, tiny_base_folder: Path) -> None:
    """tracemalloc does not see torch's memory: a process of its own, and the most that the system saw it hold."""
    done = run_python(MEASURE, tiny_base_folder, "8")
    measured = int(done.stdout)
    predicted = train_peak_bytes(tiny_base, TrainSpec(rank=8, batch=64), 8, checkpointing=False)
    assert predicted > 100e6
    assert 0.7 * predicted <= measured <= predicted * memory.KERNEL_SHARE + memory.OVERHEAD_BYTES


def test_training_the_text_encoder_takes_more(tiny_base: Base) -> None:
    both = RECIPE.model_copy(update={"text_encoder_lr": 1e-3})
    frozen, trained = (train_peak_bytes(tiny_base, recipe, 1, checkpointing=False) for recipe in (RECIPE, both))
    assert trained > frozen
