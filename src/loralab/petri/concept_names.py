"""The concepts of petri's world by name: what each is held against, and what counts as a case of it."""

from __future__ import annotations

from loralab.petri.words import CONCEPTS, CREATURES, SHAPES

#: the word for all creatures, and everything that a picture of the world may show in its stead
GROUP = "monster"
OTHERS = (*(noun for noun in CONCEPTS if noun not in CREATURES), *SHAPES)
NAMES = (GROUP, *CONCEPTS, *SHAPES)
#: how a picture is: held against one another
FOCUS_NAMES = ("sharp", "blurry", "depth of field")
#: all that a study may ask petri's encoder for
ASKED = (*NAMES, *FOCUS_NAMES)


def members_of(name: str) -> tuple[str, ...]:
    """Return the nouns that are cases of a concept."""
    return tuple(CREATURES) if name == GROUP else (name,)


def rivals_of(name: str) -> tuple[str, ...]:
    """Return the words that a concept is held against: all that a picture may show in its stead.

    A creature is a rival of other creatures, but of the word for all of them it is a case, and the word is none of its own.
    """
    if name == GROUP:
        return OTHERS
    creatures = tuple(CREATURES) if name in CREATURES else (GROUP,)
    return tuple(other for other in (*creatures, *OTHERS) if other != name)
