"""Arms of several LoRAs applied together: adapters and their strengths in; one adapter, their sum, out."""

from __future__ import annotations

from collections.abc import Iterator

from loralab.adapters import load_adapter, save_adapter
from loralab.adapters.together import Part, add_adapters
from loralab.stages.trained import ADAPTER_FILE, LOSSES_FILE
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work


def make_sums(work: Work, place: Place) -> Iterator[Message]:
    """Add adapters; raises LabError("model") where one does not fit the base."""
    base = place.bases[work.group.base]
    for task in work.missing:
        folder, its = work.folder(task.ref), task.spec
        members = list(zip(task.inputs, its.strengths, strict=True))  # a sum of which a part failed is void
        parts = [Part(load_adapter(work.folders[ref] / ADAPTER_FILE, base), *strengths) for ref, strengths in members]
        described = {"ss_output_name": its.name, "ss_sd_model_name": base.name, **its.says, "loralab.key": task.ref.key}
        described["loralab.base_sha256"] = base.fingerprint
        (folder / LOSSES_FILE).write_bytes(b"")
        save_adapter(folder / ADAPTER_FILE, add_adapters(parts, base), metadata=described, family=base.family)
        together = [{"key": ref.key, "strength": unet, "text_strength": text} for ref, (unet, text) in members]
        yield Made(task.ref, {"run_id": its.name, "failed": None, "together": together})
