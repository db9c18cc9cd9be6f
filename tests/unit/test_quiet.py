"""Other libraries' lines: none reaches the screen inside the block, whether the library was imported before or is imported there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import loralab
from loralab.quiet import VARIABLES, quiet_libraries
from tests.support.commands import run_python

#: what prints two lines about torchvision (where it is not installed), a bar and an error in red
NOISE = """
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPImageProcessor
import tempfile, warnings
warnings.warn_explicit("old", FutureWarning, "x.py", 1, module="diffusers.models")
try:
    UNet2DConditionModel.from_pretrained(tempfile.mkdtemp(), local_files_only=True)
except OSError:
    pass
"""


def errors_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True, timeout=120).stderr


def test_nothing_is_printed_by_libraries_that_are_imported_inside():
    noise = run_python("import warnings\nwarnings.resetwarnings()\n" + NOISE).stderr  # without the block
    assert "FutureWarning: old" in noise
    assert "[transformers]" in noise or "fetch" in noise  # which of them, depends on what is installed
    indented = "\n".join("    " + line for line in NOISE.splitlines())
    assert errors_of(f"from loralab.quiet import quiet_libraries\nwith quiet_libraries():{indented}") == ""


def test_levels_and_variables_are_as_before_and_other_warnings_are_heard(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    monkeypatch.delenv("DIFFUSERS_VERBOSITY", raising=False)
    logger = logging.getLogger("diffusers")
    level = logger.level
    disabled = logging.root.manager.disable
    with quiet_libraries(every_logger=True):
        assert not logging.getLogger("of.a.stranger").isEnabledFor(logging.CRITICAL)
        assert {name: os.environ[name] for name in VARIABLES} == VARIABLES
        assert not logging.getLogger("diffusers.models").isEnabledFor(logging.ERROR)
        warnings.warn_explicit("old", DeprecationWarning, "x.py", 1, module="transformers.models.clip")
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
    assert "DIFFUSERS_VERBOSITY" not in os.environ
    assert logger.level == level
    assert logging.root.manager.disable == disabled


def test_the_python_api_keeps_libraries_quiet(monkeypatch: pytest.MonkeyPatch):
    heard = []

    class Found:
        def to_json(self) -> dict[str, str]:
            return {}

    def run_audit(*_given: object, **_named: object) -> tuple[Found, Path]:
        heard.append(logging.getLogger("bitsandbytes").isEnabledFor(logging.ERROR))
        return Found(), Path("page.html")

    monkeypatch.setattr("loralab.auditing.run.run_audit", run_audit)
    assert loralab.audit("set").page == Path("page.html")
    assert heard == [False]
    assert logging.getLogger("bitsandbytes").isEnabledFor(logging.ERROR)
