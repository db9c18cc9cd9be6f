"""Scripts that train an exported arm with sd-scripts, for the shells that people have: a list of commands in, files' texts out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

BASH = """#!/usr/bin/env bash
# Trains arm {arm} of study {study} with kohya's sd-scripts, once for each training: ./train.sh
# SD_SCRIPTS: folder of sd-scripts.  BASE: checkpoint or diffusers folder of the base that the study names ({base}).
# The LoRAs are written to loras/, named like the study's own trainings.
set -euo pipefail
cd "$(dirname "$0")"
: "${{SD_SCRIPTS:?folder of sd-scripts}}" "${{BASE:?checkpoint or diffusers folder of the base}}"
train() {{ ${{LAUNCH:-accelerate launch}} "$SD_SCRIPTS/{script}" --pretrained_model_name_or_path "$BASE" "$@"; }}
"""
POWERSHELL = """# Trains arm {arm} of study {study} with kohya's sd-scripts, once for each training:
#   $env:SD_SCRIPTS = 'C:\\folder\\of\\sd-scripts'; $env:BASE = 'C:\\base.safetensors'; powershell -ExecutionPolicy Bypass -File train.ps1
# BASE is the base's checkpoint or diffusers folder, the one that the study names ({base}).
# The LoRAs are written to loras/, named like the study's own trainings.
$ErrorActionPreference = 'Stop'
Set-Location $PSScriptRoot
if (-not $env:SD_SCRIPTS) {{ throw 'set $env:SD_SCRIPTS to the folder of sd-scripts' }}
if (-not $env:BASE) {{ throw 'set $env:BASE to the checkpoint or diffusers folder of the base' }}
$launch = if ($env:LAUNCH) {{ @($env:LAUNCH -split ' ') }} else {{ @('accelerate', 'launch') }}
$before = @($launch | Select-Object -Skip 1)
function train {{
    & $launch[0] @before "$env:SD_SCRIPTS/{script}" --pretrained_model_name_or_path $env:BASE @args
    if ($LASTEXITCODE -ne 0) {{ exit $LASTEXITCODE }}
}}
"""


@dataclass(frozen=True)
class Shell:
    """How a shell's script begins, how it spells a word, how its file is encoded and its lines end."""

    head: str
    quote: Callable[[str], str]
    encoding: str
    newline: str


def quote_for_powershell(word: str) -> str:
    """Return a word in single quotes, in which PowerShell reads every sign but the quote as it stands."""
    return "'" + word.replace("'", "''") + "'"


#: file -> shell; Windows PowerShell 5 takes a script for UTF-8 only behind a byte order mark
SHELLS = {
    "train.sh": Shell(BASH, shlex.quote, "utf-8", "\n"),
    "train.ps1": Shell(POWERSHELL, quote_for_powershell, "utf-8-sig", "\r\n"),
}


def training_scripts(commands: Sequence[Sequence[str]], *, arm: str, study: str, base: str, script: str) -> dict[str, bytes]:
    """Return the bytes of each script by its file's name; ``commands`` are the options of one training each."""
    return {
        name: _text(shell, commands, {"arm": arm, "study": study, "base": " ".join(base.split()), "script": script}).encode(shell.encoding)
        for name, shell in SHELLS.items()
    }


def _text(shell: Shell, commands: Sequence[Sequence[str]], words: dict[str, str]) -> str:
    lines = [" ".join(["train", *map(shell.quote, command)]) for command in commands]
    return (shell.head.format(**words) + "\n".join(lines) + "\n").replace("\n", shell.newline)
