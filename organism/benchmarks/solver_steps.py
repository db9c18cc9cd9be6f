"""Claim: on petri, instruments read pictures of fewer solver steps as they read those of 25.

    python -m organism.benchmarks.solver_steps [--images 816] [--steps 8 12 25] [--out docs/results/petri-steps.md]

The same prompts and seeds (prompts of the kinds of petri's fidelity table) are drawn at each number of steps; the last number is what the
others are held against. Told are the shares of right answers, and beside them how many pictures went from right to wrong and from wrong to
right: were fewer steps worse, the first would outnumber the second (McNemar's exact test).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest

from loralab.bases import Base
from loralab.bases.round_trip import round_trip_of
from loralab.petri import petri_folder
from loralab.spec import SampleSpec
from organism.card import write_result
from organism.fidelity import Question, make_questions
from organism.measuring import readers_of
from organism.sampling import AS_STUDIES, base_of, draw_as_studies


def right(question: Question, pictures: np.ndarray) -> np.ndarray:
    """Return for each picture whether it reads as was asked (N,) bool."""
    return np.array([question.read(picture) == answer for picture, answer in zip(pictures, question.expected, strict=True)])


def ask(n_images: int) -> tuple[Base, list[Question]]:
    """Return petri and the questions of its fidelity table, with as many prompts each as make about `n_images`."""
    base = base_of(petri_folder())
    readers, _ = readers_of(round_trip_of(base))
    n = -(-n_images // len(make_questions(1, readers=readers)))
    return base, make_questions(n, readers=readers)


def read_all(questions: list[Question], spec: SampleSpec, processes: int) -> list[np.ndarray]:
    """Return what is right in pictures drawn so, by question."""
    prompts = [prompt for question in questions for prompt in question.prompts]
    pictures = draw_as_studies(petri_folder(), prompts, list(range(len(prompts))), spec, processes)
    ends = np.cumsum([len(question.prompts) for question in questions])
    return [right(question, part) for question, part in zip(questions, np.split(pictures, ends[:-1]), strict=True)]


def cell(found: np.ndarray, reference: np.ndarray) -> str:
    """Return a share, and the pictures that were lost and won against the reference."""
    lost, won = int((reference & ~found).sum()), int((found & ~reference).sum())
    p = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    return f"{found.mean():.3f} (-{lost} +{won}, p {p:.2g})"


def compare(questions: list[Question], specs: dict[str, SampleSpec], processes: int) -> str:
    """Return the shares of right answers in pictures drawn in each way, all but the last way held against the last."""
    found = [read_all(questions, spec, processes) for spec in specs.values()]
    lines = [f"| share of {len(questions[0].prompts)} | " + " | ".join(specs) + " |", "|---" * (len(specs) + 1) + "|"]
    rows = [(question.name, [parts[row] for parts in found]) for row, question in enumerate(questions)]
    for name, (*others, held) in [*rows, ("**all**", [np.concatenate(parts) for parts in found])]:
        lines.append(f"| {name} | " + " | ".join([*(cell(part, held) for part in others), f"{held.mean():.3f}"]) + " |")
    return "\n".join(lines)


def settings_parser(doc: str | None, images: int) -> argparse.ArgumentParser:
    """Return the options that every comparison of drawing settings has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=images, help="Pictures in each setting.")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    return parser


def tell(options: argparse.Namespace, specs: dict[str, SampleSpec], title: str, setting: str, command: str) -> None:
    """Compare the settings, print the table, and write it where that is asked for."""
    torch.set_num_threads(1)
    base, questions = ask(options.images)
    table = compare(questions, specs, options.processes)
    print(table)
    if options.out is not None:
        body = f"{setting}; in brackets the pictures lost and won against the last column.\n\n{table}"
        write_result(options.out, title, body, base.fingerprint, f"python -m organism.benchmarks.{command}")


def main() -> None:
    """Draw, read, and write the table."""
    parser = settings_parser(__doc__, 816)
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 12, 25])
    options = parser.parse_args()
    specs = {f"{steps} steps": AS_STUDIES.model_copy(update={"steps": steps}) for steps in options.steps}
    command = f"solver_steps --images {options.images} --steps {' '.join(map(str, options.steps))}"
    setting = f"{AS_STUDIES.sampler}, guidance {AS_STUDIES.guidance:g}"
    tell(options, specs, "Fewer solver steps on petri, by count", setting, command)


if __name__ == "__main__":
    main()
