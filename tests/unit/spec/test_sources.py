"""What draws a picture is told by its type: an arm may be called as a base is, and cells, keys and files keep the two apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loralab.spec import BASE, AdapterSource, BaseSource, Cell, is_base, load_study, parse_cell
from loralab.spec.sources import spelled, whose

STUDY = """
study: names
data: {grey: {generate: shapes, shapes: [circle]}}
arms:
  base: {data: grey, captions: myshape}
  other: {data: grey, captions: myshape}
experiments:
  one:
    question: Is an arm called base an arm?
    claims:
      - {say: learned, measure: chroma, cell: base @ "myshape", expect: lower, margin_absolute: 5}
      - {say: against it, measure: chroma, cell: other @ "myshape", versus: base @ "myshape", expect: lower, margin_absolute: 5}
      - {say: elsewhere, measure: chroma, cell: arm base @ "cat", versus: the base @ "dog", expect: lower, margin_absolute: 5}
    show: [base @ "cat"]
    curves:
      - {say: stronger, measure: chroma, cell: base @ "myshape", over: strength, at: [0, 1], expect: lower, margin_absolute: 5}
"""


def test_an_arm_called_base_is_an_arm_in_its_study_and_versus_base_is_the_base(tmp_path: Path):
    (file := tmp_path / "names.yaml").write_text(STUDY, encoding="utf-8")
    loaded = load_study(file)
    one = loaded.spec.experiments["one"]
    assert [claim.cell for claim in one.claims] == [Cell("base", "myshape"), Cell("other", "myshape"), Cell("base", "cat")]
    assert [claim.versus_cell for claim in one.claims] == [Cell(BASE, "myshape"), Cell("base", "myshape"), Cell(BASE, "dog")]
    assert one.show == (Cell("base", "cat"),)
    assert one.curves[0].cell == Cell("base", "myshape")
    file.write_text(STUDY.replace("arm base @", "the base @").replace("the base @", "other @", 1), encoding="utf-8")
    assert load_study(file).sha256 != loaded.sha256


def test_base_in_a_cell_is_the_base_where_no_arm_is_called_so():
    assert parse_cell('base @ "cat"') == parse_cell('the base @ "cat"') == Cell(BASE, "cat")
    assert parse_cell('arm base @ "cat"') == Cell("base", "cat")
    with pytest.raises(ValueError, match="is not a cell"):
        parse_cell('the other @ "cat"')


@given(st.one_of(st.text(), st.sampled_from(["base", "base of far", "arm base", "arm ", "base of ", "base of base"])))
def test_the_text_of_an_arm_is_never_that_of_a_base(name: str):
    assert whose(spelled(name)) == name
    assert not is_base(whose(spelled(name)))
    assert whose(spelled(BaseSource(name))) == BaseSource(name)


def test_cells_read_back_from_their_json_and_text():
    for cell in (Cell(BASE, "cat"), Cell("base", "cat", 0.5, 8), Cell("a", "")):
        assert parse_cell(str(cell)) == cell
    assert str(Cell(BaseSource("far"), "cat")) == 'base of far @ "cat"'


def test_sources_are_called_as_their_files_are():
    assert [str(source) for source in (AdapterSource("hot", 3), AdapterSource("hot", 3, 8), BASE, BaseSource("far"))] == [
        "hot-r3", "hot-r3-step8", "base", "base of far",
    ]  # fmt: skip
    assert AdapterSource("hot", 3, 8).run == AdapterSource("hot", 3)
