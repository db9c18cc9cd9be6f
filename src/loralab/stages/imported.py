"""LoRA files that were trained elsewhere: a file in, checked against the base, and copied as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from loralab.adapters import load_adapter
from loralab.spec.elsewhere import CONFIG, config_of
from loralab.stages.trained import ADAPTER_FILE, LOSSES_FILE
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work


def make_copies(work: Work, place: Place) -> Iterator[Message]:
    """Copy files; raises LabError("model") where one does not fit the base."""
    for task in work.missing:
        folder = work.folder(task.ref)
        load_adapter(task.spec.file, place.bases[work.group.base], follow_links=True)
        shutil.copyfile(task.spec.file, folder / ADAPTER_FILE)
        if config := config_of(task.spec.file):
            shutil.copyfile(config, folder / CONFIG)
        (folder / LOSSES_FILE).write_bytes(b"")
        data = task.inputs[0].key if task.inputs else None
        yield Made(task.ref, {"run_id": task.spec.name, "file": task.spec.file.name, "failed": None, "data": data})
