"""The tables of settings say what was measured: no cell is left to be filled in."""

from __future__ import annotations

import re
from pathlib import Path

#: words that a cell of a reference may end in, though they are all capitals
KNOWN = {"PEFT", "KS", "SNR"}


def unfilled(text: str) -> list[str]:
    """Return the words of capitals that cells, or parts of cells behind a comma, consist of."""
    return [word for word in re.findall(r"(?<=[,;|]) ([A-Z]{4,})(?= *[;|])", text) if word not in KNOWN]


def test_no_cell_of_the_tables_is_a_placeholder():
    text = (Path(__file__).parents[3] / "docs" / "knobs.md").read_text(encoding="utf-8")
    assert unfilled(text) == []
    assert unfilled("| a | LyCORIS, LOHA |") == ["LOHA"]
    assert unfilled("| PEFT, PEFTPLAIN; a plain loop, PLAIN |") == ["PEFTPLAIN", "PLAIN"]
