"""Every optimiser of the table against the package that people use, 50 steps, runs with different settings in one stack; and resumed."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.training_utils import EMAModel

from loralab.adapters import AdapterStack, make_adapter
from loralab.spec.models import TrainSpec
from loralab.spec.packing import shape_signature
from loralab.train.averages import Averages
from loralab.train.optimisers import OPTIMISERS, Values, make_optimiser
from loralab.train.optimisers.adam import dynamic_code

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 50
#: a small layer, a layer above bitsandbytes' 4,096 values, and a convolution's two factors as files have them
SHAPES = [(2, 12), (20, 2), (16, 400), (2, 3, 3, 3), (8, 2, 1, 1)]

Make = Callable[[list[torch.nn.Parameter], TrainSpec], torch.optim.Optimizer]


def silent(make: Callable[[], torch.optim.Optimizer]) -> torch.optim.Optimizer:
    with contextlib.redirect_stdout(io.StringIO()):
        return make()


def adamw(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    betas = (recipe.beta1 or 0.9, recipe.beta2 or 0.999)
    return torch.optim.AdamW(params, lr=recipe.lr, betas=betas, eps=recipe.epsilon or 1e-8, weight_decay=recipe.weight_decay)


def adamw_8bit(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    import bitsandbytes

    betas = (recipe.beta1 or 0.9, recipe.beta2 or 0.999)
    return bitsandbytes.optim.AdamW8bit(params, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay)


def sgd(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    given = {"momentum": recipe.momentum, "nesterov": recipe.nesterov, "weight_decay": recipe.weight_decay}
    return torch.optim.SGD(params, lr=recipe.lr, **given)


def lion(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    import lion_pytorch

    betas = (recipe.beta1 or 0.9, recipe.beta2 or 0.99)
    return lion_pytorch.Lion(params, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay)


def adafactor(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    return Adafactor(
        params, lr=None if recipe.relative_step else recipe.lr, relative_step=recipe.relative_step, warmup_init=False,
        scale_parameter=recipe.scale_parameter, beta1=recipe.beta1, weight_decay=recipe.weight_decay,
    )  # fmt: skip


def prodigy(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    import prodigyopt

    return silent(lambda: prodigyopt.Prodigy(
        params, lr=recipe.lr, betas=(recipe.beta1 or 0.9, recipe.beta2 or 0.999), weight_decay=recipe.weight_decay, d0=recipe.d0,
        d_coef=recipe.d_coef, growth_rate=recipe.growth_rate or math.inf, use_bias_correction=recipe.bias_correction,
        safeguard_warmup=recipe.safeguard_warmup,
    ))  # fmt: skip


def dadapt_adam(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    import dadaptation

    return silent(lambda: dadaptation.DAdaptAdam(
        params, lr=recipe.lr, weight_decay=recipe.weight_decay, decouple=True, d0=recipe.d0, growth_rate=recipe.growth_rate or math.inf,
        use_bias_correction=recipe.bias_correction,
    ))  # fmt: skip


def schedule_free(params: list[torch.nn.Parameter], recipe: TrainSpec) -> torch.optim.Optimizer:
    import schedulefree

    found = schedulefree.AdamWScheduleFree(
        params, lr=recipe.lr, betas=(recipe.beta1 or 0.9, recipe.beta2 or 0.999), weight_decay=recipe.weight_decay,
        warmup_steps=int(recipe.warmup),
    )  # fmt: skip
    found.train()
    return found


#: optimiser -> its reference, recipes that share a stack, and the largest difference that is let pass (values are about 1)
CASES: dict[str, tuple[Make, list[dict[str, Any]], float]] = {
    "adamw": (adamw, [{}, {"lr": 1e-2, "beta1": 0.8, "weight_decay": 0.1}, {"beta2": 0.95, "epsilon": 1e-5}], 1e-6),
    "adamw-8bit": (adamw_8bit, [{}, {"lr": 1e-2, "weight_decay": 0.1}], 2e-3),  # a moment between two codes may fall either way
    "sgd": (sgd, [{"momentum": 0.0}, {}, {"nesterov": True, "weight_decay": 0.1, "lr": 1e-2}], 1e-6),
    "lion": (lion, [{"lr": 1e-4}, {"beta1": 0.95, "beta2": 0.98, "weight_decay": 0.5}], 1e-6),
    "adafactor": (
        adafactor,
        [{}, {"relative_step": True, "scale_parameter": True}, {"beta1": 0.9, "weight_decay": 0.1}, {"scale_parameter": True}],
        2e-6,
    ),
    "prodigy": (
        prodigy,
        [{"lr": 1.0, "weight_decay": 0.0}, {"lr": 1.0, "weight_decay": 0.1, "bias_correction": True, "safeguard_warmup": True},
         {"lr": 0.5, "d_coef": 2.0, "growth_rate": 1.3, "d0": 1e-5}],
        1e-4,  # the rate that it finds hangs on sums over all values, which it adds up tensor by tensor
    ),
    "dadapt-adam": (
        dadapt_adam, [{"lr": 1.0, "weight_decay": 0.0}, {"lr": 1.0, "bias_correction": True}, {"lr": 0.5, "growth_rate": 1.2}], 2e-5
    ),
    "schedule-free-adamw": (
        schedule_free, [{"weight_decay": 0.0}, {"lr": 1e-2, "warmup": 10, "weight_decay": 0.1}, {"beta1": 0.95}], 1e-6
    ),
}  # fmt: skip


def recipes_of(name: str) -> list[TrainSpec]:
    return [TrainSpec(**({"optimiser": name, "steps": STEPS, "max_grad_norm": 1e9} | case)) for case in CASES[name][1]]


def columns_of() -> list[tuple[slice, tuple[int, ...]]]:
    found, start = [], 0
    for shape in SHAPES:
        found.append((slice(start, start + math.prod(shape)), shape))
        start += math.prod(shape)
    return found


def starts(k: int) -> torch.Tensor:
    n = sum(math.prod(shape) for shape in SHAPES)
    return torch.randn(k, n, generator=torch.Generator().manual_seed(k))


def gradients_at(values: torch.Tensor, step: int) -> torch.Tensor:
    """Return the gradients of a bowl around 3 (K, P), steeper in some directions, with noise that is the same for equal step numbers."""
    steep = torch.logspace(-2, 0, values.shape[1])
    noise = torch.randn(values.shape[1], generator=torch.Generator().manual_seed(step))
    return (values - 3) * steep + 0.3 * noise


def rate_at(recipe: TrainSpec, step: int) -> float:
    return recipe.lr * min(1.0, step / recipe.warmup) if recipe.warmup else recipe.lr


def run_ours(name: str, values: torch.Tensor, steps: int = STEPS, recipes: list[TrainSpec] | None = None) -> Any:
    recipes = recipes_of(name) if recipes is None else recipes
    optimiser = make_optimiser(Values(values, columns_of()), recipes)
    go_on(optimiser, values, recipes, 1, steps)
    return optimiser


def go_on(optimiser: Any, values: torch.Tensor, recipes: list[TrainSpec], first: int, last: int) -> None:
    for step in range(first, last + 1):
        gradients = gradients_at(values, step)
        rates = torch.tensor([rate_at(recipe, step) for recipe in recipes])
        optimiser.step(gradients, gradients.norm(dim=1), rates, torch.ones(len(recipes), dtype=torch.bool))


def run_reference(make: Make, start: torch.Tensor, recipe: TrainSpec) -> torch.Tensor:
    """Return the values (P,) of one run after its steps, each tensor a parameter of its own."""
    params = [torch.nn.Parameter(start[place].reshape(shape).clone()) for place, shape in columns_of()]
    optimiser = make(params, recipe)
    for step in range(1, STEPS + 1):
        flat = torch.cat([param.detach().flatten() for param in params])
        for param, (place, shape) in zip(params, columns_of(), strict=True):
            param.grad = gradients_at(flat[None], step)[0, place].reshape(shape).clone()
        optimiser.step()
    if hasattr(optimiser, "eval"):
        optimiser.eval()  # schedule-free: the average
    return torch.cat([param.detach().flatten() for param in params])


def test_every_optimiser_has_a_reference():
    assert CASES.keys() == OPTIMISERS.keys()


def nearest(a: torch.Tensor, code: torch.Tensor, absmax: torch.Tensor, out: torch.Tensor, blocksize: int) -> None:
    """Round to the nearest code, in place of the table of 65,536 entries that bitsandbytes takes on a CPU (its GPU kernels round so)."""
    blocks = torch.nn.functional.pad(a, (0, -len(a) % blocksize)).unflatten(0, (-1, blocksize))
    absmax.copy_(blocks.abs().amax(dim=1))
    shares = (blocks / absmax[:, None].clamp(min=1e-38)).flatten()[: len(a)]
    out.copy_((shares[:, None] - code).abs().argmin(dim=1))


@pytest.fixture
def exact_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    import bitsandbytes.backends.cpu.ops as ops

    def rounded(a: torch.Tensor, code: torch.Tensor, absmax: torch.Tensor, out: torch.Tensor, blocksize: int) -> None:
        found = out.flatten()
        nearest(a.flatten(), code, absmax, found, blocksize)

    monkeypatch.setattr(ops, "_quant_blockwise_fp32_direct", rounded)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.usefixtures("exact_rounding")
@pytest.mark.filterwarnings("ignore")  # the packages' own
def test_each_run_of_a_stack_is_the_packages_own_optimiser(name, record_property):
    make, _, tolerance = CASES[name]
    recipes = recipes_of(name)
    values = starts(len(recipes))
    start = values.clone()
    shown = run_ours(name, values).shown()
    for k, recipe in enumerate(recipes):
        expected = run_reference(make, start[k], recipe)
        difference = float((shown[k] - expected).abs().max())
        record_property(f"largest difference {k}", difference)
        assert (expected - start[k]).abs().max() > 1e-4  # it moved
        assert difference < tolerance, recipe.turned


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_run_does_not_feel_its_company(name):
    """Alone, and beside runs with other settings: equal settings are updated together, different ones row by row."""
    recipes = recipes_of(name)
    together = starts(len(recipes))
    alone = together[:1].clone()
    assert torch.equal(run_ours(name, together).shown()[0], run_ours(name, alone, recipes=recipes[:1]).shown()[0])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_cut_off_and_restored_goes_on_bit_for_bit(name):
    recipes = recipes_of(name)
    whole = starts(len(recipes))
    expected = run_ours(name, whole).shown().clone()
    values = starts(len(recipes))
    first = run_ours(name, values, 20)
    state = {key: value.clone() for key, value in first.state().items()}
    fresh = make_optimiser(Values(values, columns_of()), recipes)  # what it would take from the values alone is not what it began with
    fresh.restore(state)
    go_on(fresh, values, recipes, 21, STEPS)
    assert torch.equal(fresh.shown(), expected)
    cold = run_ours(name, starts(len(recipes)), 20)
    cold_values = cold.values
    go_on(make_optimiser(Values(cold_values, columns_of()), recipes), cold_values, recipes, 21, STEPS)
    differs = [k for k in range(len(recipes)) if not torch.equal(cold_values[k], whole[k])]
    assert differs or name == "sgd"
    assert len(differs) >= len(recipes) - (1 if name == "sgd" else 0)  # without momentum there is nothing to lose


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_stopped_run_keeps_its_values_and_leaves_the_others_alone(name):
    recipes = [recipes_of(name)[0]] * 3
    values, others = starts(3), starts(3)[[0, 2]]
    start, optimiser, pair = values.clone(), make_optimiser(Values(values, columns_of()), recipes), None
    pair = make_optimiser(Values(others, columns_of()), recipes[:2])
    for step in range(1, 6):
        gradients = gradients_at(values, step)
        gradients[1] = float("nan")
        rates, alive = torch.full((3,), recipes[0].lr), torch.tensor([True, False, True])
        optimiser.step(gradients, gradients.norm(dim=1), rates, alive)
        two = gradients_at(others, step)
        pair.step(two, two.norm(dim=1), rates[:2], alive[[0, 2]])
    assert torch.equal(optimiser.shown()[1], start[1])
    assert torch.equal(optimiser.shown()[[0, 2]], pair.shown())


@pytest.mark.parametrize("name", OPTIMISERS)
def test_padding_stays_exactly_zero(tiny_base, name):
    ranks = (4, 4) if name in ("adafactor", "adamw-8bit") else (1, 4)
    specs = [TrainSpec(rank=rank, optimiser=name, lr=1e-2, weight_decay=0.1, targets="transformer+conv") for rank in ranks]
    stack = AdapterStack(tiny_base, [make_adapter(tiny_base, spec, 1) for spec in specs], trainable=True)
    optimiser = make_optimiser(Values(stack.flat, stack.columns), specs)
    real = torch.zeros_like(stack.flat, dtype=torch.bool)
    ones = AdapterStack(tiny_base, [make_adapter(tiny_base, spec, 1) for spec in specs])
    for pair in ones.pairs:
        for k, rank in enumerate(ranks):
            pair.down[k, :rank], pair.up[k, :, :rank] = 1, 1
    real = ones.flat != 0
    for step in range(5):
        gradients = torch.where(real, gradients_at(stack.flat, step), 0.0)
        optimiser.step(gradients, gradients.norm(dim=1), torch.full((2,), 1e-2), torch.ones(2, dtype=torch.bool))
    assert not optimiser.shown()[~real].any()
    assert optimiser.shown()[real].any()


def test_the_columns_of_a_stack_are_its_factors_in_the_shapes_of_files(tiny_base):
    specs = [TrainSpec(rank=rank, targets="transformer+conv") for rank in (2, 3)]
    adapters = [make_adapter(tiny_base, spec, 1) for spec in specs]
    stack = AdapterStack(tiny_base, adapters)
    shapes = [shape for _, shape in stack.columns]
    assert shapes == [tuple(factor.shape) for path in (pair.path for pair in stack.pairs) for factor in adapters[1].weights[path]]
    for (place, _), factor in zip(stack.columns, stack.parameters(), strict=True):
        assert torch.equal(stack.flat[:, place], factor.flatten(1))


def test_eight_bits_stand_for_the_numbers_of_bitsandbytes():
    from bitsandbytes.functional import create_dynamic_map

    for signed in (True, False):
        assert torch.equal(dynamic_code(signed=signed), create_dynamic_map(signed=signed))


@pytest.mark.filterwarnings("ignore")  # the package's own
def test_eight_bits_end_near_bitsandbytes_own_rounding_on_a_cpu():
    """Its table rounds the smallest moments away: 50 steps of about .001 end within a twentieth of the way."""
    values = starts(1)
    start, recipe = values.clone(), recipes_of("adamw-8bit")[0]
    shown = run_ours("adamw-8bit", values, recipes=[recipe]).shown()[0]
    expected = run_reference(adamw_8bit, start[0], recipe)
    assert (shown - expected).abs().max() < 0.05 * (expected - start[0]).abs().max()


def test_optimisers_that_see_shapes_share_a_stack_with_equal_ranks_alone():
    def signatures(**kind: Any) -> int:
        return len({shape_signature(TrainSpec(rank=rank, **kind)) for rank in (2, 4)})

    assert signatures() == 1
    assert signatures(optimiser="lion") == 1
    assert signatures(optimiser="adafactor") == signatures(optimiser="adamw-8bit") == 2
    assert shape_signature(TrainSpec()) != shape_signature(TrainSpec(optimiser="lion"))


# --- averages ------------------------------------------------------------------------------------------------------------------


def test_averages_are_those_of_diffusers_ema():
    recipes = [TrainSpec(), TrainSpec(ema_decay=0.9), TrainSpec(ema_decay=0.5)]
    values = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    params = [torch.nn.Parameter(row.clone()) for row in values[1:]]
    references = [EMAModel([param], decay=recipe.ema_decay) for param, recipe in zip(params, recipes[1:], strict=True)]
    ours = Averages(values, recipes)
    for step in range(1, STEPS + 1):
        values.add_(torch.randn(3, 40, generator=torch.Generator().manual_seed(step)))
        ours.add(values, step)
        for param, reference, row in zip(params, references, values[1:], strict=True):
            param.data.copy_(row)
            reference.step([param])
    assert torch.equal(ours.shown(values)[0], values[0])
    for row, reference in zip(ours.shown(values)[1:], references, strict=True):
        assert (row - reference.shadow_params[0]).abs().max() < 1e-6
