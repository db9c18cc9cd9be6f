"""Several LoRAs as one: the sum does to the base what one behind another does, within ranks that a layer can have, on disk too."""

from __future__ import annotations

import torch

from loralab.adapters import Adapter, AdapterStack, load_adapter, save_adapter
from loralab.adapters.together import Part, add_adapters


def delta(adapter: Adapter, path: str) -> torch.Tensor:
    down, up = (factor.flatten(1).double() for factor in adapter.weights[path])
    return adapter.scale * up @ down


def test_the_sum_changes_each_weight_by_the_sum_of_the_changes(tiny_base, random_adapter):
    one, two = random_adapter(1, rank=2, alpha=1), random_adapter(7, rank=3, targets="transformer+conv")
    both = add_adapters([Part(one, 0.8, 0.8), Part(two, -0.5, -0.5)], tiny_base)
    assert both.weights.keys() == one.weights.keys() | two.weights.keys()
    for path in both.weights:
        expected = sum(s * delta(part, path) for s, part in ((0.8, one), (-0.5, two)) if path in part.weights)
        assert torch.allclose(delta(both, path), expected, atol=1e-6), path


def test_the_sum_predicts_what_one_loader_behind_another_predicts(tiny_base, random_adapter, unet_inputs, predict):
    one, two, inputs = random_adapter(1, rank=2), random_adapter(7, rank=3), unet_inputs(2)
    with AdapterStack(tiny_base, [add_adapters([Part(one, 0.8, 0.8), Part(two, 0.6, 0.6)], tiny_base)]).attached():
        together = predict(inputs)
    # reference: the changes written into copies of the weights
    before = {path: tiny_base.unet.get_submodule(path.removeprefix("unet.")).weight.detach().clone() for path in one.weights}
    try:
        with torch.no_grad():
            for path, weight in before.items():
                change = (0.8 * delta(one, path) + 0.6 * delta(two, path)).float().reshape(weight.shape)
                tiny_base.unet.get_submodule(path.removeprefix("unet.")).weight += change
        reference = predict(inputs)
    finally:
        with torch.no_grad():
            for path, weight in before.items():
                tiny_base.unet.get_submodule(path.removeprefix("unet.")).weight.copy_(weight)
    assert (together - reference).abs().max() < 2e-5
    assert (reference - predict(inputs)).abs().max() > 1e-2


def test_ranks_beyond_a_layer_are_multiplied_out_and_read_back(tiny_base, random_adapter, tmp_path):
    parts = [Part(random_adapter(seed, rank=8), 1.0, 1.0) for seed in range(3)]  # 24 in layers of 16
    both = add_adapters(parts, tiny_base)
    assert max(len(down) for down, _ in both.weights.values()) > min(len(down) for down, _ in both.weights.values())
    for path, (down, up) in both.weights.items():
        assert len(down) <= min(len(up), down[0].numel())
        assert torch.allclose(delta(both, path), sum(delta(part.adapter, path) for part in parts), atol=1e-5), path
    save_adapter(tmp_path / "both.safetensors", both, metadata={})
    again = load_adapter(tmp_path / "both.safetensors", tiny_base)
    assert all(torch.allclose(delta(again, path), delta(both, path), atol=1e-5) for path in both.weights)


def test_the_text_encoder_has_a_strength_of_its_own(tiny_base, random_adapter):
    one, two = (random_adapter(seed, rank=2, text_encoder_lr=1e-4) for seed in (1, 7))
    both = add_adapters([Part(one, 1.0, 0.0), Part(two, 0.5, 0.25)], tiny_base)
    text = next(path for path in both.weights if path.startswith("text_encoder."))
    unet = next(path for path in both.weights if path.startswith("unet."))
    assert torch.allclose(delta(both, text), 0.25 * delta(two, text), atol=1e-6)
    assert torch.allclose(delta(both, unet), delta(one, unet) + 0.5 * delta(two, unet), atol=1e-6)


def test_a_part_that_is_silent_everywhere_leaves_the_other(tiny_base, random_adapter):
    one = random_adapter(1, rank=2)
    both = add_adapters([Part(one, 1.0, 1.0), Part(random_adapter(2, rank=2), 0.0, 1.0)], tiny_base)  # the second has no text encoder
    assert all(torch.equal(both.weights[path][0], one.weights[path][0]) for path in one.weights)
    assert all(torch.allclose(delta(both, path), delta(one, path), atol=1e-7) for path in one.weights)
