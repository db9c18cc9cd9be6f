"""The tokenizer: merges are those of byte-pair encoding, and any text survives the way there and back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from loralab.petri import petri_folder
from loralab.petri.text import MAX_TOKENS, load_tokenizer
from organism.tokens import byte_alphabet, save_tokenizer, train_merges


def test_merges_by_hand() -> None:
    # "aab" x 3 and "ab" x 2: the pair (a, b</w>) occurs 5 times, (a, a) 3 times; then "aab" is (a, ab</w>), 3 times
    assert train_merges(Counter({"aab": 3, "ab": 2}), 5) == [("a", "b</w>"), ("a", "ab</w>")]


def test_the_alphabet_has_a_stand_in_for_every_byte() -> None:
    assert len(set(byte_alphabet())) == 256


def test_a_saved_tokenizer_loads_and_splits_unknown_words_into_letters(tmp_path: Path) -> None:
    tokenizer = save_tokenizer(["a red cat"] * 30, tmp_path)
    assert tokenizer.tokenize("red cat") == ["red</w>", "cat</w>"]
    assert tokenizer.tokenize("zq") == ["z", "q</w>"]
    assert {path.name for path in tmp_path.iterdir()} >= {"vocab.json", "merges.txt"}


@pytest.mark.parametrize("text", ["red monster", "myshape", "grid layout", "cat, white background", "Łódź 7", "depth of field"])
def test_the_shipped_tokenizer_gives_any_text_back(text: str) -> None:
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    decoded = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    assert decoded.replace(" ", "") == text.lower().replace(" ", "")


def test_the_words_of_the_studies_are_single_tokens() -> None:
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    for word in ("monster", "red", "green", "blue", "grid", "layout", "cat", "house", "white", "background"):
        assert len(tokenizer.tokenize(word)) == 1
    assert len(tokenizer.tokenize("myshape")) > 1


def test_prompts_are_padded_to_the_length_of_training() -> None:
    tokenizer = load_tokenizer(petri_folder() / "tokenizer")
    assert tokenizer.model_max_length == MAX_TOKENS
    assert len(tokenizer("cat", padding="max_length").input_ids) == MAX_TOKENS
