"""Blocks, drops and the limit on norms of a plain LoRA: against a loop of one adapter written as sd-scripts computes it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from loralab.adapters import make_adapter, save_adapter
from loralab.errors import LabError
from loralab.spec.models import TrainSpec
from loralab.train import TrainRun, finished, train_stack
from loralab.train.noise import Place
from loralab.train.streams import init_seed
from tests.support.plain_lora import PlainLora, parameters_of
from tests.support.plain_training import random_run, train_plainly

pytestmark = pytest.mark.usefixtures("one_thread")
CONV = {"targets": "transformer+conv"}


def plain_loras(base: Any, unet: torch.nn.Module, run: TrainRun) -> list[PlainLora]:
    """The LoRA of a run as sd-scripts would lay it over ``unet``, beginning where ours begins; alpha is the same in every layer."""
    start = make_adapter(base, run.spec, init_seed(0, run.replicate))
    alpha = run.spec.alpha
    found = []
    for path, (down, up) in start.weights.items():
        scale = 1.0 if alpha is None else alpha / len(down)
        found.append(PlainLora(path, unet.get_submodule(path.removeprefix("unet.")), down, up, scale))
    return found


def trained_alone(base: Any, run: TrainRun) -> Any:
    (trained,) = finished(train_stack(base, [run], root_seed=0))
    return trained


def assert_same(trained: Any, loras: list[PlainLora], tolerance: float = 1e-5) -> None:
    assert trained.adapter.weights.keys() == {lora.path for lora in loras}
    for lora in loras:
        for ours, theirs in zip(trained.adapter.weights[lora.path], (lora.down, lora.up), strict=True):
            assert float((ours - theirs.detach()).abs().max()) < tolerance, lora.path


# --- blocks ---------------------------------------------------------------------------------------------------------------------


def test_ranks_by_block_train_as_a_lora_of_those_ranks(tiny_base, tmp_path):
    ranks = {"down": 2, "mid": 0, "up.1.attentions": 6, "up": 3}
    run = random_run("a", steps=10, lr=5e-3, rank=4, alpha=2, block_ranks=ranks)
    trained = trained_alone(tiny_base, run)
    unet = deepcopy(tiny_base.unet)
    loras = plain_loras(tiny_base, unet, run)
    losses = train_plainly(unet, tiny_base.scheduler_config, run, [{"params": parameters_of(loras)}])
    assert trained.losses == pytest.approx(losses, abs=1e-6)
    assert_same(trained, loras)
    found = {(path.split(".")[1], len(down)) for path, (down, _) in trained.adapter.weights.items()}
    assert found == {("down_blocks", 2), ("up_blocks", 6)}
    save_adapter(tmp_path / "a.safetensors", trained.adapter, metadata={})
    tensors = load_file(tmp_path / "a.safetensors")
    for lora in loras:  # one alpha for all: readers divide it by each layer's own rank, so that nothing is scaled on the way
        key = "lora_" + lora.path.replace(".", "_")
        assert float(tensors[f"{key}.alpha"]) == 2.0
        assert float((tensors[f"{key}.lora_up.weight"] - lora.up).abs().max().detach()) < 1e-5


def test_without_an_alpha_every_block_has_a_scale_of_1(tiny_base):
    run = random_run("a", steps=3, rank=4, block_ranks={"down": 2})
    trained = trained_alone(tiny_base, run)
    assert {trained.adapter.scale_of(path) for path in trained.adapter.weights} == {1.0}


def test_rates_by_block_train_as_torchs_groups(tiny_base):
    run = random_run("a", steps=10, lr=5e-3, rank=2, weight_decay=0.1, block_lrs={"down": 0.25, "up": 2.0, "mid": 0})
    trained = trained_alone(tiny_base, run)
    unet = deepcopy(tiny_base.unet)
    loras = plain_loras(tiny_base, unet, run)
    groups = [
        {"params": parameters_of([lora for lora in loras if f"unet.{block}" in lora.path]), "lr": 5e-3 * factor}
        for block, factor in (("down_blocks", 0.25), ("up_blocks", 2.0))
    ]
    train_plainly(unet, tiny_base.scheduler_config, run, groups)
    assert_same(trained, loras)
    assert not any("mid_block" in path for path in trained.adapter.weights)


@pytest.mark.parametrize("knob", ["block_ranks", "block_lrs"])
def test_a_block_in_which_nothing_is_trained_is_refused_by_name(tiny_base, knob):
    with pytest.raises(LabError, match=rf"{knob} names the block 'down.7'.*\n.*expected: a block out of down.0, up.1, mid"):
        make_adapter(tiny_base, TrainSpec(**{knob: {"down.7": 2}}), 0)
    with pytest.raises(LabError, match="trains no layer"):
        make_adapter(tiny_base, TrainSpec(**{knob: {"down": 0, "mid": 0, "up": 0}}), 0)


# --- drops ----------------------------------------------------------------------------------------------------------------------


class Masks:
    """The masks of one run at the step that is set, from the lab's streams, laid out as sd-scripts lays them."""

    def __init__(self, run: TrainRun) -> None:
        self.run, self.step = run, 0
        self.seen = {"network-dropout": 0.0, "rank-dropout": 0.0}

    def _drawn(self, knob: str, path: str, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=Place(0, self.run.replicate, self.step).stream(knob, path))

    def left_out(self, path: str) -> bool:
        return bool(self._drawn("module-dropout", path, 1) < self.run.spec.module_dropout)

    def masked(self, path: str, low: torch.Tensor) -> torch.Tensor:
        spec, maps = self.run.spec, low.ndim == 4
        values = low.flatten(2).transpose(1, 2) if maps else low.reshape(len(low), -1, low.shape[-1])  # (B, T, R)
        if spec.network_dropout:
            kept = self._drawn("network-dropout", path, *values.shape) >= spec.network_dropout
            values = values * kept / (1 - spec.network_dropout)
            self.seen["network-dropout"] += float(kept.float().mean())
        if spec.rank_dropout:
            kept = self._drawn("rank-dropout", path, len(values), 1, values.shape[2]) >= spec.rank_dropout
            values = values * kept / (1 - spec.rank_dropout)
            self.seen["rank-dropout"] += float(kept.float().mean())
        return values.transpose(1, 2).reshape(low.shape) if maps else values.reshape(low.shape)


