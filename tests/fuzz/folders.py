"""Data folders as strangers have them: odd names, damaged pictures, captions of any encoding, lists, links; and dataset files."""

from __future__ import annotations

import io
import json
import os
import random
from functools import cache
from pathlib import Path

import mutate
from PIL import Image, features

FOLDERS = (
    "10_x",
    "0_x",
    "x",
    "2024_06_x",
    "1_",
    "_",
    "10",
    "٣_x",
    "10_a b",
    ".hidden",
    "train",
    "test",
    "a.png",
    "1_é漢",
    "10_\n",
    "99999999_x",
)
STEMS = ("a", "b", "c", "a.b", "ä", "x" * 200, "-", " ", "a\n", "con", "1")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".PNG", ".gif", ".tiff", ".avif", ".heic", ".jxl", ".jfif", ".txt", ".TXT", ".caption",
           ".json", ".npz", "", ".png.txt")  # fmt: skip
WORDS = (
    "zok",
    "1girl",
    "red circle",
    "blue background",
    "a photo of a zok",
    "",
    ",",
    "|||",
    "{a|b}",
    "\n",
    "\x00",
    "é",
    "\u202e",
    "x" * 3000,
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1")


@cache
def pictures() -> tuple[bytes, ...]:
    """Return small good pictures of many formats, modes and shapes."""
    found = []
    for mode in ("RGB", "RGBA", "L", "P", "1", "LA", "I;16", "CMYK"):
        for size in ((9, 7), (40, 30), (1, 90), (120, 1), (64, 64)):
            image = Image.effect_noise((64, 64), 70).resize(size)
            image = Image.new("I;16", size, 30_000) if mode == "I;16" else image.convert("RGB").convert(mode)
            for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", *(("AVIF",) if features.check("avif") else ())):
                out = io.BytesIO()
                try:
                    image.save(out, form)
                except (OSError, ValueError, KeyError):  # not every format holds every mode
                    continue
                found.append(out.getvalue())
    moving = io.BytesIO()
    frames = [Image.effect_noise((20, 20), 50).convert("RGB") for _ in range(3)]
    frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:])
    return (*found, moving.getvalue())


def make_folder(rng: random.Random, root: Path) -> Path:
    """Fill ``root`` with a data set that may hold anything; returns it."""
    root.mkdir(parents=True, exist_ok=True)
    places = [root]
    for name in rng.sample(FOLDERS, rng.choice((0, 0, 1, 1, 2, 3))):
        place = rng.choice(places) / name
        place.mkdir(exist_ok=True)
        places.append(place)
    for place in places:
        for _ in range(rng.randint(0, 4)):
            _make_file(rng, place, root)
    if rng.random() < 0.25:
        _write(rng.choice(places) / "metadata.jsonl", make_list(rng, root))
    return root


def _make_file(rng: random.Random, place: Path, root: Path) -> None:
    stem, ending = rng.choice(STEMS), rng.choice(ENDINGS)
    file = place / (stem + ending)
    match rng.choice(("picture",) * 6 + ("caption",) * 4 + ("damaged",) * 3 + ("bytes", "link", "bad name")):
        case "picture":
            _write(place / (stem + rng.choice(ENDINGS[:6])), rng.choice(pictures()))
            if rng.random() < 0.6:
                _write(place / (stem + ".txt"), caption(rng))
        case "damaged":
            _write(file, mutate.data(rng, rng.choice(pictures()), 200))
        case "caption":
            _write(place / (stem + rng.choice((".txt", ".caption", ".TXT"))), caption(rng))
        case "bytes":
            _write(file, rng.randbytes(rng.randint(0, 60)))
        case "bad name":
            _write(Path(os.fsdecode(os.fsencode(place) + b"/\xff\xfe" + rng.randbytes(2).hex().encode() + b".png")), rng.choice(pictures()))
        case "link" if not file.exists() and not file.is_symlink():
            file.symlink_to(rng.choice((root, root.parent / "out.png", Path("nowhere"), file)))


def _write(file: Path, content: bytes) -> None:
    if not file.is_dir() and not file.is_symlink():
        file.write_bytes(content)


def caption(rng: random.Random) -> bytes:
    """Return a caption in some encoding, whole or damaged."""
    said = rng.choice((", ", ",", "\n", "")).join(rng.choice(WORDS) for _ in range(rng.randint(0, 5)))
    content = said.encode(rng.choice(ENCODINGS), "replace")
    return mutate.data(rng, content) if content and rng.random() < 0.2 else content


def make_list(rng: random.Random, root: Path) -> bytes:
    """Return lines of a metadata.jsonl for the files of ``root``, some of them damaged."""
    names = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file() and _is_text(file)]
    lines = []
    for _ in range(rng.randint(0, 5)):
        name = rng.choice((*names, "gone.png", "../out.png", "a\\b.png", "/etc/passwd", "C:\\x.png", "x" * 5000 + ".png", ""))
        record = {"file_name": name, rng.choice(("text", "caption", "prompt", "other")): rng.choice((*WORDS, ["x", "y"], [], None, 3))}
        lines.append(json.dumps(mutate.tree(rng, record) if rng.random() < 0.3 else record, ensure_ascii=rng.random() < 0.7))
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return mutate.data(rng, content) if content and rng.random() < 0.3 else content


def _is_text(file: Path) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in str(file))


TOML = """
[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 1
color_aug = false

[[datasets]]
resolution = [64, 48]
batch_size = 4
enable_bucket = true
min_bucket_reso = 32
max_bucket_reso = 128
bucket_reso_steps = 16
bucket_no_upscale = false

[[datasets.subsets]]
image_dir = "mine"
num_repeats = 10
keep_tokens_separator = "|||"
caption_prefix = "zok"
caption_dropout_rate = 0.1
caption_tag_dropout_rate = 0.2
caption_dropout_every_n_epochs = 2
enable_wildcard = true
secondary_separator = ";;;"
conditioning_data_dir = "masks"
flip_aug = true

[[datasets.subsets]]
is_reg = true
image_dir = "reg"
class_tokens = "person"
random_crop = true
alpha_mask = true
"""


def make_dataset_file(rng: random.Random, root: Path) -> Path:
    """Write a kohya dataset file with a few changes beside folders that are mostly good; returns it."""
    for name in ("mine", "reg", "masks"):
        (root / name).mkdir(parents=True)
    for stem in ("a", "b"):
        image = Image.new("RGB", rng.choice(((20, 30), (64, 64), (1, 99), (200, 3))), "red")
        image.save(root / "mine" / f"{stem}.png")
        image.convert("L").save(root / "masks" / f"{stem}.png")
        (root / "mine" / f"{stem}.txt").write_bytes(caption(rng) if rng.random() < 0.3 else b"zok, red ||| {circle|square}, big\nline two")
    Image.new("RGBA", (30, 30), (9, 9, 9, 90)).save(root / "reg" / "r.png")
    good = TOML if rng.random() < 0.7 else "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'mine'\nnum_repeats = 2\n"
    changed = mutate.text(rng, good).encode("utf-8", "surrogatepass")
    (root / "sets.toml").write_bytes(mutate.data(rng, changed) if changed and rng.random() < 0.05 else changed)
    return root / "sets.toml"
