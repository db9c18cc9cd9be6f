"""Calibration cards: every instrument against synthetic truth, at the base's own size, behind a round trip through its VAE.

In: a function that sends pictures through the VAE and back, and the size. Out: one card an instrument: bias, error, how often it cannot
measure, how it follows the truth, what moves it that should not, what it mixes up, and whether this base carries what it measures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from loralab.errors import lab_error
from loralab.measure.concept import NO_ENCODER, Concept
from loralab.measure.picture import Context, Picture, make_labs, make_pictures
from loralab.measure.reading import Instrument
from loralab.measure.specimen import Specimen
from loralab.measure.table import TABLE, measure_picture
from loralab.measure.truth import make_nuisances, make_specimens

UNTRIED = "not calibrated: it was not tested on any picture with known content"
RoundTrip = Callable[[np.ndarray], np.ndarray]

#: a share instrument is carried where it tells the two classes apart this well, a continuous one where it follows the truth this well
LEAST_YOUDEN, LEAST_CORRELATION, MOST_MISSING = 0.6, 0.8, 0.2
#: truths nearer than this share of their range are ties: their order is rounding
TIE_SHARE = 0.01
#: a factor that should not move an instrument is named in the note where it moves it by more than this share of the truth's range
MOST_MOVED_SHARE = 0.1


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
    moved_by: dict[str, float] = field(default_factory=dict)  # range of the mean reading over the levels of what should not move it

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


def make_cards(
    round_trip: RoundTrip, size_px: int, names: Sequence[str] | None = None, *, seed: int = 0, concept: Concept | None = None
) -> dict[str, Card]:
    """Return a card for each of ``names`` (default: all instruments), from the same few hundred specimens; ``seed`` moves some of them.

    The instrument of concepts is held against the pictures of ``concept``; without it its card says that it cannot be carried.
    """
    wanted = list(TABLE) if names is None else list(names)
    cards = _cards_of_drawings(round_trip, size_px, [name for name in wanted if TABLE[name].needs != "concept"], seed)
    return {name: cards[name] if name in cards else _concept_card(round_trip, size_px, name, concept) for name in wanted}


def _concept_card(round_trip: RoundTrip, size_px: int, name: str, concept: Concept | None) -> Card:
    """Return the card of a concept, from pictures of it and of everything else, and of it in every colour."""
    if concept is None:
        return Card(name, TABLE[name].version, size_px, 0, 0.0, 1.0, 1.0, 0.0, False, NO_ENCODER)
    specimens, nuisances = concept.specimens(size_px), concept.nuisances(size_px)
    seen, varied = (make_pictures(round_trip(_images(held))) for held in (specimens, nuisances))
    card = _card(name, size_px, specimens, _read(name, specimens, seen, concept), seen)
    moved = _moved_by(name, nuisances, varied, Context(concept_share=concept.share))
    return replace(card, moved_by=moved, note=card.note + _moved_note(moved, 1.0))


def _cards_of_drawings(round_trip: RoundTrip, size_px: int, wanted: Sequence[str], seed: int) -> dict[str, Card]:
    """Return the cards of the instruments that drawings can be held against."""
    if not wanted:
        return {}
    nuisances = make_nuisances(size_px) if any(TABLE[name].follows is not None for name in wanted) else []
    shared = make_specimens(size_px, seed)
    known = {name: _known(TABLE[name], shared) for name in wanted}
    # pictures that none of the instruments is held against need no round trip
    indices = sorted({index for found in known.values() for index in found})
    seen = dict(zip(indices, _seen([shared[index] for index in indices], round_trip), strict=True))
    varied = _seen(nuisances, round_trip)
    cards = {}
    for name in wanted:
        own = _own_specimens(TABLE[name], size_px)
        held, pictures = [*known[name].values(), *own], [*(seen[index] for index in known[name]), *_seen(own, round_trip)]
        if not held:
            cards[name] = Card(name, TABLE[name].version, size_px, 0, 0.0, 0.0, 0.0, 0.0, True, UNTRIED)
            continue
        card = _card(name, size_px, held, _read(name, held, pictures), pictures)
        moved = _moved_by(name, nuisances, varied) if TABLE[name].follows is not None else {}
        truth = np.array([specimen.truth[name] for specimen in held])
        cards[name] = replace(card, moved_by=moved, note=card.note + _moved_note(moved, float(np.ptp(truth))))
    return cards


def _seen(specimens: Sequence[Specimen], round_trip: RoundTrip) -> Sequence[Picture]:
    return make_pictures(round_trip(_images(specimens))) if specimens else []


def _known(instrument: Instrument, shared: Sequence[Specimen]) -> dict[int, Specimen]:
    """Return the shared pictures that the instrument is held against, with its truth, by their place."""
    found = {}
    for index, specimen in enumerate(shared):
        truth = instrument.truth(specimen) if instrument.truth is not None else specimen.truth.get(instrument.name)
        if truth is not None:
            found[index] = replace(specimen, truth={**specimen.truth, instrument.name: truth})
    return found


def _own_specimens(instrument: Instrument, size_px: int) -> list[Specimen]:
    """Return the instrument's own pictures of known truth; raises LabError("measurement") for one that does not tell it."""
    own = list(instrument.specimens(size_px)) if instrument.specimens is not None else []
    if any(instrument.name not in specimen.truth for specimen in own):
        raise lab_error(
            "measurement", f"a specimen of {instrument.name!r} without its truth", f"truth={{{instrument.name!r}: ...}} in each"
        )
    return own


