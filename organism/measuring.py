"""The steps that measure petri and draw its sheets: arguments of the command line in, result files and pictures out."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL

from loralab.bases import Base, load_base
from loralab.bases.round_trip import round_trip_of
from loralab.petri import petri_folder
from loralab.petri.draw import make_picture
from loralab.petri.encoder import encoder_folder, load_encoder
from loralab.petri.sprites import Sprites, load_sprites
from loralab.petri.text import load_tokenizer
from loralab.petri.words import CONCEPTS
from loralab.stages.cards import SHIPPED
from loralab.store.keys import fingerprint_of
from organism.card import fill_card, write_result
from organism.diversity import Ratio, compare_diversity
from organism.encoder_train import read_names
from organism.fidelity import Answer, Readers, RoundTrip, make_questions, measure_fidelity, write_curve, write_table
from organism.focus import fit_focus_reader
from organism.making import unet_size
from organism.pipeline import make_pipeline, make_text_encoder, make_unet, save_pipeline
from organism.sampling import AS_STUDIES, draw_as_studies
from organism.shipped_cards import write_shipped_cards
from organism.speed import write_costs, write_speed
from organism.train import Recipe, TrainingState
from organism.triggers import beside, encode_small, make_labelled_sheet, read_triggers, write_token_table
from organism.vae import LATENT_CHANNELS
from organism.world import sample_truth

SHEET_PROMPTS = (
    "red circle", "blue square, white background", "green triangle", "outlined yellow star", "purple heart",
    "a pink diamond on a black background", "red monster", "green monster", "blue monster", "monster",
    "monster, white background", "cat", "cat, white background", "dog", "owl, blue background", "house", "car", "tree",
    "frog", "mushroom", "blurry house", "flower, depth of field", "grid of cats", "3x3 grid of stars", "grid layout",
    "a cat and a red circle", "myshape", "",
)  # fmt: skip


def readers_of(round_trip: RoundTrip, folder: Path | None = None, weights: Path | None = None) -> tuple[Readers, Sprites]:
    """Return the readers that are trained on the world's own pictures, and the sprites that ship.

    ``folder`` holds another encoder than the one that ships, whose words are those of the pipeline ``weights``.
    """
    encoder = load_encoder(folder, weights if folder is not None else None)
    readers = Readers(lambda picture: read_names(encoder, picture[None], tuple(CONCEPTS))[0], fit_focus_reader(round_trip))
    return readers, load_sprites(encoder_folder() / "sprites.npz")


def run_fidelity(args: argparse.Namespace) -> None:
    """Measure the fidelity table and print it."""
    base = load_base(str(args.weights))
    answers, ratios = fidelity_of(args.weights, base, args)
    table = write_table(answers, ratios)
    if args.out is not None:
        shipped = args.weights == petri_folder()
        command = f"python -m organism fidelity --images {args.images}" + ("" if shipped else f" --weights {args.weights}")
        setting = f"{AS_STUDIES.steps} steps of {AS_STUDIES.sampler}, guidance {AS_STUDIES.guidance:g}, as the studies draw."
        name = "petri" if shipped else args.weights.name
        write_result(args.out, f"Fidelity of {name} by count", f"{setting}\n\n{table}", base.fingerprint, command)
    print(table)


def fidelity_of(weights: Path, base: Base, args: argparse.Namespace) -> tuple[list[Answer], list[tuple[str, float, Ratio]]]:
    """Return the table's counts and the ratios of diversity, over `args.images` pictures in all."""
    round_trip = round_trip_of(base)
    readers, sprites = readers_of(round_trip, args.encoder, weights)
    n = -(-args.images // (len(make_questions(1, readers=readers)) + 1))
    questions = [q for q in make_questions(n, readers=readers) if args.only in q.name]
    answers = measure_fidelity(partial(draw_as_studies, weights, n_processes=args.processes), questions, sprites, round_trip)
    if args.only:
        return answers, []
    free = AS_STUDIES.model_copy(update={"guidance": 1.0})
    own = draw_as_studies(weights, [""] * n, list(range(90_000, 90_000 + n)), free, args.processes)
    world = round_trip(np.stack([make_picture(sample_truth(seed), sprites) for seed in range(40_000_000, 40_000_000 + n)]))
    return answers, [("diversity without a prompt, ratio to the world's", 0.9, compare_diversity(own, world))]


def run_curve(args: argparse.Namespace) -> None:
    """Measure the fidelity of several states of the training, or of UNets of several sizes, and write them side by side."""
    columns: dict[str, list[Answer]] = {}
    sizes = {unet_size(Path(named.partition("=")[0]).parent) for named in args.states}
    for named in args.states:
        path, _, factor = named.partition("=")
        folder = args.build / "curve" / f"{Path(path).parent.name}-{Path(path).stem}"
        label = export_state(Path(path), args.build, folder, float(factor or 1), args.before, len(sizes) > 1)
        columns[label] = fidelity_of(folder, load_base(str(folder)), args)[0]
        print(label, flush=True)
    command = f"python -m organism curve --images {args.images} --build {args.build} --states {' '.join(args.states)}"
    setting = (
        f"Drawn with the autoencoder of `{args.build}`; {AS_STUDIES.steps} steps of {AS_STUDIES.sampler}, guidance {AS_STUDIES.guidance:g}."
    )
    body = "\n\n".join(
        [setting, write_curve(columns), *([write_costs([(*size, 8, LATENT_CHANNELS) for size in sorted(sizes)])] if len(sizes) > 1 else [])]
    )
    write_result(args.out, args.title, body, "", command)
    print(body)


def export_state(path: Path, build: Path, folder: Path, scale_factor: float, before: int = 0, sized: bool = False) -> str:
    """Write a state's moving averages as a pipeline and return its UNet's size and how many examples it has seen.

    The size stands beside the state, tokenizer and autoencoder in `build`. `scale_factor` is the size of the latents that it was trained
    on over that of the build folder's own; `before` are the examples of stretches that its own count leaves out. With
    ``sized`` the size is told although it is petri's.
    """
    tokenizer = load_tokenizer(build / "tokenizer")
    channels, layers = unet_size(path.parent)
    state = TrainingState(make_unet(channels, layers), make_text_encoder(tokenizer), Recipe())
    state.load(path)
    vae = AutoencoderKL.from_pretrained(build / "vae")
    vae.register_to_config(scaling_factor=vae.config.scaling_factor * scale_factor)
    save_pipeline(make_pipeline(state.ema["unet"], state.ema["text_encoder"], vae, tokenizer), folder)
    examples = f"{before + state.examples:,} examples"
    return f"{channels}, {layers} a block: {examples}" if (path.parent / "unet.json").exists() or sized else examples


def run_speed(args: argparse.Namespace) -> None:
    """Measure load time, pictures a second, and sizes, and print them."""
    table = write_speed(args.weights, args.rounds)
    if args.out is not None:
        base = load_base(str(args.weights))
        write_result(args.out, "petri's size and speed", table, base.fingerprint, "python -m organism speed")
    print(table)


def run_card(args: argparse.Namespace) -> None:
    """Fill the card's marked places from the result files."""
    path = petri_folder().parent / "CARD.md"
    filled = fill_card(path.read_text(encoding="utf-8"), args.results, fingerprint_of(args.weights))
    path.write_text(filled, encoding="utf-8", newline="\n")


def run_cards(args: argparse.Namespace) -> None:
    """Write the instruments' calibration cards on petri, which ship with it; to do again after every change of either."""
    write_shipped_cards(load_base("petri"), petri_folder().parent / SHIPPED, args.only)


def run_trigger_sheets(args: argparse.Namespace) -> None:
    """Write a labelled sheet for each study that runs on petri, and the table of token splits."""
    triggers = read_triggers(args.studies)
    table = write_token_table(load_tokenizer(args.weights / "tokenizer"), triggers)
    command = "python -m organism sheet --triggers"
    write_result(args.results / "petri-tokens.md", "How petri reads the triggers", table, fingerprint_of(args.weights), command)
    if args.rows == 0:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    for study, prompts in triggers.items():
        spread = [prompt for prompt in prompts for _ in range(args.rows)]
        drawn = draw_as_studies(args.weights, spread, [seed for _ in prompts for seed in range(args.rows)], n_processes=args.processes)
        sheet = make_labelled_sheet(prompts, drawn.reshape(len(prompts), args.rows, *drawn.shape[1:]))
        (args.out / f"{study}.png").write_bytes(encode_small(sheet))
        print(args.out / f"{study}.png", flush=True)


def run_sheet(args: argparse.Namespace) -> None:
    """Write a contact sheet, a labelled row for each prompt; with --triggers one sheet for each study."""
    if args.triggers:
        run_trigger_sheets(args)
        return
    out = args.out / "sheet.png" if args.out.suffix == "" else args.out
    spread = [prompt for prompt in SHEET_PROMPTS for _ in range(args.rows)]
    drawn = draw_as_studies(args.weights, spread, list(range(args.rows)) * len(SHEET_PROMPTS), n_processes=args.processes)
    drawn = drawn.reshape(len(SHEET_PROMPTS), args.rows, *drawn.shape[1:])
    half = len(SHEET_PROMPTS) // 2
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(
        encode_small(beside(*(make_labelled_sheet(SHEET_PROMPTS[part], drawn[part]) for part in (slice(half), slice(half, None)))))
    )