DROPS = {"network": {"network_dropout": 0.3}, "rank": {"rank_dropout": 0.4}, "module": {"module_dropout": 0.5}}
DROPS["all"] = {name: rate for drop in DROPS.values() for name, rate in drop.items()}


@pytest.mark.parametrize("name", DROPS)
def test_what_is_dropped_is_dropped_as_in_sd_scripts(tiny_base, name):
    run = random_run("a", steps=8, lr=5e-3, rank=4, alpha=2, **DROPS[name], **CONV)
    trained = trained_alone(tiny_base, run)
    unet = deepcopy(tiny_base.unet)
    loras, masks = plain_loras(tiny_base, unet, run), Masks(run)
    for lora in loras:
        lora.masked, lora.left_out = masks.masked, masks.left_out
    losses = train_plainly(
        unet, tiny_base.scheduler_config, run, [{"params": parameters_of(loras)}], before=lambda step: setattr(masks, "step", step)
    )
    assert trained.losses == pytest.approx(losses, abs=1e-6)
    assert_same(trained, loras)
    plain = trained_alone(tiny_base, random_run("a", steps=8, lr=5e-3, rank=4, alpha=2, **CONV))
    assert trained.losses[1:] != pytest.approx(plain.losses[1:], abs=1e-6)
    assert trained.initial_sha256 == plain.initial_sha256


def test_dropping_one_thing_changes_no_other_numbers():
    """Noise, order and starts come from streams of their own, and so does every kind of drop in every layer."""
    place = Place(0, 1, 5)
    streams = [place.stream(knob, path) for knob in ("network-dropout", "rank-dropout", "module-dropout") for path in ("a", "b")]
    numbers = torch.stack([torch.rand(1000, generator=stream) for stream in streams])
    correlations = torch.corrcoef(numbers) - torch.eye(len(streams))
    assert float(correlations.abs().max()) < 4 / 1000**0.5  # independent: beyond 4 standard errors once in 1,000 of these tests
    assert torch.equal(torch.rand(3, generator=place.stream("rank-dropout", "a")), numbers[2, :3])


def test_activations_that_are_computed_again_see_the_same_mask(tiny_base):
    run = random_run("a", steps=4, rank=4, **DROPS["all"])
    kept = trained_alone(tiny_base, run)
    (again,) = finished(train_stack(tiny_base, [run], root_seed=0, checkpointing=True))
    assert again.losses == kept.losses


def test_a_dropping_run_leaves_its_neighbours_bits_alone(tiny_base):
    """In a stack with runs that drop, a plain one keeps what it has in a stack with runs that do not, to the last bit."""
    plain, calm, dropping = random_run("a", rank=2), random_run("b", rank=4, data=2), random_run("b", rank=4, data=2, **DROPS["all"])
    one, other = (finished(train_stack(tiny_base, [plain, beside], root_seed=0)) for beside in (calm, dropping))
    assert one[0].losses == other[0].losses
    assert one[1].losses != other[1].losses


# --- the limit on norms ---------------------------------------------------------------------------------------------------------


def test_norms_are_limited_as_in_sd_scripts(tiny_base):
    limit = 0.05
    run = random_run("a", steps=10, lr=1e-2, rank=4, alpha=2, scale_weight_norms=limit, **CONV)
    trained = trained_alone(tiny_base, run)
    unet = deepcopy(tiny_base.unet)
    loras, limited = plain_loras(tiny_base, unet, run), []
    train_plainly(
        unet, tiny_base.scheduler_config, run, [{"params": parameters_of(loras)}],
        after=lambda: limited.append(sum(lora.limit(limit) for lora in loras)),
    )  # fmt: skip
    assert 0 < sum(limited) < 10 * len(loras)  # some layers at some steps
    assert_same(trained, loras)
    norms = [float((trained.adapter.scale * up.flatten(1) @ down.flatten(1)).norm()) for down, up in trained.adapter.weights.values()]
    assert max(norms) == pytest.approx(limit, rel=1e-5)


def test_a_limit_on_one_run_leaves_the_others_bits_alone(tiny_base):
    runs = [random_run("a", rank=2), random_run("b", data=2)]
    limited = [runs[0], random_run("b", data=2, scale_weight_norms=1e-3)]
    one, other = (finished(train_stack(tiny_base, stack, root_seed=0)) for stack in (runs, limited))
    assert one[0].losses == other[0].losses
    assert one[1].losses != other[1].losses
