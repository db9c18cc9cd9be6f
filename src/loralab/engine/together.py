"""Arms of several LoRAs applied together: the LoRAs' keys and strengths in; one adapter artefact, their sum, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loralab.adapters import save_adapter
from loralab.adapters.together import Part, add_adapters
from loralab.bases import Base
from loralab.engine.training import KIND, load_run
from loralab.store import Store, artefact_key

TOGETHER_VERSION = 1


class Member(NamedTuple):
    """One LoRA of several: its key in the store, its strength in the UNet and in the text encoders."""

    key: str
    strength: float
    text_strength: float


def together_key(base: Base, members: Sequence[Member]) -> str:
    """Return the key of the sum of ``members`` on ``base``, which need not be the base that they were trained on."""
    strengths = [[member.strength, member.text_strength] for member in members]
    return artefact_key("together", TOGETHER_VERSION, {"strengths": strengths}, [*(member.key for member in members), base.fingerprint])


def load_or_make_together(store: Store, base: Base, members: Sequence[Member], run_id: str, metadata: Mapping[str, str]) -> str:
    """Return the key of the sum, made if the store lacks it; where one of the members failed, so did the sum.

    Raises LabError("model") where a member does not fit the base.
    """
    key = together_key(base, members)
    if store.has(KIND, key):
        return key
    loaded = [load_run(store, base, member.key) for member in members]
    parts = [Part(adapter, *member[1:]) for adapter, member in zip(loaded, members, strict=True) if adapter is not None]
    failed = None if len(parts) == len(members) else "one of the LoRAs that it is made of failed"
    manifest = {"run_id": run_id, "failed": failed, "together": [member._asdict() for member in members]}
    with store.publish(KIND, key, manifest) as scratch:
        (scratch / "losses.jsonl").write_text("", encoding="utf-8", newline="\n")
        if failed is None:
            described = {"ss_output_name": run_id, "ss_sd_model_name": base.name, **metadata, "loralab.key": key}
            described["loralab.base_sha256"] = base.fingerprint
            save_adapter(scratch / "adapter.safetensors", add_adapters(parts, base), metadata=described, family=base.family)
    return key
