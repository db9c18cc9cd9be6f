"""Prompts of any length and weight: chunks by hand, ComfyUI's formula, clip skip against diffusers, neutrality of repetition."""

from __future__ import annotations

import copy

import pytest
import torch

from loralab.bases import Base, embed_captions, embed_prompts, load_base, same_length
from loralab.bases.clip import chunk_tokens
from loralab.errors import LabError
from loralab.spec.prompts import escape_prompt, parse_prompt

pytestmark = pytest.mark.usefixtures("one_thread")


def flat(prompt: str) -> list[tuple[str, float]]:
    return [(piece.text, round(piece.weight, 6)) for chunk in parse_prompt(prompt) for piece in chunk]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("red cat", [("red cat", 1)]),
        ("", []),
        ("a (cat) b", [("a ", 1), ("cat", 1.1), (" b", 1)]),
        ("((cat))", [("cat", 1.21)]),
        ("(cat:1.3), dog", [("cat", 1.3), (", dog", 1)]),
        ("(a (b:0.5) c:2)", [("a ", 2), ("b", 0.5), (" c", 2)]),  # an inner number stands; A1111 would make it 1
        ("((b:0.5))", [("b", 0.5)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(:1.5)", [(":1.5", 1.1)]),
        ("(a :-1)", [("a ", -1)]),
        (r"saber \(fate\)", [("saber (fate)", 1)]),
        (r"(saber \(fate\):1.2)", [("saber (fate)", 1.2)]),
        (r"\[x\] \{y\}", [("[x] {y}", 1)]),
    ],
)
def test_weights_are_read_as_comfyui_reads_them(prompt: str, pieces: list[tuple[str, float]]):
    assert flat(prompt) == pieces


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a <lora:mine:0.8> b", "a LoRA is an arm"),
        ("embedding:bad", "textual inversions"),
        ("(embedding:bad:1.2), ugly", "'embedding:bad:1.2' .* textual inversions"),
        ("ugly,embedding:bad", "textual inversions"),
        ("cat AND dog", "write `and`"),
        ("cat,AND,dog", "write `and`"),
        ("JACK AND JILL", "AND in capitals .* write `and` .text encoders read both the same way"),
        ("cat AND_PERP dog", "composes"),
        ("cat ADDCOL dog", "Regional Prompter"),
        ("<hypernet:x:1> cat", "a LoRA is an arm"),
        ("a <lora:mine", "a LoRA is an arm"),
        ("<random:1-2> cat", "another tool's extension"),
        ("__colour__ cat", "wildcards"),
        ("(cat)++", r"write weights as \(words:1.1\)"),
        ('("cat", "dog").blend(1, 1)', "compositions"),
        ("[cat:dog:0.5]", r"\\\["),
        ("[cat|dog]", r"\\\["),
        ("{red|blue} cat", "wildcards"),
        ("(a:1.2", "are not balanced"),
        ("(cat", "are not balanced"),
        ("cat :)", "are not balanced"),
        (")(", "are not balanced"),
        ("(cat:nan)", "is not between -10 and 10"),
        ("(cat:1e9)", "is not between -10 and 10"),
    ],
)
def test_what_another_tool_would_not_take_as_text_is_refused(tiny_base: Base, prompt: str, said: str):
    with pytest.raises(LabError, match=said) as raised:
        embed_prompts(tiny_base, ["fine", prompt])
    assert raised.value.kind == "spec"
    embed_prompts(tiny_base, ["AND then"[4:], "candy and lands"])  # small letters are words


@pytest.mark.parametrize(
    ("prompt", "chunks"),
    [
        ("red cat BREAK blue dog", ["red cat ", " blue dog"]),
        ("red cat, BREAK, blue dog", ["red cat, ", ", blue dog"]),
        ("red cat,BREAK blue dog", ["red cat,", " blue dog"]),
        ("(red BREAK blue:1.2)", ["red ", " blue"]),
        ("red\nBREAK\nblue", ["red\n", "\nblue"]),
        ("BREAKFAST, break, BREAK_x, snake__case, I <3 c++, o_o ^_^ >_<", None),
    ],
)
def test_break_is_obeyed_wherever_it_stands_as_a_word(prompt: str, chunks: list[str] | None):
    """A1111's modules/prompt_parser.py splits at word boundaries, inside brackets too; part of a longer word is text."""
    assert [[piece.text for piece in chunk] for chunk in parse_prompt(prompt)] == [[text] for text in chunks or [prompt]]


def test_escaping_gives_every_text_back():
    for text in (
        "a (b:1.2) [c] {d}", "saber (fate)", ":)", "plain", "JACK AND JILL, BREAK, a", "a,AND,b AND_PERP c", "embedding:x, Embedding:y",
        "<lora:a:1> < b : c>", "__colour__ ADDCOL ADDP", "a\\(b\\)", '("cat", "dog").blend(1, 1)', "AND", "BREAK", "(BREAK AND [x])",
        "a <b> c", "(cat)++",
    ):  # fmt: skip
        assert flat(escape_prompt(text)) == [(text, 1)]


