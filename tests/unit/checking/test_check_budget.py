"""What a check draws in the time it has, what it advises, and how people's own settings and prompts are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loralab.checking.advice import Choice, advise
from loralab.checking.budget import Budget, Wanted, afford, pictures_a_seed, spread_over
from loralab.checking.prompts import as_prompt, make_prompts, read_prompts, sort_prompts
from loralab.checking.request import load_spec, sample_spec
from loralab.checking.scores import Scores
from loralab.checking.sentences import minus, percent, share_words
from loralab.errors import LabError
from loralab.infer.units import estimate_ratio

WANTED = Wanted(n_files=5, n_triggers=3, n_unrelated=4, n_strengths=4)


def test_a_seed_takes_each_prompt_with_the_base_each_file_and_each_strength():
    # 3 with the trigger, 3 without it, 4 unrelated; base + 5 files + 4 strengths of one
    assert pictures_a_seed(WANTED, 5, 2, 4, 4) == 10 * 10
    assert pictures_a_seed(Wanted(3, 1, 2, 4, bases_a_seed=3), 3, 0, 2, 0) == (2 + 2) * (3 + 3)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (100 * 4, Budget(4, 4, 5, 2, 4)),
        (100 * 11, Budget(10, 4, 5, 2, 4)),
        (100 * 1000, Budget(64, 4, 5, 2, 4)),
        (10 * 8 * 4, Budget(4, 2, 5, 2, 4)),
        (10 * 6 * 4, Budget(4, 0, 5, 2, 4)),
        (10 * 6 * 2, Budget(2, 0, 5, 2, 4)),
        (6 * 6 * 2, Budget(2, 0, 5, 0, 4)),
        (3 * 6 * 2, Budget(2, 0, 5, 0, 1)),
        (3 * 3 * 2, Budget(2, 0, 2, 0, 1)),
        (0, Budget(2, 0, 1, 0, 1)),
    ],
)
def test_what_is_given_up_first_is_what_matters_least(seconds: float, expected: Budget):
    assert afford(WANTED, 1.0, seconds) == expected


@pytest.mark.parametrize("seconds", [1.0, 7.0, 40.0, 333.0, 5000.0])
def test_what_is_afforded_fits_into_the_time_or_is_the_least(seconds: float):
    found = afford(WANTED, 0.7, seconds)
    takes = found.n_seeds * pictures_a_seed(WANTED, found.n_files, found.n_captions, found.n_unrelated, found.n_strengths) * 0.7
    assert takes <= seconds or found == Budget(2, 0, 1, 0, 1)


def test_files_that_are_left_out_lie_between_those_that_are_drawn():
    assert spread_over(10, 1) == [9]
    assert spread_over(10, 2) == [0, 9]
    assert spread_over(10, 4) == [0, 3, 6, 9]
    assert spread_over(3, 3) == [0, 1, 2]


# --- advice -------------------------------------------------------------------------------------------------------------


def scores_of(effect: float, damage: float, noise: float = 0.01) -> Scores:
    spread = noise * np.array([-1.0, 1.0, -1.0, 1.0, 0.5, -0.5])
    return Scores(effect + spread, None, np.zeros(6), damage - spread, None)


def test_what_keeps_most_of_the_effect_at_half_the_damage_is_advised():
    found = {
        Choice("step 32", 0.8): scores_of(0.54, 0.3), Choice("step 32", 1.0): scores_of(0.57, 0.5),
        Choice("step 64", 1.0): scores_of(0.6, 0.6), Choice("step 8", 1.0): scores_of(0.1, 0.02),
    }  # fmt: skip
    advice = advise(found)
    assert advice is not None
    assert (advice.use, advice.yardstick) == (Choice("step 32", 0.8), Choice("step 64", 1.0))
    assert advice.effect is not None
    assert advice.damage is not None
    assert (advice.effect.value, advice.damage.value) == pytest.approx((0.9, 0.5))


def test_full_strength_stays_where_it_hardly_damages_or_nothing_damages_clearly_less():
    mild = advise({Choice("a", 1.0): scores_of(0.6, 0.04), Choice("a", 0.6): scores_of(0.55, 0.01)})
    same = advise({Choice("a", 1.0): scores_of(0.6, 0.5), Choice("a", 0.8): scores_of(0.58, 0.499)})
    weak = advise({Choice("a", 1.0): scores_of(0.6, 0.5), Choice("a", 0.4): scores_of(0.2, 0.1)})
    for advice in (mild, same, weak):
        assert advice is not None
        assert not advice.trades
        assert advice.use == Choice("a", 1.0)


def test_without_an_effect_there_is_no_advice():
    assert advise({Choice("a", 1.0): scores_of(0.0, 0.5), Choice("a", 0.8): scores_of(0.6, 0.1)}) is None


def test_a_ratio_of_paired_means_has_the_delta_methods_interval():
    # units one = 2 * other + e, e = (1, -1): ratio 2, spread of one - 2 other = sqrt 2, over mean 4, t(.975, 1) = 12.7062
    found = estimate_ratio(np.array([7.0, 9.0]), np.array([3.0, 5.0]))
    assert found.value == pytest.approx(2)
    assert found.high - found.value == pytest.approx(12.7062 * np.sqrt(2) / 4 / np.sqrt(2), rel=1e-4)
    with pytest.raises(ValueError, match="at least 2"):
        estimate_ratio(np.array([1.0]), np.array([1.0]))


@pytest.mark.parametrize(("value", "word"), [(0.5, "half"), (0.33, "a third of"), (0.25, "a quarter of"), (0.62, "62\u00a0% of")])
def test_shares_are_said_as_people_say_them(value: float, word: str):
    assert share_words(value).replace("\u00a0", " ") == word.replace("\u00a0", " ")


def test_numbers_have_a_real_minus_sign_and_zero_none():
    assert (percent(-0.123), percent(-0.001), minus("-0.0"), minus("-0.5")) == ("\u221212 %", "0 %", "0.0", "\u22120.5")


# --- settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        ("Euler a", "euler-a", None),
        ("DPM++ 2M Karras", "dpmpp-2m", "karras"),
        ("dpmpp_2m", "dpmpp-2m", None),
        ("euler_ancestral", "euler-a", None),
    ],
)
def test_samplers_are_known_by_the_names_that_other_tools_give_them(name: str, sampler: str, schedule: str | None):
    found = sample_spec(sampler=name)
    assert (found.sampler, found.schedule) == (sampler, schedule)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sampler": "lcm"}, r"--sampler lcm\n  expected: dpmpp-2m, ddim, euler, euler-a"),
        ({"steps": 0}, r"--steps 0\n  expected: at least 1, at most 1000"),
        ({"guidance": 0.5}, r"--guidance 0.5\n  expected: at least 1"),
        ({"clip_skip": 20}, r"--clip-skip 20\n  expected: at least 1, at most 12"),
        ({"schedule": "beta"}, r"--schedule beta\n  expected: normal, karras"),
        ({"sampler": "ddim", "schedule": "karras"}, "sampler ddim has its own schedule"),
    ],
)
def test_a_setting_that_cannot_be_is_named_with_what_it_takes(given: dict[str, Any], said: str):
    with pytest.raises(LabError, match=said):
        sample_spec(**given)


def test_the_bases_settings_are_read_as_the_options_say():
    found = load_spec(prediction="v-pred", size_px=512, device=None)
    assert (found.prediction, found.size_px, found.device) == ("v_prediction", 512, "cpu")
    with pytest.raises(LabError, match=r"--size 500\n  expected: at least 64, at most 2048, a multiple of 64"):
        load_spec(size_px=500)
    with pytest.raises(LabError, match=r"--prediction flow\n  expected: epsilon, v_prediction"):
        load_spec(prediction="flow")


# --- prompts ------------------------------------------------------------------------------------------------------------


def test_people_s_prompts_are_sorted_by_the_trigger():
    found = sort_prompts(["zor, red hat", "a street", "portrait of anna"], "zor", "other", ["zor", "anna"])
    assert (found.trigger, found.without, found.unrelated) == (("zor, red hat",), ("red hat",), ("a street",))
    assert sort_prompts(["zor"], "zor", "petri").unrelated[0] == "cat, white background"
    assert sort_prompts(["anything"], None, "petri").without == ()
    with pytest.raises(LabError, match="none of the 1 prompts contains the trigger 'zor'"):
        sort_prompts(["a street"], "zor", "other")


def test_brackets_of_a_tag_weigh_nothing():
    assert as_prompt("saber (fate)") == r"saber \(fate\)"
    assert as_prompt(r"saber \(fate\)") == r"saber \(fate\)"
    assert make_prompts("saber (fate)", ["saber (fate), smile"], "other").trigger == (r"saber \(fate\)", r"saber \(fate\), smile")


def test_a_file_of_prompts_is_read_line_by_line(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeff# mine\n\n one \ntwo\none\n", encoding="utf-8")
    assert read_prompts(file) == ("one", "two")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 prompts"),
        (b"# nothing\n", "0 prompts"),
        ("\n".join(map(str, range(65))).encode(), "65 prompts"),
        (b"a cat --n dark --w 512", "line 1: --n in a prompt"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (None, "--prompts"),
    ],
)
def test_a_file_that_holds_no_prompts_is_refused(tmp_path: Path, content: bytes | None, said: str):
    file = tmp_path / "prompts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LabError, match=said):
        read_prompts(file)
