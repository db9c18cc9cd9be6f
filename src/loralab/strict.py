"""The manner of every model of the study file: frozen, an unknown key is an error, and a path is one."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

#: no path of a person's holds these: `"C:\new"` is a line break behind `C:`
NO_PATH = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def _without_control(path: str) -> str:
    if NO_PATH.search(path):
        why = 'inside "..." a backslash starts an escape sequence: put the path in single quotes, or use / instead of backslashes'
        raise ValueError(f"{path[:80]!r} contains a line break, a tab or another control character; {why}")
    return path


PathText = Annotated[str, AfterValidator(_without_control)]


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
