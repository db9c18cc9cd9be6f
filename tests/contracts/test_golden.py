"""Golden outputs of the stages that are exact: when one changes, its stage's version must rise, or old artefacts would be taken for new."""

from __future__ import annotations

import hashlib

import numpy as np

from loralab.data import make_examples
from loralab.measure import TABLE, measure_images
from loralab.spec.models import SHAPES, GridsData, ShapesData
from loralab.study.keys import DATA_VERSION, READINGS_VERSION

#: (version, sha256) of what follows; raise the stage's version, then put the new hash here
DATA = (2, "681921652369c10927b81f424c667140f92285c1f7fdffc5ea3053897a484f30")
READINGS = (1, "fbed32a3c458455c66cfde1a9bbe6d13122beb6fd9ad2c6c35cfc9162c1da522")
READ = (
    "chroma", "grey_share", "hue_red", "hue_green", "hue_blue", "background_from_white", "background_white", "background_lightness",
    "background_chroma", "shape_circle", "shape_square", "shape_triangle", "shape_primitive", "circle_excess", "outline_dark", "edge_sigma",
    "depth_of_field", "local_contrast", "grid_present", "grid_beyond", "grid_rows", "grid_columns", "grid_cells", "object_count",
    "foreground_share", "change", "copy_distance",
)  # fmt: skip
#: what joined the table later: a new instrument changes no reading of another, and may be pinned by a line of its own
LATER = ("off_centre", "symmetry", "composition_kept")
LATER_READINGS = (1, "b29afbae564bf18bb2ca6cb9258c71d0de39af22a978def1cbe6069b88b5cd88")
#: what came after those; without an encoder the readings of a concept are none
LATEST = ("diversity", "concept")
LATEST_READINGS = (1, "a834bc3e58c7efe8f782d79589baf20c6b102789108db38d8156a2f5e9e5a9e3")


def specimens() -> np.ndarray:
    shapes = ShapesData(generate="shapes", shapes=SHAPES, fill="red", outline="black", background="white", blur=1)
    grids = GridsData(generate="grids", sizes=("2x2", "3x4"))
    return np.stack([example.image for spec in (shapes, grids) for example in make_examples(spec, 64)])


def test_the_drawn_training_sets_are_those_of_this_version():
    assert (DATA_VERSION, hashlib.sha256(specimens().tobytes()).hexdigest()) == DATA


def readings_hash(names: list[str]) -> str:
    images = specimens()
    found = measure_images(images, names, base_images=images[::-1].copy(), training_images=images[:3], together=True)
    lines = [
        f"{name} {TABLE[name].version} " + " ".join("-" if reading.value is None else f"{reading.value:.3g}" for reading in readings)
        for name, readings in found.items()
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_readings_are_those_of_this_version():
    assert (READINGS_VERSION, readings_hash(list(READ))) == READINGS
    assert (READINGS_VERSION, readings_hash(list(LATER))) == LATER_READINGS
    assert (READINGS_VERSION, readings_hash(list(LATEST))) == LATEST_READINGS
