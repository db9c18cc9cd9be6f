"""The manner of every model of the study file: frozen, and an unknown key is an error."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Strict(BaseModel):
    """A frozen model in which an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where a number is wanted: Python would take them for 1 and 0."""
        wanted = cls.model_fields[str(info.field_name)].annotation if isinstance(value, bool) else None
        if wanted in (int, float, int | None, float | None):
            raise ValueError(f"expected a number, found {str(value).lower()}")
        return value
