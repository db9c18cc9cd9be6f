"""Every mistake of a study file at once, each with its line and in words: YAML's own, the models', and those between the parts."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.preflight import checked_study
from loralab.spec.load import draft_study, load_study

ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"
GOOD = """\
study: own
base: petri
data:
  grey: {generate: shapes, shapes: [circle, square], fill: grey}
  own: {images_of: base, prompts: [thing], guidance: 1, steps: 2}
train: {steps: 8, replicates: 3}
sample: {steps: 2, seeds: 2}
presets:
  quick: {train: {replicates: 4}}
arms:
  shapes: {data: grey, captions: thing}
  placebo: {data: own, captions: "{prompt}", control: placebo}
experiments:
  one:
    question: Anything?
    claims:
      - {say: it changes, measure: change, cell: shapes @ "thing", expect: higher, margin_absolute: 1}
      - {say: it stays, measure: chroma, cell: shapes @ "thing", expect: no change, margin_absolute: 1}
"""


def complaint(folder: Path, *changes: tuple[str, str]) -> list[str]:
    """Return what is said of GOOD with changes made, a problem a line."""
    text = GOOD
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(LabError) as caught:
        load_study(folder / "own.yaml")
    said = [str(problem).replace("\n", " ") for problem in caught.value.problems]
    assert all("Input should" not in line and "pydantic" not in line and "type=" not in line for line in said)
    return said


def test_the_good_one_is_good(tmp_path: Path):
    (tmp_path / "own.yaml").write_text(GOOD, encoding="utf-8")
    assert load_study(tmp_path / "own.yaml", "quick").spec.train.replicates == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("  quick: {", "\tquick: {", 9, ("indented with a tab", "spaces")),
        ("question: Anything?", "question: Any: thing?", 15, ("a colon inside a text", "quotes")),
        ("say: it stays", "say: it: stays", 18, ("`{...}` that YAML cannot read", "quotes")),
        ("data: grey, captions: thing", "data: grey, adapters: *.safetensors", 11, ("starts with `*`", "quotes")),
        ("question: Anything?", "question: @thing", 15, ("starts with `@`", "quotes")),
        ("expect: no change", 'expect: "no change', 18, ("never closed",)),
        ("question: Anything?", 'question: "Any" thing?', 15, ("quotes",)),
        ("    claims:", "   claims:", 16, ("indent",)),
        ("base: petri", "base: petri\nbase: other", 3, ("`base` appears twice", "line 2")),
        ("captions: thing}", "captions: thing, data: own}", 11, ("`data` appears twice",)),
        ("base: petri", "base: petri\x07", 0, ("not valid YAML",)),
        ("base: petri", "base: petri\n---\nbase: other", 0, ("second document",)),
    ],
)  # fmt: skip
def test_mistakes_of_yaml(tmp_path: Path, old: str, new: str, line: int, words: tuple[str, ...]):
    said = complaint(tmp_path, (old, new))
    first = next(text for text in said if words[0] in text)
    assert f"line {line}:" in first or not line
    assert all(word in first for word in words)
    assert len(said) <= 2


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("steps: 8,", "steps: eight,", 6, ("`train.steps`: found 'eight'", "a whole number")),
        ("steps: 8,", "steps: 8.5,", 6, ("`train.steps`: found 8.5", "a whole number")),
        ("steps: 8,", "steps: true,", 6, ("`train.steps`: expected a number, found true",)),
        ("steps: 8,", "steps: 8, lr: '1,5e-4',", 6, ("found '1,5e-4'", "a decimal point")),
        ("steps: 8,", "steps: 8, lr: .inf,", 6, ("`train.lr`: found inf", "a finite number")),
        ("steps: 8,", "steps: 8, alpha: .inf,", 6, ("`train.alpha`: found inf", "a finite number")),
        ("steps: 8,", "steps: ~,", 6, ("`train.steps`: nothing is given", "a whole number")),
        ("steps: 8,", "learning_rate: 1e-3, steps: 8,", 6, ("unknown key 'learning_rate'", "did you mean `lr`?")),
        ("steps: 8,", "step: 8,", 6, ("unknown key 'step'", "did you mean `steps`?")),
        ("train: {steps: 8, replicates: 3}", "train: [steps, 8]", 6, ("`train`: found a list", "`key: value` pairs")),
        ("train: {steps: 8, replicates: 3}", "load: {enable: yes}", 6, ("`load`: unknown key 'enable'", "precision")),
        ("fill: grey", "fill: gray", 4, ("data grey, `fill`: found 'gray'", "did you mean 'grey'?")),
        ("[circle, square]", "[circle, hexagom]", 4, ("data grey, `shapes[2]`", "did you mean 'hexagon'?")),
        ("[circle, square]", "circle", 4, ("data grey, `shapes`: found 'circle'", "a list")),
        ("[circle, square]", "[]", 4, ("found an empty list", "at least 1")),
        ("generate: shapes, ", "", 4, ("not a kind of data",)),
        ("prompts: [thing]", "prompts: [thing, 7]", 5, ("data own, `prompts[2]`: found 7", "in quotes")),
        ("captions: thing}", "captions: 2024-01-01}", 11, ("arm shapes, `captions`: found 2024-01-01", "in quotes")),
        ("  quick:", "  quik:", 9, ("unknown preset 'quik'", "smoke")),
        ("{replicates: 4}", "{replicates: many}", 9, ("preset quick, `train.replicates`: found 'many'",)),
        ("captions: thing}", "captions: thing, train: {rank: big}}", 11, ("arm shapes, `train.rank`: found 'big'",)),
        ("captions: thing}", "captions: thing, train: big}", 11, ("arm shapes, `train`: found 'big'", "pairs")),
        ("say: it stays, ", "", 18, ("experiment one, claim 2: `say` is missing",)),
        ('cell: shapes @ "thing", expect: no', 'cell: shapes @ "thing", step 4, expect: no', 18,
         ("unknown key 'step 4'", "whole cell in quotes")),
        ("expect: no change", "expect: none", 18, ("claim 'it stays', `expect`", "'no change'")),
        ("margin_absolute: 1}\n      -", "margin: .2, margin_absolute: 1}\n      -", 17, ("claim 'it changes': give `margin`",)),
        ('cell: shapes @ "thing", expect: no', "cell: [shapes], expect: no", 18, ("claim 'it stays', `cell`: found a list", "ARM @")),
        ("    question: Anything?\n", "", 14, ("experiment one: `question` is missing", "The question in words")),
        ("control: placebo", "control: null", 12, ()),
    ],
)  # fmt: skip
def test_a_value_is_named_by_names_and_in_words(tmp_path: Path, old: str, new: str, line: int, words: tuple[str, ...]):
    if not words:  # YAML's null: no control, which is allowed
        (tmp_path / "own.yaml").write_text(GOOD.replace(old, new), encoding="utf-8")
        assert load_study(tmp_path / "own.yaml").spec.arms["placebo"].control is None
        return
    said = complaint(tmp_path, (old, new))
    assert len(said) == 1
    assert f"line {line}:" in said[0]
    assert all(word in said[0] for word in words), said[0]


def test_a_list_of_arms_is_told_to_be_pairs(tmp_path: Path):
    arms = GOOD[GOOD.index("arms:") : GOOD.index("experiments:")]
    said = complaint(tmp_path, (arms, "arms:\n  - {name: shapes, data: grey, captions: thing}\n"))
    assert "`arms`: found a list" in said[0]
    assert "`NAME: {...}` pairs" in said[0]


def test_yes_no_and_exponents_are_what_people_mean(tmp_path: Path):
    text = GOOD.replace("captions: thing", "captions: no").replace("steps: 8,", "steps: 8, lr: 1e-3, alpha: '4',")
    text = text.replace("experiments:", "load: {side_by_side: yes}\nexperiments:").replace("Anything?", "yes")
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    spec = load_study(tmp_path / "own.yaml").spec
    assert (spec.arms["shapes"].captions, spec.load.side_by_side, spec.train.lr, spec.train.alpha) == ("no", True, 0.001, 4.0)
    assert spec.experiments["one"].question == "yes"


def test_one_mistake_hides_no_other(tmp_path: Path):
    said = complaint(
        tmp_path,
        ("fill: grey}", "fill: gray}\n  grey: {generate: grids, sizes: [2x2]}"),
        ("steps: 8,", "steps: none,"),
        ("  quick: {train: {replicates: 4}}", "  quick: {train: {replicate: 4}, null_of: [nobody]}"),
        ("placebo: {data: own,", "placebo: {data: gone,"),
        ("Anything?", "Any: thing?"),
        ('- {say: it changes, measure: change, cell: shapes @ "thing"', '- {measure: change, cell: ghost @ "x <lora:a:1>"'),
        ("expect: no change", "expect: up"),
    )
    wanted = [
        "line 4: data grey, `fill`", "line 5: the key `grey` appears twice", "line 7: `train.steps`", "line 10: unknown arm 'nobody'",
        "line 10: preset quick, `train`: unknown key 'replicate'", "line 13: arm 'placebo' uses unknown data 'gone'",
        "line 16: not valid YAML: a colon", "line 18: experiment one, claim 1: `say` is missing", "line 18: unknown arm 'ghost'",
        "line 18: '<lora:a:1>'", "line 19: experiment one, claim 'it stays', `expect`",
    ]  # fmt: skip
    assert [next((text for text in said if f"own.yaml, {words}" in text), words) for words in wanted] == said


def problems_of(folder: Path, text: str) -> list[str]:
    """Return every mistake of a study, folders and instruments included, a problem a line."""
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(LabError) as caught:
        checked_study(folder / "own.yaml")
    return [str(problem).replace("\n", " ") for problem in caught.value.problems]


def test_what_stands_alone_in_its_part_hides_nothing_when_it_is_refused(tmp_path: Path):
    said = problems_of(
        tmp_path,
        """\
