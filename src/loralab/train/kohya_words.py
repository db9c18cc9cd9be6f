"""A recipe in sd-scripts' words: the options that train it there, and what its adapters' metadata say; nothing is left out silently.

A knob that is not turned says nothing. Of one that sd-scripts has no option for, the metadata bear the lab's own key (`loralab.train.*`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loralab.errors import LabError, Problem
from loralab.spec.knobs import OptimiserKnobs
from loralab.spec.models import TrainSpec
from loralab.spec.network_knobs import HELD_STARTS
from loralab.train.schedules import n_steps


@dataclass(frozen=True)
class Words:
    """How sd-scripts spells a knob: in an adapter's metadata, and as an option ("" = not at all)."""

    key: str = ""
    option: str = ""


#: knob -> sd-scripts' words (train_network.py's metadata; library/train_util.py, library/custom_train_functions.py). Knobs of optimisers
#: go into optimizer_args, or into network_args, and are not here.
WORDS: Mapping[str, Words] = {
    "loss_type": Words("ss_loss_type", "loss_type"),
    "huber_schedule": Words("ss_huber_schedule", "huber_schedule"),
    "huber_c": Words("ss_huber_c", "huber_c"),
    "huber_scale": Words("ss_huber_scale", "huber_scale"),
    "min_snr_gamma": Words("ss_min_snr_gamma", "min_snr_gamma"),
    "debiased_estimation": Words("ss_debiased_estimation", "debiased_estimation_loss"),
    "p2_gamma": Words(),
    "noise_offset": Words("ss_noise_offset", "noise_offset"),
    "noise_offset_random": Words("ss_noise_offset_random_strength", "noise_offset_random_strength"),
    "multires_noise_iterations": Words("ss_multires_noise_iterations", "multires_noise_iterations"),
    "multires_noise_discount": Words("ss_multires_noise_discount", "multires_noise_discount"),
    "ip_noise_gamma": Words("ss_ip_noise_gamma", "ip_noise_gamma"),
    "ip_noise_gamma_random": Words("ss_ip_noise_gamma_random_strength", "ip_noise_gamma_random_strength"),
    "min_timestep": Words("", "min_timestep"),
    "max_timestep": Words("", "max_timestep"),
    "timestep_sampling": Words(),
    "sigmoid_scale": Words(),
    "timestep_shift": Words(),
    "ema_decay": Words(),
    "schedule_cycles": Words("", "lr_scheduler_num_cycles"),
    "schedule_power": Words("", "lr_scheduler_power"),
    "decay": Words("", "lr_decay_steps"),
    "min_lr_ratio": Words("", "lr_scheduler_min_lr_ratio"),
    # sd-scripts' `custom_attributes.diff_output_preservation` holds regularisation pictures to the base, not the training pictures
    "diff_output_preservation": Words(),
    "diff_output_preservation_class": Words(),
    "diff_output_preservation_multiplier": Words(),
    "diff_output_preservation_trigger": Words(),
    "blank_prompt_preservation": Words(),
    "blank_prompt_preservation_multiplier": Words(),
    "masked_prior_preservation_weight": Words(),
    "network_dropout": Words("ss_network_dropout", "network_dropout"),
    "scale_weight_norms": Words("ss_scale_weight_norms", "scale_weight_norms"),
    "start": Words(),
    "dora_norm_constant": Words(),
}
#: knob -> its name in `network_args`, where it is turned; those of blocks are in loralab.train.kohya_blocks
NETWORK_WORDS: Mapping[str, str] = {
    "loraplus_ratio": "loraplus_lr_ratio", "rank_dropout": "rank_dropout", "module_dropout": "module_dropout", "rslora": "rs_lora",
    "dora": "dora_wd", "lokr_factor": "factor", "lokr_full_matrix": "full_matrix", "lokr_decompose_both": "decompose_both",
}  # fmt: skip
BLOCK_KNOBS = ("block_ranks", "block_lrs")
NO_BLOCKS: Mapping[str, str] = {}
#: optimiser in a study file -> sd-scripts' `optimizer_type`, and the class that it writes into `ss_optimizer`
OPTIMISERS: Mapping[str, tuple[str, str]] = {
    "adamw": ("AdamW", "torch.optim.adamw.AdamW"),
    "adamw-8bit": ("AdamW8bit", "bitsandbytes.optim.adamw.AdamW8bit"),
    "sgd": ("SGD", "torch.optim.sgd.SGD"),
    "lion": ("Lion", "lion_pytorch.lion_pytorch.Lion"),
    "adafactor": ("AdaFactor", "transformers.optimization.Adafactor"),
    "prodigy": ("Prodigy", "prodigyopt.prodigy.Prodigy"),
    "dadapt-adam": ("DAdaptAdam", "dadaptation.dadapt_adam.DAdaptAdam"),
    "schedule-free-adamw": ("AdamWScheduleFree", "schedulefree.adamw_schedulefree.AdamWScheduleFree"),
}
#: schedule in a study file -> sd-scripts' `lr_scheduler`
SCHEDULERS: Mapping[str, str] = {
    "constant": "constant", "cosine": "cosine", "linear": "linear", "polynomial": "polynomial",
    "cosine-with-restarts": "cosine_with_restarts", "wsd": "warmup_stable_decay",
}  # fmt: skip


