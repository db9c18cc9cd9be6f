"""Random twins: a trained adapter and its training set in; random adapters that change the predicted noise as much, out."""

from __future__ import annotations

from collections.abc import Iterator

from loralab.adapters import load_adapter, save_adapter
from loralab.stages.data import load_dataset
from loralab.stages.trained import ADAPTER_FILE, training_tensors
from loralab.train.null import make_null_twins
from loralab.work.place import Place
from loralab.work.task import Made, Message, Work


def make_twins(work: Work, place: Place) -> Iterator[Message]:
    """Make random twins."""
    base = place.bases[work.group.base]
    for task in work.missing:
        its, (adapter, data) = task.spec, task.inputs
        tensors = training_tensors(base, load_dataset(work.folders[data], base.size_px), its.recipe, its.clip_skip)
        latents, text = tensors["latents"], tensors["tokens" if its.recipe.trains_text else "embeddings"]
        assert latents is not None  # always there, and the text under the name that the recipe wants
        assert text is not None
        trained = load_adapter(work.folders[adapter] / ADAPTER_FILE, base)  # the twin of one that failed is void
        (twin,) = make_null_twins(base, [trained], latents, text, [its.seed], is_tokens=its.recipe.trains_text)
        metadata = {"loralab.null_twin_of": adapter.key, "loralab.base_sha256": base.fingerprint}
        save_adapter(work.folder(task.ref) / ADAPTER_FILE, twin.adapter, metadata=metadata)
        yield Made(task.ref, {"twin_of": adapter.key, "failed": None, "trained_change": twin.trained_change, "change": twin.change})
