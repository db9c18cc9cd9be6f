"""Words in captions and prompts: found as whole words, and taken out with the brackets and commas that held nothing else."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from loralab.data.tags import says, without_words


@pytest.mark.parametrize(
    ("prompt", "words", "left"),
    [
        ("zor", "zor", ""),
        ("zor, red", "zor", "red"),
        ("a red zor, Zor", "zor", "a red"),
        ("zorro, zor", "zor", "zorro"),
        ("zorro", "zor", None),
        ("red,zor,blue", "zor", "red, blue"),
        ("zor; red, blue", "zor", "; red, blue"),
        ("red, zor art, blue", "zor", "red, art, blue"),
        ("red zor, blue", "zor", "red, blue"),
        ("my_char, red", "my char", "red"),
        ("my  char, red", "my_char", "red"),
        ("a (myshape:1.2), cat", "myshape", "a, cat"),
        ("((myshape)) cat", "myshape", "cat"),
        ("(cat, myshape:1.2)", "myshape", "(cat:1.2)"),
        ("(myshape, cat:1.2)", "myshape", "(cat:1.2)"),
        ("(myshape cat:1.2)", "myshape", "(cat:1.2)"),
        ("(cat, myshape)", "myshape", "(cat)"),
        (r"saber \(fate\), cat", "saber (fate)", "cat"),
        (r"saber \(fate\), cat", r"saber \(fate\)", "cat"),
        ("saber (fate), cat", "saber (fate)", "cat"),
        ("1,000 zor", "zor", "1,000"),
        ("cat", "myshape", None),
        ("cat", "", None),
        ("cat", " _ ", None),
    ],
)
def test_words_are_taken_out_whole_with_what_held_nothing_else(prompt: str, words: str, left: str | None):
    assert without_words(prompt, words) == left
    assert says(prompt, words) is (left is not None)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="zor, ():.1_\\\x00é", max_size=30), st.sampled_from(["zor", "z", "(zor)", "z_o", "."]))
def test_what_is_left_never_says_the_words_and_the_search_ends(prompt: str, words: str):
    left = without_words(prompt, words)
    assert left is None or "\x00" not in left
