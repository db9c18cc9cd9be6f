"""What a study did not look at, derived from its specification and from what was drawn: no sentence stands in every report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loralab.spec import Cell, StudySpec
from loralab.spec.load import train_spec_of

#: prompts that are named one by one; of more, their number
MOST_PROMPTS = 6


def limits_of(spec: StudySpec, cells: Sequence[Cell], arms: Sequence[str], bases: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each thing that the study leaves open: other bases, other words, the text encoder, other doses.

    ``cells`` are those that were drawn, ``arms`` those that have LoRAs, ``bases`` the names of the bases that were used.
    """
    yield _bases(bases)
    prompts = list(dict.fromkeys(cell.prompt for cell in cells if not cell.is_base))
    if prompts:
        yield _prompts(prompts)
    if encoder := _text_encoder(spec, [arm for arm in arms if arm in spec.arms and spec.arms[arm].trained_here]):
        yield encoder
    if all(cell.step is None and cell.strength == 1 for cell in cells if not cell.is_base):
        yield "Strengths other than 1 and earlier steps of the trainings were not drawn."


def _bases(bases: Sequence[str]) -> str:
    used = f"Only {listed(bases)} {'was' if len(bases) == 1 else 'were'} used as a base."
    return used + (" petri is small: the same study may turn out differently on a full-size model." if "petri" in bases else "")


def _prompts(prompts: Sequence[str]) -> str:
    if len(prompts) > MOST_PROMPTS:
        return f"{len(prompts)} prompts were tested; what other words would do is not known."
    named = listed([f"“{prompt}”" if prompt else "the empty prompt" for prompt in prompts])
    return f"Only {named} {'was' if len(prompts) == 1 else 'were'} drawn; what other words would do is not known."


def _text_encoder(spec: StudySpec, trained: Sequence[str]) -> str:
    """Return in which trainings the text encoder was frozen; "" where it was in none, or where nothing was trained here."""
    frozen = [arm for arm in trained if not train_spec_of(spec, spec.arms[arm]).trains_text]
    if not frozen:
        return ""
    if len(frozen) == len(trained):
        return "The text encoder was frozen in every training."
    return f"The text encoder was frozen in the trainings of {listed(frozen)}."


def listed(items: Sequence[str]) -> str:
    """Return "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
