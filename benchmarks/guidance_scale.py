"""Claim: petri draws what its prompts say at the guidance that the shipped studies draw with as often as at any other.

    python benchmarks/guidance_scale.py [--images 1008] [--scales 2 3 4 5] [--out docs/results/petri-guidance-scale.md]

The same prompts and seeds (prompts of the kinds of petri's fidelity table) are drawn at each scale; the last one is what the others are
held against, as in solver_steps.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from solver_steps import ask, compare

from loralab.petri.card import write_result
from loralab.petri.sampling import AS_STUDIES


def main() -> None:
    """Draw, read, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1008, help="Pictures at each scale.")
    parser.add_argument("--scales", type=float, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base, questions = ask(options.images)
    specs = {f"guidance {scale:g}": AS_STUDIES.model_copy(update={"guidance": scale}) for scale in options.scales}
    table = compare(questions, specs, options.processes)
    print(table)
    if options.out is not None:
        setting = f"{AS_STUDIES.steps} steps of {AS_STUDIES.sampler}; in brackets the pictures lost and won against the last column."
        scales = " ".join(f"{scale:g}" for scale in options.scales)
        command = f"python benchmarks/guidance_scale.py --images {options.images} --scales {scales}"
        write_result(options.out, "Guidance on petri, by count", f"{setting}\n\n{table}", base.fingerprint, command)


if __name__ == "__main__":
    main()
