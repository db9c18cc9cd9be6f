"""The long run: `python tests/fuzz --inputs 60000` reads that many inputs and writes the counts; a fault stops nothing and is counted.

`python tests/fuzz --only "data folders" --seed 4711` reads one input again and lets its error through.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from kinds import TABLE, outcome  # noqa: E402 (beside this file)

#: of the processor; an input that takes longer is a hang
MOST_SECONDS = 20
COLUMNS = ("read", "read in part", "refused", "otherwise")


TEXT = """# Strangers' input

Good inputs are damaged at random (values of other types, lost and doubled lines, changed bytes, odd names, encodings, links) and read as
the lab reads them. Each must be read or refused with a message; a traceback, a warning, or more than {most} seconds of the processor
counts as *otherwise*.

`{command}`, {day}, {minutes} minutes on one core: **{found}**.

| kind | inputs | read | read in part | refused | otherwise |
|---|---|---|---|---|---|
{rows}

*Read in part*: a data set of which some files cannot be read, each named; the rest is. A short run of the same is in the default tests;
`python tests/fuzz --only "data folders" --seed N` reads one input again.
"""


class Hang(BaseException):
    """An input that is not done in time."""


def _ring(number: int, frame: FrameType | None) -> None:
    raise Hang


def one(kind: str, seed: int) -> str:
    """Return the outcome of one input; what is neither read nor refused is told on the error stream."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        return outcome(kind, seed, place)
    except (Exception, Hang):
        print(f"--- {kind!r}, seed {seed}\n{traceback.format_exc(limit=-4)}", file=sys.stderr, flush=True)
        return "otherwise"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        shutil.rmtree(place, ignore_errors=True)


def table(counts: dict[str, Counter[str]], seconds: float, command: str) -> str:
    """Return the page: counts by kind."""
    total = sum(sum(each.values()) for each in counts.values())
    bad = sum(each["otherwise"] for each in counts.values())
    rows = [
        f"| {kind} | {sum(own.values()):,} | " + " | ".join(f"{own[each]:,}" for each in COLUMNS) + " |" for kind, own in counts.items()
    ]
    return TEXT.format(
        most=MOST_SECONDS, command=command, day=datetime.date.today().isoformat(), minutes=f"{seconds / 60:.0f}",
        found=f"{total:,} inputs, {bad} otherwise", rows="\n".join(rows),
    )  # fmt: skip


def main() -> int:
    """Return 1 where an input was neither read nor refused."""
    parser = argparse.ArgumentParser(prog="python tests/fuzz")
    parser.add_argument("--inputs", type=int, default=60_000)
    parser.add_argument("--first", type=int, default=0, help="the seed of each kind's first input")
    parser.add_argument("--only", choices=TABLE)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("error")
    if given.seed is not None:
        with tempfile.TemporaryDirectory() as place:
            print(outcome(given.only, given.seed, Path(place)))
        return 0
    signal.signal(signal.SIGPROF, _ring)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started, counts = time.monotonic(), {}
    for kind in [given.only] if given.only else list(TABLE):
        n = given.inputs if given.only else round(given.inputs * TABLE[kind][1])
        counts[kind] = Counter(one(kind, given.first + number) for number in range(n))
        print(kind, dict(counts[kind]), f"{time.monotonic() - started:.0f} s", flush=True)
    command = f"python tests/fuzz --inputs {given.inputs}" + (f" --first {given.first}" if given.first else "")
    if given.out is not None:
        given.out.write_text(table(counts, time.monotonic() - started, command), encoding="utf-8")
    return int(any(each["otherwise"] for each in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
