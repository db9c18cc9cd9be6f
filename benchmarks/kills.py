"""Claim: a study that is killed every 6 to 28 seconds, 40 times, still ends, and in the bytes of one that never was.

    python benchmarks/kills.py [--kills 40] [--least 6] [--most 28] [--seed 0] [--processor] [--minutes N]

Two arms of eight trainings each on petri, one stack. Each attempt is `loralab run` in a process of its own, ended by SIGKILL (with the
processes beside it) after a time drawn from the seed; a study that is whole before the last kill begins again in a new lab. --processor
counts the seconds of its processes on a processor instead of those of the clock, for a machine that has other work. Every file of the labs'
stores, and the readings, are compared byte for byte with an uninterrupted run's. Exit code 1 where any differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loralab.study.judging import without_minutes
from loralab.study.result import VERDICTS_FILE

STUDY = """
study: kills
base: petri
data:
  grey: {generate: shapes, shapes: [circle, square, triangle], fill: grey}
  red: {generate: shapes, shapes: [circle, square, triangle], fill: red}
train: {rank: 2, steps: STEPS, replicates: 8}
sample: {steps: 8, seeds: 3}
arms:
  grey: {data: grey, captions: myshape}
  red: {data: red, captions: myshape}
experiments:
  colour:
    question: Does the LoRA learn the colour?
    claims:
      - {say: It turns things red., measure: chroma, cell: 'red @ "myshape"', expect: higher, anyway: true}
    curves:
      - {say: More with the steps., measure: chroma, cell: 'red @ "myshape"', over: step, at: [EARLY, STEPS], expect: higher, anyway: true}
"""
#: what may differ: when a thing was done, and how often
TIMES = ("ledger.jsonl", "times.json", "report", "summary", "rates", "scratch", "unfinished")


@dataclass
class Outcome:
    """What the kills came to."""

    kills: int = 0
    whole: list[Path] = field(default_factory=list)  # labs that were ended
    per_lab: list[int] = field(default_factory=list)


def attempt(study: Path, lab: Path, seconds: float | None, *, processor: bool) -> bool:
    """Run the study once and kill it after ``seconds``; returns whether it ended by itself."""
    command = [sys.executable, "-m", "loralab", "run", str(study), "--lab", str(lab)]
    log = (lab.parent / f"{lab.name}.log").open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    began = time.monotonic()
    while process.poll() is None:
        if seconds is not None and (worked(process.pid) if processor else time.monotonic() - began) >= seconds:
            kill(process.pid)
            process.wait()
            return False
        time.sleep(0.05)
    if process.returncode not in (0, 10, 11, 12):
        raise SystemExit(f"the study ended with code {process.returncode}; see {log.name}")
    return True


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def worked(pid: int) -> float:
    """Return the processor seconds of a process and of the busiest of those beside it, which work at the same time."""
    found = []
    for process in family(pid):
        try:
            times = process.cpu_times()
            found.append(times.user + times.system)
        except psutil.NoSuchProcess:
            continue
    return found[0] + max(found[1:], default=0.0) if found else 0.0


def kill(pid: int) -> None:
    """End a process and all that it has started, without a last word."""
    for process in family(pid):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def contents(lab: Path) -> dict[str, str]:
    """Return the sha256 of every artefact of a lab, by path; of verdicts without the minutes that more trainings would take."""
    files = [file for file in sorted(lab.rglob("*")) if file.is_file() and not set(file.relative_to(lab).parts) & set(TIMES)]
    told = ((file, without_minutes(file.read_bytes()) if file.name == VERDICTS_FILE else file.read_bytes()) for file in files)
    return {file.relative_to(lab).as_posix(): hashlib.sha256(text).hexdigest() for file, text in told}


def run_with_kills(study: Path, folder: Path, options: argparse.Namespace) -> Outcome:
    """Kill the study as often as is asked for, then let it end."""
    dice, outcome, deadline = random.Random(options.seed), Outcome(), time.monotonic() + 60 * options.minutes
    while True:
        lab, kills = folder / f"killed-{len(outcome.whole)}", 0
        while outcome.kills < options.kills and time.monotonic() < deadline:
            seconds = dice.uniform(options.least, options.most)
            if attempt(study, lab, seconds, processor=options.processor):
                break
            outcome.kills, kills = outcome.kills + 1, kills + 1
            print(
                f"killed after {seconds:.1f} s ({outcome.kills}); {len(contents(lab)) if lab.is_dir() else 0} files are there", flush=True
            )
        else:
            attempt(study, lab, None, processor=options.processor)
        outcome.whole.append(lab)
        outcome.per_lab.append(kills)
        print(f"whole after {kills} kills", flush=True)
        if outcome.kills >= options.kills or time.monotonic() >= deadline:
            return outcome


def main() -> None:
    """Run, kill, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--least", type=float, default=6)
    parser.add_argument("--most", type=float, default=28)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--processor", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = folder / "kills.yaml"
        study.write_text(STUDY.replace("STEPS", str(options.steps)).replace("EARLY", str(options.steps // 4)), encoding="utf-8")
        before = time.monotonic()
        attempt(study, folder / "whole", None, processor=False)
        print(f"uninterrupted: {time.monotonic() - before:.0f} s", flush=True)
        expected = contents(folder / "whole")
        outcome = run_with_kills(study, folder, options)
        different = 0
        for lab in outcome.whole:
            found = contents(lab)
            names = sorted(path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path))
            different += len(names)
            print(f"{lab.name}: {len(found)} files, {len(names)} differ {names[:5]}")
    print(f"{outcome.kills} kills ({', '.join(map(str, outcome.per_lab))} a study), {len(expected)} files each, {different} differ")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
