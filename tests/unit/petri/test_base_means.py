"""The base's own means that ship: there for every prompt of the article, and true of pictures at other seeds."""

from __future__ import annotations

import math

import numpy as np

from loralab.bases import load_base
from loralab.measure import TABLE, measure_images
from loralab.petri.base_means import shipped_means
from loralab.spec.load import load_study, shipped_file
from loralab.spec.models import ExperimentSpec
from loralab.study.plan import make_plan
from organism.means import draw

ASKED = ("chroma", "background_white", "shape_primitive")


def article() -> ExperimentSpec:
    file = shipped_file("article")
    assert file is not None
    return load_study(file).spec


def test_every_prompt_of_the_article_is_known() -> None:
    spec = article()
    known = shipped_means(load_base("petri").fingerprint, spec.sample)
    prompts = {cell.prompt for cell in make_plan(spec).cells if cell.is_base}
    assert prompts <= {prompt for prompt, _ in known}
    assert all(mean.n >= 24 and mean.variance >= 0 for mean in known.values())


def test_other_pictures_agree() -> None:
    """24 pictures that no mean was made of lie within four standard errors of it."""
    base = load_base("petri")
    sample = article().sample
    known = shipped_means(base.fingerprint, sample)
    images = draw(base, "red monster", sample, 24, first_seed=60_000_000)
    for measure, readings in measure_images(images, ASKED).items():
        mean = known["red monster", measure]
        assert mean.version == TABLE[measure].version
        values = [reading.value or 0.0 for reading in readings if reading.value is not None or TABLE[measure].kind == "share"]
        error = math.sqrt(max(mean.variance, 0.02 if TABLE[measure].kind == "share" else 0) * (1 / len(values) + 1 / mean.n))
        assert abs(float(np.mean(values)) - mean.mean) < 4 * error


def test_drawn_otherwise_nothing_is_known() -> None:
    sample = article().sample
    assert shipped_means(load_base("petri").fingerprint, sample.model_copy(update={"steps": 11})) == {}
    assert shipped_means("another base", sample) == {}
