"""Is petri a useful organism for questions about LoRA training? Runs the studies of `studies/organism` and prints what passes.

    python -m organism.benchmarks.questions --lab DIR [--out docs/results/petri-organism.md] [--smoke]

The criteria stand in this file as they were before the run. What is in the lab already is not made again, so an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from scipy.optimize import curve_fit
from scipy.stats import t as student

from loralab.adapters import adapted_layers, load_adapter
from loralab.bases import Base, load_base
from loralab.bases.named import resolve_base
from loralab.bases.round_trip import round_trip_of
from loralab.engine.whole import run_study
from loralab.measure import measure_images
from loralab.spec.load import Loaded, load_study
from loralab.study.plan import make_plan
from organism.card import write_result

STUDIES = Path(__file__).parents[2] / "studies" / "organism"
LADDER = {f"lr-{round(1000 * dose):04}": dose for dose in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)}
UNRELATED = ("cat, white background", "red house")
SAME_DOSE = ("steps-016", "steps-032", "lr-1000", "steps-128")
STRENGTHS = (0.25, 0.5, 0.75)
COPY_SLACK = 3.0  # deltaE76 above the distance at which the autoencoder alone gives a training picture back
#: Hu et al. 2021 (arXiv:2106.09685, table 7) give ||dW|| / ||W|| of .11 (rank 4) and .06 (rank 64); an order of magnitude about these
REAL_NORMS = (0.01, 0.3)
#: share of the fitted top that the largest dose must reach for the upper half of the curve to be seen and not guessed
TOP_SEEN = 0.75
#: the studies whose criteria rest on an interval over trainings: with few of them a "no" may be want of trainings
AGAIN = ("organism-unsaid", "organism-words")


@dataclass(frozen=True)
class Evidence:
    """What the studies left in the lab."""

    readings: dict[str, pl.DataFrame]  # by study
    copy_limit: float  # deltaE76
    norm_ratios: np.ndarray  # ||dW|| / ||W|| of every adapted layer of every run at the article study's dose, 2e-3

    def rows(self, study: str, arm: str, prompt: str, measure: str, strength: float = 1.0) -> pl.DataFrame:
        """Return the readings of one cell."""
        return self.readings[study].filter(
            (pl.col("arm") == arm) & (pl.col("prompt") == prompt) & (pl.col("strength") == strength)
            & (pl.col("measure").str.split("[").list.first() == measure) & pl.col("value").is_not_null()
        )  # fmt: skip

    def mean(self, study: str, arm: str, prompt: str, measure: str = "change", strength: float = 1.0) -> float:
        """Return a cell's mean reading."""
        return float(self.rows(study, arm, prompt, measure, strength)["value"].mean())  # type: ignore[arg-type]

    def run_means(self, study: str, arm: str, prompt: str, measure: str) -> np.ndarray:
        """Return a cell's mean reading in each training, (replicates,)."""
        means = self.rows(study, arm, prompt, measure).group_by("replicate", maintain_order=True).agg(pl.col("value").mean())
        return means.sort("replicate")["value"].to_numpy()


@dataclass(frozen=True)
class Result:
    """What a check came to; ``passed`` is None where the doses did not reach what would have shown it."""

    passed: bool | None
    numbers: str

    @property
    def verdict(self) -> str:
        """The word in the table."""
        return {True: "yes", False: "**no**", None: "untested"}[self.passed]


@dataclass(frozen=True)
class Check:
    """One question about the organism, with the criterion that was fixed before."""

    question: str
    criterion: str
    run: Callable[[Evidence], Result]


def hill(dose: np.ndarray, top: float, half: float, slope: float) -> np.ndarray:
    """Return top / (1 + (half / dose) ** slope) (Hill 1910), a sigmoid in the logarithm of the dose."""
    return top / (1 + (half / dose) ** slope)


@dataclass(frozen=True)
class Sigmoid:
    """A fitted dose-effect curve."""

    top: float
    half_dose: float
    slope: float
    r_squared: float

    @property
    def width(self) -> float:
        """By what factor the dose rises from a tenth to nine tenths of the top: 81 ** (1 / slope)."""
        return float(81 ** (1 / self.slope))


