"""This machine's speed, measured once: a base and a plan in, the rates of its work out, kept in the user's cache for the next plan.

What is kept is used only for the same work on the same hardware and versions; ``afresh`` measures again, for a machine that is busier or
idler than it was.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from loralab import __version__
from loralab.bases import Base
from loralab.cost.rates import Rates, estimate_cost, measure_rates, runs_together
from loralab.errors import LabError
from loralab.portable import busy_cores, cores
from loralab.spec import BASE, BaseSource, slice_of
from loralab.spec.keeping import KeepingKnobs
from loralab.store import write_atomically
from loralab.store.keys import canonical_json
from loralab.study.plan import StudyPlan

#: fields of a recipe that change neither the size nor the number of a step's products
FREE = {"alpha", "lr", "steps", "replicates", "weight_decay", "warmup", "schedule", "max_grad_norm", *KeepingKnobs.model_fields}
#: fields of a solver that change neither a step's passes nor their size
UNSEEN = {"steps", "guidance", "guidance_interval", "seeds", "schedule", "negative", "clip_skip", "unrelated"}


#: the share of all cores that others may take or give back before rates count as those of another time
MATTERS = 0.25


@dataclass(frozen=True)
class Calibration:
    """Rates, the day (ISO) on which they were measured, and how many cores were busy with other work then; None if nobody noted it."""

    rates: Rates
    measured: str
    busy: float | None = None


def rates_file() -> Path:
    """Return where rates are kept: in XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loralab" / "rates.json"


def rates_of(base: Base, plan: StudyPlan, own: BaseSource = BASE, *, afresh: bool = False) -> Calibration:
    """Return this machine's rates for a plan's work on one base: those kept from an earlier plan, or measured now, in seconds, and kept.

    Rates that were measured while others kept the cores busy are measured again once those are free.
    """
    key, kept = _key(base, plan, own), _read_kept()
    found = kept.get(key)
    busy = busy_cores()
    if found is not None and not afresh and not _from_a_busier_time(found.get("busy"), busy):
        return Calibration(Rates(**found["rates"]), found["measured"], found.get("busy"))
    return _keep(key, kept, measure_rates(base, plan, own), busy)


def correct_rates(base: Base, plan: StudyPlan, seconds: Mapping[str, float], own: BaseSource = BASE) -> Rates | None:
    """Return the kept rates of a plan's work as a run of it has shown them, behind keeping those in place of what was measured before it.

    ``seconds`` are what all its training ("train") and all its drawing ("draw") take on this machine; what is left out stays as it was.
    None where no rates are kept, or where several bases share the time.
    """
    key, kept = _key(base, plan, own), _read_kept()
    if key not in kept or len(plan.bases) > 1 or not any(value > 0 for value in seconds.values()):
        return None
    rates = Rates(**kept[key]["rates"])
    cost = estimate_cost(plan, {own: rates}, {own: base.size_px})
    train, draw = (
        _factor(seconds.get(name, 0.0), 60 * minutes) for name, minutes in (("train", cost.train_minutes), ("draw", cost.draw_minutes))
    )
    shown = Rates(rates.train_step_seconds * train, rates.image_step_seconds * draw, rates.decode_seconds * draw)
    return _keep(key, kept, shown, busy_cores()).rates


def _factor(shown_seconds: float, foretold_seconds: float) -> float:
    return shown_seconds / foretold_seconds if shown_seconds > 0 and foretold_seconds > 0 else 1.0


def _keep(key: str, kept: dict[str, Mapping[str, Any]], rates: Rates, busy: float) -> Calibration:
    """Return the rates as those of today, behind keeping them."""
    calibration = Calibration(rates, datetime.datetime.now(datetime.UTC).date().isoformat(), round(busy, 1))
    kept[key] = {"rates": vars(rates), "measured": calibration.measured, "busy": calibration.busy}
    with suppress(LabError, OSError, RuntimeError):  # a home that cannot be written to: the next plan measures again
        write_atomically(rates_file(), json.dumps(kept, indent=1, sort_keys=True).encode())
    return calibration


def _from_a_busier_time(then: float | None, now: float) -> bool:
    """Return whether others took so much more of this machine then that rates of that time foretell too much."""
    return then is not None and then - now >= MATTERS * cores()


def _key(base: Base, plan: StudyPlan, own: BaseSource) -> str:
    spec, sizes = plan.spec, plan.sizes
    hardware = [
        _processor(), os.cpu_count(), torch.get_num_threads(), torch.__version__, __version__, str(base.device), str(base.dtype),
        _device_name(base.device),
    ]  # fmt: skip
    work = [
        base.fingerprint, slice_of(spec.train, exclude=FREE), slice_of(spec.sample, exclude=UNSEEN),
        spec.train.trains_text, spec.sample.guidance > 1, runs_together(plan, own), sizes.images, sizes.checkpointing,
        sizes.processes,
    ]  # fmt: skip
    return hashlib.sha256(canonical_json([hardware, work]).encode()).hexdigest()[:24]


def _device_name(device: torch.device) -> str:
    names = {"cuda": torch.cuda.get_device_name, "xpu": torch.xpu.get_device_name}
    return names[device.type](device) if device.type in names else ""


def _processor() -> str:
    """Return the processor's own name, as far as this system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def _read_kept() -> dict[str, Mapping[str, Any]]:
    """Return what is kept; a file that cannot be read, or is none of ours, counts as empty."""
    try:
        kept = json.loads(rates_file().read_bytes())
        return {key: value for key, value in kept.items() if set(value["rates"]) == set(Rates.__dataclass_fields__)}
    except (OSError, RuntimeError, ValueError, AttributeError, KeyError, TypeError):
        return {}