def recipe_options(recipe: TrainSpec, blocks: Mapping[str, str] | None = NO_BLOCKS) -> list[str]:
    """Return the words of sd-scripts' command line for a recipe's optimiser, schedule, loss and noise.

    ``blocks`` are its blocks in sd-scripts' words, None where these have none. Raises LabError("spec") for what sd-scripts cannot do.
    """
    strange = [name for name in recipe.turned if name in WORDS and not WORDS[name].option]
    strange += ["schedule: rex"] if recipe.schedule == "rex" else []
    strange += [name for name in BLOCK_KNOBS if name in recipe.turned and (blocks is None or by_lycoris(recipe))]
    if strange:
        do = "remove these, or train such arms with loralab"
        raise LabError("spec", [Problem(f"`{name}`", "settings that sd-scripts has an option for", do) for name in strange])
    words = ["--optimizer_type", optimiser_type(recipe), "--lr_scheduler", scheduler(recipe)]
    words += ["--lr_warmup_steps", str(n_steps(recipe.warmup, recipe.steps))]
    words += ["--max_grad_norm", f"{recipe.max_grad_norm:g}", "--optimizer_args", *optimiser_arguments(recipe)]
    for name, value in recipe.turned.items():
        if name in WORDS:
            words += [f"--{WORDS[name].option}", *([] if value is True else [_shown(name, value, recipe)])]
    return words


def by_lycoris(recipe: TrainSpec) -> bool:
    """Whether sd-scripts needs LyCORIS for a recipe; not for a rank-stabilised LoRA, which is one of another alpha."""
    return recipe.algo != "lora" or recipe.dora


def network_module(recipe: TrainSpec) -> str:
    """Return sd-scripts' `network_module`."""
    return "lycoris.kohya" if by_lycoris(recipe) else "networks.lora"


def network_alpha(recipe: TrainSpec, rank: int) -> str:
    """Return sd-scripts' alpha of a rank: LyCORIS has a word for the rank-stabilised scale, `networks.lora` gets it as its alpha."""
    return f"{recipe.alpha_of(rank) if by_lycoris(recipe) else recipe.file_alpha(rank):.9g}"


def network_arguments(recipe: TrainSpec, blocks: Mapping[str, str] | None = NO_BLOCKS) -> dict[str, str]:
    """Return what a recipe says in sd-scripts' `network_args`, but for LyCORIS' preset, which is a file."""
    rank, turned, lycoris = recipe.rank, recipe.turned, by_lycoris(recipe)
    found: dict[str, str] = {"algo": recipe.algo} if lycoris else {}
    found |= {"conv_dim": str(rank), "conv_alpha": network_alpha(recipe, rank)} if recipe.targets == "transformer+conv" else {}
    found |= {NETWORK_WORDS[name]: _argument(value) for name, value in turned.items() if name in NETWORK_WORDS}
    if not lycoris:
        found.pop(NETWORK_WORDS["rslora"], None)
    # LyCORIS before 3.2 decomposes by input channels unless it is told
    found |= {"wd_on_output": "True"} if recipe.dora else {}
    return found | dict(blocks or {})


