"""LoHa, LoKr, DoRA, (IA)3 and the rank-stabilised scale: trained as LyCORIS' own layers are, and written as LyCORIS writes them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris import modules
from safetensors.torch import load_file

from loralab.adapters import AdapterStack, adapted_layers, load_adapter, make_adapter, save_adapter
from loralab.adapters.files import ENDINGS
from loralab.adapters.starts import trained_layers
from loralab.bases.unet_names import kohya_key
from loralab.spec.models import TrainSpec
from loralab.train import finished, train_stack
from loralab.train.noise import Place
from loralab.train.streams import init_seed
from tests.support.plain_training import random_run, train_plainly

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore:.*lora_dim.*")]
STEPS = 10
CONV = {"targets": "transformer+conv"}
#: our recipe, LyCORIS' module, its settings
KINDS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "rslora": ({"rank": 4, "alpha": 2, "rslora": True, **CONV}, "LoConModule", {"lora_dim": 4, "alpha": 2, "rs_lora": True}),
    "dora": ({"rank": 4, "alpha": 2, "dora": True, **CONV}, "LoConModule", {"lora_dim": 4, "alpha": 2, "weight_decompose": True}),
    "loha": ({"algo": "loha", "rank": 3, "alpha": 2, **CONV}, "LohaModule", {"lora_dim": 3, "alpha": 2}),
    "loha rslora": ({"algo": "loha", "rank": 3, "alpha": 2, "rslora": True}, "LohaModule", {"lora_dim": 3, "alpha": 2, "rs_lora": True}),
    "loha dora": ({"algo": "loha", "rank": 3, "dora": True, **CONV}, "LohaModule", {"lora_dim": 3, "alpha": 3, "weight_decompose": True}),
    "lokr": ({"algo": "lokr", "rank": 1, "alpha": 1, **CONV}, "LokrModule", {"lora_dim": 1, "alpha": 1}),
    "lokr factor": ({"algo": "lokr", "rank": 1, "lokr_factor": 2}, "LokrModule", {"lora_dim": 1, "alpha": 1, "factor": 2}),
    "lokr full": (
        {"algo": "lokr", "rank": 2, "alpha": 1, "lokr_factor": 4, "lokr_full_matrix": True, **CONV}, "LokrModule",
        {"lora_dim": 2, "alpha": 1, "factor": 4, "full_matrix": True},
    ),
    "lokr both": (
        {"algo": "lokr", "rank": 1, "lokr_decompose_both": True}, "LokrModule", {"lora_dim": 1, "alpha": 1, "decompose_both": True},
    ),
    "lokr dora": ({"algo": "lokr", "rank": 1, "dora": True}, "LokrModule", {"lora_dim": 1, "alpha": 1, "weight_decompose": True}),
    "ia3": ({"algo": "ia3"}, "IA3Module", {}),
}  # fmt: skip


def lycoris_layers(unet: torch.nn.Module, base: Any, run: Any, name: str) -> dict[str, Any]:
    """LyCORIS' layers over those that the recipe trains, applied, beginning where ours begin."""
    _, class_name, settings = KINDS[name]
    start = make_adapter(base, run.spec, init_seed(0, run.replicate))
    found = {}
    for path in trained_layers(base, run.spec):
        tensors = start.own.factors[path] if start.own else dict(zip(("down", "up"), start.weights[path], strict=True))
        on_input = {"train_on_input": bool(tensors["on_input"])} if "on_input" in tensors else {}
        module = getattr(modules, class_name)(path, unet.get_submodule(path.removeprefix("unet.")), 1.0, **settings, **on_input)
        own = {ENDINGS[role][1:]: tensor for role, tensor in tensors.items()}
        with torch.no_grad():
            for key, parameter in module.named_parameters():
                assert parameter.shape == own[key].shape, (path, key)
                parameter.copy_(own[key])
        module.apply_to()
        found[path] = module
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_trains_as_lycoris_trains_it_and_its_file_is_lycoris_own(tiny_base, tmp_path: Path, name: str):
    run = random_run("a", lr=2e-3, steps=STEPS, **KINDS[name][0])
    (trained,) = finished(train_stack(tiny_base, [run], root_seed=0))
    unet = deepcopy(tiny_base.unet)
    theirs = lycoris_layers(unet, tiny_base, run, name)
    parameters = [parameter for module in theirs.values() for parameter in module.parameters()]
    losses = train_plainly(unet, tiny_base.scheduler_config, run, [{"params": parameters}])
    assert trained.losses == pytest.approx(losses, abs=1e-6)
    save_adapter(tmp_path / "a.safetensors", trained.adapter, metadata={})
    ours = load_file(tmp_path / "a.safetensors")
    expected = {f"{kohya_key(path)}.{key}": value for path, module in theirs.items() for key, value in module.state_dict().items()}
    assert ours.keys() == expected.keys()
    assert {key: value.shape for key, value in ours.items()} == {key: value.shape for key, value in expected.items()}
    assert max(float((ours[key] - expected[key].detach()).abs().max()) for key in expected) < 1e-5
    assert moved_most(make_adapter(tiny_base, run.spec, init_seed(0, 0)), trained.adapter) > 5e-3


def moved_most(start: Any, end: Any) -> float:
    """Return by how much the value that moved furthest did."""
    return max(float((a - b).abs().max()) for a, b in zip(tensors_of(start), tensors_of(end), strict=True))


