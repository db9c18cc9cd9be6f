"""Keeps what other libraries print (remarks, warnings, progress bars) off the screen: what is wrong is said by the lab itself."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = (
    "transformers",
    "diffusers",
    "huggingface_hub",
    "peft",
    "accelerate",
    "torch",
    "safetensors",
    "bitsandbytes",
    "triton",
    "kernels",
)
#: read by the libraries when they are first imported, which may be inside the block; worker processes inherit them
VARIABLES = {
    "TRANSFORMERS_VERBOSITY": "critical", "DIFFUSERS_VERBOSITY": "critical", "HF_HUB_VERBOSITY": "critical",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip


@contextmanager
def quiet_libraries(*, every_logger: bool = False) -> Iterator[None]:
    """Silence other libraries for the block; levels, variables and progress bars are as before afterwards.

    Errors are silenced too: they come as exceptions as well, and those are told in the lab's words. ``every_logger``: those of libraries
    that are not listed here as well, for a program of which all lines are the lab's own; the lab itself logs nothing.
    """
    disabled = logging.root.manager.disable
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    variables = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(VARIABLES)
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    if every_logger:
        logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), _without_bars():
            for name in LIBRARIES:
                warnings.filterwarnings("ignore", module=rf"{name}(\..*)?$")
            yield
    finally:
        logging.disable(disabled)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide transformers' bars for the block, where it is imported already; nothing here imports it."""
    library = sys.modules.get("transformers.utils.logging")
    shown = library is not None and library.is_progress_bar_enabled()
    if library is not None and shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        if library is not None and shown:
            library.enable_progress_bar()
