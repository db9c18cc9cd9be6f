"""Training: packed runs against separate ones, what couples nothing, stopped runs, repeatability, common random numbers."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from diffusers import DDPMScheduler

from loralab.adapters import AdapterStack, adapter_sha256, make_adapter
from loralab.errors import LabError
from loralab.spec.models import TrainSpec
from loralab.train import TrainRun, train_stack
from loralab.train.schedules import learning_rate
from loralab.train.streams import init_seed, sample_noise, sample_order
from tests.support.loops import finish

pytestmark = pytest.mark.usefixtures("one_thread")


def make_run(name: str, *, data: int = 0, n: int = 3, replicate: int = 0, **recipe) -> TrainRun:
    """Return a run over random latents and embeddings of the tiny base's shapes."""
    generator = torch.Generator().manual_seed(data)
    latents, embeddings = torch.randn(n, 4, 8, 8, generator=generator), torch.randn(n, 12, 16, generator=generator)
    return TrainRun(name, TrainSpec(**({"steps": 5, "batch": 2} | recipe)), latents, embeddings, replicate)


def train(base, runs, root_seed=0):
    """Return (trained runs, steps)."""
    return finish(train_stack(base, runs, root_seed=root_seed))


def weights_of(trained) -> torch.Tensor:
    return torch.cat([factor.flatten() for pair in trained.adapter.weights.values() for factor in pair])


def four_runs(steps: int) -> list[TrainRun]:
    return [
        make_run("a", data=1, rank=2, alpha=2.0, steps=steps),
        make_run("b", data=2, rank=4, alpha=1.0, steps=steps, lr=3e-4, schedule="cosine", replicate=1),
        make_run("c", data=3, rank=8, alpha=4.0, steps=steps, n=5, weight_decay=0.1, warmup=7, replicate=2),
        make_run("d", data=4, rank=4, alpha=8.0, steps=steps, n=1, max_grad_norm=0.02),
    ]


