"""What calls an arm: a study in; the trigger of each arm, how it is known, and prompts without it out. Imports no torch."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence

from loralab.data.tags import says, split_tags, with_words, without_words
from loralab.data.trigger import Trigger, guess_trigger, shared_words
from loralab.generators import generator_of
from loralab.spec import ArmSpec, Cell, FolderData, ImagesOfData, StudySpec, TrainSpec
from loralab.spec.load import train_spec_of

UNKNOWN = "its trigger is not known until its captions are read, so nothing is drawn without it; set it with `trigger:`"
UNSAID = "\u201c{prompt}\u201d does not contain its trigger \u201c{words}\u201d ({told}), so nothing is drawn without it"


def captions_of(spec: StudySpec, arm: ArmSpec) -> list[str]:
    """Return the captions of a training set, in the order of its images where they are generated.

    One for a folder whose captions the arm replaces by a text; none for a folder whose own they are (known when it is read).
    """
    data = spec.data[arm.data]
    if isinstance(data, ImagesOfData):
        return [(arm.captions or "{prompt}").format(prompt=prompt) for prompt in data.drawn_prompts]
    if isinstance(data, FolderData):
        return [] if arm.captions is None or _placeholders(arm.captions) else [arm.captions.format()]
    generator = generator_of(data)
    template = generator.caption if arm.captions is None else arm.captions
    return [template.format_map(_Shown(factors)) for factors in generator.factors(data)]


def _placeholders(template: str) -> list[str]:
    """Return the placeholders of a caption; a template that is not well formed has none here (the data stage refuses it)."""
    try:
        return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError:
        return [template]


class _Shown(dict[str, object]):
    """Placeholders of a caption; one that is unknown here stays as it is written (the data stage checks it)."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def trigger_of(spec: StudySpec, arm: ArmSpec) -> Trigger | None:
    """Return what calls an arm: what it or its data name; else its captions where each is one tag; else what they share.

    None for a placebo, which teaches nothing, and where the captions are a folder's own and nothing names the trigger.
    """
    data = spec.data.get(arm.data)
    if arm.trigger:
        return Trigger(arm.trigger, "given", "`trigger:` of the arm")
    if arm.stack and (first := arm.stack[0].arm):
        return trigger_of(spec, spec.arms[first])
    if isinstance(data, FolderData) and data.trigger:
        return Trigger(data.trigger, "stated", f"`trigger:` of the data {arm.data!r}")
    if isinstance(data, ImagesOfData):
        return None
    if whole := _whole_captions(spec, arm):
        return Trigger(whole[0], "likely", "the whole caption", tuple(whole[1:]))
    return guess_trigger(captions_of(spec, arm))


def _whole_captions(spec: StudySpec, arm: ArmSpec) -> list[str]:
    """Return the captions, the longest first, where each is one tag; else nothing."""
    captions = set(captions_of(spec, arm))
    single = all(len(split_tags(caption)) == 1 for caption in captions)
    return sorted(captions, key=lambda caption: (-len(caption), caption)) if single else []


def recipe_of(spec: StudySpec, arm: ArmSpec) -> TrainSpec:
    """Return the recipe by which an arm is trained, with the trigger that the class word replaces where it preserves a class."""
    recipe = train_spec_of(spec, arm)
    if recipe.preserves != "class" or recipe.diff_output_preservation_trigger or (found := trigger_of(spec, arm)) is None:
        return recipe
    return recipe.model_copy(update={"diff_output_preservation_trigger": found.words})


def preservation_problem(recipe: TrainSpec, captions: Sequence[str]) -> tuple[str, str, str] | None:
    """Return (found, expected, what to do) where the class word can take the trigger's place in none, or not in all, of the captions."""
    trigger, own = recipe.diff_output_preservation_trigger, recipe.diff_output_preservation_class
    if recipe.preserves != "class":
        return None
    if not trigger:
        return (
            "diff_output_preservation, but its trigger is not known",
            "the words that the class word replaces",
            "set `trigger:` of the arm",
        )
    if not captions:
        return None
    n = sum(with_words(caption, trigger, own) != caption for caption in captions)
    if n == len(captions):
        return None
    found = f"diff_output_preservation replaces the trigger {trigger!r} by {own!r}, but only {n} of {len(captions)} captions change"
    return (
        found,
        "captions that all contain the trigger, and another word for the class",
        "set `trigger:` of the arm, or change its captions",
    )


def prompt_without_trigger(spec: StudySpec, arm: ArmSpec, prompt: str) -> str | None:
    """Return ``prompt`` with the arm's trigger taken out; None where the prompt does not hold it, or it is not known.

    Of a guess, a whole caption goes before the word that all captions share. What is left of `myshape` alone is the empty prompt.
    """
    found = trigger_of(spec, arm)
    if found is None:
        return None
    for words in (found.words, *(found.others if found.source == "the whole caption" else ())):
        if (left := without_words(prompt, words)) is not None:
            return left
    return _without_shared(prompt, shared_words(captions_of(spec, arm))) if found.guessed else None


def _without_shared(prompt: str, words: Sequence[str]) -> str | None:
    left = prompt
    for word in words:
        fewer = without_words(left, word)
        left = left if fewer is None else fewer
    return left if left != prompt else None


def trigger_notes(spec: StudySpec, cells: Iterable[Cell]) -> Iterator[str]:
    """Yield what keeps claims of learning from having pictures without the trigger; ``cells`` are those of such claims."""
    for cell in dict.fromkeys(cells):
        arm = spec.arms[str(cell.arm)]
        found, captions = trigger_of(spec, arm), captions_of(spec, arm)
        if found is None:
            yield f"arm {cell.arm!r}: {UNKNOWN}"
        elif prompt_without_trigger(spec, arm, cell.prompt) is None:
            yield f"arm {cell.arm!r}: {UNSAID.format(prompt=cell.prompt, words=found.words, told=found.told)}"
        elif captions and found.sure == "given" and not any(says(caption, found.words) for caption in captions):
            yield f"arm {cell.arm!r}: none of its captions contains its trigger \u201c{found.words}\u201d"
