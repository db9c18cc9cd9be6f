"""Siblings from nothing by one recipe at equal examples: in go names of worlds, out comes a folder of weights for each.

The twin of a sibling is trained on petri's whole world (`petri`) with as many examples as the sibling: what differs between the two is then
the world alone, and not that petri itself has seen more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

#: examples of each sibling, and of the start of its text encoder; shards of its pool
EXAMPLES, TEXT_EXAMPLES, SHARDS = 300_000, 60_000, 16

Step = list[str]


def steps_of(name: str, folder: Path, examples: int, processes: int) -> Iterator[tuple[Step, Path | None]]:
    """Yield the steps that make a sibling, as words of the command line, each with the file that is there once it is done.

    None stands for a step that goes on by itself and does nothing where it is done.
    """
    build, own = folder / name, ["--build", str(folder / name)]
    yield ["world", *own, "--sibling", name, "--shards", str(SHARDS), "--processes", str(processes)], None
    yield ["begin", *own], build / "matrix.pt"
    yield ["latents", *own], None
    yield ["text", *own, "--examples", str(TEXT_EXAMPLES)], build / "text_start.pt"
    yield ["train", *own, "--examples", str(examples), "--processes", str(processes), "--lr", "8e-4", "--ema", "0.999"], None
    yield ["export", *own, "--weights", str(build / "weights")], None


def make_siblings(
    names: Sequence[str], folder: Path, examples: int, processes: int, run: Callable[[Step], None]
) -> Iterator[tuple[str, str, str]]:
    """Make the siblings one after another; yields (name, step, "done" or "was there") after each step.

    Called again it goes on where it was stopped. Raises what a step raises.
    """
    for name in names:
        for words, file in steps_of(name, folder, examples, processes):
            if file is not None and file.exists():
                yield name, words[0], "was there"
                continue
            run(words)
            yield name, words[0], "done"
