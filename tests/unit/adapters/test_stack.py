"""The stack: against peft and against merged weights, silent groups bit for bit, padding, restoring."""

from __future__ import annotations

import copy
import hashlib

import pytest
import torch
from diffusers import UNet2DConditionModel

from loralab.adapters import Adapter, AdapterStack, adapted_layers, adapter_sha256, make_adapter
from loralab.adapters.stack import Groups, _StackedLinear
from loralab.bases import Base
from loralab.errors import LabError
from loralab.spec.models import TrainSpec
from tests.support.tensors import same_bits

pytestmark = pytest.mark.usefixtures("one_thread")
TARGETS = ("transformer", "transformer+conv")


def weights_sha256(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def merged(base: Base, adapter: Adapter, strength: float) -> torch.nn.Module:
    """Return a copy of the UNet with W + strength * alpha / rank * up @ down, multiplied out in float64."""
    unet = copy.deepcopy(base.unet)
    for path, (down, up) in adapter.weights.items():
        layer = unet.get_submodule(path.removeprefix("unet."))
        delta = (up.flatten(1).double() @ down.flatten(1).double()).reshape(layer.weight.shape)
        layer.weight.data += (strength * adapter.alpha / adapter.rank * delta).float()
    return unet


def test_the_default_targets_are_the_layers_of_the_transformer_blocks(tiny_base):
    names = {
        path.split(".", 7)[-1] for path in adapted_layers(tiny_base, "transformer") if path.startswith("unet.down_blocks.0.attentions.0.tr")
    }
    attention = {f"attn{i}.{name}" for i in (1, 2) for name in ("to_q", "to_k", "to_v", "to_out.0")}
    assert names == attention | {"ff.net.0.proj", "ff.net.2"}
    layers = adapted_layers(tiny_base, "transformer")
    assert layers["unet.down_blocks.0.attentions.0.proj_in"].weight.ndim == 4  # SD1's 1x1 convolutions
    assert len(layers) == 4 * 12  # down 1, mid 1, up 2 transformers, each 10 linear layers and 2 projections


def test_conv_targets_add_the_residual_blocks_and_the_resamplers(tiny_base):
    added = adapted_layers(tiny_base, "transformer+conv").keys() - adapted_layers(tiny_base, "transformer").keys()
    ends = {path.rsplit(".", 1)[-1] for path in added}
    assert ends == {"conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv"}


def test_sd15_has_kohyas_numbers_of_modules(tiny_base):
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
    sd15 = tiny_base.with_parts(unet=unet)
    assert [len(adapted_layers(sd15, targets)) for targets in TARGETS] == [192, 278]


@pytest.mark.parametrize("targets", TARGETS)
def test_a_group_equals_its_merged_weights(tiny_base, random_adapter, unet_inputs, predict, targets):
    adapters = [random_adapter(1, rank=2, targets=targets), random_adapter(5, rank=4, alpha=1.0, targets=targets), None]
    inputs = unet_inputs(6)
    with AdapterStack(tiny_base, adapters).attached([1.0, 0.7, 1.0]):
        ours = predict(inputs)
    with torch.no_grad():
        for k, (adapter, strength) in enumerate([(adapters[0], 1.0), (adapters[1], 0.7)]):
            rows = slice(2 * k, 2 * k + 2)
            expected = merged(tiny_base, adapter, strength)(*(part[rows] for part in inputs), return_dict=False)[0]
            assert (ours[rows] - expected).abs().max() < 1e-5
            assert (expected - predict(inputs)[rows]).abs().max() > 1e-2  # the adapter does something


def test_a_group_equals_peft(tiny_base, random_adapter, unet_inputs, predict):
    peft = pytest.importorskip("peft")
    adapter = random_adapter(3, rank=4, alpha=2.0, targets="transformer+conv")
    inputs = unet_inputs(3)
    targets = [path.removeprefix("unet.") for path in adapter.weights]
    reference = peft.inject_adapter_in_model(peft.LoraConfig(r=4, lora_alpha=2.0, target_modules=targets), copy.deepcopy(tiny_base.unet))
    for path, (down, up) in adapter.weights.items():
        layer = reference.get_submodule(path.removeprefix("unet."))
        layer.lora_A["default"].weight.data.copy_(down)
        layer.lora_B["default"].weight.data.copy_(up)
    with torch.no_grad():
        expected = reference(*inputs, return_dict=False)[0]
    with AdapterStack(tiny_base, [adapter]).attached():
        assert (predict(inputs) - expected).abs().max() < 1e-5


def test_silent_groups_are_the_base_bit_for_bit(tiny_base, random_adapter, unet_inputs, predict):
    inputs = unet_inputs(6)
    alone = predict(inputs)
    adapter = random_adapter(1, targets="transformer+conv")
    with AdapterStack(tiny_base, [adapter, adapter, None]).attached([1.0, 0.0, 1.0]):
        mixed = predict(inputs)
    assert same_bits(mixed[2:], alone[2:])
    assert (mixed[:2] - alone[:2]).abs().max() > 1e-2
    for silent in ([None], [adapter]):
        with AdapterStack(tiny_base, silent).attached([0.0]):
            assert same_bits(predict(inputs), alone)


def test_a_silent_group_keeps_negative_zeros_and_outlives_an_infinite_neighbour():
    y = torch.tensor([[-0.0, 1.0], [-0.0, 2.0]])  # K = 2 groups of one row
    total = y + torch.tensor([[float("inf")], [float("nan")]])
    summed = Groups(torch.tensor([1.0, 0.0])[:, None, None], [1]).sum(y, total)
    assert same_bits(summed[1], y[1])
    assert torch.isinf(summed[0]).all()


def test_a_silent_groups_infinite_weights_do_nothing(tiny_base, random_adapter, unet_inputs, predict):
    adapter = random_adapter(1, targets="transformer+conv")
    broken = Adapter({path: (down, up * float("inf")) for path, (down, up) in adapter.weights.items()}, adapter.alpha, adapter.rank)
    inputs = unet_inputs(4)
    with AdapterStack(tiny_base, [adapter, broken]).attached([0.5, 0.0]):
        mixed = predict(inputs)
    assert same_bits(mixed[2:], predict(inputs)[2:])


@pytest.mark.parametrize(("scales", "with_bias"), [([0.5, 2.0], True), ([1.5, 0.0], True), ([0.5, 2.0], False)])
def test_the_written_out_gradient_of_a_layer_is_that_of_finite_differences(scales, with_bias):
    generator = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x, down, up, weight = draw(4, 3, 5), draw(2, 2, 5), draw(2, 6, 2), draw(6, 5)  # K = 2 groups of 2, T = 3, R = 2
    bias = draw(6) if with_bias else None
    groups = Groups(torch.tensor(scales, dtype=torch.float64)[:, None, None], [k for k, scale in enumerate(scales) if scale == 0])
    inputs = tuple(part.requires_grad_() for part in (x, down, up))
    assert torch.autograd.gradcheck(lambda *parts: _StackedLinear.apply(*parts, weight, bias, groups), inputs)


def test_permuting_the_adapters_permutes_the_outputs(tiny_base, random_adapter, unet_inputs, predict):
    adapters = [random_adapter(seed, rank=rank) for seed, rank in ((1, 2), (2, 4), (3, 1))]
    order = [2, 0, 1]
    inputs = tuple(part.repeat(3, *(1,) * (part.ndim - 1)) for part in unet_inputs(2))
    with AdapterStack(tiny_base, adapters).attached():
        straight = predict(inputs).unflatten(0, (3, 2))
    with AdapterStack(tiny_base, [adapters[k] for k in order]).attached():
        permuted = predict(inputs).unflatten(0, (3, 2))
    assert (permuted - straight[order]).abs().max() < 1e-6


def test_the_base_is_restored_even_after_an_error(tiny_base, random_adapter, unet_inputs, predict):
    inputs = unet_inputs(2)
    before, weights = predict(inputs), weights_sha256(tiny_base.unet)
    attributes = {name: sorted(vars(module)) for name, module in tiny_base.unet.named_modules()}
    stack = AdapterStack(tiny_base, [random_adapter(1, targets="transformer+conv")])
    with stack.attached():
        assert not torch.equal(predict(inputs), before)
    with pytest.raises(RuntimeError, match="in the middle"), stack.attached():
        raise RuntimeError("in the middle")
    assert same_bits(predict(inputs), before)
    assert weights_sha256(tiny_base.unet) == weights
    assert {name: sorted(vars(module)) for name, module in tiny_base.unet.named_modules()} == attributes


def test_a_stack_inside_anothers_block_gives_way_to_it_again(tiny_base, random_adapter, unet_inputs, predict):
    outer, inner = (AdapterStack(tiny_base, [random_adapter(seed)]) for seed in (1, 2))
    inputs = unet_inputs(2)
    with outer.attached():
        before = predict(inputs)
        with inner.attached():
            assert not torch.equal(predict(inputs), before)
        assert same_bits(predict(inputs), before)


def test_adapters_come_back_unpadded(tiny_base, random_adapter):
    given = [random_adapter(1, rank=2), None, random_adapter(2, rank=4, alpha=1.0, targets="transformer+conv")]
    stack = AdapterStack(tiny_base, given)
    assert stack.parameters()[0].shape[:2] == (3, 4)
    for before, after in zip(given, stack.adapters(), strict=True):
        assert (before is None) == (after is None)
        if before is not None:
            assert adapter_sha256(before) == adapter_sha256(after)


def test_an_untrained_adapter_draws_from_its_own_stream_as_torch_initialises_a_layer(tiny_base):
    spec = TrainSpec(rank=2)
    state = torch.get_rng_state()
    adapter = make_adapter(tiny_base, spec, 7)
    assert torch.equal(torch.get_rng_state(), state)
    assert adapter_sha256(adapter) == adapter_sha256(make_adapter(tiny_base, spec, 7))
    assert adapter_sha256(adapter) != adapter_sha256(make_adapter(tiny_base, spec, 8))
    assert all(not up.any() for _, up in adapter.weights.values())
    for down, _ in adapter.weights.values():
        # kaiming_uniform(a = sqrt 5): bound = sqrt(6 / ((1 + 5) * fan_in)) = 1 / sqrt(fan_in)
        bound = down[0].numel() ** -0.5
        assert 0.5 * bound < down.abs().max() <= bound


def test_errors_of_a_stack(tiny_base, random_adapter):
    with pytest.raises(LabError, match="rank 64 for unet"):
        make_adapter(tiny_base, TrainSpec(rank=64), 0)
    with pytest.raises(LabError, match="an empty stack"):
        AdapterStack(tiny_base, [])
    stranger = Adapter({"unet.nowhere": (torch.zeros(1, 4), torch.zeros(4, 1))}, 1.0, 1)
    with pytest.raises(LabError, match=r"unet\.nowhere"):
        AdapterStack(tiny_base, [stranger])
    with pytest.raises(LabError, match="2 strengths for a stack of 1"), AdapterStack(tiny_base, [random_adapter(1)]).attached([1.0, 1.0]):
        pass
