"""The errors a user sees: each says what was found, what was expected, and what to do; no traceback reaches the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["spec", "data", "model", "training", "measurement", "store"]

#: exit code of the command line for each kind: 2 = the request was wrong, 1 = the work failed.
EXIT_CODES: dict[Kind, int] = {"spec": 2, "data": 2, "model": 2, "training": 1, "measurement": 1, "store": 1}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it stands, what was found, what was expected, what to do about it."""

    found: str
    expected: str = ""
    do: str = ""
    where: str = ""

    def __str__(self) -> str:
        head = f"{self.where}: {self.found}" if self.where else self.found
        tail = [f"  expected: {self.expected}"] if self.expected else []
        tail += [f"  hint: {self.do}"] if self.do else []
        return "\n".join([head, *tail])


class LabError(Exception):
    """A mistake or a failure that a user can act on; holds one or more :class:`Problem`."""

    def __init__(self, kind: Kind, problems: Problem | Sequence[Problem]) -> None:
        self.kind: Kind = kind
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[LabError], tuple[Kind, tuple[Problem, ...]]]:
        """Return what makes the error again, in whatever process it was raised."""
        return (LabError, (self.kind, self.problems))

    @property
    def exit_code(self) -> int:
        """The command line's exit code for this kind of error."""
        return EXIT_CODES[self.kind]


def lab_error(kind: Kind, found: str, expected: str = "", do: str = "", where: str = "") -> LabError:
    """Return a :class:`LabError` with a single problem."""
    return LabError(kind, Problem(found=found, expected=expected, do=do, where=where))