def card_pictures(
    round_trip: RoundTrip, size_px: int, names: Sequence[str], *, n_images: int = 3, seed: int = 0, concept: Concept | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Return up to ``n_images`` pictures (n, size_px, size_px, 3) uint8 that each instrument reads best ("passes") and worst ("failures").

    They are as the base's VAE gives them back. A failure is off by more than 1e-9 (share) or than the card's error, or unmeasurable.
    """
    shared = make_specimens(size_px, seed) + (list(concept.specimens(size_px)) if concept is not None and "concept" in names else [])
    seen = round_trip(_images(shared))
    found = {}
    for name in names:
        known, own = _known(TABLE[name], shared), _own_specimens(TABLE[name], size_px)
        pictures = [seen[list(known)], *([round_trip(_images(own))] if own else [])]
        held = [*known.values(), *own]
        found[name] = _pictures_of(name, held, np.concatenate(pictures), n_images, concept if TABLE[name].needs == "concept" else None)
    return found


def _pictures_of(
    name: str, specimens: Sequence[Specimen], seen: np.ndarray, n_images: int, concept: Concept | None
) -> dict[str, np.ndarray]:
    if not specimens:
        return {"passes": seen[:0], "failures": seen[:0]}
    readings = _read(name, specimens, make_pictures(seen), concept)
    off = np.array([
        np.inf if value is None else abs(value - specimen.truth[name]) for specimen, value in zip(specimens, readings, strict=True)
    ])  # fmt: skip
    finite = off[np.isfinite(off)]
    limit = 1e-9 if TABLE[name].kind == "share" else max(1e-9, float(finite.std()) if len(finite) else 0.0)
    order = np.argsort(off, kind="stable")
    passes = [k for k in order if off[k] <= limit][:n_images]
    failures = [k for k in order[::-1] if off[k] > limit][:n_images]
    return {"passes": seen[passes], "failures": seen[failures]}


def _images(specimens: Sequence[Specimen]) -> np.ndarray:
    return np.stack([specimen.image for specimen in specimens])


def _read(name: str, specimens: Sequence[Specimen], seen: Sequence[Picture], concept: Concept | None = None) -> list[float | None]:
    """Return the reading of each picture, held against the base's and the training picture of its specimen where that is needed."""
    if concept is not None:
        return [measure_picture(name, picture, Context(concept_share=concept.share)).value for picture in seen]
    return [
        measure_picture(name, picture, _context(TABLE[name].needs, specimen, _peers(specimens, seen, index))).value
        for index, (specimen, picture) in enumerate(zip(specimens, seen, strict=True))
    ]


def _peers(specimens: Sequence[Specimen], seen: Sequence[Picture], index: int) -> list[np.ndarray]:
    """Return CIELAB of the other specimens of the same group, as they were seen."""
    group = specimens[index].group
    return [seen[k].lab for k, other in enumerate(specimens) if group and k != index and other.group == group]


def _context(needs: str, specimen: Specimen, peers: Sequence[np.ndarray]) -> Context:
    if needs == "peers":
        return Context(peer_labs=peers)
    if needs == "base_image":
        return Context(base_lab=make_labs(specimen.base_image[None])[0])
    return Context(training_labs=make_labs(specimen.training_image[None])) if needs == "training_images" else Context()


def _card(name: str, size_px: int, specimens: Sequence[Specimen], readings: Sequence[float | None], seen: Sequence[Picture]) -> Card:
    instrument = TABLE[name]
    share = instrument.kind == "share"
    missing = sum(value is None for value in readings) / len(readings)
    # a verdict counts a picture of which a share cannot be read as "no": so does the card
    filled = [0.0 if share and value is None else value for value in readings]
    kept = [(s, value) for s, value in zip(specimens, filled, strict=True) if value is not None]
    confusion = _confusion(name, specimens, seen)
    if not kept:
        span = instrument.high - instrument.low
        return Card(name, instrument.version, size_px, len(specimens), 0.0, span, 1.0, 0.0, False, _no_reading_note(), {}, confusion)
    truth, value = np.array([s.truth[name] for s, _ in kept]), np.array([v for _, v in kept])
    off = value - truth
    error = float((np.abs(off) > 1e-9).mean()) if share else float(off.std())
    two_classes = share or len(np.unique(truth)) <= 2
    sensitivity = _youden(truth, value) if two_classes else _correlation(truth, value)
    enough = sensitivity >= (LEAST_YOUDEN if two_classes else LEAST_CORRELATION)
    card = Card(
        name, instrument.version, size_px, len(specimens), _rounded(off.mean()), _rounded(error), _rounded(missing), _rounded(sensitivity),
        enough and missing <= MOST_MISSING, "", _by_factor(kept, name, share), confusion,
    )  # fmt: skip
    return replace(card, note=_note(card, share))


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
    tied = np.round(truth / (TIE_SHARE * np.ptp(truth)))
    return float(spearmanr(tied, value).statistic)


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


def _moved_by(name: str, nuisances: Sequence[Specimen], varied: Sequence[Picture], context: Context | None = None) -> dict[str, float]:
    """Return by how much the mean reading moves over the levels of each factor that the instrument is not meant to follow."""
    readings = [measure_picture(name, picture, context or Context()).value for picture in varied]
    moved = {}
    for factor in nuisances[0].factors:
        levels: dict[str | float, list[float]] = {}
        for specimen, value in zip(nuisances, readings, strict=True):
            if value is not None:
                levels.setdefault(specimen.factors[factor], []).append(value)
        if factor not in (TABLE[name].follows or ()) and len(levels) > 1:
            moved[factor] = _rounded(np.ptp([np.mean(values) for values in levels.values()]))
    return moved


def _confusion(name: str, specimens: Sequence[Specimen], seen: Sequence[Picture]) -> dict[str, dict[str, int]]:
    """Return how often each true class was read as each class, for shapes and for grids; empty for other instruments."""
    confusion = TABLE[name].confusion
    if confusion is None:
        return {}
    table: dict[str, dict[str, int]] = {}
    for specimen, picture in zip(specimens, seen, strict=True):
        row, found = table.setdefault(confusion.true(specimen), {}), confusion.read(picture)
        row[found] = row.get(found, 0) + 1
    return table


def _no_reading_note() -> str:
    return "does not work on this base: not a single test picture could be measured"


def _moved_note(moved: Mapping[str, float], truth_range: float) -> str:
    """Return what else moves the instrument, in words; "" where nothing does by more than a tenth of the truth's range."""
    # not held against the card's error: what moves the readings raises the error, and would hide behind it
    named = [f"{factor} (by {amount:.2g})" for factor, amount in moved.items() if amount > MOST_MOVED_SHARE * truth_range]
    return f"; it is also affected by {' and '.join(named)}" if named else ""


def _note(card: Card, share: bool) -> str:
    """Return in plain words what this base carries of what the instrument measures."""
    if card.not_measurable > MOST_MISSING:
        return f"does not work on this base: {card.not_measurable:.0%} of the test pictures could not be measured"
    if share:
        told = f"right on {1 - card.error:.0%} of {card.n_images} test pictures drawn through this base's own encoder"
        return told if card.carried else f"does not work on this base: only {told}"
    told = f"typical error {card.error:.2g}, mean error {card.bias:+.2g}, on {card.n_images} test pictures through this base's own encoder"
    return (
        told if card.carried else f"does not work on this base: it follows the true value too loosely ({card.sensitivity:.2f} of 1); {told}"
    )


def card_as_dict(card: Card) -> dict[str, Any]:
    """Return a card as plain values."""
    return asdict(card)