def test_a_backslash_makes_a_word_text():
    assert flat(r"black \AND white, \BREAK, \embedding:x") == [("black AND white, BREAK, embedding:x", 1)]


def indices(base: Base, prompt: str) -> list[list[int]]:
    return [[token.index for token in chunk] for part in parse_prompt(prompt) for chunk in chunk_tokens(base, base.tokenizer, part)]


def test_short_prompts_have_the_tokenizer_s_own_tokens():
    """On petri, with its words and merges: chunks are what the tokenizer pads to."""
    petri = load_base("petri")
    for prompt in ("", "red circle", "a grey triangle, white background", "MyShape, 3x3 grid!", "monster, a cat's hat"):
        expected = petri.tokenizer([prompt], padding="max_length", max_length=24).input_ids
        assert indices(petri, prompt) == expected, prompt
    long = ", ".join(["red circle"] * 14)
    assert embed_prompts(petri, ["red circle", long]).shape == (2, 48, 160)


def test_words_move_whole_to_the_next_chunk_and_long_ones_are_cut(tiny_base: Base):
    """12 places: start, 10 letters, end. A word of up to 7 letters stays whole; one of 8 or more fills the chunk first."""
    start, end, pad = (getattr(tiny_base.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad"))
    letter = tiny_base.tokenizer("a", add_special_tokens=False).input_ids[0]
    inside = tiny_base.tokenizer("aa", add_special_tokens=False).input_ids[0]
    five, eight = [inside] * 4 + [letter], [inside] * 7 + [letter]
    assert indices(tiny_base, "aaaaa aaaaa a") == [[start, *five, *five, end], [start, letter, end, *[pad] * 9]]
    assert indices(tiny_base, "aaaaa a aaaaa") == [[start, *five, letter, end, *[pad] * 4], [start, *five, end, *[pad] * 5]]
    assert indices(tiny_base, "aaaaa aaaaaaaa") == [[start, *five, *eight[:5], end], [start, *eight[5:], end, *[pad] * 7]]
    assert indices(tiny_base, "a BREAK a BREAK") == [[start, letter, end, *[pad] * 9]] * 2


def test_chunks_are_embedded_one_by_one(tiny_base: Base):
    whole = embed_prompts(tiny_base, ["abcde fghij klm"])[0]
    parts = embed_prompts(tiny_base, ["abcde fghij", "klm"])
    assert torch.equal(whole, parts.flatten(0, 1))


def test_a_weighted_word_moves_away_from_the_empty_prompt(tiny_base: Base):
    """z_empty + w (z - z_empty) at the places of the word, nothing elsewhere: ComfyUI's encode_token_weights."""
    plain, empty = embed_prompts(tiny_base, ["ab cd", ""])
    weighted = embed_prompts(tiny_base, ["ab (cd:1.5)"])[0]
    expected = plain.clone()
    for place in (3, 4):  # start, a, b, c, d
        expected[place] = (plain[place] - empty[place]) * 1.5 + empty[place]
    assert (weighted - expected).abs().max() < 1e-6
    assert not torch.allclose(weighted, plain)
    assert torch.equal(embed_prompts(tiny_base, ["ab (cd:1)"])[0], plain)
    assert torch.allclose(embed_prompts(tiny_base, ["ab (cd:0)"])[0][3:5], empty[3:5], atol=1e-6)


def test_captions_are_taken_letter_by_letter(tiny_base: Base):
    assert torch.equal(embed_captions(tiny_base, ["ab cd"]), embed_prompts(tiny_base, ["ab cd"]))
    assert torch.equal(embed_captions(tiny_base, ["AND"]), embed_captions(tiny_base, ["and"]))  # refused as a prompt


def test_clip_skip_2_is_the_encoder_without_its_last_layer(tiny_base: Base):
    """Read after the final norm. diffusers counts from 0, and its own clip_skip fails with transformers 5."""
    from transformers import CLIPTextModel

    config = copy.deepcopy(tiny_base.text_encoder.config)
    config.num_hidden_layers = 1
    shorter = CLIPTextModel(config).eval()
    shorter.load_state_dict(tiny_base.text_encoder.state_dict(), strict=False)
    expected = embed_prompts(tiny_base.with_parts(text_encoder=shorter), ["red cat", "dog"])
    found = embed_prompts(tiny_base, ["red cat", "dog"], clip_skip=2)
    assert (found - expected).abs().max() < 1e-6
    assert not torch.allclose(found, embed_prompts(tiny_base, ["red cat", "dog"]))


def test_clip_skip_beyond_the_encoder_is_refused(tiny_base: Base):
    with pytest.raises(LabError, match="clip_skip 3 on a text encoder of 2 layers"):
        embed_prompts(tiny_base, ["cat"], clip_skip=3)


def test_repeating_a_text_changes_no_prediction(tiny_base: Base):
    short = embed_prompts(tiny_base, ["cat"])
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone, beside = (
            tiny_base.unet(latents, 500, text, return_dict=False)[0] for text in same_length(tiny_base, [short, short.repeat(1, 3, 1)])
        )
        once = tiny_base.unet(latents, 500, short, return_dict=False)[0]
    assert torch.equal(alone, beside)
    assert (alone - once).abs().max() < 1e-5
