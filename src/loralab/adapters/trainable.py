"""The kinds of adapters that are trained beside the plain LoRA: a layer's weight in, its tensors at the start and its change out.

A row is a kind. Tensors have the names and shapes that files of it have (`loralab.adapters.kinds`), so that what is trained is written as
it stands; stacked they have one more dimension in front, K. Formulas and starts are LyCORIS' (lycoris/modules), PiSSA's and OLoRA's PEFT's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from loralab.adapters.kinds import flat
from loralab.adapters.lora_starts import STARTS
from loralab.spec.models import TrainSpec

Tensors = dict[str, torch.Tensor]
Stacked = Mapping[str, torch.Tensor]
#: tensors that are held as they began: what a start took of the weight, and a flag
HELD = frozenset({"held_down", "held_up", "on_input"})
#: of which layers (IA)3 has numbers, as LyCORIS' preset of that name has them: keys, values, and the inputs of the second linear layer
IA3_LAYERS, IA3_ON_INPUT = (".to_k", ".to_v", ".ff.net.2", ".k_proj", ".v_proj", ".mlp.fc2"), (".ff.net.2", ".mlp.fc2")


Known = dict[tuple[str, str, int], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Asked:
    """Which layer begins: its path and weight (out, in[, k, k]), its rank, the recipe, what draws, and what is known of weights already."""

    path: str
    weight: torch.Tensor
    rank: int
    spec: TrainSpec
    generator: torch.Generator
    known: Known

    @property
    def matrix(self) -> torch.Tensor:
        """The weight as (out, in * k * k), float32."""
        return flat(self.weight.float())

    def normal(self, *shape: int, size: float = 1.0) -> torch.Tensor:
        """Return normal numbers."""
        return torch.randn(shape, generator=self.generator) * size

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return numbers as kaiming_uniform(a=sqrt 5) has them: within 1 / sqrt(how many each output sums over)."""
        return (torch.rand(shape, generator=self.generator) * 2 - 1) / math.sqrt(math.prod(shape[1:]))


@dataclass(frozen=True)
class Trainable:
    """A kind: ``start`` makes a layer's tensors, drawn in their order.

    ``change`` is the difference of the weight (K, out, in * k * k) before its scale, where a stack multiplies it out; None where the
    arithmetic is another (`loralab.adapters.kind_forward`). ``scaled``: whether alpha is a scale.
    """

    start: Callable[[Asked], Tensors]
    change: Callable[[Stacked], torch.Tensor] | None = None
    scaled: bool = True


def kind_of_recipe(spec: TrainSpec) -> str:
    """Return the key of the row of a recipe that trains another kind than a plain LoRA."""
    return spec.algo if spec.algo != "lora" or spec.dora else "held"


def row_of(spec: TrainSpec) -> Trainable:
    """Return the row of a recipe that trains another kind than a plain LoRA."""
    return ROWS[kind_of_recipe(spec)]


def trains(spec: TrainSpec, path: str) -> bool:
    """Whether a kind adapts a layer among those of its targets."""
    return spec.algo != "ia3" or path.endswith(IA3_LAYERS)


# --- tensors at the start -----------------------------------------------------------------------------------------------------------


def _magnitude(asked: Asked) -> Tensors:
    """Return DoRA's norms of the output channels (out, 1[, 1, 1]) where the recipe decomposes."""
    if not asked.spec.dora:
        return {}
    return {"magnitude": asked.matrix.norm(dim=1).reshape(-1, *(1,) * (asked.weight.ndim - 1)).cpu()}


def _lora(asked: Asked) -> Tensors:
    down, up = STARTS[asked.spec.start](asked.weight, asked.rank, asked.generator)
    return {"down": down, "up": up} | _magnitude(asked)


def _loha(asked: Asked) -> Tensors:
    (n_out, n_in), rank = asked.matrix.shape, asked.rank
    return {
        "w1_b": asked.normal(rank, n_in), "w1_a": asked.normal(n_out, rank, size=0.1),
        "w2_b": asked.normal(rank, n_in), "w2_a": torch.zeros(n_out, rank),
    } | _magnitude(asked)  # fmt: skip


