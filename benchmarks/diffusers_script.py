"""diffusers' own training script as a peer: one process an adapter, as its users run it.

The script (examples/text_to_image/train_text_to_image_lora.py, Apache-2.0) is no part of this repository: the benchmark is given a folder
that holds it. It needs the packages `datasets`, `peft` and `accelerate`, and a few of torchvision's image transforms: where torchvision is
missing, a stand-in of those is written beside the run. The script adapts the attention layers alone (to_q, to_k, to_v, to_out), fewer than
the lab, and encodes its pictures and captions anew at each step; that is how it comes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from loralab.errors import lab_error
from loralab.spec.models import TrainSpec

SCRIPT = "train_text_to_image_lora.py"
#: runs the script with the stand-in in sight of the script alone: transformers looks for torchvision once, and must not find half of one
LAUNCH = """
import runpy, sys
stand_in, script = sys.argv[1:3]
if stand_in:
    from transformers.utils import is_torchvision_available, is_torchvision_v2_available
    is_torchvision_available(), is_torchvision_v2_available()
    import accelerate, peft, transformers.image_utils
    sys.path.insert(0, stand_in)
sys.argv = sys.argv[2:]
runpy.run_path(script, run_name="__main__")
"""
#: what the script uses of torchvision.transforms, over PIL and torch
TRANSFORMS = """
import enum
import random

import numpy
import torch
from PIL import Image


class InterpolationMode(enum.Enum):
    NEAREST = Image.Resampling.NEAREST
    BILINEAR = Image.Resampling.BILINEAR
    BICUBIC = Image.Resampling.BICUBIC
    LANCZOS = Image.Resampling.LANCZOS


for mode in InterpolationMode:
    setattr(InterpolationMode, mode.name.lower(), mode)


class Lambda:
    def __init__(self, function):
        self.function = function

    def __call__(self, image):
        return self.function(image)


class Compose(Lambda):
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, image):
        for step in self.steps:
            image = step(image)
        return image


class Resize(Lambda):
    def __init__(self, size, interpolation=InterpolationMode.BILINEAR):
        self.size, self.resample = size, interpolation.value

    def __call__(self, image):
        share = self.size / min(image.size)
        return image.resize((round(image.width * share), round(image.height * share)), self.resample)


class CenterCrop(Lambda):
    def __init__(self, size):
        self.size = size

    def place(self, room):
        return room // 2

    def __call__(self, image):
        x, y = self.place(image.width - self.size), self.place(image.height - self.size)
        return image.crop((x, y, x + self.size, y + self.size))


class RandomCrop(CenterCrop):
    def place(self, room):
        return random.randint(0, room)


class RandomHorizontalFlip(Lambda):
    def __init__(self):
        pass

    def __call__(self, image):
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image


class ToTensor(Lambda):
    def __init__(self):
        pass

    def __call__(self, image):
        return torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float() / 255


class Normalize(Lambda):
    def __init__(self, mean, std):
        self.mean, self.std = mean[0], std[0]

    def __call__(self, image):
        return (image - self.mean) / self.std
"""


def find_script(folder: Path) -> Path:
    """Return the script below ``folder``; raises LabError("model") where it is not there."""
    found = sorted(folder.rglob(SCRIPT)) if folder.is_dir() else []
    if not found:
        do = "fetch github.com/huggingface/diffusers into a scratch folder and name it with --diffusers"
        raise lab_error("model", f"no {SCRIPT} below {folder}", "a checkout of diffusers, or the folder examples/text_to_image", do)
    return found[0]


def write_imagefolder(folder: Path, images: np.ndarray, captions: Sequence[str]) -> None:
    """Write pictures (N, H, W, 3) uint8 with a metadata.jsonl, the layout that the script reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        Image.fromarray(image).save(folder / f"{index}.png")
        rows.append(json.dumps({"file_name": f"{index}.png", "text": caption}))
    (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")


def train_with_script(
    script: Path,
    base: Path,
    data: Path,
    out: Path,
    spec: TrainSpec,
    size_px: int,
    packages: Path | None,
    threads: int,
    precision: str = "fp32",
) -> None:
    """Train one adapter with diffusers' script in a process of its own; raises LabError("training") with its last words where it fails."""
    command = [
        sys.executable, "-c", LAUNCH, _stand_in(out), str(script),
        "--pretrained_model_name_or_path", str(base), "--train_data_dir", str(data), "--output_dir", str(out),
        "--resolution", str(size_px), "--train_batch_size", str(spec.batch), "--max_train_steps", str(spec.steps),
        "--learning_rate", str(spec.lr), "--lr_warmup_steps", "0", "--rank", str(spec.rank), "--seed", "0",
        "--mixed_precision", "no" if precision == "fp32" else precision,
        "--max_grad_norm", str(spec.max_grad_norm), "--adam_weight_decay", str(spec.weight_decay), "--cache_dir", str(out / "cache"),
    ]  # fmt: skip
    done = subprocess.run(command, env=_environment(packages, threads), capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise lab_error("training", f"diffusers' script ended with {done.returncode}: {done.stderr[-1500:]}", "an adapter")


def _stand_in(out: Path) -> str:
    """Return the folder of a stand-in for torchvision's transforms; "" where torchvision is installed."""
    if find_spec("torchvision") is not None:
        return ""
    package = out / "stand-in" / "torchvision"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("from . import transforms\n", encoding="utf-8", newline="\n")
    (package / "transforms.py").write_text(TRANSFORMS, encoding="utf-8", newline="\n")
    return str(package.parent)


def _environment(packages: Path | None, threads: int) -> dict[str, str]:
    paths = [*([str(packages)] if packages else []), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": str(threads)}