def fit_sigmoid(doses: Sequence[float], effects: Sequence[float]) -> Sigmoid:
    """Return the Hill curve with the least squared error."""
    x, y = np.array(doses, dtype=float), np.array(effects, dtype=float)
    start = (max(y.max(), 1e-3), float(np.exp(np.log(x).mean())), 1.5)
    found, _ = curve_fit(hill, x, y, p0=start, bounds=([1e-6, x.min() / 100, 0.2], [10 * y.max() + 1, x.max() * 100, 20]), maxfev=20000)
    left = ((y - hill(x, *found)) ** 2).sum()
    return Sigmoid(float(found[0]), float(found[1]), float(found[2]), float(1 - left / ((y - y.mean()) ** 2).sum()))


def dose_reaching(level: float, doses: Sequence[float], effects: Sequence[float]) -> float | None:
    """Return the first dose at which the effect reaches a level, between doses by the line in the logarithm; None if it never does."""
    for i, effect in enumerate(effects):
        if effect >= level:
            if i == 0:
                return doses[0]
            share = (level - effects[i - 1]) / (effect - effects[i - 1])
            return float(np.exp(np.log(doses[i - 1]) + share * np.log(doses[i] / doses[i - 1])))
    return None


def difference_interval(one: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % interval of one - other over trainings paired by their seed (Student 1908): they are too few to resample."""
    gaps = one - other
    half = float(student.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return float(gaps.mean()), float(gaps.mean() - half), float(gaps.mean() + half)


def trigger_curve(evidence: Evidence) -> tuple[list[float], list[float]]:
    """Return doses and mean changes under the trained word."""
    return list(LADDER.values()), [evidence.mean("organism-dose", arm, "zorvex") for arm in LADDER]


def check_sigmoid(evidence: Evidence) -> Result:
    """The dose-effect curve."""
    doses, effects = trigger_curve(evidence)
    curve = fit_sigmoid(doses, effects)
    falls = max(0.0, *(a - b for a, b in pairwise(effects)))
    shown = ", ".join(f"{effect:.1f}" for effect in effects)
    passed: bool | None = curve.r_squared >= 0.95 and curve.width >= 8 and falls <= 0.1 * max(effects)
    if passed and max(effects) < TOP_SEEN * curve.top:
        passed = None  # a rise without an end fits a sigmoid whose end lies anywhere
    numbers = f"change {shown} at doses 1/8 to 32; R2 {curve.r_squared:.3f}, 10 to 90 % over a factor of {curve.width:.0f}, "
    reached = f"the largest dose reaches {max(effects) / curve.top:.0%} of the fitted top"
    return Result(passed, numbers + f"half at {curve.half_dose:.2f} of the usual dose, {reached}, largest fall {falls:.1f}")


def check_unrelated(evidence: Evidence) -> Result:
    """Where unrelated prompts reach half of the trigger's effect."""
    doses, effects = trigger_curve(evidence)
    level = max(effects) / 2
    own = dose_reaching(level, doses, effects)
    assert own is not None
    found, passed = [], True
    for prompt in UNRELATED:
        other = dose_reaching(level, doses, [evidence.mean("organism-dose", arm, prompt) for arm in LADDER])
        found.append(f"{prompt!r} at {'no dose up to 32' if other is None else f'{other:.2f}'}")
        passed = passed and (other is None or other >= 2 * own)
    return Result(passed, f"a change of {level:.1f}: trigger at {own:.2f}, {', '.join(found)}")


def check_copying(evidence: Evidence) -> Result:
    """The dose at which copies appear."""
    shares = {}
    for arm, dose in LADDER.items():
        values = evidence.rows("organism-dose", arm, "zorvex", "copy_distance")["value"].to_numpy()
        shares[dose] = float((values <= evidence.copy_limit).mean())
    doses, effects = trigger_curve(evidence)
    half = dose_reaching(max(effects) / 2, doses, effects)
    assert half is not None
    first = next((dose for dose, share in shares.items() if share > 0.25), None)
    early = max((share for dose, share in shares.items() if dose <= half), default=0.0)
    shown = ", ".join(f"{share:.0%}" for share in shares.values())
    numbers = f"copies (within {evidence.copy_limit:.1f}) {shown} at doses 1/8 to 32; half the effect at {half:.2f}"
    if first is None:
        return Result(False if early > 0.05 else None, numbers)
    return Result(early <= 0.05 and first >= 4 * half, numbers)


def check_unsaid(evidence: Evidence) -> Result:
    """Absorption of named and unsaid attributes."""
    told, passed = [], True
    for measure, named, unsaid in (
        ("hue_blue", "colour-named", "background-named"),
        ("background_chroma", "background-named", "colour-named"),
    ):
        pair = [evidence.run_means("organism-unsaid", arm, "zorvex", measure) for arm in (named, unsaid)]
        mean, low, high = difference_interval(*pair)
        told.append(f"{measure}: {pair[0].mean():.2f} named, {pair[1].mean():.2f} unsaid ({mean:+.2f}, {low:+.2f} to {high:+.2f})")
        passed = passed and high < 0
    return Result(passed, "; ".join(told))


def check_words(evidence: Evidence) -> Result:
    """Nonsense words against known words at half the usual dose."""
    pairs = (("monster", "zorvex"), ("house", "quindle"), ("fish", "myshape"))
    known = np.stack([evidence.run_means("organism-words", f"known-{i}", pair[0], "change") for i, pair in enumerate(pairs, 1)])
    nonsense = np.stack([evidence.run_means("organism-words", f"nonsense-{i}", pair[1], "change") for i, pair in enumerate(pairs, 1)])
    mean, low, high = difference_interval(known.mean(axis=0), nonsense.mean(axis=0))
    words = ", ".join(f"{a} {x:.1f} / {b} {y:.1f}" for (a, b), x, y in zip(pairs, known.mean(axis=1), nonsense.mean(axis=1), strict=True))
    return Result(high < 0, f"change known / nonsense: {words}; {mean:+.2f} ({low:+.2f} to {high:+.2f})")


def check_strength(evidence: Evidence) -> Result:
    """Linearity in strength."""
    full = evidence.mean("organism-dose", "lr-1000", "zorvex")
    values = [evidence.mean("organism-dose", "lr-1000", "zorvex", strength=s) for s in STRENGTHS]
    off = max(abs(value - s * full) for s, value in zip(STRENGTHS, values, strict=True)) / full
    shown = ", ".join(f"{value / full:.2f} at {s:g}" for s, value in zip(STRENGTHS, values, strict=True))
    return Result(off <= 0.15, f"share of the effect at 1: {shown}; largest deviation {off:.2f}")


def check_norms(evidence: Evidence) -> Result:
    """Size of the update against the weights."""
    median = float(np.median(evidence.norm_ratios))
    low, high = np.quantile(evidence.norm_ratios, [0.1, 0.9])
    return Result(REAL_NORMS[0] <= median <= REAL_NORMS[1], f"median {median:.3f}, 10 to 90 % of layers {low:.3f} to {high:.3f}")


def check_tradeoff(evidence: Evidence) -> Result:
    """Equal lr x steps."""
    effects = [evidence.mean("organism-dose", arm, "zorvex") for arm in SAME_DOSE]
    shown = ", ".join(f"{effect:.1f}" for effect in effects)
    return Result(max(effects) <= 1.5 * min(effects), f"change {shown} in 16, 32, 64, 128 steps; ratio {max(effects) / min(effects):.2f}")


CHECKS = (
    Check("effect against dose is a smooth sigmoid", "R2 >= .95, 10 to 90 % over a factor >= 8, no fall > 10 %", check_sigmoid),
    Check("unrelated prompts fail later than the trigger", "half of the effect at twice the trigger's dose or more", check_unrelated),
    Check("what captions name is absorbed less", "both differences below 0 with their intervals", check_unsaid),
    Check("copies only at a high dose", "<= 5 % up to half effect; > 25 % only at 4 times that dose or more", check_copying),
    Check("a nonsense word moves sooner than a known one", "difference below 0 with its interval", check_words),
    Check("near-linear in strength up to 1", "within .15 of the line", check_strength),
    Check(
        "size of the update as in real LoRAs",
        "median ||dW|| / ||W|| at twice the dose (the article's) in .01 to .3; Hu et al. 2021: .06, .11",
        check_norms,
    ),
    Check("learning rate and steps trade off", "largest over smallest effect at equal product <= 1.5", check_tradeoff),
)


def measure_copy_limit(base: Base, folder: Path) -> float:
    """Return how far from its training picture a picture may be and still count as a copy, for the training set in a folder."""
    pictures = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.rglob("*.png"))])
    readings = measure_images(round_trip_of(base)(pictures), ["copy_distance"], training_images=pictures)["copy_distance"]
    return max(reading.value for reading in readings if reading.value is not None) + COPY_SLACK


