"""How often the rule is right, by simulation, over more designs than the tests have time for; each rate with its binomial bounds.

    python benchmarks/infer_rates.py [--studies 20000] [--only alarms coverage curves skew]

Prints Markdown tables. Bounds are Clopper and Pearson's at 95 % for the rate that came out. Normal, heavy-tailed (Student t, 3 degrees of
freedom), skewed (exponential) and few-valued (a circle or none) run effects; every interval is the lab's own. The suite `skew` holds it
against two that were considered for lopsided runs and not taken (docs/method.md says why).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats

from loralab.infer.curves import estimate_half_dose, trend_weights
from loralab.infer.estimate import estimate_contrast, half_width_floor, t_critical
from loralab.infer.findings import zone_of

ROOT = 20_261_123
Row = tuple[str, str, int, int]

#: run effects of mean 0 and standard deviation 1, by name.
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, size: rng.normal(0, 1, size),
    "heavy tails": lambda rng, size: rng.standard_t(3, size) / math.sqrt(3),
    "skewed": lambda rng, size: rng.exponential(1, size) - 1,
}


def bounds(hits: int, n: int) -> tuple[float, float]:
    """Return Clopper and Pearson's 95 % interval of a share."""
    low = 0.0 if hits == 0 else float(stats.beta.ppf(0.025, hits, n - hits + 1))
    return low, 1.0 if hits == n else float(stats.beta.ppf(0.975, hits + 1, n - hits))


def judged(effects: Sequence[float], level: float, margin: float, floor: float = 1e-9) -> str:
    """Return the lab's finding on one study's run effects."""
    return zone_of(estimate_contrast(np.asarray(effects), n_images=len(effects), level=level, floor=floor), margin)


def alarms(n: int) -> Iterator[Row]:
    """False alarms without an effect: an interval that leaves out 0; and both errors at an effect of exactly the margin."""
    for shape, sample in SHAPES.items():
        for n_runs in (3, 4, 8, 16):
            rng = np.random.default_rng([ROOT, 1, n_runs, len(shape)])
            found = [judged(effects, 0.95, 1e-9) for effects in sample(rng, (n, n_runs))]
            yield f"no effect, {shape}, {n_runs} runs: called higher or lower", "5 %", sum(f in ("higher", "lower") for f in found), n
    for finding in ("higher", "no change"):
        rng = np.random.default_rng([ROOT, 2])
        found = [judged(1 + effects, 0.95, 1.0) for effects in SHAPES["normal"](rng, (n, 8))]
        yield f"effect of exactly the margin, 8 runs: called {finding}", "at most 2.5 %", found.count(finding), n


def coverage(n: int) -> Iterator[Row]:
    """Coverage of the interval, of shares with their floor, and of three intervals together."""
    for shape, sample in SHAPES.items():
        for n_runs, m in ((3, 1), (8, 3), (16, 3)):
            rng, level = np.random.default_rng([ROOT, 3, n_runs, len(shape)]), 1 - 0.05 / m
            hits = sum(abs(c.effect) <= c.high - c.effect for c in _contrasts(sample(rng, (n, n_runs)), level))
            yield f"coverage, {shape}, {n_runs} runs", f"{level:.1%}", hits, n
    for share in (0.02, 0.1, 0.3):
        for icc in (0.0, 0.2, 0.5):
            rng = np.random.default_rng([ROOT, 4, int(100 * share), int(100 * icc)])
            of_run = rng.beta(share * (1 - icc) / icc, (1 - share) * (1 - icc) / icc, (n, 8)) if icc else np.full((n, 8), share)
            floor = half_width_floor(n_runs=8, n_pairs=48, level=0.95, few_valued=True, span=1.0, error=0.0)
            found = _contrasts(rng.binomial(6, of_run) / 6, 0.95, floor)
            yield f"coverage, share {share:g}, likeness {icc:g}, 8 runs of 6", "95 %", sum(c.low <= share <= c.high for c in found), n


def _contrasts(effects: np.ndarray, level: float, floor: float = 1e-9):  # type: ignore[no-untyped-def]
    return (estimate_contrast(row, n_images=row.size, level=level, floor=floor) for row in effects)


