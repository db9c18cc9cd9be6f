"""How often the rule's intervals hold the truth, by simulation through the lab's own code: lopsided, heavy-tailed, shares, few values.

    python benchmarks/rule_rates.py [--studies 200] [--only coverage alarms] [--markdown docs/results/rule-rates.md]

A simulated study has 12 arms against the base and 12 differences between arms, 12 pictures a training; its prior is estimated from all
24, as a real study's is. The base's mean is known from 512 pictures that no contrast uses; arm and base share their seeds' level with
correlation .5 where readings are continuous. Trainings differ by the likeness that is stated; the rule is told the usual one (.02).
`coverage` counts intervals at 95 % that hold the truth; `alarms` counts whole studies of five claims, looked at after 8, 16 and 32
trainings, in which anything false is said by a claim's own level or by the direction's, where nothing differs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from loralab.infer.comparison import Sample, against_base, between, read_sample
from loralab.infer.estimate import Levels, half_width_floor, moderated_contrast
from loralab.infer.known import BaseKnown
from loralab.infer.looks import PLANNED, look_levels
from loralab.infer.moderated import Prior, Squares, design_effect, fit_prior, squares_of
from loralab.infer.pairs import CellReadings
from loralab.infer.spreads import USUAL_LIKENESS
from loralab.infer.verdict import Contrast
from loralab.spec.cells import Cell
from loralab.spec.sources import BASE

ROOT = 20_261_128
PICTURES, ARMS, KNOWN = 12, 12, 512
ONE, OTHER, BENEATH = Cell("one", "p"), Cell("other", "p"), Cell(BASE, "p")
LEVEL = 0.95

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
#: deviations of mean 0 and standard deviation 1, of trainings and of pictures alike
SHAPES: Mapping[str, Draw] = {
    "normal": lambda rng, size: rng.normal(0, 1, size),
    "heavy tails (t, 3 df)": lambda rng, size: rng.standard_t(3, size) / math.sqrt(3),
    "skewed (exponential)": lambda rng, size: rng.exponential(1, size) - 1,
}
SHARES = (0.1, 0.2, 0.3, 0.5)
LIKENESSES = (0.0, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Design:
    """How readings come about: by a shape of deviations, or as shares; ``low`` to ``high`` is the instrument's range."""

    name: str
    shape: Draw | None = None
    share: float = 0.0
    few: bool = False
    low: float = -50.0
    high: float = 50.0

    def draw(self, rng: np.random.Generator, n_arms: int, n_runs: int, likeness: float) -> tuple[np.ndarray, np.ndarray, float, BaseKnown]:
        """Return (arms (A, R, n), base (R, n), the true difference of an arm from the base, what is known of the base)."""
        size = (n_arms, n_runs, PICTURES)
        if self.shape is not None:
            level = self.shape(rng, size[1:])
            own = math.sqrt(likeness) * self.shape(rng, (*size[:2], 1)) + math.sqrt(1 - likeness) * self.shape(rng, size)
            return 0.5 * level + math.sqrt(0.75) * own, level, 0.0, _known(self.shape(rng, (KNOWN,)))
        classes = _classes if self.few else _shares
        return (
            classes(rng, size, self.share, likeness), classes(rng, size[1:], 0.05, 0.0), self.truth(self.share) - self.truth(0.05),
            _known(classes(rng, (KNOWN // PICTURES, PICTURES), 0.05, 0.0).ravel()),
        )  # fmt: skip

    def truth(self, share: float) -> float:
        """Return the mean reading at a share."""
        return share * (1 - 0.5) - (1 - share) * 0.25 if self.few else share


def _known(values: np.ndarray) -> BaseKnown:
    return BaseKnown(float(values.mean()), float(values.var(ddof=1)), len(values))


def _shares(rng: np.random.Generator, size: tuple[int, ...], share: float, likeness: float) -> np.ndarray:
    """Return pictures that hold a circle (1) or none, with a share that differs between trainings (beta-binomial)."""
    if likeness == 0:
        return (rng.random(size) < share).astype(float)
    scale = (1 - likeness) / likeness
    return (rng.random(size) < rng.beta(share * scale, (1 - share) * scale, (*size[:-1], 1))).astype(float)


def _classes(rng: np.random.Generator, size: tuple[int, ...], share: float, likeness: float) -> np.ndarray:
    """Return readings of three values, as of the circle against square and triangle: 1, -.5, and 0 for one in four of the others."""
    circle = _shares(rng, size, share, likeness)
    other = np.where(rng.random(size) < 0.5, -0.5, 0.0)
    return np.where(circle > 0, 0.5, other)


DESIGNS = (
    *(Design(name, shape) for name, shape in SHAPES.items()),
    *(Design(f"share of {share:g}", share=share, low=0.0, high=1.0) for share in SHARES),
    Design("three values", share=0.2, few=True, low=-0.5, high=0.5),
)


def side(values: np.ndarray) -> CellReadings:
    """Return readings (R, n) as a cell's."""
    replicate, seed = (index.ravel() for index in np.indices(values.shape))
    return CellReadings(replicate, replicate * PICTURES + seed, values.ravel(), np.ones(values.size, bool))


def samples_of(arms: np.ndarray, base: np.ndarray, known: BaseKnown, kind: str) -> tuple[list[Sample], list[Sample]]:
    """Return (each arm against the base, each arm against the next one)."""
    beneath, told = side(base), {BENEATH: known}
    sides = [side(arm) for arm in arms]
    ours = [read_sample(against_base(ONE, BENEATH), [arm, beneath], kind, told) for arm in sides]
    pair = between(ONE, OTHER, BENEATH, BENEATH)
    return ours, [read_sample(pair, [arm, other, beneath], kind, told) for arm, other in zip(sides, [*sides[1:], sides[0]], strict=True)]


def contrasts_of(samples: list[Sample], prior: Prior, levels: Levels, design: Design) -> Iterator[Contrast]:
    """Yield the contrast of each sample under a prior."""
    for sample in samples:

        def floor(level: float, sample: Sample = sample) -> float:
            return half_width_floor(
                n_runs=sample.n_runs, n_pairs=sample.n_pairs, level=level, few_valued=sample.few_valued,
                span=(design.high - design.low) * sample.comparison.reach, error=0.0, design=design_effect(squares(sample), prior),
            )  # fmt: skip

        yield moderated_contrast(sample, squares(sample), prior, levels, ends=(design.low, design.high), floor=floor, bias=0.0)


def squares(sample: Sample) -> Squares:
    """Return a sample's mean squares at the usual likeness."""
    return squares_of(sample.z, sample.replicate, USUAL_LIKENESS)


def coverage(n_studies: int, readings: str = "", likenesses: Sequence[float] = LIKENESSES) -> Iterator[str]:
    """Yield the table of intervals at 95 % that hold the truth."""
    yield from ("| readings | likeness | against the base: 8, 16, 32 trainings | between arms: 8, 16, 32 trainings |", "|---|---|---|---|")
    for number, design in enumerate(DESIGNS):
        for likeness in likenesses if readings in design.name else ():
            cells = [_covered(design, n_runs, likeness, n_studies, number) for n_runs in PLANNED.trainings]
            told = [", ".join(f"{100 * cell[kind]:.1f}" for cell in cells) + " %" for kind in (0, 1)]
            yield f"| {design.name} | {likeness:g} | {told[0]} | {told[1]} |"


def _covered(design: Design, n_runs: int, likeness: float, n_studies: int, number: int) -> tuple[float, float]:
    rng, kind = np.random.default_rng([ROOT, number, n_runs, int(100 * likeness)]), "share" if design.shape is None else "continuous"
    held, tried = np.zeros(2), np.zeros(2)
    for _ in range(n_studies):
        arms, base, truth, known = design.draw(rng, ARMS, n_runs, likeness)
        both = samples_of(arms, base, known, kind)
        prior = fit_prior([squares(sample) for samples in both for sample in samples])
        for k, (samples, true) in enumerate(zip(both, (truth, 0.0), strict=True)):
            found = list(contrasts_of(samples, prior, Levels(LEVEL, LEVEL), design))
            held[k] += sum(contrast.low <= true <= contrast.high for contrast in found)
            tried[k] += len(found)
    return float(held[0] / tried[0]), float(held[1] / tried[1])


def alarms(n_studies: int) -> Iterator[str]:
    """Yield the table of A/A studies of five claims in which anything false is said by the third look."""
    yield from ("| readings | likeness | a size or its absence, any look | a direction, any look |", "|---|---|---|---|")
    for number, design in enumerate(DESIGNS):
        for likeness in (0.0, 0.1):
            rng, kind = np.random.default_rng([ROOT, 1, number, int(100 * likeness)]), "share" if design.shape is None else "continuous"
            wrong, directions = 0, 0
            for _ in range(n_studies):
                size, direction = _false(design, likeness, rng, kind)
                wrong, directions = wrong + size, directions + direction
            yield f"| {design.name} | {likeness:g} | {_share(wrong, n_studies)} | {_share(directions, n_studies)} |"


def _false(design: Design, likeness: float, rng: np.random.Generator, kind: str) -> tuple[bool, bool]:
    """Return whether 5 claims (of 25 in all), arm against arm, leave out 0 at any look: at the claim's level, at the study's."""
    arms, base, _, known = design.draw(rng, 6, PLANNED.last, likeness)
    claim, study = look_levels(5), look_levels(25)
    size = direction = False
    for k, n in enumerate(PLANNED.trainings):
        _, pairs = samples_of(arms[:, :n], base[:n], known, kind)
        prior = fit_prior([squares(sample) for sample in pairs])
        found = list(contrasts_of(pairs[:5], prior, Levels(1 - claim[k], 1 - study[k]), design))
        size |= any(contrast.low > 0 or contrast.high < 0 for contrast in found)
        direction |= any(contrast.direction != 0 for contrast in found)
    return size, direction


def _share(hits: int, n: int) -> str:
    """Return a share with Clopper and Pearson's bounds."""
    low = 0.0 if hits == 0 else float(stats.beta.ppf(0.025, hits, n - hits + 1))
    high = 1.0 if hits == n else float(stats.beta.ppf(0.975, hits + 1, n - hits))
    return f"{100 * hits / n:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


SUITES: Mapping[str, Callable[..., Iterator[str]]] = {"coverage": coverage, "alarms": alarms}


def main() -> None:
    """Print one table a suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--readings", default="", help="coverage of those designs alone whose name holds this")
    parser.add_argument("--likeness", nargs="+", type=float, default=list(LIKENESSES), help="coverage at these alone")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    given = parser.parse_args()
    lines = []
    for name in given.only:
        for line in (f"\n## {name}\n", *[]):
            lines.append(line)
            print(line, flush=True)
        chosen = (given.readings, given.likeness) if name == "coverage" else ()
        for line in SUITES[name](given.studies, *chosen):
            lines.append(line)
            print(line, flush=True)
    if given.markdown:
        head = f"# How often the rule is right\n\n`python benchmarks/rule_rates.py --studies {given.studies}`: its head says how.\n"
        given.markdown.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
