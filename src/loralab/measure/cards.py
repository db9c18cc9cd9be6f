"""Calibration cards: every instrument against synthetic truth, at the base's own size, behind a round trip through its VAE.

In: a function that sends pictures through the VAE and back, and the size. Out: one card an instrument: bias, error, how often it cannot
measure, how it follows the truth, what it mixes up, and whether this base carries what it measures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from loralab.measure.picture import make_pictures
from loralab.measure.shape import classify
from loralab.measure.table import TABLE, measure_images
from loralab.measure.truth import Specimen, make_specimens

RoundTrip = Callable[[np.ndarray], np.ndarray]

#: a share instrument is carried where it tells the two classes apart this well, a continuous one where it follows the truth this well
LEAST_YOUDEN, LEAST_CORRELATION, MOST_MISSING = 0.6, 0.8, 0.2


@dataclass(frozen=True)
class Card:
    """What is known of an instrument on a base; figures in the instrument's unit, over ``n_images`` pictures of known truth."""

    name: str
    version: int
    size_px: int
    n_images: int
    bias: float  # mean of reading - truth
    error: float  # continuous: standard deviation of reading - truth; share: share of wrong readings
    not_measurable: float  # share of pictures
    sensitivity: float  # Spearman correlation with the truth; where the truth has two classes, how far their mean readings lie apart
    carried: bool
    note: str
    by_factor: dict[str, dict[str, float]] = field(default_factory=dict)  # error by level of size, blur, ...
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Card:
        """Return the card that `to_json` wrote."""
        return Card(**json.loads(text))

    @property
    def sha256(self) -> str:
        """Hash of the card; it stands beside every verdict that rests on it."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def make_cards(round_trip: RoundTrip, size_px: int, names: Sequence[str] | None = None) -> dict[str, Card]:
    """Return a card for each of ``names`` (default: all instruments), from the same few hundred specimens."""
    specimens = make_specimens(size_px)
    clean = np.stack([specimen.image for specimen in specimens])
    seen = round_trip(clean)
    chosen = list(TABLE) if names is None else list(names)
    base_images = np.stack([specimen.base_image for specimen in specimens])
    training = np.stack([specimen.training_image for specimen in specimens])
    cards = {}
    for name in chosen:
        used = [index for index, specimen in enumerate(specimens) if name in specimen.truth]
        readings = _read(name, seen, base_images, training, used)
        cards[name] = _card(name, size_px, [specimens[index] for index in used], readings, seen[used])
    return cards


def _read(name: str, seen: np.ndarray, base_images: np.ndarray, training: np.ndarray, used: list[int]) -> list[float | None]:
    if TABLE[name].needs == "training_images":
        return [
            measure_images(seen[i : i + 1], [name], training_images=training[i : i + 1])[name][0].value for i in used
        ]  # each specimen has a training picture of its own
    return [reading.value for reading in measure_images(seen[used], [name], base_images=base_images[used])[name]]


def _card(name: str, size_px: int, specimens: Sequence[Specimen], readings: Sequence[float | None], seen: np.ndarray) -> Card:
    instrument = TABLE[name]
    kept = [(s, value) for s, value in zip(specimens, readings, strict=True) if value is not None]
    truth, value = np.array([s.truth[name] for s, _ in kept]), np.array([v for _, v in kept])
    missing = 1 - len(kept) / len(specimens)
    off = value - truth
    share = instrument.kind == "share"
    error = float((np.abs(off) > 1e-9).mean()) if share else float(off.std())
    two_classes = share or len(np.unique(truth)) <= 2
    sensitivity = _youden(truth, value) if two_classes else _correlation(truth, value)
    enough = sensitivity >= (LEAST_YOUDEN if two_classes else LEAST_CORRELATION)
    carried = enough and missing <= MOST_MISSING
    confusion = _confusion(specimens, seen) if name.startswith("shape_") or name == "circle_excess" else {}
    card = Card(
        name, instrument.version, size_px, len(specimens), _rounded(off.mean()), _rounded(error), _rounded(missing), _rounded(sensitivity),
        carried, "", _by_factor(kept, name, share), confusion,
    )  # fmt: skip
    return Card(**{**asdict(card), "note": _note(card, share)})


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _youden(truth: np.ndarray, value: np.ndarray) -> float:
    """Return how well a class is told apart: the mean reading where the truth is high minus where it is low, over the truth's range."""
    high, low = truth == truth.max(), truth == truth.min()
    if truth.max() == truth.min():
        return 0.0
    return float((value[high].mean() - value[low].mean()) / (truth.max() - truth.min()))


def _correlation(truth: np.ndarray, value: np.ndarray) -> float:
    if len(truth) < 3 or np.ptp(truth) == 0 or np.ptp(value) == 0:
        return 0.0
    return float(spearmanr(truth, value).statistic)


def _by_factor(kept: Sequence[tuple[Specimen, float]], name: str, share: bool) -> dict[str, dict[str, float]]:
    """Return the error at each level of each factor that was varied."""
    table: dict[str, dict[str, list[float]]] = {}
    for specimen, value in kept:
        off = value - specimen.truth[name]
        for factor, level in specimen.factors.items():
            table.setdefault(factor, {}).setdefault(str(level), []).append(float(abs(off) > 1e-9) if share else abs(off))
    return {
        factor: {level: _rounded(float(np.mean(offs))) for level, offs in levels.items()}
        for factor, levels in table.items()
        if len(levels) > 1
    }


def _confusion(specimens: Sequence[Specimen], seen: np.ndarray) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for specimen, picture in zip(specimens, make_pictures(seen), strict=True):
        row = table.setdefault(str(specimen.factors.get("shape", "none")), {})
        found = classify(picture) or "not measurable"
        row[found] = row.get(found, 0) + 1
    return table


def _note(card: Card, share: bool) -> str:
    """Return in plain words what this base carries of what the instrument measures."""
    if card.not_measurable > MOST_MISSING:
        return f"this base does not carry it: {card.not_measurable:.0%} of the test pictures could not be measured"
    if share:
        told = f"right on {1 - card.error:.0%} of {card.n_images} test pictures drawn through this base's own encoder"
        return told if card.carried else f"this base does not carry it: only {told}"
    told = f"typical error {card.error:.2g}, mean error {card.bias:+.2g}, on {card.n_images} test pictures through this base's own encoder"
    return told if card.carried else f"this base does not carry it: it follows the truth too loosely ({card.sensitivity:.2f} of 1); {told}"


def card_as_dict(card: Card) -> dict[str, Any]:
    """Return a card as plain values."""
    return asdict(card)
