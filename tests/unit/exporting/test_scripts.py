"""The scripts that train an exported arm: both shells are told the same words, whatever stands in them."""

import re
import shlex

import pytest

from loralab.exporting.scripts import SHELLS, quote_for_powershell, training_scripts

COMMANDS = [
    ["--output_name", "arm-r0", "--optimizer_args", "weight_decay=0.01", "--odd", "it's $HOME `a` %PATH% \"b\" {c}"],
    ["--output_name", "arm-r1", "--empty", ""],
]  # fmt: skip


def powershell_words(line: str) -> list[str]:
    """Return the words of a line of single-quoted words, as PowerShell reads them: two quotes are one."""
    return [word.replace("''", "'") for word in re.findall(r"(?:^|(?<= ))'((?:[^']|'')*)'(?= |$)", line)]


def trainings(name: str) -> list[list[str]]:
    text = training_scripts(COMMANDS, arm="arm", study="mine", base="a\nbase", script="train_network.py")[name].decode(
        SHELLS[name].encoding
    )
    lines = [line.removeprefix("train ") for line in text.splitlines() if re.match(r"train ['-]", line)]
    return [(shlex.split if name == "train.sh" else powershell_words)(line) for line in lines]


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_is_told_every_word(name: str):
    assert trainings(name) == COMMANDS


@pytest.mark.parametrize(("word", "quoted"), [("a", "'a'"), ("it's", "'it''s'"), ("$x `y`", "'$x `y`'"), ("", "''")])
def test_quotes_of_powershell(word: str, quoted: str):
    assert quote_for_powershell(word) == quoted


def test_each_shell_can_read_its_file():
    """bash stumbles over carriage returns; Windows PowerShell 5 takes a file without a byte order mark for the old code page."""
    made = training_scripts(COMMANDS, arm="arm", study="mine", base="комета", script="train_network.py")
    assert b"\r" not in made["train.sh"]
    assert made["train.sh"].startswith(b"#!/usr/bin/env bash\n")
    assert made["train.ps1"].startswith("\ufeff# Trains arm arm of study mine".encode())
    assert made["train.ps1"].count(b"\r\n") == made["train.ps1"].count(b"\n")
