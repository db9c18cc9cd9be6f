"""As much of a study as can be read: a tree in; what is wrong with it, and the rest as a study that the other checks can look at, out.

What the models refuse is taken out and they are asked again, so that one mistake hides no other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedMap

from loralab.errors import Problem
from loralab.spec.data_kinds import KINDS
from loralab.spec.factorial import families_of
from loralab.spec.mistakes import problem_of
from loralab.spec.models import StudySpec
from loralab.spec.tree import Location, plain

#: each turn takes out at least one thing; a file with more mistakes than this tells enough
MAX_TURNS = 200
#: kinds of errors that say that no list may stand there
ONE_VALUE = ("literal_error", "string_type", "float_type", "int_type")
#: what an entry is called that stands in for all that were refused; no one else's is
STAND_IN = "stands-in-for-what-was-refused"
CLAIM = {"say": "-", "measure": "change", "cell": 'base @ "-"', "expect": "no change"}
#: what stands in for a value that is missing or refused, so that the rest of its entry is still checked
STAND_INS: Mapping[str, Any] = {"say": "-", "question": "-", "expect": "no change", "measure": "", "claims": [CLAIM]}
#: and for a whole part of the study, so that the others are
WHOLE: Mapping[Location, Any] = {
    ("study",): "-",
    ("data",): {STAND_IN: {"images_of": "base", "prompts": ["-"]}},
    ("arms",): {STAND_IN: {"data": STAND_IN, "captions": "-"}},
    ("experiments",): {STAND_IN: {"question": "-", "claims": [CLAIM]}},
}


class Rest:
    """The values of a study from which what is refused was taken out; it knows where each list entry stood."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.removed: set[Location] = set()
        self._stood: set[Location] = set()
        self._indices: dict[Location, list[int]] = {}

    def place(self, location: Sequence[str | int]) -> Location:
        """Return where in the file the place is that the models call ``location``: what stands there alone, with the file's own indices."""
        node: Any = self.value
        found: Location = ()
        for number, part in enumerate(location):
            if number == 2 and location[0] == "data" and part in KINDS:
                continue  # which kind of data it was taken for
            if isinstance(node, list) and isinstance(part, int):
                if part >= len(node):
                    break
                found, node = (*found, self._indices.get(found, range(len(node)))[part]), node[part]
            elif isinstance(node, dict) and part in node:
                found, node = (*found, part), node[part]
            elif location[0] == "arms" and isinstance(node, dict) and (own := self._crossed(found, str(part))):
                found, node = own, self._inside(own)
            elif isinstance(node, dict) and number == len(location) - 1 and part != "[key]":
                found, node = (*found, part), None  # a key that is missing
        return found

    def _crossed(self, found: Location, part: str) -> Location:
        """Return where in the file stands what the models call ``part``, of an arm that `factors` spanned; () for anything else."""
        if len(found) == 1:
            family = families_of(self.value.get("arms")).get(part)
            return () if family is None else ("arms", family)
        factors = self._inside((*found[:2], "factors"))
        is_factor = isinstance(factors, dict) and part in factors and found[2:] in ((), ("train",))
        return (*found[:2], "factors", part) if is_factor else ()

    def remove(self, location: Location) -> bool:
        """Take out what stands at ``location`` in the file; returns whether it was there."""
        node = self._inside(location[:-1]) if location else None
        if isinstance(node, list):
            indices = self._indices.setdefault(location[:-1], list(range(len(node))))
            if location[-1] not in indices:
                return False
            at = indices.index(int(location[-1]))
            del node[at], indices[at]
        elif isinstance(node, dict) and location[-1] in node:
            del node[location[-1]]
        else:
            return False
        self.removed.add(location)
        return True

    def stand_in(self, location: Location) -> bool:
        """Put something in the place of what is missing or refused; returns whether that could be done, and was not before."""
        value = WHOLE.get(location, STAND_INS.get(str(location[-1])) if location else None)
        node = self._inside(location[:-1]) if value is not None and location not in self._stood else None
        if not isinstance(node, dict):
            return False
        node[location[-1]] = copy.deepcopy(value)
        self._stood.add(location)
        self.removed.add(location)
        return True

    def _inside(self, location: Location) -> Any:
        """Return what is left of the place ``location`` in the file; None where it was taken out."""
        node: Any = self.value
        for depth, part in enumerate(location):
            if isinstance(node, list):
                indices = self._indices.get(location[:depth], list(range(len(node))))
                node = node[indices.index(int(part))] if part in indices else None
            else:
                node = node.get(part) if isinstance(node, dict) else None
        return node

    def caused(self, location: Location) -> bool:
        """Return whether something at or below ``location`` was taken out."""
        return any(gone[: len(location)] == location for gone in self.removed)


def read_draft(tree: CommentedMap, name: str) -> tuple[StudySpec | None, list[Problem], Rest]:
    """Return the study without what the models refuse (None where too little is left), the problems, and what was left."""
    rest, problems, told = Rest(plain(tree, name)), list[Problem](), set[Location]()
    for _ in range(MAX_TURNS):
        try:
            return StudySpec.model_validate(rest.value), problems, rest
        except ValidationError as error:
            progress = False
            for place, found in _by_place(error, rest):
                caused = rest.caused(place)
                if not caused and place not in told:
                    problems.append(problem_of(found, tree, place, name))
                told.add(place)
                # what is required and was refused leaves nothing to be checked of the entry that holds it
                gone = place[:-1] if found[0]["type"] == "missing" or place in rest.removed else place
                progress = rest.stand_in(place) or rest.remove(gone) or progress
            if not progress:
                break
    return None, problems, rest


def _by_place(error: ValidationError, rest: Rest) -> list[tuple[Location, list[ErrorDetails]]]:
    """Return the errors by place in the file: a value that may be of several kinds has an error for each."""
    grouped: dict[Location, list[ErrorDetails]] = {}
    for item in error.errors():
        grouped.setdefault(rest.place(item["loc"]), []).append(item)
    # entries that are refused are not counted: what is too short for that reason alone may be long enough; and where one of a list may
    # stand too (`fill: red`, `fill: [red, blue]`), what is wrong with a list is wrong with its entries
    secondary = [place for place, found in grouped.items() if found[0]["type"] == "too_short" or _is_list_for_one(found)]
    beneath = [place for place in secondary if any(other != place and other[: len(place)] == place for other in grouped)]
    return [(place, found) for place, found in grouped.items() if place not in beneath]


def _is_list_for_one(found: Sequence[ErrorDetails]) -> bool:
    return all(isinstance(item["input"], list | tuple) and item["type"] in ONE_VALUE for item in found)
