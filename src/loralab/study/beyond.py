"""What an arm's training has beyond a plain one's: an arm in; a few words, the cost of its steps, and what is drawn before it, out.

The factors are measured (benchmarks/keeping.py: petri, stacks of 8, one thread of an Intel Xeon with AMX, seconds of the processor). By
count of passes, of which one backwards costs two forwards, they would be 7/3, 4/3 and 7/6; what a step does beside them is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence

from loralab.spec import ArmSpec, ImagesOfData, StudySpec, TrainSpec

#: a second pass under another caption, and the base's prediction there
PRESERVED = 2.0
#: the base's prediction of every picture; and of half of them
MASKED_PRIOR, HELD_TO_BASE = 1.2, 1.1


def step_factor(arm: ArmSpec, recipe: TrainSpec) -> float:
    """Return how many plain steps of the same batch one step of an arm costs."""
    factor = PRESERVED if recipe.preserves else 1.0
    held = arm.regularisation is not None and arm.regularisation.target == "base"
    return factor + (MASKED_PRIOR - 1 if recipe.masked_prior_preservation_weight else HELD_TO_BASE - 1 if held else 0)


def drawn_before(spec: StudySpec, arms: Sequence[str]) -> list[ImagesOfData]:
    """Return the sets of regularisation pictures that a base draws before these arms are trained, each once."""
    names = dict.fromkeys(reg.data for arm in arms if (reg := spec.arms[arm].regularisation) is not None)
    return [data for name in names if isinstance(data := spec.data[name], ImagesOfData)]


def kept_words(recipe: TrainSpec) -> list[str]:
    """Return what holds a training to its base, in a few words each."""
    found = []
    if recipe.preserves == "class":
        words = recipe.diff_output_preservation_trigger, recipe.diff_output_preservation_class
        found.append(f"output preservation (“{words[1]}” for “{words[0]}”)")
    elif recipe.preserves:
        found.append("output preservation (no prompt)")
    found += [f"weight {recipe.preservation_multiplier:g}"] if recipe.preservation_multiplier not in (0, 1) else []
    weight = recipe.masked_prior_preservation_weight
    return found + ([f"masked prior preservation at {weight:g}"] if weight else [])


def shown_words(arm: ArmSpec) -> list[str]:
    """Return how an arm shows its pictures, in a few words each: what its settings change, and its regularisation pictures."""
    found = [f"{name} {value}" for name, value in arm.showing.model_dump(exclude_defaults=True).items()]
    if (reg := arm.regularisation) is None:
        return found
    weight = "" if reg.prior_loss_weight == 1 else f" at prior loss weight {reg.prior_loss_weight:g}"
    target = " with the base's predictions as their target" if reg.target == "base" else ""
    return [*found, f"regularisation pictures {reg.data}{weight}{target}"]