def _argument(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def recipe_metadata(recipe: TrainSpec, blocks: Mapping[str, str] | None = NO_BLOCKS) -> dict[str, str]:
    """Return what an adapter's metadata say of the knobs that its recipe turns, as sd-scripts writes it; empty for a plain recipe."""
    turned = recipe.turned
    found = {WORDS[name].key or f"loralab.train.{name}": str(value) for name, value in turned.items() if name in WORDS}
    if recipe.schedule != "constant" or recipe.warmup:
        found["ss_lr_scheduler"] = scheduler(recipe) if recipe.schedule in SCHEDULERS else recipe.schedule
        found["ss_lr_warmup_steps"] = str(n_steps(recipe.warmup, recipe.steps))
    blocks = None if by_lycoris(recipe) else blocks  # LyCORIS has no words for them
    found |= {f"loralab.train.{name}": json.dumps(turned[name]) for name in BLOCK_KNOBS if name in turned and blocks is None}
    found |= {"loralab.train.rslora": "True"} if recipe.rslora and not by_lycoris(recipe) else {}
    if any(name in OptimiserKnobs.model_fields and name not in WORDS for name in turned):
        found["ss_optimizer"] = f"{OPTIMISERS[recipe.optimiser][1]}({','.join(optimiser_arguments(recipe))})"
    arguments = network_arguments(recipe, blocks)
    if recipe.start in HELD_STARTS and "conv_dim" in arguments:  # the file has the start beside what is trained
        arguments |= {"conv_dim": str(2 * recipe.rank), "conv_alpha": f"{2 * recipe.file_alpha(recipe.rank):.9g}"}
    if arguments.keys() - {"conv_dim", "conv_alpha"}:
        found["ss_network_args"] = json.dumps(arguments)
    if by_lycoris(recipe):
        found |= {"ss_network_module": "lycoris.kohya", "ss_network_alpha": network_alpha(recipe, recipe.rank)}
    return found


def optimiser_type(recipe: TrainSpec) -> str:
    """Return sd-scripts' `optimizer_type`."""
    return "SGDNesterov" if recipe.optimiser == "sgd" and recipe.nesterov else OPTIMISERS[recipe.optimiser][0]


def scheduler(recipe: TrainSpec) -> str:
    """Return sd-scripts' `lr_scheduler`."""
    if recipe.schedule == "constant" and recipe.warmup:
        return "constant_with_warmup"
    if recipe.schedule == "cosine" and recipe.min_lr_ratio:
        return "cosine_with_min_lr"
    return SCHEDULERS[recipe.schedule]


def optimiser_arguments(recipe: TrainSpec) -> list[str]:
    """Return sd-scripts' `optimizer_args` of a recipe."""
    return [f"{name}={value}" for name, value in _arguments(recipe)]


def _arguments(recipe: TrainSpec) -> Iterator[tuple[str, str]]:
    yield "weight_decay", f"{recipe.weight_decay:g}"
    kind = recipe.optimiser
    if kind == "sgd":
        yield "momentum", f"{recipe.momentum:g}"
        return
    if kind == "adafactor":
        yield from (("relative_step", str(recipe.relative_step)), ("scale_parameter", str(recipe.scale_parameter)))
        yield from (("warmup_init", "False"), *([] if recipe.beta1 is None else [("beta1", f"{recipe.beta1:g}")]))
        return
    if recipe.beta1 is not None or recipe.beta2 is not None:
        own = (0.9, 0.99 if kind == "lion" else 0.999)
        betas = [default if value is None else value for value, default in zip((recipe.beta1, recipe.beta2), own, strict=True)]
        yield "betas", ",".join(f"{beta:g}" for beta in betas)
    if recipe.epsilon is not None and kind != "lion":
        yield "eps", f"{recipe.epsilon:g}"
    if kind in ("prodigy", "dadapt-adam"):
        yield from (("decouple", "True"), ("d0", f"{recipe.d0:g}"), ("use_bias_correction", str(recipe.bias_correction)))
        yield from ([] if recipe.growth_rate is None else [("growth_rate", f"{recipe.growth_rate:g}")])
    if kind == "prodigy":
        yield from (("d_coef", f"{recipe.d_coef:g}"), ("safeguard_warmup", str(recipe.safeguard_warmup)))


def _shown(name: str, value: object, recipe: TrainSpec) -> str:
    if name == "decay":
        return str(n_steps(recipe.decay, recipe.steps))
    return f"{value:g}" if isinstance(value, float) else str(value)
