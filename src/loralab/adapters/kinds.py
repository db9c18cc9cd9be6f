"""The kinds of adapters that files hold, by the tensors that a layer has: factors in, the low-rank pair of the same delta W out.

A row says which tensors a layer has and what they make of its weight; formulas in float64, as the tools that train these have them (LyCORIS
4.1: lycoris/functional; PEFT: tuners/lora/dora.py). Adapters are linear in their strength, as ComfyUI applies all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from loralab.adapters.adapter import Pair

Factors = Mapping[str, torch.Tensor]
EPSILON = torch.finfo(torch.float32).eps  # DoRA's norms are never 0


@dataclass(frozen=True)
class Kind:
    """``forms``: the tensors that a layer may have; ``pair``: factors (float64) and the base's weight to down (R, in) and up (out, R).

    ``rank`` is what alpha is divided by; None where alpha is no scale.
    """

    name: str
    forms: tuple[frozenset[str], ...]
    pair: Callable[[Factors, torch.Tensor], Pair]
    rank: Callable[[Factors], int | None]


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return a factor as a matrix (rows, everything else)."""
    return tensor.flatten(1)


def factored(product: torch.Tensor) -> Pair:
    """Return down (R, in) and up (out, R) of a ``product`` (out, in): itself, and the identity on its shorter side."""
    n_out, n_in = product.shape
    if n_in <= n_out:
        return torch.eye(n_in, dtype=product.dtype), product
    return product, torch.eye(n_out, dtype=product.dtype)


# --- LoRA and LoHa ------------------------------------------------------------------------------------------------------------


def _lora(f: Factors, weight: torch.Tensor) -> Pair:
    return flat(f["down"]), flat(f["up"])


def _lora_tucker(f: Factors, weight: torch.Tensor) -> Pair:
    """down (r, in, 1, 1), then mid (r, r, k, k), then up (out, r, 1, 1): the first two are one convolution (r, in, k, k)."""
    return flat(torch.einsum("s r ..., r i -> s i ...", f["mid"], flat(f["down"]))), flat(f["up"])


def _loha(f: Factors, weight: torch.Tensor) -> Pair:
    """(w1_a @ w1_b) * (w2_a @ w2_b), exactly (Hyeon-Woo et al. 2022, FedPara).

    Column (i, j) of `up` is w1_a[:, i] * w2_a[:, j], row (i, j) of `down` likewise, unless r1 * r2 exceeds what the layer can have.
    """
    a1, b1, a2, b2 = (flat(f[role]) for role in ("w1_a", "w1_b", "w2_a", "w2_b"))
    if len(b1) * len(b2) <= min(len(a1), b1.shape[1]):
        return (b1[:, None] * b2[None]).flatten(0, 1), (a1[:, :, None] * a2[:, None]).flatten(1)
    return factored((a1 @ b1) * (a2 @ b2))


def _loha_tucker(f: Factors, weight: torch.Tensor) -> Pair:
    one, two = (tucker(f[f"t{n}"], f[f"w{n}_a"], f[f"w{n}_b"]) for n in (1, 2))
    return factored(flat(one * two))


