"""How much of the scatter among pictures is due to which training drew them: a sample of paired changes in, a contrast and its words out.

One-way random effects over trainings (`spread.estimate_spread`): likeness = between^2 / (between^2 + within^2), with the exact
interval from F (Searle 1971, page 414), which no prior moderates.
"""

from __future__ import annotations

from dataclasses import replace

from loralab.infer.comparison import Sample
from loralab.infer.estimate import Levels, student_half_width
from loralab.infer.findings import Ruled
from loralab.infer.spread import estimate_spread
from loralab.infer.verdict import Contrast
from loralab.spec.models import ClaimSpec


def likeness_contrast(sample: Sample, levels: Levels) -> Contrast:
    """Return the likeness of a training's pictures with its intervals, 0 to 1; raises ValueError without two pictures in a training."""
    claim, study = (estimate_spread(sample.z, sample.replicate, level).icc for level in (levels.claim, levels.study))
    df = sample.n_runs - 1
    error = (claim.high - claim.low) / 2 / student_half_width(df, levels.claim)
    return Contrast(
        effect=claim.value, low=claim.low, high=claim.high, level=levels.claim, n_runs=sample.n_runs, n_images=sample.n_pairs,
        p_sign_flip=None, run_effects=(), error=error, df=df, sure_low=study.low, sure_high=study.high, sure_level=levels.study,
    )  # fmt: skip


def why_no_likeness(claim: ClaimSpec, sample: Sample) -> str:
    """Return why the likeness of a training's pictures cannot be told; empty where it can, or is not asked."""
    if claim.between_trainings and 0 < sample.n_pairs <= sample.n_runs:
        return "there is only one picture per training, so trainings cannot be told from pictures; draw at least two (`sample.seeds`)"
    if claim.between_trainings and sample.n_pairs and not sample.z.any():
        return "nothing changes in any picture, so there is no scatter to divide"
    return ""


def told_as_likeness(ruled: Ruled, contrast: Contrast | None, margin: float | None) -> Ruled:
    """Return a ruling with its numbers in words that fit a share of the scatter."""
    if contrast is None or margin is None:
        return ruled
    found = f"{100 * contrast.effect:.0f} % of the scatter lies between trainings ({100 * contrast.low:.0f} to {100 * contrast.high:.0f} %)"
    hint = ruled.reason.rpartition("; ")[2] if ruled.ruling in ("open", "leaning") and "; " in ruled.reason else ""
    reason = f"{found}, {contrast.n_runs} trainings, where {100 * margin:.0f} % counts" + (f"; {hint}" if hint else "")
    return replace(ruled, reason=reason, found=found)