def ops_of(base, run) -> set[str]:
    """Return the names of the operators that a training calls."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        train(base, [run])
    return {event.key for event in seen.key_averages()}


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_half_precision_on_a_processor_leaves_the_slow_attention_kernel_alone(tiny_base):
    half = replace(tiny_base.with_parts(unet=deepcopy(tiny_base.unet).to(torch.bfloat16)), dtype=torch.bfloat16)
    slow = "aten::_scaled_dot_product_flash_attention_for_cpu_backward"
    run = make_run("a", rank=2, steps=2)
    assert slow in ops_of(tiny_base, run)  # float32 keeps it: were it renamed, this test would see it here
    assert slow not in ops_of(half, run)


def test_half_precision_learns_what_float32_learns(tiny_base):
    half = replace(tiny_base.with_parts(unet=deepcopy(tiny_base.unet).to(torch.bfloat16)), dtype=torch.bfloat16)
    run = make_run("a", rank=4, steps=30, lr=1e-3)
    start = torch.cat([f.flatten() for pair in make_adapter(tiny_base, run.spec, init_seed(0, 0)).weights.values() for f in pair])
    one, other = (weights_of(train(base, [run])[0][0]) - start for base in (tiny_base, half))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9


@pytest.mark.parametrize("steps", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_packed_training_equals_separate_training(tiny_base, steps):
    runs = four_runs(steps)
    packed, _ = train(tiny_base, runs)
    for run, together in zip(runs, packed, strict=True):
        (alone,), _ = train(tiny_base, [run])
        # sums in another order; measured 3.1e-6 after 20 steps as after 200, where the weights reach 0.5
        assert (weights_of(alone) - weights_of(together)).abs().max() < 1e-5
        assert alone.initial_sha256 == together.initial_sha256
        assert torch.allclose(torch.tensor(alone.losses), torch.tensor(together.losses), rtol=1e-4)


def test_one_run_equals_a_plain_loop_with_torchs_adamw(tiny_base):
    run = make_run("a", rank=2, alpha=1.0, steps=6, lr=2e-3, weight_decay=0.05, max_grad_norm=0.02)
    (trained,), steps = train(tiny_base, [run], root_seed=3)
    stack = AdapterStack(tiny_base, [make_adapter(tiny_base, run.spec, init_seed(3, 0))], trainable=True)
    optimiser = torch.optim.AdamW(stack.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = DDPMScheduler.from_config(tiny_base.scheduler_config)
    order, noises = sample_order(3, 0, 3, 2), sample_noise(3, 0, (2, 4, 8, 8), 1000)
    for step in steps:
        index, (noise, timesteps) = next(order), next(noises)
        with stack.attached():
            predicted = tiny_base.unet(schedule.add_noise(run.latents[index], noise, timesteps), timesteps, run.embeddings[index]).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        optimiser.zero_grad(set_to_none=False)
        loss.backward()
        assert float(torch.nn.utils.clip_grad_norm_(stack.parameters(), 0.02)) > 0.02  # the limit is at work
        optimiser.step()
        assert step.losses[0] == pytest.approx(float(loss.detach()), abs=1e-6)
    (expected,) = stack.adapters()
    for path, pair in expected.weights.items():
        for ours, theirs in zip(trained.adapter.weights[path], pair, strict=True):
            assert (ours - theirs).abs().max() < 1e-6


def test_v_prediction_trains_on_the_velocity(tiny_base):
    base = replace(tiny_base, scheduler_config=tiny_base.scheduler_config | {"prediction_type": "v_prediction"})
    run = make_run("a", steps=1)
    _, (step,) = train(base, [run])
    index, (noise, timesteps) = next(sample_order(0, 0, 3, 2)), next(sample_noise(0, 0, (2, 4, 8, 8), 1000))
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2  # SD's "scaled_linear"
    a = (1 - betas).cumprod(0)[timesteps].sqrt()[:, None, None, None]
    s = (1 - a**2).sqrt()
    x = run.latents[index]
    with torch.no_grad():
        predicted = base.unet(a * x + s * noise, timesteps, run.embeddings[index]).sample
    expected = (predicted - (a * noise - s * x)).square().mean()  # Salimans & Ho 2022: v = alpha * eps - sigma * x
    assert step.losses[0] == pytest.approx(float(expected), rel=1e-5)


def test_training_repeats_bit_for_bit_and_leaves_the_base_and_the_global_stream_alone(tiny_base):
    runs = [make_run("a", data=1), make_run("b", data=2, rank=4, replicate=1)]
    before = {name: value.clone() for name, value in tiny_base.unet.state_dict().items()}
    state = torch.get_rng_state()
    first, first_steps = train(tiny_base, runs)
    torch.manual_seed(99)
    second, second_steps = train(tiny_base, runs)
    assert [adapter_sha256(run.adapter) for run in first] == [adapter_sha256(run.adapter) for run in second]
    assert first_steps == second_steps
    torch.set_rng_state(state)
    assert all(torch.equal(value, before[name]) for name, value in tiny_base.unet.state_dict().items())
    assert [step.step for step in first_steps] == [1, 2, 3, 4, 5]
    assert adapter_sha256(train(tiny_base, runs, root_seed=1)[0][0].adapter) != adapter_sha256(first[0].adapter)


def test_permuting_the_runs_permutes_the_results(tiny_base):
    runs = four_runs(5)
    order = [2, 0, 3, 1]
    straight, _ = train(tiny_base, runs)
    permuted, _ = train(tiny_base, [runs[k] for k in order])
    for place, k in enumerate(order):
        assert permuted[place].run_id == straight[k].run_id
        assert (weights_of(permuted[place]) - weights_of(straight[k])).abs().max() < 1e-5


def test_equal_runs_of_one_replicate_draw_the_same_and_of_two_do_not(tiny_base):
    same, twin, other = train(tiny_base, [make_run("a"), make_run("b"), make_run("c", replicate=1)])[0]
    assert same.initial_sha256 == twin.initial_sha256 != other.initial_sha256
    assert same.losses == pytest.approx(twin.losses, rel=1e-6)
    assert abs(same.losses[0] - other.losses[0]) > 1e-3


def test_nothing_of_one_run_reaches_another(tiny_base):
    """The neighbour's data, rate, decay and clipping change; the first run keeps every bit, in the same layout."""
    first = make_run("a", data=1)
    neighbours = [make_run("b", data=2), make_run("b", data=5, lr=0.5, weight_decay=0.5, max_grad_norm=1e-3, schedule="cosine", warmup=2)]
    results = [train(tiny_base, [first, neighbour])[0] for neighbour in neighbours]
    assert adapter_sha256(results[0][0].adapter) == adapter_sha256(results[1][0].adapter)
    assert adapter_sha256(results[0][1].adapter) != adapter_sha256(results[1][1].adapter)