def tensors_of(adapter: Any) -> list[torch.Tensor]:
    held = [tensors.values() for tensors in adapter.own.factors.values()] if adapter.own else list(adapter.weights.values())
    return [tensor for tensors in held for tensor in tensors]


@pytest.mark.parametrize("name", KINDS)
def test_lycoris_and_check_read_a_file_of_ours_to_the_same_predictions(tiny_base, tmp_path: Path, name: str, monkeypatch):
    from lycoris.kohya import LycorisNetworkKohya, create_network_from_weights

    monkeypatch.setattr(LycorisNetworkKohya, "UNET_TARGET_REPLACE_NAME", [])  # with its own it finds a layer of diffusers' UNet twice
    run = random_run("a", lr=2e-2, steps=3, **KINDS[name][0])
    (trained,) = finished(train_stack(tiny_base, [run], root_seed=0))
    save_adapter(tmp_path / "a.safetensors", trained.adapter, metadata={})
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(2, 4, 8, 8, generator=generator), torch.tensor([10, 700]), torch.randn(2, 12, 16, generator=generator)
    with torch.no_grad():
        plain = tiny_base.unet(*inputs).sample
        with AdapterStack(tiny_base, [load_adapter(tmp_path / "a.safetensors", tiny_base)]).attached():
            read = tiny_base.unet(*inputs).sample
        with AdapterStack(tiny_base, [trained.adapter]).attached():
            direct = tiny_base.unet(*inputs).sample
        assert float((read - plain).abs().max()) > 1e-3
        assert float((read - direct).abs().max()) < 1e-6
        unet = deepcopy(tiny_base.unet)
        if name == "ia3":  # LyCORIS 4.1 cannot make its (IA)3 out of a file (make_module_from_state_dict takes one tensor less)
            tensors = load_file(tmp_path / "a.safetensors")
            for path, module in lycoris_layers(unet, tiny_base, run, name).items():
                module.weight.copy_(tensors[kohya_key(path) + ".weight"])
        else:
            network, _ = create_network_from_weights(1.0, str(tmp_path / "a.safetensors"), None, None, unet)
            network.apply_to(None, unet, False, True)
            assert len(network.loras) == len(adapted_layers(tiny_base, run.spec.targets))
            network.eval()
        theirs = unet(*inputs).sample
    assert float((read - theirs).abs().max()) < 1e-5


class Drawn:
    """In the place of torch.rand under LyCORIS' layers: the lab's numbers for the layer that computes, at the step that is set."""

    def __init__(self, theirs: dict[str, Any]) -> None:
        self.step, self.path = 0, ""
        for path, module in theirs.items():
            module.rank_dropout, module.module_dropout = DROPS["rank_dropout"], DROPS["module_dropout"]
            layer = module.org_module[0]
            layer.forward = self._told(path, layer.forward)

    def _told(self, path: str, forward: Any) -> Any:
        def told(x: torch.Tensor) -> Any:
            self.path = path
            return forward(x)

        return told

    def rand(self, n: int, **_: Any) -> torch.Tensor:
        knob = "module-dropout" if n == 1 else "rank-dropout"
        return torch.empty(n).uniform_(generator=Place(0, 0, self.step).stream(knob, self.path))


DROPS = {"rank_dropout": 0.3, "module_dropout": 0.2}


@pytest.mark.parametrize("name", ["dora", "loha", "loha dora", "lokr full"])
def test_rows_and_layers_are_dropped_as_in_lycoris(tiny_base, name: str, monkeypatch):
    run = random_run("a", lr=5e-3, steps=6, **KINDS[name][0], **DROPS)
    (trained,) = finished(train_stack(tiny_base, [run], root_seed=0))
    unet = deepcopy(tiny_base.unet)
    theirs = lycoris_layers(unet, tiny_base, run, name)
    drawn = Drawn(theirs)
    monkeypatch.setattr(torch, "rand", drawn.rand)
    parameters = [parameter for module in theirs.values() for parameter in module.parameters()]
    config = tiny_base.scheduler_config
    losses = train_plainly(unet, config, run, [{"params": parameters}], before=lambda step: setattr(drawn, "step", step))
    monkeypatch.undo()
    assert trained.losses == pytest.approx(losses, abs=1e-6)
    plain = finished(train_stack(tiny_base, [random_run("a", lr=5e-3, steps=6, **KINDS[name][0])], root_seed=0))[0]
    assert trained.losses[2:] != pytest.approx(plain.losses[2:], abs=1e-6)


def test_a_pair_of_factors_is_found_as_lycoris_finds_it():
    from lycoris.functional import factorization

    from loralab.adapters.trainable import factorised

    for n in range(1, 700):
        for factor in (-1, 1, 2, 3, 4, 8, 16, 1000):
            assert factorised(n, factor) == factorization(n, factor), (n, factor)


def test_the_kinds_are_all_in_the_table():
    from loralab.adapters.trainable import ROWS, kind_of_recipe

    said = {kind_of_recipe(TrainSpec(**recipe)) for recipe, _, _ in KINDS.values() if not TrainSpec(**recipe).is_plain_lora}
    assert said == ROWS.keys() - {"held"}  # that one is PEFT's: test_kinds_peft.py
