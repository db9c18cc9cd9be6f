"""What results rest on: in goes a name ("weights", "instruments", "rule", ...), out come twelve hex digits; no torch, in seconds.

A page under docs/results says in its last line what each of these was when it was made. Code is not hashed by its letters, which change
with every name: weights by their bytes, instruments by the versions that their rows declare, a study by what its file means, and the rule
by what it says to readings that are made up here.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from loralab.infer.estimate import estimate_contrast, half_width_floor
from loralab.infer.findings import finding_of
from loralab.infer.looks import look_levels
from loralab.infer.moderated import Prior
from loralab.infer.simulated import Budget, Scatter, needed_effects, needed_margins
from loralab.infer.verdict import Contrast
from loralab.measure.table import TABLE
from loralab.petri import petri_folder
from loralab.spec import slice_of
from loralab.spec.load import load_study
from loralab.store.keys import canonical_json, fingerprint_of

ROOT = Path(__file__).parents[1]
DIGITS = 12
#: the readers of the fidelity table declare no versions: their code without docstrings and comments stands for them
READERS = ("instruments.py", "focus.py", "fidelity.py", "diversity.py")


def short(told: object) -> str:
    """Return the hash of what can be written as JSON."""
    return hashlib.sha256(canonical_json(told).encode()).hexdigest()[:DIGITS]


def weights() -> str:
    """Return petri's fingerprint, as every report tells it."""
    return fingerprint_of(petri_folder())[:DIGITS]


def sibling() -> str:
    """Return the fingerprint of the sibling without grids."""
    return fingerprint_of(ROOT / "studies" / "siblings" / "no-grids")[:DIGITS]


def instruments() -> str:
    """Return the hash of every instrument's version, and of the encoder that reads concepts."""
    return short([{name: row.told_apart for name, row in TABLE.items()}, encoder_digest()])


def readers() -> str:
    """Return the hash of the code that reads the fidelity table, and of the encoder."""
    return short([[bare_code(ROOT / "organism" / name) for name in READERS], encoder_digest()])


def encoder_digest() -> str:
    """Return the hash of the encoder's files."""
    digest = hashlib.sha256()
    for path in sorted((petri_folder().parent / "encoder_weights").glob("*")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def bare_code(path: Path) -> str:
    """Return a module's syntax tree without docstrings: comments and formatting are not in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def study_of(path: str) -> Callable[[], str]:
    """Return what hashes the meaning of a study's file: comments and order of keys are not in it."""
    return lambda: short(slice_of(load_study(ROOT / path).spec))


def atlas() -> str:
    """Return the hash of what all studies of the atlas mean."""
    files = sorted((ROOT / "studies" / "atlas").glob("*.yaml"))
    return short({file.stem: slice_of(load_study(file).spec) for file in files})


# --- the rule -----------------------------------------------------------------------------------------------------------------

EFFECTS = ((3.0, 4.0, 5.0, 4.5), (-0.2, 0.1, 0.05, 0.0, -0.1, 0.15, 0.2, -0.05), (0.5, 0.5, 0.5))
SCATTERS = (Scatter(1.0, 2.0, 0.1), Scatter(0.0, 0.4, 0.0, class_span=1.0))
EXPECTATIONS = ("higher", "lower", "unchanged")


def rule() -> str:
    """Return the hash of what the rule says to made-up readings: levels of the looks, intervals, findings, what a budget can decide."""
    return short(list(rule_says()))


def rule_says() -> Iterator[object]:
    """Yield what the rule says, numbers to five digits."""
    for m_claims, alpha in product((1, 3, 10), (0.05, 0.01)):
        yield rounded(look_levels(m_claims, alpha))
    for effects in EFFECTS:
        contrast = estimate_contrast(np.array(effects), n_images=6, level=0.95, floor=0.01)
        yield rounded((contrast.effect, contrast.low, contrast.high))
        for few_valued in (True, False):
            n = len(effects)
            yield rounded((half_width_floor(n_runs=n, n_pairs=6 * n, level=0.95, few_valued=few_valued, span=1.0, error=0.02),))
    for scatter in SCATTERS:
        budget = Budget(trainings=(8, 16, 32), seeds=6, m_claims=3, n_controls=1, prior=Prior(8.0, 1.0))
        yield rounded(np.median(needed_effects(scatter, budget, 0.1), axis=0))
        yield rounded(np.median(needed_margins(scatter, budget), axis=0))
    edges = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
    for low, high, expect in product(edges, edges, EXPECTATIONS):
        if low < high:
            yield [
                finding_of(between(low, high), 0.7, expect, controls=told, controls_surely=sure)
                for told, sure in product((True, False), repeat=2)
            ]


def between(low: float, high: float) -> Contrast:
    """Return a contrast whose interval is this one, at both levels."""
    return Contrast((low + high) / 2, low, high, 0.95, 8, 48, None, (), sure_low=low, sure_high=high)


def rounded(values: object) -> list[str]:
    """Return numbers as text of five digits."""
    return [f"{float(value):.5g}" for value in np.asarray(values).ravel()]


#: name -> what tells its hash
BASES: Mapping[str, Callable[[], str]] = {
    "weights": weights,
    "sibling": sibling,
    "instruments": instruments,
    "readers": readers,
    "rule": rule,
    "article": study_of("studies/article.yaml"),
    "grid": study_of("studies/siblings/grid.yaml"),
    "atlas": atlas,
}


@cache
def hash_of(name: str) -> str:
    """Return what one of these is now."""
    return BASES[name]()
