"""Words that captions of any subject hold: a term in, whether it is one of them out."""

from __future__ import annotations

import re

from loralab.data.tags import folded

WORD = re.compile(r"\w+")
#: these say nothing about a picture
SMALL = frozenset((
    "a", "an", "and", "are", "at", "by", "for", "from", "her", "his", "in", "is", "it", "its", "of", "on", "or", "the", "to", "with",
))  # fmt: skip
#: subjects, poses, colours, media and marks of quality, as people and taggers write them; any base knows them
COMMON = frozenset((
    "3d", "4k", "8k", "absurdres", "aesthetic", "alone", "animal", "anime", "art", "artwork", "baby", "background", "best", "black",
    "blonde", "blue", "body", "boy", "boys", "brown", "cartoon", "cat", "cg", "character", "child", "close", "closeup", "comic", "cowboy",
    "detail", "detailed", "dog", "drawing", "explicit", "extremely", "eye", "eyes", "face", "female", "focus", "full", "general", "girl",
    "girls", "good", "gray", "grayscale", "green", "grey", "greyscale", "guy", "hair", "hd", "high", "highest", "highres", "illustration",
    "image", "indoors", "kid", "lady", "logo", "long", "looking", "low", "male", "man", "manga", "masterpiece", "men", "monochrome",
    "multiple", "normal", "nsfw", "official", "orange", "other", "others", "outdoors", "painting", "people", "person", "photo",
    "photograph", "photography", "photorealistic", "picture", "pink", "plain", "portrait", "pov", "purple", "quality", "questionable",
    "rating", "realism", "realistic", "red", "render", "res", "resolution", "safe", "score", "sensitive", "sfw", "short", "shot",
    "signature", "simple", "sitting", "sketch", "smile", "smiling", "solo", "source", "standing", "style", "text", "up", "upper", "very",
    "view", "viewer", "views", "watermark", "white", "wide", "woman", "women", "worst", "yellow",
))  # fmt: skip
COUNTED = re.compile(r"\d+\+?|\d+\+?(?:girl|boy|other|woman|man|people)s?")


def is_everyday(term: str) -> bool:
    """Return whether every word of ``term`` is one that captions of any subject hold."""
    return all(word in COMMON or word in SMALL or COUNTED.fullmatch(word) for word in WORD.findall(folded(term)))


def words_of(caption: str) -> list[str]:
    """Return the words of a caption written as a sentence, small words left out."""
    return [word for word in WORD.findall(caption) if word.lower() not in SMALL]
