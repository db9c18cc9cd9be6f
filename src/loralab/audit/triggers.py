"""The trigger of a data set, or of each of its folders where they teach several things: facts in, what to tell and a word a picture out."""

from __future__ import annotations

from collections.abc import Sequence

from loralab.audit.remark import Facts
from loralab.data import Trigger, guess_trigger


def find_triggers(facts: Sequence[Facts], given: str = "") -> tuple[Trigger | None, list[str]]:
    """Return what is told of the trigger, and the word that each picture's caption should say ("" where none is known).

    A set of several folders that share no word, but each of which has its own, has a trigger a folder.
    """
    one = Trigger(given, "given", "given") if given else _named(facts) or _guessed(facts)
    if one is None or one.sure == "unsure":
        several = _by_folder(facts)
        if several:
            told = ", ".join(f"{trigger.words} in {folder}" for folder, trigger in several.items())
            words = ", ".join(trigger.words for trigger in several.values())
            return Trigger(words, "likely", f"one a folder: {told}"), [several[each.folder].words for each in facts]
    return one, [one.words if one is not None else ""] * len(facts)


def _named(facts: Sequence[Facts]) -> Trigger | None:
    """Return the trigger that the data set's own options name for all of it."""
    named = {each.options.trigger for each in facts}
    word = next(iter(named)) if len(named) == 1 else ""
    return Trigger(word, "stated", "the data set's own option `trigger`") if word else None


def _guessed(facts: Sequence[Facts]) -> Trigger | None:
    separators = {each.options.caption_separator for each in facts}
    return guess_trigger([each.caption for each in facts], next(iter(separators)) if len(separators) == 1 else ",")


def _by_folder(facts: Sequence[Facts]) -> dict[str, Trigger]:
    """Return each folder's trigger; nothing where one has none that is likely, or all have the same."""
    folders = dict.fromkeys(each.folder for each in facts)
    found = {folder: _guessed([each for each in facts if each.folder == folder]) for folder in folders}
    likely = {folder: trigger for folder, trigger in found.items() if trigger is not None and trigger.sure == "likely"}
    return likely if len(likely) == len(folders) and len({trigger.words for trigger in likely.values()}) > 1 else {}
