"""Pages of results: what they say that they rest on, what is stale, and making them again in order, whole or not at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from organism.rests_on import BASES, bare_code, hash_of
from organism.results import (
    FOLDER,
    PAGES,
    copy_summary,
    line_of,
    main,
    make_stale,
    stamped,
    state_of,
    states,
    told_in,
    write_index,
    write_states,
)
from organism.results_pages import Page

NOW = {"weights": "0" * 12, "rule": "1" * 12}
FIRST, HAND, SECOND = (
    Page("first", ("weights",), 1, "-c pass"),
    Page("hand", ("rule",), 2, by_hand="by eye"),
    Page("second", ("rule",), 3, "x"),
)


def now(name: str) -> str:
    return NOW[name]


def test_a_line_reads_back_and_replaces_an_older_one() -> None:
    told = {"weights": "bb1783e9a2f9", "rule": "unknown"}
    assert line_of(told) == "Rests on: weights `bb1783e9a2f9`, rule `unknown`."
    page = stamped("# A page\n\ntext\n", told)
    assert told_in(page) == told
    again = stamped(page, {"weights": "0" * 12})
    assert again == "# A page\n\ntext\n\nRests on: weights `000000000000`.\n"
    assert told_in("# A page that says nothing") == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Rests on: weights `000000000000`.", ""),
        ("Rests on: weights `aaaaaaaaaaaa`.", "weights changed"),
        ("Rests on: weights `unknown`.", "weights not known"),
        ("Rests on: rule `111111111111`.", "weights not known"),
        ("", "weights not known"),
    ],
)
def test_what_has_changed_or_is_not_known_makes_a_page_stale(text: str, why: str) -> None:
    state = state_of(FIRST, text, now)
    assert (state.why, state.stale) == (why, bool(why))
    assert not state_of(Page("code", (), 1), text, now).stale


def test_stale_pages_are_made_in_order_stamped_and_not_made_again(tmp_path: Path) -> None:
    for page in (FIRST, HAND, SECOND):
        (tmp_path / f"{page.name}.md").write_text("# old\n", encoding="utf-8")
    made: list[str] = []

    def run(page: Page) -> int:
        made.append(page.name)
        (tmp_path / f"{page.name}.md").write_text("# new\n", encoding="utf-8")
        return 0

    pages = (FIRST, HAND, SECOND)
    assert [(page.name, became) for page, became in make_stale(run, tmp_path, pages, now)] == [
        ("first", "made"), ("hand", "by hand"), ("second", "made"),
    ]  # fmt: skip
    assert made == ["first", "second"]
    assert told_in((tmp_path / "second.md").read_text(encoding="utf-8")) == {"rule": "1" * 12}
    assert [state.page.name for state in states(tmp_path, pages, now) if state.stale] == ["hand"]
    assert [page.name for page, _ in make_stale(run, tmp_path, pages, now)] == ["hand"]


def test_a_page_that_fails_ends_the_row_and_is_not_stamped(tmp_path: Path) -> None:
    (tmp_path / "first.md").write_text("# old\n", encoding="utf-8")
    assert [became for _, became in make_stale(lambda page: 1, tmp_path, (FIRST, SECOND), now)] == ["failed"]
    assert told_in((tmp_path / "first.md").read_text(encoding="utf-8")) == {}


def test_the_list_says_hours_and_why(tmp_path: Path) -> None:
    (tmp_path / "first.md").write_text(stamped("# a", {"weights": "f" * 12}), encoding="utf-8")
    told = write_states(states(tmp_path, (FIRST, HAND), now))
    assert told.splitlines() == [
        "first       1 h  weights changed",
        "hand   2 h, by hand  rule not known",
        "2 of 2 pages are stale; about 3.0 hours make them again",
    ]


def test_a_summary_becomes_a_page_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "summary").mkdir()
    (tmp_path / "summary" / "summary.md").write_text("# s\n\n![what?](monster.png)\n[a](https://x.example/y.png)\n", encoding="utf-8")
    (tmp_path / "summary" / "monster.png").write_bytes(b"png")
    copy_summary(tmp_path / "summary", tmp_path / "article.md")
    assert (tmp_path / "article.md").read_text(encoding="utf-8") == "# s\n\n![what?](article/monster.png)\n[a](https://x.example/y.png)\n"
    assert (tmp_path / "article" / "monster.png").read_bytes() == b"png"


def test_every_page_is_in_the_table_and_rests_on_what_can_be_hashed() -> None:
    there = {path.stem for path in FOLDER.glob("*.md")} - {"index"}
    assert there == {page.name for page in PAGES if not page.place}
    assert all((FOLDER / page.file).is_file() for page in PAGES)
    assert {name for page in PAGES for name in page.rests} <= set(BASES)
    assert all(bool(page.command) != bool(page.by_hand) for page in PAGES)


def test_the_page_of_pages_is_the_tables() -> None:
    assert (FOLDER / "index.md").read_text(encoding="utf-8") == write_index()


def test_every_page_that_rests_on_something_says_so() -> None:
    for page in PAGES:
        text = (FOLDER / page.file).read_text(encoding="utf-8")
        assert set(told_in(text)) == set(page.rests), page.name


def test_hashes_need_no_torch_and_are_the_same_again() -> None:
    code = (
        "import sys; from organism.rests_on import BASES, hash_of; print({n: hash_of(n) for n in BASES}); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == {name: hash_of(name) for name in BASES}


def test_comments_and_docstrings_are_not_code(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.py" for name in "abc")
    one.write_text('"""Doc."""\n\n\ndef f(x):\n    """Say."""\n    return x  # why\n', encoding="utf-8")
    two.write_text("def f(x):\n    return x\n", encoding="utf-8")
    three.write_text("def f(x):\n    return -x\n", encoding="utf-8")
    assert bare_code(one) == bare_code(two) != bare_code(three)


def test_another_rule_has_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    from organism import rests_on

    before = rests_on.rule()
    monkeypatch.setattr(rests_on, "EFFECTS", (*rests_on.EFFECTS[:-1], (0.5, 0.5, 0.6)))
    assert rests_on.rule() != before


def test_nothing_is_stamped_without_a_name_and_no_strange_page_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["stamp"])
    assert "stamp needs the names of pages" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["check", "artcle"])
    assert "no such page: artcle" in capsys.readouterr().err
