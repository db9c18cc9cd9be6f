"""Random twins: they change the predicted noise as much as the trained adapter, in another direction."""

from __future__ import annotations

import pytest
import torch

from loralab.adapters import Adapter, AdapterStack, make_adapter
from loralab.bases.diffusion import make_noise_schedule
from loralab.errors import LabError
from loralab.spec.models import TrainSpec
from loralab.train.null import make_null_twins

pytestmark = pytest.mark.usefixtures("one_thread")


def trained_adapter(base, seed: int, size: float = 0.3, targets: str = "transformer") -> Adapter:
    """Return an adapter with random factors that stand for trained ones."""
    generator = torch.Generator().manual_seed(seed)
    start = make_adapter(base, TrainSpec(rank=2, alpha=1.0, targets=targets), seed)
    weights = {p: (down, size * torch.randn(up.shape, generator=generator)) for p, (down, up) in start.weights.items()}
    return Adapter(weights, start.alpha, start.rank)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(3, 4, 8, 8, generator=generator), torch.randn(3, 12, 16, generator=generator)


def mean_change(base, adapter: Adapter) -> tuple[float, torch.Tensor]:
    """Return the root mean square change of the prediction and the change itself, on other noise than the matching used."""
    latents, text = inputs()
    schedule = make_noise_schedule(base.scheduler_config)
    times = torch.arange(24) * (schedule.config.num_train_timesteps // 24)
    which = torch.arange(24) % 3
    noise = torch.randn((24, 4, 8, 8), generator=torch.Generator().manual_seed(77))
    noisy = schedule.add_noise(latents[which], noise, times)
    with torch.no_grad():
        plain = base.unet(noisy, times, text[which], return_dict=False)[0]
        with AdapterStack(base, [adapter]).attached():
            changed = base.unet(noisy, times, text[which], return_dict=False)[0] - plain
    return float(changed.square().mean().sqrt()), changed.flatten()


@pytest.mark.parametrize("targets", ["transformer", "transformer+conv"])
def test_a_twin_changes_predictions_as_much_in_another_direction(tiny_base, targets):
    adapters = [trained_adapter(tiny_base, seed, size, targets) for seed, size in ((1, 0.3), (2, 0.05))]
    twins = make_null_twins(tiny_base, adapters, *inputs(), seeds=[11, 12])
    for adapter, twin in zip(adapters, twins, strict=True):
        assert twin.change == pytest.approx(twin.trained_change, rel=0.01)
        ours, direction = mean_change(tiny_base, adapter)
        theirs, other = mean_change(tiny_base, twin.adapter)
        assert theirs == pytest.approx(ours, rel=0.15)  # on other noise
        assert abs(float(torch.nn.functional.cosine_similarity(direction, other, dim=0))) < 0.8
        assert twin.adapter.weights.keys() == adapter.weights.keys()
        assert all(
            a.shape == b.shape for path in adapter.weights for a, b in zip(adapter.weights[path], twin.adapter.weights[path], strict=True)
        )


def test_twins_follow_their_seed_alone(tiny_base):
    adapter = trained_adapter(tiny_base, 1)
    one, same, other = (make_null_twins(tiny_base, [adapter], *inputs(), seeds=[seed])[0].adapter for seed in (5, 5, 6))
    path = next(iter(adapter.weights))
    assert torch.equal(one.weights[path][1], same.weights[path][1])
    assert not torch.equal(one.weights[path][1], other.weights[path][1])


def test_an_adapter_that_does_nothing_has_no_twin(tiny_base):
    with pytest.raises(LabError, match="changes no prediction"):
        make_null_twins(tiny_base, [make_adapter(tiny_base, TrainSpec(rank=2), 0)], *inputs(), seeds=[0])
