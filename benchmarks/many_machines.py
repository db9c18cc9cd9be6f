"""On paper: how long a study takes on many devices, by a simulation of its schedule; rates and sizes in, minutes and idle shares out.

    python benchmarks/many_machines.py [--rates sdxl-assumed|petri] [--devices 1 2 4 8 16 32] [--out docs/results/many-machines.md]

The schedule is the lab's own: a stack of trainings is one task; when it is done, the pictures of its trainings are tasks of one batch group
each; readings follow their pictures on the processors. A device takes the next task that is ready; stacks go before pictures, so that the
last stack does not begin when everybody else has gone home. What a device holds when it is lost begins again elsewhere: a training at its
last kept state, a batch of pictures at its last whole block. `--rates petri` measures this machine's rates for the article's own recipe;
`sdxl-assumed` is arithmetic from published sizes (written beside each number), not a measurement.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Rates:
    """Seconds of one unit of work on one device, and bytes of what travels."""

    name: str
    train_step_seconds: float  # one step of one training inside a full stack
    picture_seconds: float  # one picture, all solver steps and the decoder
    measure_seconds: float  # one picture, on one processor core
    load_seconds: float  # the base onto a device, from a disk of its node
    stack: int  # trainings that fit together
    batch: int  # pictures that fit together
    adapter_bytes: float
    picture_bytes: float
    base_bytes: float


#: SDXL at 1024 px on a device of 80 GB: 6.0e12 operations a forward pass of one picture (2.6e9 parameters; diffusers' profile of the UNet),
#: twice that and once more for recomputation in training (a frozen base needs no gradients of its weights), 4e14 operations a second (two
#: fifths of the peak that NVIDIA states for an H100 in bfloat16); 30 solver steps with guidance; 8 trainings beside 6.6 GiB of weights by
#: docs/results/full-size.md (6.7 GiB each without checkpointing); rank 16 in half precision; a PNG of 1024 px.
SDXL = Rates("SDXL, 1024 px, assumed", 18e12 / 4e14, 30 * 2 * 6e12 / 4e14 + 0.15, 0.25, 25.0, 8, 8, 90e6, 1.6e6, 6.9e9)


@dataclass(frozen=True)
class Study:
    """How much there is to do."""

    trainings: int
    steps: int
    pictures_a_training: int


@dataclass(frozen=True)
class Site:
    """Where it is done: devices, cores that measure beside each, bytes a second into the shared folder, hours between losses."""

    devices: int
    cores_a_device: int = 6
    folder_bytes_a_second: float = 500e6
    hours_between_losses: float = math.inf
    kept_every_seconds: float = 60.0
    restart_seconds: float = 90.0


@dataclass(frozen=True)
class Result:
    """What a simulated study came to."""

    minutes: float
    busy: float  # share of device time spent on work that counted
    redone_minutes: float  # work that was lost and done again, all devices together
    folder_busy: float  # share of the time that the shared folder was being written at full speed


def simulate(study: Study, rates: Rates, site: Site, rng: np.random.Generator) -> Result:
    """Return one run of the schedule; every task takes its mean time, by ten per cent more or less."""
    free = [(rates.load_seconds, device) for device in range(site.devices)]
    heapq.heapify(free)
    stacks = [min(rates.stack, study.trainings - start) for start in range(0, study.trainings, rates.stack)]
    pictures: list[tuple[float, int]] = []  # a heap of (when they may be drawn, how many)
    done, worked, redone, moved, last = 0.0, 0.0, 0.0, 0.0, 0.0
    while stacks or pictures:
        now, device = heapq.heappop(free)
        if stacks:
            n = stacks.pop(0)
            seconds = n * study.steps * rates.train_step_seconds * float(rng.normal(1, 0.1))
            end, lost = _with_losses(now, seconds, site, rng)
            for batch in _batches(n * study.pictures_a_training, rates.batch):
                heapq.heappush(pictures, (end, batch))
            moved += n * rates.adapter_bytes
        else:
            ready, n = heapq.heappop(pictures)
            now, seconds = max(now, ready), n * rates.picture_seconds * float(rng.normal(1, 0.1))
            end, lost = _with_losses(now, seconds, replace(site, kept_every_seconds=seconds), rng)
            moved += n * rates.picture_bytes
            last = max(last, end + n * rates.measure_seconds / site.cores_a_device)
        worked, redone, done = worked + seconds, redone + lost, max(done, end)
        heapq.heappush(free, (end, device))
    total = max(done, last)
    written = moved / site.folder_bytes_a_second
    total = max(total, written)  # a folder that is slower than the devices holds everything up
    return Result(total / 60, worked / (site.devices * total), redone / 60, written / total)


def _batches(pictures: int, batch: int) -> Iterator[int]:
    while pictures > 0:
        yield min(batch, pictures)
        pictures -= batch


def _with_losses(start: float, seconds: float, site: Site, rng: np.random.Generator) -> tuple[float, float]:
    """Return when a task that begins at ``start`` ends, and how many of its seconds were done twice."""
    lost, now, left = 0.0, start, seconds
    while math.isfinite(site.hours_between_losses):
        until = float(rng.exponential(3600 * site.hours_between_losses))
        if until >= left:
            break
        again = until % site.kept_every_seconds  # since the last kept state
        lost, now, left = lost + again, now + until + site.restart_seconds, left - until + again
    return now + left, lost


def rates_of_this_machine() -> Rates:
    """Return the rates measured here for the article's recipe on petri, one process on one thread."""
    import torch

    from loralab.spec.load import load_study, shipped_file

    torch.set_num_threads(1)
    file = shipped_file("article")
    assert file is not None
    return _measured(load_study(file, "quick"))