def tucker(core: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return (out, in, k, k) of a core (r, s, k, k), a (r, out) and b (s, in)."""
    return torch.einsum("r s ..., r o, s i -> o i ...", core, a, b)


# --- LoKr ---------------------------------------------------------------------------------------------------------------------


def _lokr(f: Factors, weight: torch.Tensor) -> Pair:
    """The Kronecker product of w1 (a, b) and w2 (c, d[, k, k]), either of them whole or a product of two, w2 of a core and two.

    (u1 v1) x (u2 v2) = (u1 x u2)(v1 x v2): the ranks multiply. A whole factor is itself times the identity on its shorter side.
    """
    down_1, up_1 = (f["k1_b"], f["k1_a"]) if "k1_a" in f else factored(f["k1"])
    if "k2_t" in f:
        down_2, up_2 = factored(flat(tucker(f["k2_t"], f["k2_a"], f["k2_b"])))
    else:
        down_2, up_2 = (flat(f["k2_b"]), f["k2_a"]) if "k2_a" in f else factored(flat(f["k2"]))
    return torch.kron(down_1, down_2), torch.kron(up_1, up_2)


def _lokr_rank(f: Factors) -> int | None:
    """The rank of the factor that has one, w2 first; None, a scale of 1, where both are whole: their alpha is not used."""
    return len(f["k2_b"]) if "k2_b" in f else len(f["k1_b"]) if "k1_b" in f else None


# --- differences and rotations ---------------------------------------------------------------------------------------------------


def _difference(f: Factors, weight: torch.Tensor) -> Pair:
    return factored(flat(f["diff"]))


def _ia3(f: Factors, weight: torch.Tensor) -> Pair:
    """The weight itself, each output or input channel times its number (Liu et al. 2022, arXiv:2205.05638; LyCORIS' `IA3Module`).

    `on_input` says which; where the layer is not square, the number of numbers does.
    """
    old, scale = old_weight(weight), f["factor"].flatten()
    is_input = bool(f["on_input"]) if len(old) == old.shape[1] and not f["on_input"].is_meta else len(scale) != len(old)
    each = scale.reshape(1, -1, *(1,) * (old.ndim - 2)) if is_input else scale.reshape(-1, *(1,) * (old.ndim - 1))
    return factored(flat(old * each))


def _glora(f: Factors, weight: torch.Tensor) -> Pair:
    """b1 @ b2 + W @ a1 @ a2 (Chavan et al. 2023, arXiv:2306.07967); until LyCORIS 2 the two of each were called the other way round."""
    old = old_weight(weight)
    a1, a2, b1, b2 = (flat(f[role]) for role in (("a1", "a2", "b1", "b2") if _is_new_glora(f) else ("a2", "a1", "b2", "b1")))
    if math.prod(old.shape[2:]) == 1:
        return torch.cat([b2, a2]), torch.cat([b1, flat(old) @ a1], dim=1)
    return factored(b1 @ b2 + flat(torch.einsum("o i ..., i r, r j -> o j ...", old, a1, a2)))


def _is_new_glora(f: Factors) -> bool:
    """Whether a1 (in, r), a2 (r, in), b1 (out, r), b2 (r, in) stand under these names."""
    return bool(len(f["a2"]) == len(f["b2"]) == f["a1"].shape[1] == f["b1"].shape[1])


def _glora_rank(f: Factors) -> int:
    return len(f["a2"] if _is_new_glora(f) else f["a1"])


def old_weight(weight: torch.Tensor) -> torch.Tensor:
    """Return the base's weight for products in float64."""
    return (weight.detach() if weight.is_meta else weight.detach().cpu()).double()


def _oft(f: Factors, weight: torch.Tensor) -> Pair:
    """Rotations of blocks of output channels (Qiu et al. 2023, OFT, in diagonal blocks): R = (1 + Q)(1 - Q)^-1, Q skew-symmetric.

    alpha, times the number of channels, is the largest norm that Q may have; 0 or none leaves it free. `rescale` multiplies channels.
    """
    blocks = f["oft"]
    n, size, _ = blocks.shape
    skew = blocks - blocks.transpose(1, 2)
    if "alpha" in f and not f["alpha"].is_meta:
        most, norm = float(f["alpha"]) * n * size, float(skew.norm()) + 1e-8
        skew = skew * (most / norm) if 0 < most < norm else skew
    one = torch.eye(size, dtype=blocks.dtype)
    old = flat(old_weight(weight))
    turned = torch.einsum("k n m, k n i -> k m i", (one + skew) @ torch.linalg.inv(one - skew), old.reshape(n, size, -1)).flatten(0, 1)
    if "rescale" in f:
        turned = turned * f["rescale"].reshape(len(old), 1)
    return factored(turned - old)


def decomposed(pair: Pair, scale: float, magnitude: torch.Tensor, weight: torch.Tensor, *, of_rows: bool) -> Pair:
    """Return the pair of DoRA's change: the weight and its LoRA together, of the norms that ``magnitude`` says (Liu et al. 2024).

    One for each output channel, (out,) or (out, 1[, 1, 1]), or for each input channel, (1, in[, 1, 1]); ``of_rows``: of outputs whatever
    its shape, as in PEFT.
    """
    down, up = pair
    old = weight.detach().to("cpu", torch.float64)
    moved = (flat(old) + scale * up @ down).reshape(old.shape)
    if not of_rows and by_input(tuple(magnitude.shape), tuple(old.shape)):
        norms = moved.transpose(0, 1).flatten(1).norm(dim=1) + EPSILON
        ratio = (magnitude.flatten() / norms).reshape(1, -1, *(1,) * (old.ndim - 2))
    else:
        ratio = (magnitude.flatten() / (moved.flatten(1).norm(dim=1) + EPSILON)).reshape(-1, *(1,) * (old.ndim - 1))
    return factored(flat(moved * ratio - old))


def by_input(magnitude: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether a `dora_scale` has its numbers for the input channels, (1, in[, 1, 1]), not for the outputs."""
    return len(magnitude) > 1 and magnitude[0] == 1 != weight[0]


def magnitude_fits(magnitude: tuple[int, ...], weight: tuple[int, ...], *, of_rows: bool) -> bool:
    """Whether a magnitude has one number for each output channel, or (unless it is ``of_rows``, as PEFT's) each input channel."""
    return math.prod(magnitude) == (weight[1] if not of_rows and by_input(magnitude, weight) else weight[0])


def _is(*roles: str) -> frozenset[str]:
    return frozenset(roles)


PAIR, LOHA = _is("down", "up"), _is("w1_a", "w1_b", "w2_a", "w2_b")
LOKR = tuple(one | two for one in (_is("k1"), _is("k1_a", "k1_b")) for two in (_is("k2"), _is("k2_a", "k2_b"), _is("k2_a", "k2_b", "k2_t")))
KINDS = (
    Kind("LoRA", (PAIR,), _lora, lambda f: len(f["down"])),
    Kind("LoRA with a Tucker core", (PAIR | {"mid"},), _lora_tucker, lambda f: len(f["down"])),
    Kind("LoHa", (LOHA,), _loha, lambda f: len(f["w1_b"])),
    Kind("LoHa with Tucker cores", (LOHA | {"t1", "t2"},), _loha_tucker, lambda f: len(f["w1_b"])),
    Kind("LoKr", LOKR, _lokr, _lokr_rank),
    Kind("a difference", (_is("diff"),), _difference, lambda f: None),
    Kind("(IA)3", (_is("factor", "on_input"),), _ia3, lambda f: None),
    Kind("GLoRA", (_is("a1", "a2", "b1", "b2"),), _glora, _glora_rank),
    Kind("OFT", (_is("oft"), _is("oft", "rescale")), _oft, lambda f: None),
)
#: roles beside those of a kind
BESIDE = frozenset({"alpha", "magnitude", "row_magnitude"})


def kind_of(roles: frozenset[str]) -> Kind | None:
    """Return the kind of a layer with tensors of these roles; None where some are missing or mixed."""
    return next((kind for kind in KINDS if roles - BESIDE in kind.forms), None)
