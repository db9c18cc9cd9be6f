"""The trainer: weights by hand, a schedule that ends on time, averages, and a state that survives being saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from loralab.petri import petri_folder
from loralab.petri.text import load_tokenizer, tokenize
from organism.__main__ import make_parser
from organism.clock import Deadline, Goal, warm_cosine
from organism.latents import LatentPool
from organism.making import load_state, run_train
from organism.pipeline import make_text_encoder, make_unet
from organism.speed import write_costs
from organism.tokens import save_files
from organism.train import Recipe, TrainingState, drop_captions, min_snr_weights, step_weights, train_steps


def test_min_snr_by_hand() -> None:
    # snr = a / (1 - a): 9 and 1/3; min(snr, 5) / snr = 5/9 and 1
    torch.testing.assert_close(min_snr_weights(torch.tensor([0.9, 0.25])), torch.tensor([5 / 9, 1.0]))


def test_step_weights_by_hand() -> None:
    # 5/9 * sqrt(1 + 1/9) = .5856 and 1 * sqrt(1 + 3) = 2, over their mean 1.2928
    torch.testing.assert_close(step_weights(torch.tensor([0.9, 0.25])), torch.tensor([0.4530, 1.5470]), atol=1e-3, rtol=0)


def test_the_learning_rate_rises_holds_and_ends_at_zero() -> None:
    assert warm_cosine(0.0, 50, 100) == pytest.approx(0.5)
    assert warm_cosine(0.5, 100, 100, hold=0.6) == pytest.approx(1.0)
    assert warm_cosine(0.8, 100, 100, hold=0.6) == pytest.approx(0.5)
    assert warm_cosine(1.0, 100, 100) == pytest.approx(0.0)


def test_a_resumed_deadline_counts_the_time_already_spent() -> None:
    assert Deadline(10.0, spent_seconds=30.0).fraction == pytest.approx(0.75, abs=0.01)


def test_a_goal_counts_examples_and_not_time() -> None:
    assert [Goal(200).fraction_at(n) for n in (0, 50, 200, 300)] == [0.0, 0.25, 1.0, 1.0]
    assert Deadline(10.0, spent_seconds=30.0).fraction_at(10**9) == pytest.approx(0.75, abs=0.01)


def test_one_caption_in_ten_is_dropped() -> None:
    tokens, empty = torch.ones(4000, 3, dtype=torch.long), torch.zeros(3, dtype=torch.long)
    kept = drop_captions(tokens, empty, np.random.default_rng(0)).float().mean().item()
    assert kept == pytest.approx(0.9, abs=0.015)


def make_state() -> TrainingState:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    return TrainingState(make_unet(), make_text_encoder(tokenizer), Recipe(batch=4, warmup_examples=4))


def test_training_moves_the_parts_and_a_saved_state_is_the_same(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    pool = LatentPool(torch.randn(8, 2, 16, 8, 8).half(), tokenize(tokenizer, ["cat", "dog"]).expand(8, -1, -1).to(torch.int16))
    state = make_state()
    before = [p.clone() for p in state.parts.parameters()]
    list(train_steps(state, lambda: pool, tokenize(tokenizer, [""])[0], Recipe(batch=4, warmup_examples=4), Deadline(0.5)))
    torch.set_num_threads(threads)
    assert state.steps >= 1
    assert state.examples == 4 * state.steps
    assert any(not torch.equal(old, new) for old, new in zip(before, state.parts.parameters(), strict=True))
    state.save(tmp_path / "train.pt")
    resumed = make_state()
    resumed.load(tmp_path / "train.pt")
    assert (resumed.examples, resumed.steps) == (state.examples, state.steps)
    for one, two in zip(state.ema.parameters(), resumed.ema.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_the_average_starts_close_to_the_parts() -> None:
    state = make_state()
    with torch.no_grad():
        for parameter in state.parts.parameters():
            parameter.add_(1.0)
    old = next(iter(state.ema.parameters())).clone()
    state.steps = 0
    state.update_ema(0.999)  # (1 + 0) / (10 + 0) = .1 of the old is kept
    torch.testing.assert_close(next(iter(state.ema.parameters())), old + 0.9)


def test_costs_of_unets_are_told_side_by_side() -> None:
    lines = write_costs([((16, 32), 1, 8, 16), ((16, 48), 2, 4, 4)], rounds=1, batch=2).splitlines()
    assert lines[2].startswith("| (16, 32), 1 | ")
    assert lines[3].startswith("| (16, 48), 2 | ")
    assert all(int(line.split("|")[4]) > 0 for line in lines[2:4])


def make_build(folder: Path) -> Path:
    """A build folder with a tokenizer and one shard of random latents, for the smallest UNet."""
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    save_files(tokenizer, folder / "tokenizer")
    (folder / "latents").mkdir()
    tokens = tokenize(tokenizer, ["cat", "dog"]).expand(32, -1, -1).to(torch.int16)
    torch.save({"latents": torch.randn(32, 2, 16, 8, 8).half(), "tokens": tokens}, folder / "latents" / "0000.pt")
    return folder


def train_by_command(build: Path, examples: int, processes: int) -> TrainingState:
    words = ["train", "--build", str(build), "--examples", str(examples), "--processes", str(processes), "--batch", "4"]
    given = make_parser().parse_args([*words, "--channels", "16", "32", "--layers", "1", "--keep", "400"])
    threads = torch.get_num_threads()
    given.run(given)
    torch.set_num_threads(threads)
    return load_state(build, Recipe())


@pytest.mark.slow  # two processes that import torch, twice
def test_two_processes_train_together_to_the_example_and_go_on(tmp_path: Path) -> None:
    build = make_build(tmp_path)
    state = train_by_command(build, 400, 2)
    assert (state.examples, state.steps) == (400, 50)
    assert (build / "at-400.pt").exists()
    state = train_by_command(build, 800, 2)
    assert (state.examples, state.steps) == (800, 100)
    with pytest.raises(SystemExit, match="end together only by --examples"):
        run_train(make_parser().parse_args(["train", "--build", str(build), "--processes", "2"]))


def test_one_process_trains_to_the_example(tmp_path: Path) -> None:
    assert train_by_command(make_build(tmp_path), 8, 1).examples == 8