def diverging(kind: str) -> TrainRun:
    run = make_run("wild", data=2, steps=8)
    if kind == "rate":  # beyond what a study may ask for
        return replace(run, spec=run.spec.model_copy(update={"lr": 1e30}))
    latents = run.latents.clone()
    latents[-1] = float("nan") if kind == "nan" else 1e25  # the squared error overflows
    return replace(run, latents=latents)


@pytest.mark.parametrize("kind", ["rate", "nan", "overflow"])
def test_a_run_that_diverges_stops_alone(tiny_base, kind):
    calm = [make_run("a", data=1, steps=8), make_run("b", data=3, steps=8, rank=4)]
    a, wild, b = train(tiny_base, [calm[0], diverging(kind), calm[1]])[0]
    still = train(tiny_base, [calm[0], make_run("wild", data=2, steps=8), calm[1]])[0]  # the same layout, nothing diverges
    assert wild.failed is not None
    assert "became infinite or NaN at step" in wild.failed
    assert len(wild.losses) < 8
    assert torch.isfinite(weights_of(wild)).all()
    for run, expected in ((a, still[0]), (b, still[2])):
        assert run.failed is None
        assert run.losses == expected.losses
        assert adapter_sha256(run.adapter) == adapter_sha256(expected.adapter)


def test_a_stopped_run_shows_no_loss(tiny_base):
    _, steps = train(tiny_base, [make_run("a", data=1, steps=8), diverging("nan")])
    shown = [step.losses[1] for step in steps]
    stop = shown.index(None)
    assert all(value is None for value in shown[stop:])
    assert all(step.losses[0] is not None for step in steps)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine():
    spec = TrainSpec(lr=1e-3, steps=12, warmup=4, schedule="cosine")
    # warm-up 1/4, 2/4, 3/4, 1; the cosine's middle lies 4 of 8 steps behind it, its end is 0
    assert [learning_rate(spec, step) for step in (1, 2, 4)] == pytest.approx([0.25e-3, 0.5e-3, 1e-3])
    assert learning_rate(spec, 8) == pytest.approx(0.5e-3)
    assert learning_rate(spec, 12) == pytest.approx(0, abs=1e-12)
    assert learning_rate(TrainSpec(lr=1e-3, steps=12), 12) == 1e-3


@pytest.mark.parametrize(
    ("runs", "says"),
    [
        ([make_run("a"), make_run("b", batch=3)], "2 different shapes"),
        ([make_run("a"), make_run("b", steps=6)], "2 different shapes"),
        ([make_run("a"), make_run("b", targets="transformer+conv")], "2 different shapes"),
        ([], "0 different shapes"),
        ([replace(make_run("a"), latents=torch.zeros(3, 4, 4, 4))], "a: latents"),
        ([replace(make_run("a"), embeddings=torch.zeros(2, 12, 16))], "a: latents"),
    ],
)
def test_runs_that_cannot_share_a_stack(tiny_base, runs, says):
    with pytest.raises(LabError, match=says) as raised:
        train(tiny_base, runs)
    assert raised.value.kind == "training"


def test_kept_steps_change_nothing_and_are_what_shorter_trainings_end_with(tiny_base):
    runs = four_runs(6)
    plain, _ = train(tiny_base, runs)
    kept, steps = finish(train_stack(tiny_base, runs, root_seed=0, keep={2, 6}))
    assert all(torch.equal(weights_of(one), weights_of(other)) for one, other in zip(plain, kept, strict=True))
    assert [len(step.adapters) for step in steps] == [0, 4, 0, 0, 0, 4]
    assert all(adapter_sha256(last) == adapter_sha256(run.adapter) for last, run in zip(steps[5].adapters, kept, strict=True))
    # a constant rate knows nothing of the end: the checkpoint at step 2 is a training of 2 steps
    short, _ = train(tiny_base, [replace(run, spec=run.spec.model_copy(update={"steps": 2})) for run in runs])
    for k in (0, 2, 3):  # the second has a cosine schedule
        assert adapter_sha256(steps[1].adapters[k]) == adapter_sha256(short[k].adapter)
    assert adapter_sha256(steps[1].adapters[1]) != adapter_sha256(short[1].adapter)
