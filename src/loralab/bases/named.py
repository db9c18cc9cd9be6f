"""The bases of a study: a loaded study in, its bases in memory, out."""

from __future__ import annotations

from collections.abc import Mapping

from loralab.bases import Base, load_base
from loralab.spec import BASE, BaseSource, bases_of
from loralab.spec.elsewhere import named_path
from loralab.spec.load import Loaded


def load_bases(loaded: Loaded) -> dict[BaseSource, Base]:
    """Return the study's bases, its own first.

    What `load` says of a base's files (prediction, noise schedule, VAE) is about the study's own; the others are taken as they are.
    """
    own = loaded.spec.load
    if own.vae is not None:
        own = own.model_copy(update={"vae": resolve_base(loaded, own.vae)})
    others = own.model_copy(update={"prediction": None, "zero_terminal_snr": None, "vae": None})
    return {
        source: load_base(resolve_base(loaded, reference), own if source == BASE else others)
        for source, reference in bases_of(loaded.spec).items()
    }


def base_names(bases: Mapping[BaseSource, Base]) -> str:
    """Return what the bases of a study are called."""
    return "; ".join(base.name if source == BASE else f"{source}: {base.name}" for source, base in bases.items())


def resolve_base(loaded: Loaded, reference: str) -> str:
    """Return a base's reference; a relative folder is relative to the study file."""
    beside = named_path(reference, loaded.folder)
    return str(beside) if reference != "petri" and beside.exists() else reference
