"""Damages good inputs: bytes and texts in, the same with a few changes out; all draws come from the given generator."""

from __future__ import annotations

import copy
import json
import random
import re
from typing import Any

#: values that might be meant, and values that are never
SOUND = ("1", "2", "3", "16", "64", "100", "0.1", "0.5", "true", "false", '"x"', '".txt"', "[64, 32]", "[]", "{}")
ODD = (
    '""', "null", "true", "-1", "0", "0.5", "1e999", "nan", ".inf", "-.nan", "99999999999999999999", "[]", "{}", "[[], {}]", "'\\x00'",
    '"\\u0000"', "!!python/object/apply:os.system [x]", "*a", "&a [*a]", "2024-06-01", "12:30:45", "0x10", "1_000", "~", "../..", "/",
    "C:\\Users\\x", '"C:\\Users"', "é漢🙂", "\u202e\u200b", "a" * 5000, '"""', "'''", "%", "{fill:q}", "{", "}", "{{}}", "| ", "> ", "- ",
    "? ", ": ", "<<: *a", "!!binary abc",
)  # fmt: skip
LETTERS = "ab0-_.,:;'\"[]{}()\\/#&*!|>%@` \n\t\r\x00\x1b\x7f\u00e9\u2028\U0001f642"


def text(rng: random.Random, good: str) -> str:
    """Return ``good`` with one to four changes."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        good = rng.choice((_line, _value, _value, _value, _letters, _token, _cut))(rng, good)
    return good


def _line(rng: random.Random, good: str) -> str:
    lines = good.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.choice(("drop", "twice", "swap", "indent")):
        case "drop":
            del lines[at]
        case "twice":
            lines.insert(other, lines[at])
        case "swap":
            lines[at], lines[other] = lines[other], lines[at]
        case "indent":
            lines[at] = " " * rng.randint(0, 6) + lines[at].lstrip()
    return "\n".join(lines)


def _value(rng: random.Random, good: str) -> str:
    found = list(re.finditer(r"(?<=[:=] )[^\n,}\]]+", good))
    if not found:
        return good
    spot = rng.choice(found)
    return good[: spot.start()] + rng.choice(rng.choice((SOUND, ODD))) + good[spot.end() :]


def _letters(rng: random.Random, good: str) -> str:
    at = rng.randint(0, len(good))
    return good[:at] + "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 4))) + good[at + rng.randint(0, 3) :]


def _token(rng: random.Random, good: str) -> str:
    tokens = re.findall(r"[\w.-]+", good)
    if not tokens:
        return good
    return good.replace(rng.choice(tokens), rng.choice((*ODD, *rng.sample(tokens, min(3, len(tokens))))), rng.choice((1, 1, -1)))


def _cut(rng: random.Random, good: str) -> str:
    start = rng.randint(0, len(good))
    return good[:start] + good[start + rng.randint(0, max(1, len(good) // 4)) :]


def data(rng: random.Random, good: bytes, within: int | None = None) -> bytes:
    """Return ``good`` with one to five changed, lost, added or repeated bytes, in its first ``within`` bytes where given."""
    content = bytearray(good)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(max(1, min(len(content), within or len(content))))
        match rng.choice(("set", "set", "cut", "insert", "repeat")):
            case "set":
                content[at : at + 1] = bytes([rng.randrange(256)])
            case "cut":
                del content[at : at + rng.randint(1, 40)]
            case "insert":
                content[at:at] = rng.randbytes(rng.randint(1, 8))
            case "repeat":
                content[at:at] = content[at : at + rng.randint(1, 60)]
    return bytes(content)


def tree(rng: random.Random, good: Any) -> Any:
    """Return a JSON tree with one to three of its values replaced, dropped or put elsewhere."""
    made = json.loads(json.dumps(good))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(rng, made)
    return made


VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1 << 70,
    "",
    "x",
    "\x00",
    "\ud800",
    [],
    {},
    [1],
    {"a": 1},
    ["x", 3],
    1e308,
    [[[]]],
)


def _change(rng: random.Random, node: Any) -> None:
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.8:
            node = node[key]
            continue
        break
    match rng.choice(("set", "set", "drop", "rename")):
        case "set":
            node[key] = copy.deepcopy(rng.choice(VALUES))
        case "drop":
            del node[key]
        case "rename" if isinstance(node, dict):
            node[rng.choice(("", "x", "\x00", "é", *map(str, keys)))] = node.pop(key)
