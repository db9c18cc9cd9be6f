"""How often the rule is right, by simulation: false alarms, coverage, power, and two wrong designs that raise false alarms.

Repeat the figures of ``docs/method.md`` with ``pytest tests/recovery/test_infer_rates.py -s``, which prints each with its count.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from loralab.infer.estimate import estimate_contrast, half_width_floor, sign_flip_p, t_critical
from loralab.infer.findings import zone_of
from loralab.infer.judge import ControlCells, InstrumentFacts, judge
from loralab.infer.power import RunSd, plan_claims
from loralab.infer.verdict import Contrast
from loralab.spec.cells import Cell
from loralab.spec.models import ExperimentSpec
from loralab.spec.questions import QuestionId

ROOT = 20_260_711  # not the root of any shipped result
N_STUDIES = 20_000
N_RUNS, N_SEEDS = 8, 4


def bounds(rate: float, n: int) -> tuple[float, float]:
    """Return the range in which an observed share of n falls but for 1 in 10,000, if the true share is ``rate`` (binomial)."""
    low, high = stats.binom.interval(1 - 1e-4, n, rate)
    return low / n, high / n


def report(what: str, hits: float, n: int) -> None:
    print(f"\n  {what}: {int(hits)} of {n} = {hits / n:.1%}", end="")


def nested_studies(rng, *, effect=0.0, run_sd=1.0, seed_sd=2.0, picture_sd=1.0, n=N_STUDIES, n_runs=N_RUNS, n_seeds=N_SEEDS, shared=False):
    """Return paired differences (studies, runs, seeds): the run's own deviation, what a seed does to every adapter, and noise.

    ``shared``: all runs draw the same seeds, so that what a seed does is common to every run of a study.
    """
    run = rng.normal(0, run_sd, (n, n_runs, 1))
    seed = rng.normal(0, seed_sd, (n, 1 if shared else n_runs, n_seeds))
    return effect + run + seed + rng.normal(0, picture_sd, (n, n_runs, n_seeds))


def intervals(differences, level=0.95):
    """Return low and high, (studies,), for all studies at once; the code under test must agree on the first 20."""
    effects = differences.mean(axis=2)
    n_runs = effects.shape[1]
    half = t_critical(n_runs, level) * effects.std(axis=1, ddof=1) / math.sqrt(n_runs)
    low, high = effects.mean(axis=1) - half, effects.mean(axis=1) + half
    for i in range(20):
        contrast = estimate_contrast(effects[i], n_images=differences[i].size, level=level, floor=1e-9)
        assert abs(contrast.low - low[i]) + abs(contrast.high - high[i]) < 1e-9
    return low, high


def findings(differences, margin, level=0.95):
    """Return how many studies give each finding; the code under test must agree on the first 20."""
    low, high = intervals(differences, level)
    told = np.select([low > margin, high < -margin, (low >= -margin) & (high <= margin)], ["higher", "lower", "no change"], "open")
    for i in range(20):
        contrast = Contrast((low[i] + high[i]) / 2, low[i], high[i], level, 2, 2, None, ())
        assert zone_of(contrast, margin).removeprefix("some ") in (told[i], *({"higher", "lower"} if told[i] == "open" else ()))
    return {finding: int((told == finding).sum()) for finding in ("higher", "lower", "no change", "open")}


def false_alarms(differences) -> int:
    low, high = intervals(differences)
    return int(((low > 0) | (high < 0)).sum())


def test_false_alarms_of_the_nested_design_are_nominal():
    differences = nested_studies(np.random.default_rng([ROOT, 1]))
    hits = false_alarms(differences)
    report("false alarms, each run its own seeds, nominal 5 %", hits, N_STUDIES)
    low, high = bounds(0.05, N_STUDIES)
    assert low <= hits / N_STUDIES <= high


@pytest.mark.parametrize(("n_runs", "level"), [(3, 0.95), (8, 1 - 0.05 / 3), (16, 1 - 0.04 / 3)])
def test_intervals_cover_at_their_level(n_runs, level):
    effect = 0.7
    low, high = intervals(nested_studies(np.random.default_rng([ROOT, 2, n_runs]), effect=effect, n_runs=n_runs), level)
    hits = ((low <= effect) & (effect <= high)).sum()
    report(f"coverage, {n_runs} runs, nominal {level:.1%}", hits, N_STUDIES)
    low, high = bounds(level, N_STUDIES)
    assert low <= hits / N_STUDIES <= high


def test_sign_flip_p_is_at_most_nominal():
    effects = nested_studies(np.random.default_rng([ROOT, 3]), n=4000).mean(axis=2)
    hits = sum(sign_flip_p(e) <= 0.05 for e in effects)
    report("sign-flip p <= .05 under no effect, nominal 12 / 256 = 4.7 %", hits, 4000)
    low, high = bounds(12 / 256, 4000)  # 8 runs: p takes steps of 2 / 256, so p <= .05 has probability 12 / 256
    assert low <= hits / 4000 <= high


def test_shared_seeds_raise_false_alarms():
    hits = false_alarms(nested_studies(np.random.default_rng([ROOT, 4]), shared=True))
    report("false alarms, all runs share their seeds, nominal 5 %", hits, N_STUDIES)
    assert hits / N_STUDIES > 0.2


@pytest.mark.parametrize(("icc", "at_least"), [(0.05, 0.07), (0.2, 0.12), (0.5, 0.25)])
def test_pictures_taken_for_runs_raise_false_alarms(icc, at_least):
    rng = np.random.default_rng([ROOT, 5, int(100 * icc)])
    differences = nested_studies(rng, run_sd=math.sqrt(icc), seed_sd=0.0, picture_sd=math.sqrt(1 - icc), n_seeds=8)
    hits = false_alarms(differences.reshape(N_STUDIES, N_RUNS * 8, 1))
    proper = false_alarms(differences)
    report(f"false alarms, 8 runs of 8 pictures taken for 64 runs, likeness {icc}", hits, N_STUDIES)
    assert hits / N_STUDIES > at_least
    low, high = bounds(0.05, N_STUDIES)
    assert low <= proper / N_STUDIES <= high


def test_wrong_findings_at_the_margin_itself_are_rare():
    # the worst case: the true effect is exactly the margin, so both "higher" and "no change" are wrong; each at most 2.5 %
    margin = 1.0
    count = findings(nested_studies(np.random.default_rng([ROOT, 8]), effect=margin), margin)
    for finding in ("higher", "no change"):
        report(f"{finding!r} at an effect of exactly the margin, at most 2.5 %", count[finding], N_STUDIES)
        assert count[finding] / N_STUDIES <= bounds(0.025, N_STUDIES)[1]


def test_three_claims_together_cover_at_95_percent():
    # the claims of an experiment read the same pictures, so their errors go together; the bound must hold all the same
    rng = np.random.default_rng([ROOT, 9])
    common = nested_studies(rng)
    all_cover = np.ones(N_STUDIES, bool)
    for _ in range(3):
        low, high = intervals(0.6 * common + 0.8 * nested_studies(rng), 1 - 0.05 / 3)
        all_cover &= (low <= 0) & (high >= 0)
    report("all three intervals of an experiment cover, at least 95 %", all_cover.sum(), N_STUDIES)
    assert all_cover.mean() >= bounds(0.95, N_STUDIES)[0]


def class_coverage(rng, share: float, icc: float, *, floor: bool, n=10_000) -> float:
    """Return the coverage for a share of pictures (a circle or none) against a base that has none; runs differ by ``icc``."""
    if icc:
        share_of_run = rng.beta(share * (1 - icc) / icc, (1 - share) * (1 - icc) / icc, (n, N_RUNS))
    else:
        share_of_run = np.full((n, N_RUNS), share)
    effects = rng.binomial(N_SEEDS, share_of_run) / N_SEEDS
    args = {"n_runs": N_RUNS, "n_pairs": N_RUNS * N_SEEDS, "level": 0.95, "span": 1.0, "error": 0.0}
    smallest = half_width_floor(few_valued=True, **args) if floor else 0.0
    half = np.maximum(t_critical(N_RUNS, 0.95) * effects.std(axis=1, ddof=1) / math.sqrt(N_RUNS), smallest)
    return float(np.mean(np.abs(effects.mean(axis=1) - share) <= half))


@pytest.mark.parametrize(("icc", "at_least"), [(0.0, 0.93), (0.1, 0.91), (0.2, 0.89), (0.5, 0.84)])
def test_the_floor_repairs_the_coverage_of_rare_shares(icc, at_least):
    # Student's interval with the floor alone, as beside the controls' table; the verdicts' own is held in test_rule_rates.py
    rng = np.random.default_rng([ROOT, 10, int(100 * icc)])
    shares = np.arange(0.02, 0.51, 0.02)
    bare = min(class_coverage(rng, share, icc, floor=False) for share in shares)
    ours = min(class_coverage(rng, share, icc, floor=True) for share in shares)
    report(f"worst coverage of a share, likeness {icc}: without the floor {bare:.1%}; with it", round(ours * 10_000), 10_000)
    assert bare < 0.6
    assert ours > at_least


# --- the whole rule, through judge -----------------------------------------------------------------------------------------------


def judged(rng, *, arm: float, placebo: float, n: int, expect="higher", margin=1.0) -> list[str]:
    """Return the verdicts of n studies with one claim each: the arm's and the placebo's true effects are given."""
    seed_level = rng.normal(0, 10, (n, N_RUNS, N_SEEDS))  # what a seed looks like in any arm
    values = {"base": seed_level}
    for name, effect in (("arm", arm), ("placebo", placebo)):
        values[name] = seed_level + nested_studies(rng, effect=effect, n=n)
    study, replicate, seed = (index.ravel() for index in np.indices((n, N_RUNS, N_SEEDS)))
    columns = {"replicate": replicate, "seed": replicate * N_SEEDS + seed, "measure": np.char.add("m", study.astype(str))}
    frames = [
        pl.DataFrame(columns | {"value": value.ravel()}).with_columns(
            pl.lit(name).alias("arm"), pl.lit("p").alias("prompt"), pl.lit(1.0).alias("strength"), pl.lit(None, pl.Int64).alias("step"),
            pl.lit("measured").alias("status"), pl.lit("").alias("reason"),
        )
        for name, value in values.items()
    ]  # fmt: skip
    claim = {"say": "learned", "cell": 'arm @ "p"', "expect": expect, "margin_absolute": margin}
    experiments = {f"e{i}": ExperimentSpec(question="?", claims=({"measure": f"m{i}"} | claim,)) for i in range(n)}
    verdicts = judge(
        experiments,
        pl.concat(frames),
        training={},
        instruments={f"m{i}": InstrumentFacts(f"m{i}", "continuous", -100, 100, "", 0, 0, True, "") for i in range(n)},
        controls={QuestionId(name, "claim", 0): ControlCells(Cell("placebo", "p"), None) for name in experiments},
    )
    return [verdict.verdict for verdict in verdicts]


def test_a_planted_effect_is_supported():
    # own: effect - margin at 90 % power or more, and the placebo's difference likewise; 6 leaves little doubt
    verdicts = judged(np.random.default_rng([ROOT, 11]), arm=6.0, placebo=0.0, n=100)
    report("a planted effect is supported", verdicts.count("supported"), 100)
    assert verdicts.count("supported") >= 90
    assert "contradicted" not in verdicts


def test_the_plans_effect_is_supported_in_80_percent_with_its_placebo():
    # spread between runs as in the power test: sqrt(1 + 5 / 4) = 1.5, at 4 pictures a run
    claim = {"say": "learned", "measure": "m", "cell": 'arm @ "p"', "expect": "higher", "margin_absolute": 1.0}
    plan = plan_claims(
        {"e": ExperimentSpec(question="?", claims=(claim,))},
        replicates={"arm": N_RUNS},
        seeds=N_SEEDS,
        instruments={"m": InstrumentFacts("m", "continuous", -100, 100, "", 0, 0, True, "")},
        run_sds={"m": RunSd(1.5, N_SEEDS, 0, "assumed")},
    )[0]
    verdicts = judged(np.random.default_rng([ROOT, 15]), arm=plan.effect, placebo=0.0, n=200)
    report(f"supported at the plan's effect of {plan.effect:.2f}, placebo included, at least 80 %", verdicts.count("supported"), 200)
    assert verdicts.count("supported") / 200 >= bounds(0.8, 200)[0]


def test_nothing_planted_nothing_supported():
    verdicts = judged(np.random.default_rng([ROOT, 12]), arm=0.0, placebo=0.0, n=200)
    report("A/A studies called learned", verdicts.count("supported"), 200)
    assert verdicts.count("supported") / 200 <= bounds(0.025, 200)[1]


def test_what_training_as_such_does_is_not_called_learned():
    # the arm truly differs from the base, by no more than the placebo does: at most 2.5 % may be called learned
    verdicts = judged(np.random.default_rng([ROOT, 13]), arm=6.0, placebo=6.0, n=200)
    report("a change that training as such makes, called learned", verdicts.count("supported"), 200)
    assert verdicts.count("supported") / 200 <= bounds(0.025, 200)[1]


# --- sabotage: the check above catches a wrong interval ---------------------------------------------------------------------------


def check_coverage(half_width) -> None:
    """The interval mean +- half_width(effects) covers 95 % within binomial error; ``effects`` is (studies, 3 runs)."""
    effects = nested_studies(np.random.default_rng([ROOT, 14]), n_runs=3).mean(axis=2)
    share = float(np.mean(np.abs(effects.mean(axis=1)) <= half_width(effects)))
    low, high = bounds(0.95, N_STUDIES)
    assert low <= share <= high


def half_width_of(effects):
    low, high = intervals(effects[:, :, None])
    return (high - low) / 2


T = t_critical(3, 0.95)
TWINS = {
    "normal quantile": lambda e: 1.96 * e.std(axis=1, ddof=1) / math.sqrt(3),
    "spread over n": lambda e: T * e.std(axis=1, ddof=0) / math.sqrt(3),
    "one run too many": lambda e: T * e.std(axis=1, ddof=1) / math.sqrt(4),
    "one degree of freedom too many": lambda e: t_critical(4, 0.95) * e.std(axis=1, ddof=1) / math.sqrt(3),
    "pictures for runs": lambda e: T * e.std(axis=1, ddof=1) / math.sqrt(3 * N_SEEDS),
    "one-sided quantile": lambda e: t_critical(3, 0.9) * e.std(axis=1, ddof=1) / math.sqrt(3),
}


def test_the_interval_covers():
    check_coverage(half_width_of)


@pytest.mark.parametrize("name", TWINS)
def test_wrong_intervals_are_caught(name):
    with pytest.raises(AssertionError):
        check_coverage(TWINS[name])
