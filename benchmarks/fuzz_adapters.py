"""Feeds damaged adapter files to the reader and counts what comes of them: an adapter, a LabError, or anything else (a failure).

    python benchmarks/fuzz_adapters.py --inputs 20000 --seed 0

Starts from the files of other tools in tests/fixtures/adapters; each input is one of them with bytes, header entries or values changed.
Prints the counts, the slowest input and how much the process grew.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from loralab.adapters import load_adapter
from loralab.bases import Base
from loralab.errors import LabError

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "adapters"
NUMBERS = (-1, 0, 1, 2, 3, 4, 7, 8, 9, 255, 2**31, 2**40, 2**63, 2**64, 10**300, 1.5, None, True, "8", [], {})
VALUES = (0.0, -1.0, 1e-30, 1e30, 3e38, float("nan"), float("inf"))


def fixture_base() -> Base:
    """Return the base of the fixtures (tests/unit/adapters/conftest.py has the same)."""
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8,), layers_per_block=1, cross_attention_dim=8, down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("UpBlock2D",), mid_block_type=None, attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    config = CLIPTextConfig(
        vocab_size=54, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=12,
        bos_token_id=52, eos_token_id=53, pad_token_id=53,
    )  # fmt: skip
    return Base(
        name="fixtures", family="sd1", parts={"unet": unet, "text_encoder": CLIPTextModel(config)}, scheduler_config={},
        fingerprint="0" * 64, size_px=64, latent_shape=(4, 8, 8), device=torch.device("cpu"), dtype=torch.float32,
    )  # fmt: skip


def change_bytes(content: bytes, random_: random.Random) -> bytes:
    """Set, cut, insert or repeat a few bytes anywhere, the header more often than the data."""
    changed = bytearray(content)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(random_.randint(1, 8)):
        at = random_.randrange(max(1, min(len(changed), header if random_.random() < 0.7 else len(changed))))
        n = random_.choice((1, 1, 1, 2, 8, 64, 4096))
        match random_.randrange(4):
            case 0:
                changed[at : at + 1] = bytes([random_.randrange(256)])
            case 1:
                del changed[at : at + n]
            case 2:
                changed[at:at] = random_.randbytes(n)
            case 3:
                changed[at:at] = changed[at : at + n]
    return bytes(changed)


def change_header(content: bytes, random_: random.Random) -> bytes:
    """Change entries of the header and leave the data: shapes, offsets, types, names, metadata."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for _ in range(random_.randint(1, 4)):
        name = random_.choice(list(header))
        entry = header[name]
        match random_.randrange(7):
            case 0:
                header[random_.choice((name[:-1], name + "x", "\x1b[31m" + name, "__metadata__", name.replace("lora", "hada")))] = entry
            case 1:
                header.pop(name)
            case 2 if isinstance(entry, dict) and entry.get("shape"):
                entry["shape"][random_.randrange(len(entry["shape"]))] = random_.choice(NUMBERS)
            case 3 if isinstance(entry, dict) and "data_offsets" in entry:
                entry["data_offsets"][random_.randrange(2)] = random_.choice(NUMBERS)
            case 4 if isinstance(entry, dict):
                entry["dtype"] = random_.choice(("F16", "BF16", "F64", "I8", "", 3, None, [1]))
            case 5:
                header["__metadata__"] = random_.choice(({"a": "<b>"}, {"lora_adapter_metadata": "{"}, {"a": 1}, [], 3, None))
            case 6:
                other = random_.choice(list(header) or [name])
                header[name] = header.get(other)
        if not header:
            break
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def change_values(content: bytes, random_: random.Random) -> bytes:
    """Put unusual numbers into the data."""
    changed = bytearray(content)
    start = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(random_.randint(1, 4)):
        place = start + 4 * random_.randrange(max(1, (len(changed) - start) // 4))
        changed[place : place + 4] = struct.pack("<f", random_.choice(VALUES))
    return bytes(changed)


CHANGES: dict[str, Callable[[bytes, random.Random], bytes]] = {"bytes": change_bytes, "header": change_header, "values": change_values}


def main() -> int:
    """Run; returns 1 where anything but an adapter or a LabError came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="how many files to feed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the changes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random_, base = random.Random(arguments.seed), fixture_base()
    sources = [
        file.read_bytes() for file in sorted(FIXTURES.rglob("*.safetensors")) if "merged" not in file.name and "forward" not in file.name
    ]
    counts: Counter[str] = Counter()
    slowest = (0.0, "")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter_model.safetensors"
        path.with_name("adapter_config.json").write_bytes((FIXTURES / "peft-unet" / "adapter_config.json").read_bytes())
        for number in range(arguments.inputs):
            kind = random_.choice(list(CHANGES))
            path.write_bytes(CHANGES[kind](random_.choice(sources), random_))
            started = time.perf_counter()
            try:
                load_adapter(path, base)
                result = "read"
            except LabError:
                result = "refused"
            except Exception as error:
                result = f"FAILED {type(error).__name__}"
                print(f"input {number} ({kind}): {type(error).__name__}: {str(error)[:200]}")
            slowest = max(slowest, (time.perf_counter() - started, f"{kind}, {result}, input {number}"))
            counts[f"{kind} {result}"] += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    print(f"{sum(counts.values())} inputs from {len(sources)} files, seed {arguments.seed}")
    for name, count in sorted(counts.items()):
        print(f"  {name:24} {count:8}")
    print(f"slowest: {slowest[0] * 1000:.0f} ms ({slowest[1]}); peak memory grew by {grown:.0f} MiB")
    return int(any("FAILED" in name for name in counts))


if __name__ == "__main__":
    sys.exit(main())
