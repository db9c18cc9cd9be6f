"""Which LoRA files are to be checked, and what they are to one another: one file, epochs of one training, or one file a seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from loralab.adapters.header import read_header
from loralab.errors import lab_error

Role = Literal["file", "epochs", "seeds"]

#: how kohya ends the names of what it saves on the way; the last file of a training has no such ending
EPOCH_ENDING = re.compile(r"-(\d{6,})$")
STEP_ENDING = re.compile(r"-step(\d{8,})$")
SEED_IN_NAME = re.compile(r"seed[-_]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class CheckedFile:
    """One LoRA file with its place among the others; ``label`` is what the page calls it."""

    path: Path
    label: str
    order: float
    metadata: Mapping[str, str]


def find_files(paths: Sequence[Path]) -> tuple[Role, list[CheckedFile]]:
    """Return what the files are to one another, and the files in order.

    Epochs are ordered by the steps in their metadata, else by the ending that kohya gives their names. Raises LabError("model") where
    nothing is found, where a file is no safetensors file, or where several seeds have several epochs each.
    """
    files = _listed(paths)
    metadata = {path: read_header(path)[1] for path in files}
    if len(files) == 1:
        return "file", [CheckedFile(files[0], files[0].stem, 0, metadata[files[0]])]
    seeds = [_seed(path, metadata[path]) for path in files]
    if None not in seeds and len(set(seeds)) == len(files):
        found = [CheckedFile(path, f"seed {seed}", int(str(seed)), metadata[path]) for path, seed in zip(files, seeds, strict=True)]
        return "seeds", sorted(found, key=lambda file: (file.order, file.path.name))
    if None not in seeds and len(set(seeds)) > 1:
        counts = ", ".join(f"seed {seed}: {n} files" for seed, n in sorted(Counter(map(str, seeds)).items())[:8])
        raise lab_error(
            "model", f"several trainings of several epochs ({counts})", "epochs of one training, or one file a seed", "check them in turn"
        )
    whole = {ending.sub("", path.stem) for path in files for ending in (EPOCH_ENDING, STEP_ENDING) if ending.search(path.stem)}
    found_epochs = (_epoch(path, metadata[path], is_last=path.stem in whole) for path in files)
    return "epochs", sorted(found_epochs, key=lambda file: (file.order, file.path.name))


def _listed(paths: Sequence[Path]) -> list[Path]:
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.safetensors"))
            if not inside:
                others = sorted(item.name for item in path.iterdir())[:8]
                found = f"no .safetensors file in {path}" + (f" (there are {', '.join(others)})" if others else "")
                raise lab_error("model", found, "LoRA files")
            files.update(dict.fromkeys(inside))
        elif path.is_file():
            files[path] = None
        else:
            raise lab_error("model", f"no file or folder at {path}", "a LoRA file (.safetensors), or a folder of them")
    return list(files)


def _seed(path: Path, metadata: Mapping[str, str]) -> int | None:
    """Return the training seed: from the file's name where it says one, else from its metadata."""
    if named := SEED_IN_NAME.search(path.stem):
        return int(named[1])
    if re.fullmatch(r"\d{1,18}", metadata.get("loralab.replicate", "")):
        return int(metadata["loralab.replicate"])  # the lab's own files share the study's root seed
    value = metadata.get("ss_seed", "")
    return int(value) if re.fullmatch(r"\d{1,18}", value) else None


def _epoch(path: Path, metadata: Mapping[str, str], is_last: bool) -> CheckedFile:
    steps, epoch = metadata.get("ss_steps", ""), metadata.get("ss_epoch", "")
    ending = EPOCH_ENDING.search(path.stem) or STEP_ENDING.search(path.stem)
    if re.fullmatch(r"\d{1,12}", steps):
        return CheckedFile(path, f"epoch {int(epoch)}" if re.fullmatch(r"\d{1,9}", epoch) else f"step {int(steps)}", int(steps), metadata)
    if ending:
        return CheckedFile(path, f"{'step' if STEP_ENDING.search(path.stem) else 'epoch'} {int(ending[1])}", int(ending[1]), metadata)
    end = metadata.get("ss_max_train_steps", "")
    if "loralab.key" in metadata and re.fullmatch(r"\d{1,12}", end):  # the lab's own: only what was kept on the way names its step
        return CheckedFile(path, f"step {int(end)}", int(end), metadata)
    if is_last:  # what stands beside NAME-000008 as NAME alone; a number in NAME says nothing of epochs
        return CheckedFile(path, path.stem, float("inf"), metadata)
    numbers = re.findall(r"\d+", path.stem)
    return CheckedFile(path, path.stem, float(numbers[-1]) if numbers and len(numbers[-1]) < 16 else float("inf"), metadata)