study: own
data: {grey: {generate: shapes, shapes: [circle, square], fill: [red, nocolour], background: white}}
arms: {one: {captions: thing}}
experiments:
  one: {question: q, claims: [{say: a, measure: chromaa, cell: one @ "(thing", expect: higher}, {say: b, measure: chroma}]}
sample: {steps: 0, negative: "a AND b"}
""",
    )
    assert [line.split(": ", 1)[0].removeprefix("own.yaml, line ") for line in said] == [*"2355556", "6"]
    assert "`fill[2]`: found 'nocolour'" in said[0]
    assert "`data` is missing" in said[1]
    assert {"unknown instrument 'chromaa'" in line for line in said[2:6]} == {True, False}
    assert not any("stands-in" in line for line in said)


def test_two_data_sets_that_cannot_be_read_leave_the_third_to_be_checked(tmp_path: Path):
    """A path in double quotes with a backslash is what people of Windows write: told, and read as it was meant for the rest."""
    said = problems_of(
        tmp_path,
        """\
study: own
data:
  a: {folder: "C:\\new\\tom"}
  b: {folder: "x\\0y"}
  c: {folder: "C:\\Users\\me"}
  d: {folder: no, masks: no}
  e: {folder: own.yaml}
arms: {one: {data: c}, two: {data: d, base: "~/no.safetensors"}}
experiments:
  one: {question: q, claims: [{say: a, measure: change, cell: one @ "thing", versus: two @ "thing", expect: higher}]}
