"""Small random pipelines of both families, as diffusers folders and, by the inverse of the conversion, as checkpoints in the LDM layout."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from loralab.bases import Base

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """(folder, single file) of the same weights, by family."""
    from ldm import save_pair

    place = tmp_path_factory.mktemp("small")
    return {family: save_pair(place, family) for family in ("sd1", "sdxl")}


@pytest.fixture(scope="session")
def bases(small: dict[str, tuple[Path, Path]]) -> dict[str, Base]:
    """The bases of ``small``'s folders, for pictures of 64 px."""
    from loralab.bases import load_base
    from loralab.spec import LoadSpec

    return {family: load_base(str(small[family][0]), LoadSpec(size_px=64)) for family in ("sd1", "sdxl")}


@pytest.fixture(scope="session")
def sdxl(bases: dict[str, Base]) -> Base:
    """SDXL's."""
    return bases["sdxl"]