@torch.no_grad()
def measure_norms(base: Base, files: Sequence[Path]) -> np.ndarray:
    """Return ||scale * up @ down|| / ||W|| (Frobenius) of every adapted layer in every file."""
    layers = adapted_layers(base, "transformer")
    ratios = []
    for file in files:
        adapter = load_adapter(file, base)
        for path, (down, up) in adapter.weights.items():
            update = adapter.scale * up.flatten(1) @ down.flatten(1)
            ratios.append(float(update.norm() / layers[path].weight.norm()))
    return np.array(ratios)


def asked_again(loaded: Loaded, n_trainings: int) -> Loaded:
    """Return the study with so many trainings an arm, none of which has been made before: from another root seed."""
    train = loaded.spec.train.model_copy(update={"replicates": n_trainings})
    return replace(loaded, spec=loaded.spec.model_copy(update={"train": train, "seed": loaded.spec.seed + 1}))


def gather(lab: Path, preset: str | None, again: int = 0) -> Evidence:
    """Run what is missing of the studies and return what they found; ``again``: of those in `AGAIN`, so many new trainings an arm."""
    readings, base = {}, load_base("petri")
    for path in sorted(STUDIES.glob("*.yaml")):
        loaded = load_study(path, preset)
        if again:
            if loaded.spec.study not in AGAIN:
                continue
            loaded = asked_again(loaded, again)
        print(f"{path.name}: {len(make_plan(loaded.spec).runs)} trainings on {resolve_base(loaded, loaded.spec.base)}", flush=True)
        result = run_study(loaded, lab, lambda event: None)
        print(f"{path.name}: {result.plan.n_images} pictures, {result.finished['wall_seconds']:.0f} s", flush=True)
        readings[loaded.spec.study] = pl.read_parquet(lab / "studies" / loaded.spec.study / "readings.parquet")
    if again:
        return Evidence(readings, 0.0, np.empty(0))
    dose = lab / "studies" / "organism-dose"
    norms = measure_norms(base, sorted((dose / "loras").glob("lr-2000-r*.safetensors")))
    return Evidence(readings, measure_copy_limit(base, dose / "datasets" / "lr-1000"), norms)