def _measured(loaded) -> Rates:  # type: ignore[no-untyped-def]
    from loralab.bases import load_base
    from loralab.cost.memory import sized
    from loralab.cost.rates import MEASURE_SECONDS_AN_IMAGE, measure_rates
    from loralab.study.plan import make_plan

    base = load_base("petri")
    plan = sized(make_plan(loaded.spec), {"base": base})
    found = measure_rates(base, plan)
    picture = loaded.spec.sample.steps * found.image_step_seconds + found.decode_seconds
    return Rates("petri, measured here", found.train_step_seconds, picture, MEASURE_SECONDS_AN_IMAGE, 0.5, 16, 48, 4e5, 1e4, 2.2e7)


def table(rates: Rates, study: Study, devices: Sequence[int], site: Callable[[int], Site], rounds: int = 5) -> str:
    """Return rows of minutes, speed-up, busy share, work done twice and the folder's share, medians over ``rounds`` simulated studies."""
    lines = [
        "| devices | minutes | times one device | devices busy | minutes done twice | shared folder busy |",
        "|---|---|---|---|---|---|",
    ]
    one = 0.0
    for n in devices:
        results = [simulate(study, rates, site(n), np.random.default_rng((n, r))) for r in range(rounds)]
        middle = {f: statistics.median(getattr(r, f) for r in results) for f in ("minutes", "busy", "redone_minutes", "folder_busy")}
        one = one or middle["minutes"] * devices[0]
        lines.append(
            f"| {n} | {middle['minutes']:,.0f} | {one / middle['minutes']:.1f} | {middle['busy']:.0%} | {middle['redone_minutes']:.0f} "
            f"| {middle['folder_busy']:.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the tables, and write them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", choices=("sdxl-assumed", "petri"), default="sdxl-assumed")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--trainings", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rates = SDXL if given.rates == "sdxl-assumed" else rates_of_this_machine()
    study = Study(given.trainings, given.steps, given.pictures)
    parts = [f"{rates}", f"{study}", "", "Nothing is lost:", "", table(rates, study, given.devices, Site)]
    parts += ["", "A device is lost every 10 hours of its time (spot machines):", ""]
    parts += [table(rates, study, given.devices, lambda n: Site(n, hours_between_losses=10.0))]
    parts += ["", "The same, and nothing of a training is kept before its end:", ""]
    parts += [table(rates, study, given.devices, lambda n: Site(n, hours_between_losses=10.0, kept_every_seconds=1e9))]
    parts += ["", "A shared folder of 20 MB a second:", ""]
    parts += [table(rates, study, given.devices, lambda n: Site(n, folder_bytes_a_second=20e6))]
    print("\n".join(parts))
    if given.out is not None:
        given.out.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
