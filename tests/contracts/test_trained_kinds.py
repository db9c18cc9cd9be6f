"""One suite over every kind of adapter that is trained: what a row of the table must keep to, and a wrong row that each rule catches."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from loralab.adapters import AdapterStack, adapter_sha256, load_adapter, make_adapter, save_adapter, trainable
from loralab.adapters.folding import as_lora
from loralab.adapters.trainable import HELD, ROWS, Asked, kind_of_recipe
from loralab.bases import tokenise
from loralab.spec.models import TrainSpec
from loralab.spec.packing import shape_signature
from loralab.train import finished, kept, train_stack
from tests.support.plain_training import random_run

pytestmark = pytest.mark.usefixtures("one_thread")
#: row -> recipes that train it, between them every branch of its tensors
RECIPES: dict[str, tuple[dict[str, Any], ...]] = {
    "lora": ({"rank": 4, "alpha": 2, "dora": True}, {"rank": 4, "dora": True, "dora_norm_constant": True, "rank_dropout": 0.3}),
    "held": ({"rank": 4, "alpha": 3, "start": "pissa"}, {"rank": 2, "start": "olora"}),
    "loha": ({"algo": "loha", "rank": 3, "alpha": 2}, {"algo": "loha", "rank": 2, "dora": True, "module_dropout": 0.3}),
    "lokr": (
        {"algo": "lokr", "rank": 1}, {"algo": "lokr", "rank": 1, "lokr_decompose_both": True, "dora": True},
        {"algo": "lokr", "rank": 2, "lokr_factor": 4, "lokr_full_matrix": True, "rank_dropout": 0.3},
    ),
    "ia3": ({"algo": "ia3"}, {"algo": "ia3", "module_dropout": 0.3}),
}  # fmt: skip
CASES = [pytest.param(row, recipe, id=f"{row}-{n}") for row, recipes in RECIPES.items() for n, recipe in enumerate(recipes)]
STEPS = 6
INPUTS = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3)), torch.tensor([10, 700]), torch.ones(2, 12, 16)


def runs_of(recipe: dict[str, Any], n: int = 3) -> list[Any]:
    """Runs of one kind that differ in all that may differ in a stack: data, rate, alpha, replicate."""
    rest = [{"lr": 5e-3}, {"lr": 2e-3, "alpha": 1.0, "replicate": 1}, {"lr": 5e-3, "weight_decay": 0.1, "replicate": 2}]
    return [random_run(f"r{k}", data=k, **({"steps": STEPS} | recipe | rest[k])) for k in range(n)]


def tensors_of(adapter: Any) -> list[torch.Tensor]:
    if adapter.own is None:
        return [factor for pair in adapter.weights.values() for factor in pair]
    return [tensor for tensors in adapter.own.factors.values() for tensor in tensors.values()]


def furthest(one: Any, other: Any) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(tensors_of(one), tensors_of(other), strict=True))


# --- the rules --------------------------------------------------------------------------------------------------------------------


def check_start(base: Any, recipe: dict[str, Any]) -> None:
    """An untrained adapter changes no prediction, comes of its seed alone, and has nothing in common with another seed's."""
    spec = TrainSpec(**recipe)
    one, again, other = (make_adapter(base, spec, seed) for seed in (1, 1, 2))
    assert adapter_sha256(one) == adapter_sha256(again)
    assert spec.start != "kaiming" or spec.algo == "ia3" or adapter_sha256(one) != adapter_sha256(other)
    with torch.no_grad():
        plain = base.unet(*INPUTS).sample
        with AdapterStack(base, [one]).attached():
            assert float((base.unet(*INPUTS).sample - plain).abs().max()) < 5e-6


def check_stack(base: Any, recipe: dict[str, Any]) -> None:
    """A stack of three equals three trainings alone, and something is learned."""
    runs = runs_of(recipe)
    for run, together in zip(runs, finished(train_stack(base, runs, root_seed=0)), strict=True):
        (alone,) = finished(train_stack(base, [run], root_seed=0))
        assert together.initial_sha256 == alone.initial_sha256
        assert together.losses == pytest.approx(alone.losses, rel=1e-5)
        assert furthest(together.adapter, alone.adapter) < 1e-5
        assert adapter_sha256(together.adapter) != together.initial_sha256


