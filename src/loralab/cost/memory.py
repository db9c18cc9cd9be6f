"""How much memory the work takes, and so how much of it goes together: a base and a plan in, predicted peaks and sizes out.

The prediction is a dry run: the very code that trains and draws, on tensors that have shapes and types and no values. What is alive
is counted at each operation. A stack's peak grows by the same number of bytes with each LoRA, so two dry runs tell all of them.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from loralab.adapters import AdapterStack, adapted_layers, make_adapter
from loralab.bases import Base, decode_latents, predict, text_shape
from loralab.bases.pictures import vae_batch
from loralab.crew import MOST
from loralab.errors import lab_error
from loralab.portable import memory_bytes
from loralab.spec import BASE, BaseSource, LoadSpec, SampleSpec, TrainSpec, base_of
from loralab.spec.packing import kind_signature
from loralab.study.plan import MAX_IMAGES, MAX_STACK, Sizes, StudyPlan
from loralab.train.loop import dry_step
from loralab.train.parts import LEAST_RUNS

#: of the device's whole memory, not of what is free just now: a resumed study must group as it did at first
SHARE = 0.7
#: what Python, torch and the buffers of its kernels take beside all tensors; measured, see docs/decisions.md
OVERHEAD_BYTES = 700 << 20
KERNEL_SHARE = 1.15
#: weights that each of several processes may hold for itself, and work (pictures through the UNet) that is worth starting them
SMALL_WEIGHTS = 256 << 20
#: a process that holds petri, and its stack of 16: torch's share as above, and .5 GiB
PETRI_PROCESS_BYTES = 1250 << 20
LEAST_PASSES = 10_000


@dataclass(frozen=True)
class Demand:
    """Bytes beside the base's own weights: ``fixed`` + n * ``each`` for n LoRAs, or n pictures, together."""

    fixed: int
    each: int

    def at(self, n: int) -> int:
        """Return the predicted peak for n together."""
        return self.fixed + n * self.each

    def most(self, room: float) -> int:
        """Return how many fit into ``room`` bytes; 0 where not even one does."""
        return max(0, int((room - self.fixed) // self.each)) if self.each else MAX_STACK


def sized(plan: StudyPlan, bases: Mapping[BaseSource, Base], places: int | None = None) -> StudyPlan:
    """Return the plan with the sizes of this device; petri's usual ones need no dry run, only room for their processes.

    With ``places``, those of a cluster, work goes to them group by group: a place has no processes beside it, and stacks are small enough
    for every place to have one.
    """
    load, processes = plan.spec.load, 1 if places is not None else processes_for(plan, bases)
    if all(base.name == "petri" for base in bases.values()) and load.memory_gib is None:
        processes = min(processes, petri_processes(load, bases[BASE].device))
        sizes = Sizes(MAX_STACK * processes, checkpointing=load.gradient_checkpointing or False, processes=processes)
    else:
        sizes = size_work(bases, plan, processes)
    if places is not None:
        trained = sum(1 for run in plan.runs if plan.spec.arms[run.arm].trained_here)
        sizes = replace(sizes, stack=min(sizes.stack, max(LEAST_RUNS, -(-trained // places))))
    return replace(plan, sizes=sizes)


def petri_processes(load: LoadSpec, device: torch.device) -> int:
    """Return how many processes that hold a small base have room beside this one; 1 at least."""
    return max(1, int((room_bytes(load, device) - OVERHEAD_BYTES) // PETRI_PROCESS_BYTES))


def processes_for(plan: StudyPlan, bases: Mapping[BaseSource, Base]) -> int:
    """Return how many processes train and draw beside each other: on a processor one a thread, where bases are small and work is plenty.

    A function of the plan and the machine, not of what is still to do: a resumed study works as it did at first.
    """
    wanted = plan.spec.load.side_by_side
    if wanted is False or any(base.device.type != "cpu" for base in bases.values()):
        return 1
    small = sum(weights_bytes(base) for base in bases.values()) <= SMALL_WEIGHTS
    trained = sum(3 * run.train.steps * run.train.batch for run in plan.runs if plan.spec.arms[run.arm].trained_here)
    passes = trained + plan.n_images * plan.spec.sample.passes
    return min(MOST, torch.get_num_threads()) if wanted or (small and passes >= LEAST_PASSES) else 1


def size_work(bases: Mapping[BaseSource, Base], plan: StudyPlan, processes: int = 1) -> Sizes:
    """Return the largest stack and batch of pictures, up to the usual ones, that fit on the device on every base; raises as `fit` does.

    All bases of a study are held at once, so each leaves the others less room.
    """
    weights = sum(weights_bytes(base) for base in bases.values())
    held = {own: base for own, base in bases.items() if own in plan.bases}
    found = [_size_on(base, plan, own, weights, processes) for own, base in held.items()]
    fewest = min(sizes.processes for sizes in found)
    if fewest < processes:
        found = [_size_on(base, plan, own, weights, fewest) for own, base in held.items()]
    tightest = min(found, key=lambda sizes: (sizes.stack, sizes.images))
    return replace(
        tightest, stack=min(sizes.stack for sizes in found), images=min(sizes.images for sizes in found),
        checkpointing=any(sizes.checkpointing for sizes in found),
    )  # fmt: skip


def _size_on(base: Base, plan: StudyPlan, own: BaseSource, weights: int, processes: int) -> Sizes:
    load = plan.spec.load
    recipes = _largest_recipes([run.train for run in plan.runs if base_of(plan.spec, run.arm) == own])
    return fit(
        room_bytes(load, base.device), weights, load.gradient_checkpointing,
        lambda on: train_demand(base, recipes, checkpointing=on), draw_demand(base, plan.spec.sample, recipes),
        processes,
    )  # fmt: skip


def fit(room: float, weights: int, checkpointing: bool | None, train: Callable[[bool], Demand], draw: Demand, processes: int = 1) -> Sizes:
    """Return the largest stack and batch, up to the usual ones, whose peaks fit into ``room`` bytes beside ``weights``.

    ``train`` gives the demand without and with checkpointing; None for ``checkpointing`` turns it on where nothing fits without.
    Several ``processes`` hold the weights each, beside the first one, and share a stack; each draws a batch; where there is no room for so
    many there are fewer. Raises LabError("training") where not even one LoRA, or one picture, fits into one process.
    """
    own = weights + OVERHEAD_BYTES

    def left(n: int) -> float:
        return (room - own if n == 1 else (room - own) / n - own) / KERNEL_SHARE

    on = bool(checkpointing)
    demand = train(on)
    processes = next((n for n in range(processes, 1, -1) if demand.most(left(n)) and draw.most(left(n))), 1)
    beside = left(processes)
    if demand.most(beside) == 0 and checkpointing is None:
        on, demand = True, train(True)
    stack, images = processes * min(MAX_STACK, demand.most(beside)), min(MAX_IMAGES, draw.most(beside))
    for what, n, needed in (("training one LoRA", stack, demand.at(1)), ("drawing one picture", images, draw.at(1))):
        if n == 0:
            raise _too_large(what, needed, weights, room)
    held = weights if processes == 1 else (processes + 1) * weights
    part = -(-stack // processes)
    return Sizes(stack, images, on, processes, held, processes * demand.at(part) if demand.each else 0, processes * draw.at(images), room)


def image_batch(base: Base, sample: SampleSpec, load: LoadSpec, rank: int) -> int:
    """Return how many pictures are drawn together where nothing is trained; raises LabError("training") where not even one fits."""
    if base.name == "petri" and load.memory_gib is None:
        return MAX_IMAGES
    weights, room = weights_bytes(base), room_bytes(load, base.device)
    smallest = min(min(len(layer.weight), layer.weight[0].numel()) for layer in adapted_layers(base, "transformer").values())
    draw = draw_demand(base, sample, [TrainSpec(rank=min(rank, 64, smallest), targets="transformer")])
    images = min(MAX_IMAGES, draw.most((room - weights - OVERHEAD_BYTES) / KERNEL_SHARE))
    if images == 0:
        raise _too_large("drawing one picture", draw.at(1), weights, room)
    return images


def _too_large(what: str, needed: int, weights: int, room: float) -> Exception:
    found = f"{what} would take {_gib(needed)} on top of the base's {_gib(weights)}"
    do = "bf16, a smaller `size_px`, a smaller batch or `gradient_checkpointing: true` reduce it; `memory_gib` sets how much may be used"
    return lab_error(
        "training", found, f"at most the {_gib(room)} that may be used, of which torch itself takes {_gib(OVERHEAD_BYTES)}", do
    )


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"


def _largest_recipes(recipes: Sequence[TrainSpec]) -> list[TrainSpec]:
    """Return one recipe for each batch, kind of adapter and set of trained layers, that of the highest rank."""
    found: dict[tuple[object, ...], TrainSpec] = {}
    for recipe in recipes:
        key = (recipe.batch, recipe.targets, recipe.trains_text, recipe.preserves != "", recipe.drops, kind_signature(recipe))
        if key not in found or found[key].highest_rank < recipe.highest_rank:
            found[key] = recipe
    return list(found.values())


# --- what there is ------------------------------------------------------------------------------------------------------


def room_bytes(load: LoadSpec, device: torch.device) -> float:
    """Return how many bytes the work may take: what the study says, or a share of the device's memory or of the container's limit."""
    if load.memory_gib is not None:
        return load.memory_gib * 2**30
    if device.type == "cuda":
        return SHARE * float(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "xpu":
        return SHARE * float(torch.xpu.get_device_properties(device).total_memory)
    return SHARE * float(memory_bytes())  # mps shares it


def weights_bytes(base: Base) -> int:
    """Return the bytes of the base's own weights."""
    return sum(value.numel() * value.element_size() for part in base.models.values() for value in part.parameters())


# --- what the work takes ------------------------------------------------------------------------------------------------


def train_demand(base: Base, recipes: Sequence[TrainSpec], *, checkpointing: bool) -> Demand:
    """Return what training takes under the most demanding of ``recipes``, by the number of LoRAs in the stack."""
    found = [_demand(lambda n, r=recipe: train_peak_bytes(base, r, n, checkpointing=checkpointing)) for recipe in recipes]  # type: ignore[misc]
    return max(found, key=lambda demand: demand.at(1), default=Demand(0, 0))


def draw_demand(base: Base, sample: SampleSpec, recipes: Sequence[TrainSpec]) -> Demand:
    """Return what drawing takes by the number of pictures, a LoRA of its own for each, decoding included."""
    plain = max((recipe for recipe in recipes if recipe.is_plain_lora), key=lambda recipe: recipe.highest_rank, default=None)
    others = [recipe for recipe in recipes if not recipe.is_plain_lora]  # as the LoRAs that change as much, which may have any rank
    demands = [_demand(lambda n, r=recipe: draw_peak_bytes(base, sample, r, n)) for recipe in [plain, *others]]  # type: ignore[misc]
    drawn = max(demands, key=lambda demand: demand.at(1))
    decoded = decode_peak_bytes(base)
    return Demand(max(drawn.fixed, decoded - drawn.each), drawn.each)


def _demand(peak: Callable[[int], int]) -> Demand:
    one, two = peak(1), peak(2)
    return Demand(2 * one - two, two - one)


def train_peak_bytes(base: Base, recipe: TrainSpec, n_runs: int, *, checkpointing: bool) -> int:
    """Return the most bytes alive at once in a step of a stack of ``n_runs``, beside the base's weights."""

    def peak() -> int:
        with dry_base(base) as (dry, counter):
            dry_step(dry, [recipe] * n_runs, checkpointing=checkpointing)
        return counter.peak

    return _found_once(peak, base, "train", _weighty(recipe), n_runs, checkpointing)


def draw_peak_bytes(base: Base, sample: SampleSpec, recipe: TrainSpec | None, n_images: int) -> int:
    """Return the most bytes alive at once in a solver step of ``n_images`` pictures."""
    n = n_images * (2 if sample.guided_steps() else 1)

    @torch.no_grad()
    def peak() -> int:
        with dry_base(base) as (dry, counter):
            stack = AdapterStack(dry, [make_adapter(dry, recipe, 0) if recipe else None] * n_images)
            latents, text = torch.zeros(n, *base.latent_shape), torch.zeros(n, *text_shape(base))
            kept = [latents.clone() for _ in range(3)]  # a solver of second order keeps earlier predictions
            with stack.attached():
                predict(dry, latents, torch.zeros(n, dtype=torch.int64), text)
            del kept
        return counter.peak

    return _found_once(peak, base, "draw", _weighty(recipe), n_images, n)


def decode_peak_bytes(base: Base) -> int:
    """Return the most bytes alive at once while the largest part of a batch that goes through the VAE together is decoded."""

    def peak() -> int:
        with dry_base(base) as (dry, counter), _no_numpy():
            decode_latents(dry, torch.zeros(min(MAX_IMAGES, vae_batch(base.size_px**2)), *base.latent_shape))
        return counter.peak

    return _found_once(peak, base, "decode")


#: what dry runs of this process have found, by all that they depend on
_FOUND: dict[str, int] = {}


def _found_once(peak: Callable[[], int], base: Base, *settings: object) -> int:
    """Return what a dry run finds; it sees no values, so that one for the same shapes, types and settings would find the same."""
    key = hashlib.sha256(repr((_structure(base), settings)).encode()).hexdigest()
    if key not in _FOUND:
        _FOUND[key] = peak()
    return _FOUND[key]


def _structure(base: Base) -> list[object]:
    """Return all of a base but its values."""
    told: list[object] = [base.family, base.size_px, base.latent_shape, str(base.device), str(base.dtype)]
    for name, model in base.models.items():
        tensors = [*model.named_parameters(), *model.named_buffers()]
        told += [name, type(model).__qualname__, model.training, str(getattr(model, "config", ""))]
        told += [(where, tuple(tensor.shape), str(tensor.dtype), tensor.requires_grad) for where, tensor in tensors]
    return told


def _weighty(recipe: TrainSpec | None) -> str:
    """Return the settings of a recipe without those that take no memory."""
    return "" if recipe is None else recipe.model_dump_json(exclude={"lr", "alpha", "steps", "replicates", "warmup", "schedule"})


@contextmanager
def _no_numpy() -> Iterator[None]:
    """End the block where pictures would leave torch: a tensor without values has no array."""
    try:
        yield
    except (RuntimeError, TypeError, NotImplementedError) as error:
        if "numpy" not in str(error).lower() and "fake" not in str(error).lower():
            raise


@contextmanager
def dry_base(base: Base) -> Iterator[tuple[Base, LivePeak]]:
    """Yield (the base without values, the counter): inside the block every tensor has a shape, a type and a device, and no memory."""
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with FakeCopyMode(fake):
        models = {name: deepcopy(model) for name, model in base.models.items()}
    counter = LivePeak([tensor for model in models.values() for tensor in (*model.parameters(), *model.buffers())])
    with fake, counter:
        yield base.with_parts(**models), counter


class LivePeak(TorchDispatchMode):
    """Counts the bytes of tensors alive at each operation, each stretch of memory once, those of ``ours`` never."""

    def __init__(self, ours: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known = {tensor.untyped_storage()._cdata for tensor in ours}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:  # fmt: skip
        """Run ``function`` and count what is new in its result."""
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        number, n_bytes = storage._cdata, storage.nbytes()
        if number not in self.known:
            self.known.add(number)
            self.live += n_bytes
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, number, n_bytes)

    def _forget(self, number: int, n_bytes: int) -> None:
        self.known.discard(number)
        self.live -= n_bytes
