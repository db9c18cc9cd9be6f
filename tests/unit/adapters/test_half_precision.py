"""What is learned survives a base, and a file, in half precision: small ratios of DoRA and (IA)3, and small moves away from a start."""

from __future__ import annotations

import pytest
import torch

from loralab.adapters.adapter import Adapter, Own
from loralab.adapters.folding import with_start_taken_off
from loralab.adapters.kind_forward import KindLayer, kind_forward
from loralab.adapters.trainable import ROWS

HALVES = (torch.bfloat16, torch.float16)


def half_layer(dtype: torch.dtype, n_in: int = 48, n_out: int = 40) -> torch.nn.Linear:
    """A linear layer whose outputs are about N(0, 2 ** 2), with a bias."""
    generator = torch.Generator().manual_seed(1)
    layer = torch.nn.Linear(n_in, n_out)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(n_out, n_in, generator=generator) * 2 / n_in**0.5)
        layer.bias.copy_(torch.randn(n_out, generator=generator))
    return layer.to(dtype).requires_grad_(False)


def kind_layer(layer: torch.nn.Linear, path: str, row: str, tensors: dict[str, torch.Tensor]) -> KindLayer:
    return KindLayer(path, layer, ROWS[row], {role: tensor[None] for role, tensor in tensors.items()}, torch.ones(1, 1, 1))


def multiplied(layer: torch.nn.Linear, row: str, ratio: float) -> KindLayer:
    """A DoRA, or an (IA)3, whose outputs are those of the layer times ``ratio``, but for the bias."""
    n_out, n_in = layer.weight.shape
    if row == "ia3":
        return kind_layer(layer, "unet.a.to_k", row, {"factor": torch.full((n_out,), ratio - 1), "on_input": torch.tensor(0.0)})
    norms = layer.weight.float().norm(dim=1, keepdim=True)
    return kind_layer(layer, "unet.a.to_k", row, {"down": torch.ones(2, n_in), "up": torch.zeros(n_out, 2), "magnitude": norms * ratio})


def rms(values: torch.Tensor) -> float:
    return float(values.double().square().mean().sqrt())


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("row", ["lora", "ia3"])
@pytest.mark.parametrize("ratio", [1.0, 1.0005, 0.999, 1.003])
def test_outputs_are_as_near_to_the_ratio_as_their_type_allows(dtype: torch.dtype, row: str, ratio: float):
    """Exactly, from the outputs y: b + ratio (y - b) in float64. At ratio 1 that is y, but for the epsilon under the norm."""
    layer = half_layer(dtype)
    x = torch.randn(4000, 48, generator=torch.Generator().manual_seed(2)).to(dtype)
    base, found = layer(x), kind_forward(multiplied(layer, row, ratio), None)(x)
    bias = layer.bias.double()
    exact = bias + ratio * (base.double() - bias)
    if ratio == 1:
        assert float((found - base).abs().max()) < 1e-5
    else:
        assert rms(found.double() - exact) < 1.2 * rms(exact.to(dtype).double() - exact)


def test_a_factor_of_an_input_is_not_rounded_away():
    """Of all inputs times 1.0005, the outputs' change is .0005 W x; 1.0005 itself is rounded in float16."""
    layer = half_layer(torch.float16)
    x = torch.randn(4000, 48, generator=torch.Generator().manual_seed(2)).half()
    own = kind_layer(layer, "unet.a.ff.net.2", "ia3", {"factor": torch.full((48,), 5e-4), "on_input": torch.tensor(1.0)})
    wanted = 5e-4 * (layer(x).double() - layer.bias.double())
    change = kind_forward(own, None)(x).double() - layer(x).double()
    assert float((change * wanted).sum() / wanted.square().sum()) == pytest.approx(1, abs=0.2)


def moved(size: float = 1e-3) -> dict[str, torch.Tensor]:
    """A LoRA of 320 x 320 and rank 8 that began in some directions, and whose values moved by a thousandth."""
    generator = torch.Generator().manual_seed(3)
    down, up = torch.randn(8, 320, generator=generator), torch.randn(320, 8, generator=generator)
    factors = {"held_down": down, "held_up": -up}
    for name, factor in (("down", down), ("up", up)):
        factors[name] = factor * (1 + size * torch.randn(factor.shape, generator=generator))
    return factors


def learned(f: dict[str, torch.Tensor]) -> torch.Tensor:
    """B A - B0 A0, in float64."""
    return f["up"].double() @ f["down"].double() + f["held_up"].double() @ f["held_down"].double()


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", HALVES)
def test_a_start_in_the_weights_directions_is_taken_off_without_loss_in_a_file_of_half_precision(dtype: torch.dtype):
    f = moved()
    adapter = with_start_taken_off(Adapter({}, 8.0, 8, own=Own({"unet.a": f}, {"unet.a": 8.0})))
    down, up = adapter.weights["unet.a"]
    assert (down.shape, up.shape, adapter.scale) == ((16, 320), (320, 16), 1.0)
    assert error(up.double() @ down.double(), learned(f)) < 1e-4  # float32's own
    assert error(up.to(dtype).double() @ down.to(dtype).double(), learned(f)) < 0.01


@pytest.mark.parametrize("dtype", HALVES)
def test_a_start_in_the_weights_directions_is_taken_off_without_loss_over_a_base_of_half_precision(dtype: torch.dtype):
    """Over a weight of 0 the outputs are the change alone; at the start there is none, bit for bit."""
    f, layer = moved(), torch.nn.Linear(320, 320, bias=False).to(dtype).requires_grad_(False)
    layer.weight.zero_()
    x = torch.randn(64, 320, generator=torch.Generator().manual_seed(4)).to(dtype)
    found = kind_forward(kind_layer(layer, "unet.a", "held", f), None)(x)
    assert error(found, x.double() @ learned(f).T) < 0.02
    untrained = kind_layer(layer, "unet.a", "held", f | {"down": f["held_down"], "up": -f["held_up"]})
    assert not kind_forward(untrained, None)(x).any()