def _lokr(asked: Asked) -> Tensors:
    spec, rank, kernel = asked.spec, asked.rank, tuple(asked.weight.shape[2:])
    (out_1, out_2), (in_1, in_2) = (factorised(n, spec.lokr_factor) for n in asked.weight.shape[:2])
    if spec.lokr_full_matrix or rank >= max(out_2, in_2) / 2:
        found: Tensors = {"k2": torch.zeros(out_2, in_2, *kernel)}
    else:
        found = {"k2_a": asked.uniform(out_2, rank), "k2_b": torch.zeros(rank, in_2 * math.prod(kernel))}
    if spec.lokr_decompose_both and rank < max(out_1, in_1) / 2:
        found |= {"k1_a": asked.uniform(out_1, rank), "k1_b": asked.uniform(rank, in_1)}
    else:
        found["k1"] = asked.uniform(out_1, in_1)
    return found | _magnitude(asked)


def factorised(n: int, factor: int) -> tuple[int, int]:
    """Return two whole numbers of product ``n``, the smaller first: the ``factor`` where it divides n, else the nearest to each other.

    Of those, the smaller one is at most ``factor``; -1 = no limit (LyCORIS `factorization`).
    """
    if factor > 0 and n % factor == 0:
        return min(factor, n // factor), max(factor, n // factor)
    most = n if factor < 0 else factor
    small = max(m for m in range(1, math.isqrt(n) + 1) if n % m == 0 and m <= most)
    return small, n // small


def _held(asked: Asked) -> Tensors:
    """A LoRA in the weight's main directions, and the same once more to be taken off: W + s (B A - B0 A0)."""
    key, rank = (asked.spec.start, asked.path, asked.rank), asked.rank
    if key not in asked.known:
        asked.known[key] = DIRECTIONS[asked.spec.start](asked.matrix, rank)
    down, up = (factor.cpu() for factor in asked.known[key])
    if asked.spec.start == "pissa":  # its product is the weight's own part; OLoRA's is that times the scale
        root = math.sqrt(asked.spec.scale_of(rank))
        down, up = down / root, up / root
    down, up = down.reshape(rank, *asked.weight.shape[1:]), up.reshape(-1, rank, *(1,) * (asked.weight.ndim - 2))
    return {"down": down, "up": up, "held_down": down.clone(), "held_up": -up}


def _principal(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return down and up of the largest singular values, each with their roots (Meng et al. 2024, PiSSA, arXiv:2404.02948)."""
    left, sizes, right = torch.linalg.svd(matrix, full_matrices=False)
    roots = sizes[:rank].sqrt()
    return roots[:, None] * right[:rank], left[:, :rank] * roots


def _triangular(matrix: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return down and up of the first columns of the weight's QR decomposition (Büyükakyüz 2024, OLoRA, arXiv:2406.01775)."""
    turned, rest = torch.linalg.qr(matrix)
    return rest[:rank].contiguous(), turned[:, :rank].contiguous()


DIRECTIONS: Mapping[str, Callable[[torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]] = {"pissa": _principal, "olora": _triangular}


def _ia3(asked: Asked) -> Tensors:
    on_input = asked.path.endswith(IA3_ON_INPUT)
    return {"factor": torch.zeros(asked.weight.shape[1 if on_input else 0]), "on_input": torch.tensor(float(on_input))}


# --- changes of a stack ---------------------------------------------------------------------------------------------------------------


def _loha_change(f: Stacked) -> torch.Tensor:
    """(w1_a w1_b) * (w2_a w2_b), element by element (Hyeon-Woo et al. 2022, FedPara)."""
    return (f["w1_a"] @ f["w1_b"]) * (f["w2_a"] @ f["w2_b"])


def _lokr_change(f: Stacked) -> torch.Tensor:
    """The Kronecker product of the two factors, either of them whole or a product of two (Yeh et al. 2024, arXiv:2309.14859)."""
    one = f["k1"] if "k1" in f else f["k1_a"] @ f["k1_b"]
    two = f["k2"].flatten(2) if "k2" in f else f["k2_a"] @ f["k2_b"]
    product = one[:, :, None, :, None] * two[:, None, :, None, :]  # (K, out_1, out_2, in_1, in_2 * k * k)
    return product.flatten(3).flatten(1, 2)


#: the kind of a recipe -> its row; "lora" is the one that is decomposed, "held" the one that begins in the weight's own directions
ROWS: Mapping[str, Trainable] = {
    "lora": Trainable(_lora),
    "held": Trainable(_held),
    "loha": Trainable(_loha, _loha_change),
    "lokr": Trainable(_lokr, _lokr_change),
    "ia3": Trainable(_ia3, scaled=False),
}
