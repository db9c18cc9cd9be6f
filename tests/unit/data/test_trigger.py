"""The one finder of triggers: what is given or stated stands, what is guessed says how sure it is, and everyday words come last."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loralab.data import find_trigger, guess_trigger
from loralab.data.everyday import is_everyday
from loralab.errors import LabError


def found(*captions: str, **metadata: Any) -> tuple[str, str]:
    texts = {key.replace("__", "."): value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    trigger = find_trigger(None, captions, texts)
    return trigger.words, trigger.sure


# --- captions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (["zor, red", "zor, blue"], ("zor", "likely")),
        (["1girl, mychar, red", "1girl, mychar, blue"], ("mychar", "likely")),  # the everyday tag comes first and still is not taken
        (["masterpiece, best quality, mychar", "masterpiece, best quality, mychar, x"], ("mychar", "likely")),
        (["score_9, score_8_up, mychar", "score_9, score_8_up, mychar"], ("mychar", "likely")),
        (["1girl, red", "1girl, blue"], ("1girl", "unsure")),
        (["woman", "woman"], ("woman", "unsure")),
        (["zor, thing, red", "zor, thing, blue"], ("zor", "unsure")),  # two words that cannot be told apart
        (["zor, red"], ("zor", "unsure")),  # one caption shares all with itself
        (["a photo of ohwx woman on a chair", "a photo of ohwx woman in a park"], ("ohwx", "likely")),
        (["a photo of ohwx woman, chair", "a photo of ohwx man, park"], ("ohwx", "unsure")),
        (["My_char, a", "my char, b", "my_char, c"], ("My_char", "likely")),
        (["zor, a", "zor, b", "c"], ("zor", "unsure")),  # two captions of three, and they begin with it
        (["zor ||| red", "zor ||| blue"], ("zor", "likely")),
    ],
)
def test_what_captions_let_guess(captions: list[str], expected: tuple[str, str]):
    assert found(*captions) == expected


def test_a_guess_tells_its_evidence_and_what_else_it_might_be():
    trigger = find_trigger(None, ["zor, thing, red", "zor, thing, blue"], {})
    assert trigger.told == "guessed, not certain: it is in 2 of the data set's 2 captions; it might also be \u201cthing\u201d"
    assert "an everyday word" in find_trigger(None, ["1girl, a", "1girl, b"], {}).told
    assert find_trigger("zor style", ["x"], {}).told == "as given"


@pytest.mark.parametrize("captions", [[], ["", ""], ["a, b", "c, d", "e, f"], [",", "|||"]])
def test_captions_that_share_nothing_give_no_trigger(captions: list[str]):
    assert guess_trigger(captions) is None
    with pytest.raises(LabError, match="--trigger WORD"):
        find_trigger(None, captions, {})


@pytest.mark.parametrize("given", ["", "  "])
def test_an_empty_trigger_is_refused(given: str):
    with pytest.raises(LabError, match="an empty trigger"):
        find_trigger(given, ["zor", "zor"], {})


@pytest.mark.parametrize(
    ("term", "everyday"),
    [("1girl", True), ("a photo of a woman", True), ("2boys", True), ("zok style", False), ("score_8_up", True), ("!", True)]
)  # fmt: skip
def test_everyday_terms(term: str, everyday: bool):
    assert is_everyday(term) is everyday


# --- metadata -----------------------------------------------------------------------------------------------------------

COUNTED = {"10_ohwx": {"n_repeats": 10, "img_count": 15}}
TAGS = {"10_ohwx": {"ohwx woman": 15}, "1_woman": {"woman": 200}}


@pytest.mark.parametrize(
    "metadata",
    [
        {"ss_dataset_dirs": COUNTED, "ss_reg_dataset_dirs": {"1_woman": {"n_repeats": 1, "img_count": 200}}},
        {"ss_dataset_dirs": COUNTED},  # a dataset file: sd-scripts lists training folders alone
        {
            "ss_datasets": [
                {
                    "subsets": [
                        {"image_dir": "10_ohwx", "img_count": 15, "is_reg": False},
                        {"image_dir": "1_woman", "img_count": 200, "is_reg": True},
                    ]
                }
            ]
        },
    ],
)
def test_regularisation_folders_do_not_vote(metadata: dict[str, Any]):
    assert found(ss_tag_frequency=TAGS, **metadata) == ("ohwx woman", "likely")
    texts = {key: json.dumps(value) for key, value in {**metadata, "ss_tag_frequency": TAGS}.items()}
    assert "15 of 15 pictures" in find_trigger(None, [], texts).source


def test_regularisation_folders_do_not_vote_where_only_they_are_listed():
    assert found(ss_tag_frequency=TAGS, ss_reg_dataset_dirs={"1_woman": {"img_count": 200}}) == ("ohwx woman", "unsure")


def test_a_file_that_does_not_say_which_folder_is_which_gives_an_unsure_guess():
    assert found(ss_tag_frequency=TAGS) == ("ohwx woman", "unsure")


def test_a_count_above_the_number_of_pictures_is_a_contradiction_and_does_not_vote():
    """Training and regularisation folders of one name: sd-scripts adds their tags up."""
    both = {"images": {"ohwx woman": 15, "woman": 215}}
    assert found(ss_tag_frequency=both, ss_dataset_dirs={"images": {"img_count": 15}}) == ("ohwx woman", "likely")
    texts = {"ss_tag_frequency": json.dumps({"images": {"woman": 200}}), "ss_dataset_dirs": json.dumps({"images": {"img_count": 15}})}
    with pytest.raises(LabError, match="contradicts itself: 200 of the 15 pictures in 'images' have 'woman'"):
        find_trigger(None, [], texts)


def test_a_folder_that_sd_scripts_lists_twice_has_the_pictures_of_both():
    dirs = {"images": {"img_count": 6}, "images (2)": {"img_count": 4}}
    assert found(ss_tag_frequency={"images": {"zor": 10, "red": 6}}, ss_dataset_dirs=dirs) == ("zor", "likely")
    assert found(ss_tag_frequency={"images": {"zor": 6, "red": 2}}, ss_dataset_dirs=dirs) == ("zor", "likely")


def test_two_concepts_are_an_unsure_guess_that_names_the_other():
    tags = {"a": {"alice": 10, "1girl": 10}, "b": {"bob": 10, "1boy": 10}}
    texts = {"ss_tag_frequency": json.dumps(tags), "ss_dataset_dirs": json.dumps({"a": {"img_count": 10}, "b": {"img_count": 10}})}
    trigger = find_trigger(None, [], texts)
    assert (trigger.words, trigger.sure, trigger.others) == ("alice", "unsure", ("bob",))


def test_without_tags_the_folders_names_are_asked():
    assert found(ss_dataset_dirs={"10_ohwx woman": {"img_count": 15}}) == ("ohwx woman", "unsure")


@pytest.mark.parametrize(
    "key",
    ["modelspec__trigger_phrase", "trained_words", "ss_trained_words", "ss_trigger_words", "trainedWords", "activation text"]
)  # fmt: skip
def test_what_a_file_states_stands(key: str):
    assert found(**{key: "ohwx woman"}) == ("ohwx woman", "stated")
    assert found(**{key: '["1girl", "ohwx woman"]'}) == ("ohwx woman", "stated")
    assert found(**{key: "1girl, ohwx woman"}, ss_tag_frequency=TAGS) == ("ohwx woman", "stated")


def test_what_a_file_states_and_no_caption_says_is_not_sure():
    assert found("zor, a", "zor, b", trained_words="ohwx") == ("ohwx", "unsure")
    assert found("ohwx, a", "ohwx, b", trained_words="ohwx") == ("ohwx", "stated")


@pytest.mark.parametrize("value", ["", " ", "[]", "{}", "null", ",,", "\x1b", "x" * 10_000, "[" * 5000])
def test_statements_of_no_use_are_passed_over(value: str):
    assert found("zor, a", "zor, b", trained_words=value) == ("zor", "likely")


@pytest.mark.parametrize("text", ["", "[]", '{"a": 3}', '{"a": {"b": "c"}}', "{" * 5000, '{"a": {"b": true, "c": -1}}'])
def test_metadata_of_no_use_gives_no_trigger_and_no_crash(text: str):
    for dirs in (text, '{"a": {"img_count": "3"}}', '{"a": 3}'):
        with pytest.raises(LabError, match="--trigger WORD"):
            find_trigger(None, [], {"ss_tag_frequency": text, "ss_dataset_dirs": dirs, "ss_datasets": text, "ss_reg_dataset_dirs": text})
