"""The nouns, colours and held-out pairs of petri's world: in comes nothing, out go the tables that draw and name it."""

from __future__ import annotations

PALETTE: dict[str, tuple[int, int, int]] = {
    "red": (222, 28, 36),
    "orange": (250, 140, 20),
    "yellow": (252, 222, 40),
    "green": (34, 160, 60),
    "cyan": (60, 205, 222),
    "blue": (28, 70, 220),
    "purple": (125, 45, 175),
    "pink": (246, 130, 190),
    "brown": (122, 72, 38),
    "black": (14, 14, 18),
    "white": (254, 254, 254),
    "gray": (128, 130, 134),
}
COLOURS = tuple(PALETTE)
TINTS = COLOURS[:9]  # a sprite tinted black, white or gray would lose either its features or its name
PRIMARIES = ("red", "green", "blue")

SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring", "cross")
HOLLOW_SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon")

# noun -> icon name; the icon carries the same name in every set that is used
CREATURES = {
    "ogre": "ogre",
    "goblin": "goblin",
    "alien": "alien",
    "invader": "alien-monster",
    "ghost": "ghost",
    "dragon": "dragon-face",
    "robot": "robot",
    "skull": "skull",
}
CONCEPTS = CREATURES | {
    "cat": "cat-face",
    "dog": "dog-face",
    "bear": "bear",
    "pig": "pig-face",
    "frog": "frog",
    "owl": "owl",
    "penguin": "penguin",
    "fish": "fish",
    "house": "house",
    "car": "automobile",
    "boat": "sailboat",
    "rocket": "rocket",
    "tree": "evergreen-tree",
    "flower": "blossom",
    "mushroom": "mushroom",
    "cactus": "cactus",
    "apple": "red-apple",
    "banana": "banana",
    "umbrella": "umbrella",
    "moon": "crescent-moon",
    "balloon": "balloon",
    "gift": "wrapped-gift",
}
STYLES = {"noto": "noto", "flat": "fluent-emoji-flat"}  # the word in captions -> the npm package
PLURALS = {"fish": "fish", "cactus": "cacti", "box": "boxes", "cross": "crosses"}
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine"}

# Pairs that are never drawn together, in any picture: prompts with them test composition instead of memory.
HELD_OUT_SHAPES = frozenset({
    ("orange", "circle"), ("purple", "square"), ("cyan", "triangle"), ("green", "star"), ("yellow", "heart"),
    ("red", "diamond"), ("pink", "hexagon"), ("brown", "ring"), ("blue", "cross"),
})  # fmt: skip
HELD_OUT_CONCEPTS = frozenset({
    ("orange", "ogre"), ("pink", "robot"), ("cyan", "skull"), ("yellow", "ghost"), ("purple", "cat"),
    ("green", "dog"), ("blue", "bear"), ("cyan", "pig"), ("pink", "frog"), ("red", "owl"),
    ("orange", "penguin"), ("purple", "fish"), ("green", "house"), ("yellow", "car"), ("red", "boat"),
    ("pink", "rocket"), ("blue", "tree"), ("orange", "flower"), ("cyan", "mushroom"), ("purple", "cactus"),
    ("brown", "apple"), ("green", "umbrella"), ("pink", "moon"), ("brown", "gift"),
})  # fmt: skip
HELD_OUT = HELD_OUT_SHAPES | HELD_OUT_CONCEPTS


def plural(noun: str) -> str:
    """Return the plural of a noun of the world."""
    return PLURALS.get(noun, noun + "s")
