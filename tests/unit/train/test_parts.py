"""The parts of training: the stacked optimiser against torch's, padding, streams, packing, losses."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loralab.adapters import AdapterStack, make_adapter
from loralab.bases.diffusion import make_noise_schedule
from loralab.errors import LabError
from loralab.spec.models import TrainSpec
from loralab.spec.packing import pack_runs, shape_signature
from loralab.train.losses import run_losses
from loralab.train.optimisers import Values, make_optimiser
from loralab.train.streams import sample_noise, sample_order

pytestmark = pytest.mark.usefixtures("one_thread")


def test_each_row_is_torchs_adamw_with_its_own_rate_decay_and_clipping():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 50, generator=generator)
    rates, decays, limits = [1e-3, 1e-2, 0.3], [0.0, 0.1, 0.5], [1.0, 1e9, 0.1]
    rows = [torch.nn.Parameter(row.clone()) for row in start]
    references = [torch.optim.AdamW([row], lr=lr, weight_decay=wd) for row, lr, wd in zip(rows, rates, decays, strict=True)]
    values = start.clone()
    recipes = [TrainSpec(weight_decay=wd, max_grad_norm=limit) for wd, limit in zip(decays, limits, strict=True)]
    ours = make_optimiser(Values(values), recipes)
    for _ in range(100):
        gradients = torch.randn(3, 50, generator=generator)
        ours.step(gradients, gradients.norm(dim=1), torch.tensor(rates), torch.ones(3, dtype=torch.bool))
        for row, gradient, reference, limit in zip(rows, gradients, references, limits, strict=True):
            row.grad = gradient.clone()
            torch.nn.utils.clip_grad_norm_([row], limit)
            reference.step()
    for k in range(2):
        assert (values[k] - rows[k]).abs().max() < 1e-6
    assert (values[2] - rows[2]).abs().max() < 1e-5  # 100 steps of up to 0.3


def test_a_stopped_row_keeps_its_values_whatever_its_gradient():
    values = torch.ones(2, 4)
    optimiser = make_optimiser(Values(values), [TrainSpec(weight_decay=0.1)] * 2)
    gradients = torch.stack([torch.full((4,), float("nan")), torch.ones(4)])
    optimiser.step(gradients, gradients.norm(dim=1), torch.tensor([0.1, 0.1]), torch.tensor([False, True]))
    assert torch.equal(values[0], torch.ones(4))
    assert (values[1] < 0.95).all()
    assert torch.isfinite(optimiser.held["first"]).all()
    assert torch.isfinite(optimiser.held["second"]).all()


def test_padding_stays_exactly_zero_in_values_gradients_and_moments(tiny_base):
    specs = [TrainSpec(rank=rank, weight_decay=0.1, lr=1e-2, targets="transformer+conv") for rank in (1, 4)]
    stack = AdapterStack(tiny_base, [make_adapter(tiny_base, spec, 1) for spec in specs], trainable=True)
    optimiser = make_optimiser(Values(stack.flat), specs)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        with stack.attached():
            text, times = torch.randn(4, 12, 16, generator=generator), torch.tensor([5, 300, 600, 900])
            outputs = tiny_base.unet(torch.randn(4, 4, 8, 8, generator=generator), times, text).sample.square().unflatten(0, (2, 2))
            gradient = stack.values.gradient(outputs.mean(dim=(1, 2, 3, 4)))
        optimiser.step(gradient, gradient.norm(dim=1), torch.tensor([1e-2, 1e-2]), torch.ones(2, dtype=torch.bool))
    start = 0
    for pair in stack.pairs:
        for factor, padding in ((pair.down, (0, slice(1, None))), (pair.up, (0, slice(None), slice(1, None)))):
            assert not factor[padding].any()
            for flat in (gradient, optimiser.held["first"], optimiser.held["second"]):
                assert not flat[:, start : start + factor[0].numel()].unflatten(1, factor.shape[1:])[padding].any()
            assert factor[0].any()  # what is no padding was trained
            start += factor[0].numel()
    assert start == stack.flat.shape[1]


def test_the_order_of_examples_is_made_of_whole_epochs():
    drawn = torch.cat(list(islice(sample_order(0, 0, 5, 3), 10)))  # 30 draws = 6 epochs of 5
    epochs = drawn.reshape(6, 5)
    assert all(sorted(epoch.tolist()) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) > 1
    assert torch.cat(list(islice(sample_order(0, 0, 2, 7), 2))).bincount().tolist() == [7, 7]  # a batch above the set's size


def test_the_streams_of_a_replicate_depend_on_root_and_replicate_alone():
    def draw(root, replicate):
        noise, timesteps = next(sample_noise(root, replicate, (2, 3), 1000))
        return (*noise.flatten().tolist(), *timesteps.tolist())

    assert draw(0, 0) == draw(0, 0)
    assert len({draw(0, 0), draw(0, 1), draw(1, 0)}) == 3


RECIPES = st.builds(
    TrainSpec, rank=st.integers(1, 8), batch=st.integers(1, 2), steps=st.integers(1, 2), lr=st.sampled_from([1e-3, 1e-4]),
    targets=st.sampled_from(["transformer", "transformer+conv"]),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(RECIPES, max_size=20), st.integers(1, 5))
def test_packing_keeps_every_run_once_and_mixes_no_shapes(specs, max_stack):
    runs = [(f"r{index}", spec) for index, spec in enumerate(specs)]
    stacks = pack_runs(runs, max_stack)
    by_id = dict(runs)
    assert sorted(run for stack in stacks for run in stack) == sorted(by_id)
    assert all(1 <= len(stack) <= max_stack and len({shape_signature(by_id[run]) for run in stack}) == 1 for stack in stacks)
    shapes = [shape_signature(by_id[stack[0]]) for stack in stacks if len(stack) < max_stack]
    assert len(shapes) == len(set(shapes))  # at most one stack of a shape is not full
    assert pack_runs(runs, max_stack) == stacks


def test_each_runs_loss_is_its_own_mean():
    predicted, target = torch.zeros(4, 1, 1, 2), torch.tensor([1.0, 1, 1, 1, 2, 2, 0, 0]).reshape(4, 1, 1, 2)
    assert run_losses(predicted, target, 2).tolist() == [1.0, 2.0]  # (4 * 1) / 4 and (2 * 4 + 2 * 0) / 4


def test_an_unknown_prediction_type_is_an_error():
    with pytest.raises(LabError, match="predicts 'sample'"):
        make_noise_schedule({"prediction_type": "sample"})