def write_table(results: Sequence[tuple[Check, Result]]) -> str:
    """Return the results as a Markdown table, failures included."""
    lines = ["| question | criterion | passed | numbers |", "|---|---|---|---|"]
    lines += [f"| {c.question} | {c.criterion} | {r.verdict} | {r.numbers} |" for c, r in results]
    return "\n".join(lines).replace("||dW|| / ||W||", "norm of dW over norm of W")


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="two steps of everything: does it run? its table means nothing")
    parser.add_argument(
        "--again", type=int, default=0, metavar="N",
        help="only the criteria that rest on an interval over trainings, on N new trainings an arm (a lab of its own)",
    )  # fmt: skip
    given = parser.parse_args()
    if given.smoke and given.out is not None:
        parser.error("--smoke trains for two steps: its table means nothing and is not written; leave out --smoke or --out")
    evidence = gather(given.lab, "smoke" if given.smoke else None, given.again)
    results = [(check, check.run(evidence)) for check in CHECKS if not given.again or check.run in (check_unsaid, check_words)]
    table = write_table(results)
    print(table)
    print(json.dumps({"passed": sum(result.passed is True for _, result in results), "of": len(results)}))
    if given.out is not None:
        title, asked = "Is petri a useful organism?", f" --again {given.again}" if given.again else ""
        write_result(given.out, title, table, load_base("petri").fingerprint, f"python -m organism.benchmarks.questions --lab DIR{asked}")


if __name__ == "__main__":
    main()