def curves(n: int) -> Iterator[Row]:
    """The trend over doses without an effect, and the half-effect dose over shapes of curves."""
    doses = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    for n_runs in (4, 8, 16):
        rng = np.random.default_rng([ROOT, 6, n_runs])
        own = rng.normal(0, 1, (n, 1, n_runs))  # what a run does at every dose alike cancels in the trend
        effects = np.tensordot(trend_weights(4), own + rng.normal(0, 1, (n, 4, n_runs)), axes=(0, 1))
        found = [judged(row, 0.95, 1e-9) for row in effects]
        yield f"flat curve of 4 doses, {n_runs} runs: called rising or falling", "5 %", sum(f in ("higher", "lower") for f in found), n
    means = {
        "straight": [0, 2, 4, 6, 8], "S-shaped": [0, 1, 4, 7, 8], "early": [0, 5, 7, 8, 8], "over the top": [0, 3, 8, 11, 8],
    }  # fmt: skip
    for name, mean in means.items():
        truth = next(d for d in np.linspace(0, 1, 100_001) if np.interp(d, doses, mean) >= 4)
        for n_runs in (4, 8, 16):
            rng, hits, given = np.random.default_rng([ROOT, 7, n_runs, len(name)]), 0, 0
            for _ in range(n):
                size = rng.normal(1, 0.3, n_runs)
                noise = np.vstack([np.zeros(n_runs), rng.normal(0, 1.0, (4, n_runs))])
                found = estimate_half_dose(doses, np.array(mean)[:, None] * size + noise, 0.95, 1e-9)
                if found is not None:
                    given, hits = given + 1, hits + (found.low <= truth <= found.high)
            yield f"half-effect dose, {name}, {n_runs} runs: interval holds it ({given} of {n} had one)", "95 %", hits, given


def students_interval(effects: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high), each (n,), of the lab's interval for all studies (n, R) at once."""
    n_runs, mean = effects.shape[1], effects.mean(axis=1)
    half = t_critical(n_runs, level) * effects.std(axis=1, ddof=1) / math.sqrt(n_runs)
    return mean - half, mean + half


def halls_interval(effects: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (low, high), each (n,), of Hall's interval (1992, J. R. Statist. Soc. B 54, 221), which estimates the skewness g.

    ``effects`` (n, R). T = (mean - truth) / sd is transformed to T + g T^2 / 3 + g^2 T^3 / 27 + g / (6 R), and inverted at t / sqrt(R).
    """
    n_runs, mean, sd = effects.shape[1], effects.mean(axis=1), effects.std(axis=1, ddof=1)
    g = stats.skew(effects, axis=1)
    g = np.where(np.abs(g) < 1e-6, 1e-6, g)
    quantile = t_critical(n_runs, level) / math.sqrt(n_runs)
    low, high = (3 / g * (np.cbrt(1 + g * (z - g / (6 * n_runs))) - 1) for z in (quantile, -quantile))
    return mean - sd * low, mean - sd * high


def skew(n: int) -> Iterator[Row]:
    """Lopsided run effects: on which side an interval at 95 % misses, for the lab's and two others, and what those would cost."""
    lopsided: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
        "skewness 0": SHAPES["normal"],
        "skewness 1 (gamma)": lambda rng, size: rng.gamma(4, 1, size) - 4,
        "skewness 2 (exponential)": SHAPES["skewed"],
        "a quarter of the runs fail": lambda rng, size: (rng.random(size) < 0.75) - 0.75 + rng.normal(0, 0.15, size),
        "heavy tails": SHAPES["heavy tails"],
    }
    for name, sample in lopsided.items():
        for n_runs in (4, 8, 16):
            effects = sample(np.random.default_rng([ROOT, 8, n_runs, len(name)]), (n, n_runs))
            students, halls = students_interval(effects, 0.95), halls_interval(effects, 0.95)
            wider = np.minimum(students[0], halls[0]), np.maximum(students[1], halls[1])
            for method, (low, high) in {"the lab's": students, "Hall's": halls, "the wider bounds of both": wider}.items():
                below, above = int((high < 0).sum()), int((low > 0).sum())
                width = float(np.mean(high - low) / np.mean(students[1] - students[0]))
                told = f"{name}, {n_runs} runs, {method} ({width:.2f} times as wide)"
                told += f": below the truth {below / n:.1%}, above it {above / n:.1%}"
                yield told, "5 %", below + above, n


SUITES = {"alarms": alarms, "coverage": coverage, "curves": curves, "skew": skew}


def main() -> None:
    """Print one table a suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES))
    given = parser.parse_args()
    for name in given.only:
        print(f"\n### {name}: {SUITES[name].__doc__}\n\n| what | should be | came out | 95 % bounds |\n|---|---|---|---|", flush=True)
        for what, nominal, hits, n in SUITES[name](given.studies):
            low, high = bounds(hits, n)
            print(f"| {what} | {nominal} | {hits:,} of {n:,} ({hits / n:.1%}) | {low:.1%} to {high:.1%} |", flush=True)


if __name__ == "__main__":
    main()
