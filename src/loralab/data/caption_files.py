"""Reads the text beside pictures: a file in, its caption out as kohya's sd-scripts reads it, with a note where people would expect more.

Source: `read_caption` in sd-scripts' `library/train_util.py`: the first line is the caption, even where it is empty; with
`enable_wildcard` all lines that say something.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from loralab.data.gathering import Gathering

MOST_BYTES, MOST_LIST_BYTES = 1 << 24, 1 << 28
#: marks at the beginning of a text -> its encoding; the longer ones first
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip
#: a text of 16 bits without a mark: this share of one half of its bytes is zero, and next to none of the other
ZEROS, FEW = 0.3, 0.02
LEAST_SIXTEEN = 4


def read_caption(text: Path, picture: Path, folder: Gathering) -> str | None:
    """Return the caption of ``picture`` in the file ``text``; None where a problem was recorded instead."""
    content = read_text(text, folder)
    if content is None:
        return None
    lines = content.split("\n")
    if folder.how.all_lines:
        return "\n".join(line.strip() for line in lines if line.strip())
    first, more = lines[0].strip(), any(line.strip() for line in lines[1:])
    if more and not first:
        folder.note("the first line is empty, and therefore the caption too, as in kohya; the lines below it are not read", text)
    elif not first:
        folder.note("an empty caption: the picture is shown without words", picture)
    elif more:
        folder.note("only the first line is used as the caption, as in kohya", text)
    return first


def read_text(file: Path, folder: Gathering, most_bytes: int = MOST_BYTES) -> str | None:
    """Return the text of ``file`` with its line ends made \\n; None where a problem was recorded instead."""
    if not folder.holds(file):
        return None
    folder.used.add(file)
    if file.stat().st_size > most_bytes:
        folder.refuse(
            file, f"a text file of more than {most_bytes >> 20} MiB", "a caption or a list of captions", "move it out of the folder"
        )
        return None
    content = file.read_bytes()
    encoding = encoding_of(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        named = "" if encoding.startswith("utf-8") else f" though it looks like {encoding.upper()}"
        folder.refuse(file, f"the text is not UTF-8{named}", "UTF-8", "save it again as UTF-8")
        return None
    if "\x00" in text:
        folder.refuse(file, "the text contains NUL characters", "text in UTF-8", "save it again as UTF-8")
        return None
    if encoding.startswith(("utf-16", "utf-32")):
        folder.note(f"{encoding[:6].upper()} text, read as such; sd-scripts reads only UTF-8 (save it again as UTF-8)", file)
    elif encoding == "utf-8-sig":
        folder.note("a byte order mark was dropped; sd-scripts treats it as part of the caption (save the file as UTF-8 without BOM)", file)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def encoding_of(content: bytes) -> str:
    """Return the encoding of a text: by its mark, or UTF-16 where every other byte of it is nearly always zero, else UTF-8."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return encoding
    even, odd = content[0::2], content[1::2]
    if len(content) < LEAST_SIXTEEN or len(content) % 2:
        return "utf-8"
    zero_even, zero_odd = even.count(0) / len(even), odd.count(0) / len(odd)
    if zero_odd >= ZEROS and zero_even <= FEW:
        return "utf-16-le"
    return "utf-16-be" if zero_even >= ZEROS and zero_odd <= FEW else "utf-8"