def check_file(base: Any, recipe: dict[str, Any], folder: Path) -> None:
    """What is read from the file of a trained adapter changes predictions as the stack that trained it did, at any strength."""
    (run,) = runs_of({**recipe, "lr": 2e-2}, 1)
    (trained,) = finished(train_stack(base, [run], root_seed=0))
    save_adapter(folder / "a.safetensors", trained.adapter, metadata={})
    read, direct = load_adapter(folder / "a.safetensors", base), as_lora(trained.adapter, base)
    with torch.no_grad():
        plain = base.unet(*INPUTS).sample
        for strength in (0.0, 0.5, 1.0):
            seen = []
            for adapter in (read, direct):
                with AdapterStack(base, [adapter]).attached([strength]):
                    seen.append(base.unet(*INPUTS).sample)
            assert float((seen[0] - seen[1]).abs().max()) < 1e-5
            assert torch.equal(seen[0], plain) == (strength == 0)


def check_as_trained(base: Any, recipe: dict[str, Any]) -> None:
    """What a trained adapter is folded to predicts what the stack in training predicts."""
    from loralab.train.loop import Training

    training = Training(base, runs_of({**recipe, "rank_dropout": 0.0, "module_dropout": 0.0, "lr": 2e-2}), 0, checkpointing=False)
    for _ in range(3):
        training.step()
    stacked = [torch.cat([value] * 3) for value in INPUTS]
    with torch.no_grad(), training.stack.attached():
        together = base.unet(*stacked).sample
    adapters = training.stack.adapters()
    with torch.no_grad(), AdapterStack(base, adapters).attached():
        assert float((base.unet(*stacked).sample - together).abs().max()) < 1e-5