train: {steps: 1,000}
""",
    )
    text = "\n".join(said)
    assert text.count("contains a line break, a tab or another control character") == 2
    assert "a backslash inside double quotes" in text
    assert "no folder at" in text
    assert "own.yaml, line 7: data e" in text
    assert "no base at '~/no.safetensors'" in text
    assert "write a number without it (1000; 0.5)" in text


def test_mistakes_of_crossed_arms_are_told_where_the_file_has_them(tmp_path: Path):
    said = problems_of(
        tmp_path,
        """\
study: own
data: {grey: {generate: shapes, shapes: [circle], fill: grey, background: white}}
arms:
  grey:
    data: grey
    captions: thing
    foo: 1
    train: {stepz: 4}
    factors:
      rank: [2, x]
      lr: [1e-3, -1]
experiments:
  one: {question: q, claims: [{say: a, measure: change, cell: grey @ "thing", expect: higher, effect: rank x lrr}]}
""",
    )
    lines = [line.split(": ")[0].removeprefix("own.yaml, line ") for line in said]
    assert lines == ["7", "8", "10", "11", "13"]
    assert all(key in line for line, key in zip(said, ("'foo'", "'stepz'", "`factors.rank`", "`factors.lr`", "'lrr'"), strict=True))


def test_files_that_match_nothing_are_found_with_the_rest(tmp_path: Path):
    said = complaint(
        tmp_path,
        ("captions: thing}", "captions: thing, adapters: 'out/*.safetensors'}"),
        ("prompts: [thing]", "prompts: ['a [b']"),
        ("expect: no change", "expect: up"),
    )
    assert [("line 5" in said[0]), "line 11: arm 'shapes': no file matches" in said[1], "line 18" in said[2]] == [True] * 3


def test_a_file_that_nests_or_repeats_without_end_is_refused(tmp_path: Path):
    doubled = "".join(f"b{k + 1}: &b{k + 1} [*b{k}, *b{k}]\n" for k in range(40))
    bombs = ["b0: &b0 [x, x]\n" + doubled, "a: " + "[" * 500 + "]" * 500 + "\n"]
    for text in bombs:
        (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(LabError, match=r"nested too deeply|not valid YAML"):
            load_study(tmp_path / "own.yaml")


def test_damaged_studies_end_in_problems_never_in_a_traceback(tmp_path: Path):
    """60 copies of the article and 240 of a short study with letters, lines and values damaged: a study, or problems with lines."""
    chance, file = random.Random(0), tmp_path / "own.yaml"
    for text in [ARTICLE.read_text(encoding="utf-8")] * 60 + [GOOD] * 240:
        file.write_text(damaged(text, chance), encoding="utf-8")
        said = refusal(file)
        assert said != ""
        assert "Input should" not in str(said)


def refusal(file: Path) -> str | None:
    try:
        draft_study(file, "quick").finished()
    except LabError as error:
        return str(error)
    return None


def damaged(text: str, chance: random.Random) -> str:
    """Return ``text`` with one to three pieces replaced."""
    pieces = ["", "\t", ": ", "[", "]", "{", "}", "-", "\n", "null", "true", "[a, b]", "{a: 1}", "1e999", "*x", "&x", "!t ", "'", '"', "é"]
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(text))
        text = text[:start] + chance.choice(pieces) + text[start + chance.choice((0, 1, 5, 40)) :]
    return text
