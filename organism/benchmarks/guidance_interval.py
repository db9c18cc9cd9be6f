"""Claim: on petri, guidance may be left out in some of the solver's steps, and half of their work with it, without instruments telling.

    python -m organism.benchmarks.guidance_interval [--images 512] [--without 0 9-12 1,9-12] [--out docs/results/petri-guidance.md]

Guidance on an interval (Kynkaanniemi et al. 2024, arXiv:2404.07724): outside of it the prediction with the prompt is taken as it is, and
the one without is not made. Steps count from 1, of 12. Prompts are of the kinds of petri's fidelity table; the first column is what the
others are held against, as in solver_steps.py. The lab has no such setting: pictures would differ from those of people's tools.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loralab.bases import predict
from loralab.sample import sampler
from organism.benchmarks.solver_steps import ask, cell, read_all
from organism.card import write_result
from organism.fidelity import Question
from organism.sampling import AS_STUDIES


def steps_of(text: str) -> frozenset[int]:
    """Return the steps that "1,9-12" names; "0" names none."""
    parts = [part.partition("-") for part in text.split(",")]
    return frozenset(step for first, _, last in parts for step in range(int(first), int(last or first) + 1)) - {0}


@contextmanager
def unguided(steps: frozenset[int]) -> Iterator[None]:
    """Have the sampler leave guidance out in these steps of each batch."""
    whole, done = sampler._predict, [0]

    def guided(base: Any, latents: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor, k: int, scale: float) -> torch.Tensor:
        done[0] = done[0] % AS_STUDIES.steps + 1
        if done[0] not in steps:
            return whole(base, latents, timestep, text, k, scale)
        return predict(base, latents, timestep, text.unflatten(0, (k, 2, -1))[:, 1].flatten(0, 1))

    sampler._predict = guided
    try:
        yield
    finally:
        sampler._predict = whole


def read_unguided(questions: list[Question], steps: frozenset[int]) -> list[np.ndarray]:
    """Return what is right without guidance in these steps, by question."""
    with unguided(steps):
        return read_all(questions, AS_STUDIES, processes=1)  # other processes would not know of the change


def main() -> None:
    """Draw, read, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="Pictures of each kind.")
    parser.add_argument("--without", nargs="+", default=["0", "9-12", "1,9-12"], help="Steps without guidance; 0: guidance in all.")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    torch.set_num_threads(1)
    base, questions = ask(options.images)
    n = len(questions[0].prompts)
    found = [read_unguided(questions, steps_of(text)) for text in options.without]
    heads = ["all guided", *(f"without in {text}" for text in options.without[1:])]
    lines = [f"| share of {n} | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    rows = [(question.name, [parts[row] for parts in found]) for row, question in enumerate(questions)]
    for name, (held, *others) in [*rows, ("**all**", [np.concatenate(parts) for parts in found])]:
        lines.append(f"| {name} | {held.mean():.3f} | " + " | ".join(cell(part, held) for part in others) + " |")
    table = "\n".join(lines)
    print(table)
    if options.out is not None:
        setting = f"{AS_STUDIES.steps} steps of {AS_STUDIES.sampler}; in brackets the pictures lost and won against guidance in all steps."
        command = f"python -m organism.benchmarks.guidance_interval --images {options.images} --without {' '.join(options.without)}"
        write_result(options.out, "Guidance in some of the steps on petri, by count", f"{setting}\n\n{table}", base.fingerprint, command)


if __name__ == "__main__":
    main()
