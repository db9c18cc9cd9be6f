"""Claim: on petri, guidance may be left out in some of the solver's steps, and half of their work with it, without instruments telling.

    python -m organism.benchmarks.guidance_interval [--images 512] [--within 0-1 0-0.67 0.08-0.67] [--out docs/results/petri-guidance.md]

Guidance on an interval (Kynkaanniemi et al. 2024, arXiv:2404.07724): outside of it the prediction with the prompt is taken as it is, and
the one without is not made (`sample: guidance_interval`). Prompts are of the kinds of petri's fidelity table; the first column is what the
others are held against, as in solver_steps.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from organism.benchmarks.solver_steps import ask, cell, read_all
from organism.card import write_result
from organism.fidelity import Question
from organism.sampling import AS_STUDIES


def interval_of(text: str) -> tuple[float, float]:
    """Return the part of the steps that "0-0.75" names."""
    first, _, last = text.partition("-")
    return float(first), float(last)


def read_within(questions: list[Question], text: str, processes: int) -> list[np.ndarray]:
    """Return what is right with guidance in this part of the steps alone, by question."""
    return read_all(questions, AS_STUDIES.model_copy(update={"guidance_interval": interval_of(text)}), processes=processes)


def main() -> None:
    """Draw, read, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="Pictures of each kind.")
    parser.add_argument("--within", nargs="+", default=["0-1", "0-0.67", "0.09-0.67"], help="Parts of the steps that are guided; 0-1: all.")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base, questions = ask(options.images)
    n = len(questions[0].prompts)
    found = [read_within(questions, text, options.processes) for text in options.within]
    heads = [f"{text}: {AS_STUDIES.model_copy(update={'guidance_interval': interval_of(text)}).passes} passes" for text in options.within]
    lines = [f"| share of {n} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    rows = [(question.name, [parts[row] for parts in found]) for row, question in enumerate(questions)]
    for name, (held, *others) in [*rows, ("**all**", [np.concatenate(parts) for parts in found])]:
        lines.append(f"| {name} | {held.mean():.3f} | " + " | ".join(cell(part, held) for part in others) + " |")
    table = "\n".join(lines)
    print(table)
    if options.out is not None:
        told = "guidance in a part of the steps; in brackets the pictures lost and won against the first"
        setting = f"{AS_STUDIES.steps} steps of {AS_STUDIES.sampler}; {told}."
        command = f"python -m organism.benchmarks.guidance_interval --images {options.images} --within {' '.join(options.within)}"
        write_result(options.out, "Guidance in some of the steps on petri, by count", f"{setting}\n\n{table}", base.fingerprint, command)


if __name__ == "__main__":
    main()
