"""The kit: is a device right, how fast is it, and petri trained on it, in this order, within the minutes that there are.

python -m organism.accelerator --device cuda --minutes 10 --out kit       all three parts; findings in kit/notes.md after each of them
python -m organism.accelerator --dry --out kit                            a run of every part on the processor, tiny, in a minute or two
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from organism.accelerator.fast import check_fast
from organism.accelerator.notebook import Clock, Notebook
from organism.accelerator.right import check_right
from organism.accelerator.trained import train_petri

#: part -> its share of the time; the last one has what is left
SHARES: Mapping[str, float] = {"right": 0.25, "fast": 0.45, "trained": 1.0}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser("python -m organism.accelerator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all parts together")
    parser.add_argument("--out", type=Path, required=True, help="folder for findings, weights and log")
    parser.add_argument("--parts", nargs="+", choices=sorted(SHARES), default=list(SHARES))
    parser.add_argument("--dry", action="store_true", help="tiny, on the processor, to see that every part runs")
    return parser.parse_args(argv)


def run_trained(notebook: Notebook, device: str, clock: Clock, dry: bool) -> None:
    """Train petri for the time that is left; dry: for a few steps on few pictures."""
    if dry:
        train_petri(notebook, device, 2.0, batch=8, n_shards=1, size=64, own=False, text_examples=256)
    else:
        train_petri(notebook, device, clock.left_seconds)


PARTS: Mapping[str, Callable[[Notebook, str, Clock, bool], None]] = {"right": check_right, "fast": check_fast, "trained": run_trained}


def tell_machine(notebook: Notebook, device: str) -> None:
    """Write what it ran on."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "processor"
    notebook.add("machine", device, name=name, torch=torch.__version__, threads=torch.get_num_threads(), python=sys.version.split()[0])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the parts in order; what a part found is on disk before the next one begins."""
    given = parse(argv)
    device = "cpu" if given.dry else given.device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device here; --dry runs every part on the processor")
    notebook, whole = Notebook(given.out), Clock(60 * given.minutes)
    tell_machine(notebook, device)
    for part in given.parts:
        before = time.monotonic()
        PARTS[part](notebook, device, Clock(whole.left_seconds if part == "trained" else SHARES[part] * 60 * given.minutes), given.dry)
        notebook.add("machine", f"the part {part}", seconds=time.monotonic() - before)


if __name__ == "__main__":
    main()
