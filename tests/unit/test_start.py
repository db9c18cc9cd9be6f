"""The command line starts quickly: what the heavy libraries cost is paid by the commands that use them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "scipy",
    "skimage",
    "polars",
    "pandas",
    "pyarrow",
    "numpy",
    "PIL",
    "jinja2",
    "pydantic",
    "ruamel",
)


@pytest.mark.parametrize(
    "code", ["import loralab.cli", "from loralab.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"]
)
def test_neither_the_command_line_nor_its_help_imports_a_heavy_library(code: str):
    show = "\nimport json, sys\nprint()\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + show], capture_output=True, text=True, encoding="utf-8", check=True, timeout=60)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "typer" in loaded
    assert sorted({*HEAVY} & {*loaded}) == []
