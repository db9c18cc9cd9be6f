"""What PEFT has: PiSSA, OLoRA, orthogonal starts, the rank-stabilised scale, DoRA's constant norm; trained as PEFT trains them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, get_peft_model

from loralab.adapters import AdapterStack, adapted_layers, load_adapter, make_adapter, save_adapter
from loralab.bases import Base
from loralab.spec.models import TrainSpec
from loralab.train import finished, train_stack
from loralab.train.streams import init_seed
from tests.support.plain_training import random_run, train_plainly

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 10
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"rank": 4, "alpha": 2}, {"r": 4, "lora_alpha": 2}),
    "rslora": ({"rank": 4, "alpha": 2, "rslora": True}, {"r": 4, "lora_alpha": 2, "use_rslora": True}),
    "dora": ({"rank": 4, "alpha": 2, "dora": True, "dora_norm_constant": True}, {"r": 4, "lora_alpha": 2, "use_dora": True}),
    "pissa": ({"rank": 4, "alpha": 3, "start": "pissa"}, {"r": 4, "lora_alpha": 3, "init_lora_weights": "pissa"}),
    "olora": ({"rank": 4, "alpha": 3, "start": "olora"}, {"r": 4, "lora_alpha": 3, "init_lora_weights": "olora"}),
    "orthogonal": ({"rank": 4, "start": "orthogonal"}, {"r": 4, "lora_alpha": 4, "init_lora_weights": "orthogonal"}),
}
INPUTS = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.tensor([10, 700]), torch.ones(2, 12, 16)


@pytest.fixture(scope="module")
def linear_base(tiny_base: Base) -> Base:
    """The tiny base with linear projections, so that a transformer block has linear layers alone, as PEFT's starts want them."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        unet = UNet2DConditionModel.from_config({**tiny_base.unet.config, "use_linear_projection": True})
    return tiny_base.with_parts(unet=unet.eval().requires_grad_(False))


def peft_model(base: Base, spec: TrainSpec, settings: dict[str, Any], names: list[str]) -> Any:
    """PEFT over a copy of the UNet, random starts as ours."""
    model = get_peft_model(deepcopy(base.unet), LoraConfig(target_modules=names, **settings))
    start = make_adapter(base, spec, init_seed(0, 0))
    for path in names if spec.start in ("kaiming", "orthogonal") else ():
        layer = model.get_submodule(f"base_model.model.{path}")
        down, up = start.weights[f"unet.{path}"] if start.own is None else (start.own.factors[f"unet.{path}"][r] for r in ("down", "up"))
        layer.lora_A["default"].weight.data.copy_(down)
        layer.lora_B["default"].weight.data.copy_(up)
    return model


def merged(model: Any, names: list[str]) -> dict[str, torch.Tensor]:
    """Return the weights that PEFT's layers come to."""
    plain = deepcopy(model).merge_and_unload()
    return {path: plain.get_submodule(path).weight.detach() for path in names}


@pytest.mark.parametrize("name", KINDS)
def test_it_trains_as_peft_trains_it(linear_base: Base, tmp_path: Path, name: str):
    recipe, settings = KINDS[name]
    run = random_run("a", lr=5e-3, steps=STEPS, **recipe)
    names = [path.removeprefix("unet.") for path in adapted_layers(linear_base, "transformer")]
    model = peft_model(linear_base, run.spec, settings, names)
    begun = merged(model, names)
    (trained,) = finished(train_stack(linear_base, [run], root_seed=0))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    losses = train_plainly(model, linear_base.scheduler_config, run, [{"params": parameters}])
    assert trained.losses == pytest.approx(losses, abs=1e-5)
    save_adapter(tmp_path / "a.safetensors", trained.adapter, metadata={})
    adapter = load_adapter(tmp_path / "a.safetensors", linear_base)
    theirs = merged(model, names)
    for path in names:
        down, up = adapter.weights[f"unet.{path}"]
        weight = linear_base.unet.get_submodule(path).weight
        assert float((weight + adapter.scale * up @ down - theirs[path]).abs().max()) < 1e-5, path
        assert float((begun[path] - weight).abs().max()) < 1e-6, path
        assert float((theirs[path] - weight).abs().max()) > 1e-3, path


@pytest.mark.parametrize("name", ["pissa", "olora", "orthogonal"])
def test_a_start_changes_nothing_and_its_product_is_not_zero(linear_base: Base, name: str):
    adapter = make_adapter(linear_base, TrainSpec(**KINDS[name][0]), 3)
    with torch.no_grad():
        plain = linear_base.unet(*INPUTS).sample
        with AdapterStack(linear_base, [adapter]).attached():
            assert float((linear_base.unet(*INPUTS).sample - plain).abs().max()) < 2e-6
    factors = adapter.own.factors.values() if adapter.own else ({"down": down, "up": up} for down, up in adapter.weights.values())
    assert all(float(f["up"].abs().max()) > 0 and float(f["down"].abs().max()) > 0 for f in factors)


def test_an_orthogonal_start_is_pefts_from_the_same_numbers():
    from peft.tuners.lora.layer import Linear

    from loralab.adapters.lora_starts import STARTS

    layer = torch.nn.Linear(24, 10)
    ours = STARTS["orthogonal"](layer.weight, 6, torch.Generator().manual_seed(8))
    with torch.random.fork_rng():
        theirs = Linear(layer, "default", LoraConfig(init_lora_weights=False), r=6, lora_alpha=6)
        torch.manual_seed(8)
        theirs.orthogonal_init("default")
    assert torch.equal(ours[0], theirs.lora_A["default"].weight)
    assert torch.equal(ours[1], theirs.lora_B["default"].weight)
    assert float((ours[1] @ ours[0]).abs().max()) < 1e-7


def test_the_start_of_pissa_is_the_best_approximation_of_the_weight(linear_base: Base):
    """Eckart and Young: no matrix of rank 4 is nearer, and the distance is the root of the sum of the other singular values' squares."""
    adapter = make_adapter(linear_base, TrainSpec(rank=4, alpha=2, start="pissa"), 0)
    assert adapter.own is not None
    for path, f in adapter.own.factors.items():
        weight = linear_base.unet.get_submodule(path.removeprefix("unet.")).weight
        rest = torch.linalg.svdvals(weight.double())[4:].square().sum().sqrt()
        assert float((weight - 2 / 4 * f["up"] @ f["down"]).norm()) == pytest.approx(float(rest), rel=1e-5)
