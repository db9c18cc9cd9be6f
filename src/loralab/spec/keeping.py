"""The knobs that hold a training to what its base knew: output preservation and masked prior preservation; each is off unless turned.

Names and meanings are ai-toolkit's for output preservation and OneTrainer's for masked prior preservation. Regularisation pictures belong
to an arm (`regularisation:`) or to a folder of pictures.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from loralab.strict import Strict

#: settings that turn a method on; the names of its further settings begin with theirs
METHODS = frozenset({"diff_output_preservation", "blank_prompt_preservation"})


class KeepingKnobs(Strict):
    """What of the base a training is held to, beside its own pictures."""

    diff_output_preservation: bool = Field(
        False,
        description="Differential output preservation: with the class word instead of the trigger, each noisy picture must be predicted "
        "as the base predicts it.",
    )
    diff_output_preservation_class: str = Field(
        "", description="The class word that replaces the trigger in the captions, such as `woman` or `shape`."
    )
    diff_output_preservation_multiplier: float = Field(1.0, gt=0, le=100, description="Weight of differential output preservation.")
    diff_output_preservation_trigger: str = Field(
        "", description="The words that the class word replaces. Default: the arm's trigger, which each of its captions must contain."
    )
    blank_prompt_preservation: bool = Field(
        False, description="Blank-prompt preservation: without any caption, each noisy picture must be predicted as the base predicts it."
    )
    blank_prompt_preservation_multiplier: float = Field(1.0, gt=0, le=100, description="Weight of blank-prompt preservation.")

    masked_prior_preservation_weight: float = Field(
        0.0, ge=0, le=100, description="Where a mask hides a picture, weight of the distance to what the base predicts there; 0 = off."
    )

    @model_validator(mode="after")
    def _one_preservation(self) -> KeepingKnobs:
        if self.diff_output_preservation and self.blank_prompt_preservation:
            raise ValueError("diff_output_preservation and blank_prompt_preservation cannot be combined; give each an arm of its own")
        if self.diff_output_preservation and not self.diff_output_preservation_class.strip():
            raise ValueError(
                "diff_output_preservation needs the class word that takes the trigger's place: set diff_output_preservation_class"
            )
        for method in sorted(METHODS):
            idle = [name for name, field in KeepingKnobs.model_fields.items() if name.startswith(f"{method}_")]
            idle = [name for name in idle if getattr(self, name) != KeepingKnobs.model_fields[name].default]
            if idle and not getattr(self, method):
                raise ValueError(f"{' and '.join(idle)} without {method}: set `{method}: true`, or remove it; alone it has no effect")
        return self

    @property
    def preserves(self) -> Literal["class", "blank", ""]:
        """Under which captions the base's own predictions are a target too: the class word's, an empty one, or none."""
        return "class" if self.diff_output_preservation else "blank" if self.blank_prompt_preservation else ""

    @property
    def preservation_multiplier(self) -> float:
        """The weight of the preservation that is turned on; 0 where none is."""
        multipliers = {"class": self.diff_output_preservation_multiplier, "blank": self.blank_prompt_preservation_multiplier, "": 0.0}
        return multipliers[self.preserves]
