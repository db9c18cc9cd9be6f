"""Study files: what is accepted, and that every mistake is named with its line."""

from pathlib import Path

import pytest

from loralab.errors import LabError
from loralab.spec import BASE, Cell, load_study, parse_cell
from loralab.spec.load import held_as, run_name, train_spec_of

ARTICLE = Path(__file__).parents[3] / "studies" / "article.yaml"


def broken(tmp_path: Path, old: str, new: str) -> LabError:
    text = ARTICLE.read_text(encoding="utf-8")
    assert old in text, old
    file = tmp_path / "study.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LabError) as caught:
        load_study(file)
    return caught.value


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(ARTICLE.read_text(encoding="utf-8").splitlines(), start=1) if text in line)


def test_the_article_study_has_the_seven_experiments_and_its_numbers_are_numbers():
    spec = load_study(ARTICLE).spec
    assert list(spec.experiments) == ["myshape", "primary", "monster", "coloured-monster", "blur", "grid", "overfit"]
    assert spec.train.lr == 0.002  # YAML 1.1 would read 2e-3 as a string
    assert train_spec_of(spec, spec.arms["hot"]).lr == pytest.approx(8 * spec.train.lr)


def test_the_device_is_no_part_of_the_question_and_the_precision_is():
    study = load_study(ARTICLE, "quick")
    assert held_as(study, None, None) is study
    assert held_as(study, "cuda").sha256 == study.sha256 == held_as(study, None, "fp32").sha256
    half = held_as(study, None, "bf16")
    assert half.spec.load.precision == "bf16"
    assert half.sha256 != study.sha256


def test_a_precision_that_is_none_is_refused_with_the_choices():
    with pytest.raises(LabError, match=r"--precision int4(.|\n)*bf16"):
        held_as(load_study(ARTICLE), None, "int4")


def test_presets_change_the_budget_and_the_hash():
    hashes = {preset: load_study(ARTICLE, preset).sha256 for preset in ("smoke", "quick", "full")}
    assert len(set(hashes.values())) == 3
    assert load_study(ARTICLE, "full").spec.train.replicates == 32


def test_comments_do_not_change_the_hash(tmp_path: Path):
    file = tmp_path / "study.yaml"
    file.write_text("# another comment\n" + ARTICLE.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_study(file).sha256 == load_study(ARTICLE).sha256


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 2e-3", "learning: 2e-3", "unknown key 'learning'"),
        ("rank: 2,", "rank: two,", "train.rank"),
        ("steps: 64", "steps: 0", "1 or more"),
        ("expect: lower", "expect: down", "'higher', 'lower' or 'no change'"),
        ('cell: myshape @ "myshape"', 'cell: mishape @ "myshape"', "unknown arm 'mishape'"),
        ('cell: myshape @ "myshape"', "cell: myshape @ myshape", "is not a cell"),
        ("{data: grey-shapes, ", "{data: gray-shapes, ", "unknown data 'gray-shapes'"),
        ("{generate: shapes, shapes: [circle, square, triangle], fill: grey", "{generate: shaps, fill: grey", "not a kind of data"),
        ("fill: [red, green, blue]", "fill: [red, green]", "2 colours for 3 shapes"),
        ("sizes: [2x2,", "sizes: [2x22,", "'2x22' is not a grid size"),
        ("study: article", "study: An Article", "cannot be used as a name"),
        ("  placebo:  ", "  nul:  ", "cannot be used as a name"),
        ("train: {lr: 1.6e-2}", "train: {lr: 8e9}", "1 or less"),
        ("quick: {train: {replicates: 8}", "quick: {train: {replicate: 8}", "unknown key 'replicate'"),
        ("data: own-images,", "data: grey-shapes,", "not the base's images"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, said: str):
    error = broken(tmp_path, old, new)
    assert said in str(error)
    assert error.exit_code == 2
    assert f"line {line_of(old)}" in error.problems[0].where


def test_all_mistakes_are_reported_together(tmp_path: Path):
    text = ARTICLE.read_text(encoding="utf-8").replace("rank: 2,", "rank: two,").replace("expect: lower", "expect: down")
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LabError) as caught:
        load_study(file)
    assert len(caught.value.problems) >= 3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [1", "not valid YAML"),
        (b"- 1\n- 2\n", "no `key: value` pairs"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "no `key: value` pairs"),
        (b"a: 1\na: 2\n", "the key `a` appears twice, here and on line 1"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_study(tmp_path: Path, content: bytes, said: str):
    file = tmp_path / "study.yaml"
    file.write_bytes(content)
    with pytest.raises(LabError, match=said):
        load_study(file)


def test_a_missing_file_names_the_studies_beside_it(tmp_path: Path):
    (tmp_path / "other.yaml").write_text("x: 1", encoding="utf-8")
    with pytest.raises(LabError, match=r"the study files there are other\.yaml"):
        load_study(tmp_path / "study.yaml")


def test_cells_read_back_as_they_print():
    for text in ('a @ "red monster"', 'a @ "x, y", strength 0.5', 'a @ ""', 'a @ "x", strength 0.25, step 32'):
        assert str(parse_cell(text)) == text
    assert parse_cell('hot @ "cat"').on(BASE) == Cell(BASE, "cat")


def test_a_study_is_run_again_by_its_name_only_where_that_name_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_name(load_study(ARTICLE)) == "article"
    own = tmp_path / "mine" / "article.yaml"
    own.parent.mkdir()
    own.write_text(ARTICLE.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert run_name(load_study(Path("mine/article.yaml"))) == "mine/article.yaml"
    assert run_name(load_study(own)) == "article.yaml"  # no folder of this machine goes into a report
