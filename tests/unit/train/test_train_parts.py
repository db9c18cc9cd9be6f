"""A stack cut into parts that train beside each other: the same runs come out, and what is attached to one part reaches no other."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
import torch

from loralab.adapters import AdapterStack, adapter_sha256, make_adapter
from loralab.bases import Base, structural_twin
from loralab.spec.models import TrainSpec
from loralab.train import Feed, Step, TrainedRun, TrainRun, train_in_parts, train_stack
from loralab.train.parts import parts_for


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def make_runs(n: int, **recipe: Any) -> list[TrainRun]:
    generator = torch.Generator().manual_seed(5)
    latents, embeddings = torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 12, 16, generator=generator)
    spec = TrainSpec(**({"rank": 2, "steps": 5, "batch": 2} | recipe))
    return [TrainRun(str(k), spec, latents + 0.1 * k, embeddings, replicate=k % 3) for k in range(n)]


def finish(loop: Generator[Step, None, list[TrainedRun]]) -> tuple[list[TrainedRun], list[Step]]:
    steps = []
    while True:
        try:
            steps.append(next(loop))
        except StopIteration as end:
            return end.value, steps


def weights_of(trained: TrainedRun) -> torch.Tensor:
    return torch.cat([factor.flatten() for pair in trained.adapter.weights.values() for factor in pair])


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("n", [8, 11])
def test_parts_train_what_the_whole_stack_trains(tiny_base: Base, n: int):
    runs = make_runs(n)
    torch.set_num_threads(1)  # two that share each operator of a tiny base wait for one another for most of a minute on a busy machine
    whole, whole_steps = finish(train_stack(tiny_base, runs, root_seed=1, keep={2}))
    torch.set_num_threads(2)
    parts, steps = finish(train_in_parts(tiny_base, runs, root_seed=1, keep={2}))
    assert parts_for(runs, tiny_base.device, 2) == 2
    assert [run.run_id for run in parts] == [run.run_id for run in whole]
    assert [run.initial_sha256 for run in parts] == [run.initial_sha256 for run in whole]
    for one, other in zip(parts, whole, strict=True):
        assert (weights_of(one) - weights_of(other)).abs().max() < 1e-5  # as packed against separate
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    for step, expected in zip(steps, whole_steps, strict=True):
        assert step.losses == pytest.approx(expected.losses, rel=1e-4)
        assert len(step.adapters) == len(expected.adapters)


@pytest.mark.usefixtures("two_threads")
def test_parts_repeat_bit_for_bit_and_leave_the_base_and_the_threads_alone(tiny_base: Base):
    before = {name: value.clone() for name, value in tiny_base.unet.state_dict().items()}
    first, second = ([adapter_sha256(run.adapter) for run in finish(train_in_parts(tiny_base, make_runs(8), root_seed=1))[0]] for _ in "ab")
    assert first == second
    assert all(torch.equal(value, before[name]) for name, value in tiny_base.unet.state_dict().items())
    assert not any("forward" in module.__dict__ for module in tiny_base.unet.modules())
    assert torch.get_num_threads() == 2


def test_a_twin_has_the_same_tensors_and_modules_of_its_own(tiny_base: Base):
    twin = structural_twin(tiny_base)
    own, other = dict(tiny_base.unet.named_parameters()), dict(twin.unet.named_parameters())
    assert own.keys() == other.keys()
    assert all(own[name].data_ptr() == other[name].data_ptr() for name in own)
    adapter = make_adapter(tiny_base, TrainSpec(rank=2), 0)
    with AdapterStack(twin, [adapter]).attached():
        assert any("forward" in module.__dict__ for module in twin.unet.modules())
        assert not any("forward" in module.__dict__ for module in tiny_base.unet.modules())


def test_how_many_parts_a_stack_has(tiny_base: Base):
    cpu = torch.device("cpu")
    assert [parts_for(make_runs(n), cpu, 2) for n in (1, 7, 8, 16)] == [1, 1, 2, 2]
    assert parts_for(make_runs(16), cpu, 1) == 1
    assert parts_for(make_runs(16), cpu, 8) == 4
    assert parts_for(make_runs(16), torch.device("cuda"), 2) == 1
    shared = Feed(tiny_base, (), False)
    fed = [TrainRun(run.run_id, run.spec, run.latents, None, 0, feed=shared) for run in make_runs(16)]
    assert parts_for(fed, cpu, 2) == 1