def check_resumed(base: Any, recipe: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off behind its third step, a training ends in the same bits."""
    monkeypatch.setattr(kept, "SHARE", math.inf)
    runs = runs_of(recipe, 2)
    whole = finished(train_stack(base, runs, root_seed=0, keep={2}))
    cut = train_stack(base, runs, root_seed=0, keep={2}, resume=folder)
    list(itertools.islice(cut, 3))
    cut.close()
    again = finished(train_stack(base, runs, root_seed=0, keep={2}, resume=folder))
    assert [run.losses for run in again] == [run.losses for run in whole]
    assert [adapter_sha256(run.adapter) for run in again] == [adapter_sha256(run.adapter) for run in whole]


def check_shapes(base: Any, recipe: dict[str, Any]) -> None:
    """A row's tensors are whole, finite and float32, in shapes that its signature tells."""
    specs = [run.spec for run in runs_of(recipe)]
    assert len({shape_signature(spec) for spec in specs}) == 1
    made = [make_adapter(base, spec, seed) for seed, spec in enumerate(specs)]
    shapes = [[(tensor.shape, tensor.dtype) for tensor in tensors_of(adapter)] for adapter in made]
    assert shapes[0] == shapes[1] == shapes[2]
    assert all(dtype == torch.float32 for _, dtype in shapes[0])
    assert all(bool(torch.isfinite(tensor).all()) for adapter in made for tensor in tensors_of(adapter))
    assert all(set(tensors) - HELD for adapter in made if adapter.own for tensors in adapter.own.factors.values())


# --- every row ----------------------------------------------------------------------------------------------------------------------


def test_every_row_has_recipes():
    assert RECIPES.keys() == ROWS.keys()
    assert all(kind_of_recipe(TrainSpec(**recipe)) == row for row, recipes in RECIPES.items() for recipe in recipes)


@pytest.mark.parametrize(("row", "recipe"), CASES)
def test_it_begins_as_the_base(tiny_base, row, recipe):
    check_start(tiny_base, recipe)
    check_shapes(tiny_base, recipe)


@pytest.mark.parametrize(("row", "recipe"), CASES)
def test_a_stack_equals_single_trainings(tiny_base, row, recipe):
    check_stack(tiny_base, recipe)


@pytest.mark.parametrize(("row", "recipe"), CASES)
def test_its_file_is_read_to_the_same_predictions(tiny_base, row, recipe, tmp_path):
    check_file(tiny_base, recipe, tmp_path)


@pytest.mark.parametrize(("row", "recipe"), CASES)
def test_what_is_drawn_is_what_was_trained(tiny_base, row, recipe):
    check_as_trained(tiny_base, recipe)


@pytest.mark.parametrize(("row", "recipe"), CASES)
def test_it_goes_on_to_the_same_bits(tiny_base, row, recipe, tmp_path, monkeypatch):
    check_resumed(tiny_base, recipe, tmp_path, monkeypatch)


@pytest.mark.parametrize("row", RECIPES)
def test_it_is_trained_in_text_encoders_too(tiny_base, row, tmp_path):
    """A stack of two equals two trainings alone, every layer of the text encoder moves, and its file is read whole."""
    tokens = tokenise(tiny_base, ["abc", "cat", "red"])
    runs = [
        dataclasses.replace(run, embeddings=None, tokens=tokens, spec=TrainSpec(**{**run.spec.model_dump(), "text_encoder_lr": 5e-3}))
        for run in runs_of({**RECIPES[row][0], "steps": 3}, 2)
    ]
    together = finished(train_stack(tiny_base, runs, root_seed=0))
    for run, each in zip(runs, together, strict=True):
        (alone,) = finished(train_stack(tiny_base, [run], root_seed=0))
        assert furthest(each.adapter, alone.adapter) < 1e-5
    save_adapter(tmp_path / "a.safetensors", together[0].adapter, metadata={})
    read = load_adapter(tmp_path / "a.safetensors", tiny_base)
    text = [path for path in read.weights if path.startswith("text_encoder")]
    assert len(text) == (6 if row == "ia3" else 12)  # two layers of attention and MLP: q, k, v, out, fc1, fc2; k, v, fc2
    assert all(float(read.weights[path][1].abs().max()) > 0 for path in text)


@pytest.mark.parametrize("row", RECIPES)
def test_half_precision_learns_what_float32_learns(tiny_base, row):
    half = dataclasses.replace(tiny_base.with_parts(unet=deepcopy(tiny_base.unet).to(torch.bfloat16)), dtype=torch.bfloat16)
    (run,) = runs_of({**RECIPES[row][0], "steps": 15, "lr": 2e-3}, 1)
    moved = []
    for base in (tiny_base, half):
        (trained,) = finished(train_stack(base, [run], root_seed=0))
        change = as_lora(trained.adapter, tiny_base)
        moved.append(torch.cat([(change.scale_of(p) * u.flatten(1) @ d.flatten(1)).flatten() for p, (d, u) in change.weights.items()]))
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.9


# --- wrong rows ---------------------------------------------------------------------------------------------------------------------


def _all_random(asked: Asked) -> dict[str, torch.Tensor]:
    """A start that changes the base: LoHa's last factor is not zero."""
    found = ROWS["loha"].start(asked)
    return found | {"w2_a": torch.ones_like(found["w2_a"])}


def _coupled(f: Any) -> torch.Tensor:
    """A change in which each group gets something of all: the mean over the stack."""
    change = trainable._loha_change(f)
    return change + 0.1 * change.mean(dim=0, keepdim=True)


def _other_formula(f: Any) -> torch.Tensor:
    """A change that files of the kind do not mean: a sum in the place of a product."""
    return f["w2_a"] @ f["w2_b"]


SABOTAGED: dict[str, tuple[dict[str, Any], Callable[[Any, Path], None]]] = {
    "its start changes the base": ({"start": _all_random}, lambda base, _: check_start(base, RECIPES["loha"][0])),
    "its groups are coupled": ({"change": _coupled}, lambda base, _: check_stack(base, RECIPES["loha"][0])),
    "it is drawn as something else": ({"change": _other_formula}, lambda base, _: check_as_trained(base, RECIPES["loha"][0])),
}


@pytest.mark.parametrize("name", SABOTAGED)
def test_a_wrong_row_is_caught(tiny_base, tmp_path, monkeypatch, name):
    changed, check = SABOTAGED[name]
    monkeypatch.setattr(trainable, "ROWS", {**ROWS, "loha": dataclasses.replace(ROWS["loha"], **changed)})
    with pytest.raises(AssertionError):
        check(tiny_base, tmp_path)
