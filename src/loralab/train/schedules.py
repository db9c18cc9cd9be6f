"""Learning-rate schedules: a recipe and a step in, the rate out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from loralab.spec.models import TrainSpec

#: the rate that diffusers' polynomial schedule ends at (get_polynomial_decay_schedule_with_warmup, lr_end)
POLYNOMIAL_END = 1e-7
#: how late REX falls: OneTrainer's d (modules/util/lr_scheduler_util.py); Chen et al. 2021 (arXiv:2107.04197) have .5
REX_D = 0.9


def learning_rate(spec: TrainSpec, step: int) -> float:
    """Return the learning rate of ``step`` (from 1): linear warm-up, then the recipe's schedule down to its last step."""
    warmup = n_steps(spec.warmup, spec.steps)
    if step <= warmup:
        start = spec.min_lr_ratio if spec.schedule == "wsd" else 0.0  # transformers' wsd begins where it ends
        return spec.lr * step / warmup if not start else spec.lr * _down_to(start, step / warmup)
    if spec.schedule == "constant":
        return spec.lr
    progress = (step - warmup) / max(1, spec.steps - warmup)
    return spec.lr * SCHEDULES[spec.schedule](spec, progress)


def n_steps(steps: int | float, all_steps: int) -> int:
    """Return how many steps are meant: those, or below 1 that share of all, rounded down (as sd-scripts rounds)."""
    return int(steps * all_steps) if 0 < steps < 1 else int(steps)


def _cosine(spec: TrainSpec, progress: float) -> float:
    return _down_to(spec.min_lr_ratio, 0.5 * (1 + math.cos(math.pi * progress)))


def _linear(_spec: TrainSpec, progress: float) -> float:
    return 1 - progress


def _polynomial(spec: TrainSpec, progress: float) -> float:
    end = min(POLYNOMIAL_END, spec.lr) / spec.lr
    return _down_to(end, (1 - progress) ** spec.schedule_power)


def _restarts(spec: TrainSpec, progress: float) -> float:
    """Cosines one behind the other, each from the full rate (Loshchilov & Hutter 2017, arXiv:1608.03983), the last down to 0."""
    return 0.0 if progress >= 1 else 0.5 * (1 + math.cos(math.pi * (spec.schedule_cycles * progress % 1)))


def _rex(spec: TrainSpec, progress: float) -> float:
    return _down_to(spec.min_lr_ratio, (1 - progress) / ((1 - REX_D) + REX_D * (1 - progress)))


def _wsd(spec: TrainSpec, progress: float) -> float:
    """Full rate, then a cosine over the last ``decay`` steps (transformers' get_wsd_schedule, which sd-scripts calls)."""
    behind = spec.steps - n_steps(spec.warmup, spec.steps)
    decay = n_steps(spec.decay, spec.steps)
    into = progress * behind - (behind - decay)
    return 1.0 if into <= 0 else _down_to(spec.min_lr_ratio, 0.5 * (1 + math.cos(math.pi * into / decay)))


def _down_to(end: float, share: float) -> float:
    """Return what falls from 1 to ``end`` as ``share`` falls from 1 to 0."""
    return end + (1 - end) * share if end else share


#: schedule in a study file -> the share of the rate at a progress from 0 to 1 behind the warm-up
SCHEDULES: Mapping[str, Callable[[TrainSpec, float], float]] = {
    "cosine": _cosine, "linear": _linear, "polynomial": _polynomial, "cosine-with-restarts": _restarts, "rex": _rex, "wsd": _wsd,
}  # fmt: skip
