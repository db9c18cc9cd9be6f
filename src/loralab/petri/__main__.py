"""The commands that make petri: in goes a step's name, out come files in the build folder or the shipped weights.

python -m loralab.petri world --icons FOLDER   sprites and a pool of pictures
python -m loralab.petri vae --minutes 16       autoencoder
python -m loralab.petri latents                tokenizer and latents of the pool
python -m loralab.petri text --minutes 1.2     a start for the text encoder
python -m loralab.petri train --minutes 60     UNet and text encoder; resumes
python -m loralab.petri export                 the moving averages as fp16 weights
python -m loralab.petri fidelity --n 64        the fidelity table
python -m loralab.petri sheet                  a contact sheet
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from loralab.petri import petri_folder
from loralab.petri.clock import Deadline, seconds_until
from loralab.petri.concepts import load_reader, measure_accuracy
from loralab.petri.fidelity import measure_fidelity, write_table
from loralab.petri.latents import load_latents, save_latents, tokenize
from loralab.petri.patches import fit_patch_matrix, set_patch_encoder
from loralab.petri.pipeline import make_pipeline, make_text_encoder, make_unet, save_pipeline
from loralab.petri.pool import load_captions, load_pictures, save_pool
from loralab.petri.sampling import load_pipeline, make_sheet, sample_pictures
from loralab.petri.sprites import load_sprites, render_sprites, save_sprites
from loralab.petri.text import load_tokenizer, save_tokenizer
from loralab.petri.text_start import train_text_start
from loralab.petri.train import Recipe, TrainingState, train_steps
from loralab.petri.vae import centre_latents, make_vae, measure_error, to_pixels, train_decoder

SHEET_PROMPTS = (
    "red circle", "blue square, white background", "green triangle", "outlined yellow star", "purple heart",
    "a pink diamond on a black background", "red monster", "green monster", "blue monster", "monster",
    "monster, white background", "cat", "cat, white background", "dog", "owl, blue background", "house", "car", "tree",
    "frog", "mushroom", "blurry house", "flower, depth of field", "grid of cats", "3x3 grid of stars", "grid layout",
    "a cat and a red circle", "myshape", "",
)  # fmt: skip


def seconds_of(args: argparse.Namespace) -> float:
    """Return the length of the run that was asked for."""
    return seconds_until(args.until) if args.until else 60.0 * args.minutes


def run_world(args: argparse.Namespace) -> None:
    """Render the sprites and draw the pool."""
    save_sprites(render_sprites(args.icons), args.build / "sprites.npz")
    save_pool(args.build / "sprites.npz", args.build / "pool", args.shards)


def run_vae(args: argparse.Namespace) -> None:
    """Set the encoder and train the decoder; the last 512 pictures of the pool are kept for its error."""
    torch.manual_seed(0)
    pictures = load_pictures(args.build / "pool")
    vae = make_vae()
    set_patch_encoder(vae, to_pixels(pictures[:1024]))
    centre_latents(vae, pictures[1024:2048])
    matrix = fit_patch_matrix(vae, to_pixels(pictures[:512]))
    deadline = Deadline(seconds_of(args))
    examples = 0
    for reading in train_decoder(vae, matrix, pictures[:-512], deadline):
        print(reading, flush=True)
        examples = reading.examples
    vae.save_pretrained(args.build / "vae")
    torch.save(matrix, args.build / "matrix.pt")
    report = {"examples": examples, "seconds": deadline.spent_seconds, **measure_error(vae, pictures[-512:])}
    (args.build / "vae.json").write_text(json.dumps(report), encoding="utf-8")
    print(report)


def run_latents(args: argparse.Namespace) -> None:
    """Train the tokenizer where there is none yet, and encode the pool."""
    if not (args.build / "tokenizer").exists():
        save_tokenizer((c for row in load_captions(args.build / "pool") for c in row), args.build / "tokenizer")
    vae = AutoencoderKL.from_pretrained(args.build / "vae")
    matrix = torch.load(args.build / "matrix.pt")
    save_latents(vae, matrix, load_tokenizer(args.build / "tokenizer"), args.build / "pool", args.build / "latents")


def load_state(build: Path, recipe: Recipe) -> TrainingState:
    """Return the state of an earlier stretch, or an untrained one."""
    torch.manual_seed(recipe.seed)
    state = TrainingState(make_unet(), make_text_encoder(load_tokenizer(build / "tokenizer")), recipe)
    if (build / "train.pt").exists():
        state.load(build / "train.pt")
    elif (build / "text_start.pt").exists():
        for parts in (state.parts, state.ema):
            parts["text_encoder"].load_state_dict(torch.load(build / "text_start.pt"))
    return state


def run_text(args: argparse.Namespace) -> None:
    """Give the text encoder a start of its own."""
    torch.manual_seed(0)
    encoder = make_text_encoder(load_tokenizer(args.build / "tokenizer"))
    for loss in train_text_start(encoder, load_latents(args.build / "latents"), Deadline(seconds_of(args))):
        print(f"{loss:.4f}", flush=True)
    torch.save(encoder.state_dict(), args.build / "text_start.pt")


def run_train(args: argparse.Namespace) -> None:
    """Train until the deadline, with a checkpoint every few minutes."""
    recipe = Recipe()
    state = load_state(args.build, recipe)
    deadline = Deadline(seconds_of(args), state.spent_seconds)
    empty = tokenize(load_tokenizer(args.build / "tokenizer"), [""])[0]
    saved_at = state.spent_seconds
    for reading in train_steps(state, lambda: load_latents(args.build / "latents"), empty, recipe, deadline):
        print(reading, flush=True)
        if reading.seconds - saved_at > 60 * args.checkpoint_minutes:
            state.save(args.build / "train.pt")
            saved_at = reading.seconds
    state.save(args.build / "train.pt")


def run_export(args: argparse.Namespace) -> None:
    """Write the moving averages as a pipeline."""
    state = load_state(args.build, Recipe())
    vae = AutoencoderKL.from_pretrained(args.build / "vae")
    tokenizer = load_tokenizer(args.build / "tokenizer")
    save_pipeline(make_pipeline(state.ema["unet"], state.ema["text_encoder"], vae, tokenizer), args.weights)
    print(f"{state.examples} examples, {state.spent_seconds:.0f} s -> {args.weights}")


def run_fidelity(args: argparse.Namespace) -> None:
    """Print the fidelity table; the concept's row where the build folder holds sprites."""
    reader = None
    if (args.build / "sprites.npz").exists():
        sprites = load_sprites(args.build / "sprites.npz")
        reader = load_reader(sprites, args.build / "concepts.npz")
        print(f"concept reader on the world's own pictures: {measure_accuracy(reader, sprites):.3f}")
    print(write_table(measure_fidelity(load_pipeline(args.weights), args.n, read_concept=reader)))


def run_sheet(args: argparse.Namespace) -> None:
    """Write a contact sheet, one column for each prompt."""
    prompts = [prompt for _ in range(args.rows) for prompt in SHEET_PROMPTS]
    seeds = [row for row in range(args.rows) for _ in SHEET_PROMPTS]
    pictures = sample_pictures(load_pipeline(args.weights), prompts, seeds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    make_sheet(np.asarray(pictures), len(SHEET_PROMPTS)).save(args.out, optimize=True)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m loralab.petri", description="Make petri, the embedded base.")
    parser.add_argument("--threads", type=int, default=2)
    commands = parser.add_subparsers(required=True)
    for name, run in COMMANDS.items():
        command = commands.add_parser(name, help=(run.__doc__ or "").strip())
        command.set_defaults(run=run)
        command.add_argument("--build", type=Path, default=Path("build/petri"), help="scratch folder")
        command.add_argument("--weights", type=Path, default=petri_folder(), help="folder of the pipeline")
        if name in ("vae", "text", "train"):
            command.add_argument("--until", help="HH:MM of the local clock")
            command.add_argument("--minutes", type=float, default=10.0)
        if name == "train":
            command.add_argument("--checkpoint-minutes", type=float, default=5.0)
        if name == "world":
            command.add_argument("--icons", type=Path, required=True, help="folder of the @iconify-json packages")
            command.add_argument("--shards", type=int, default=12, help="of 4096 pictures each")
        if name == "fidelity":
            command.add_argument("--n", type=int, default=64, help="pictures per question")
        if name == "sheet":
            command.add_argument("--rows", type=int, default=6)
            command.add_argument("--out", type=Path, default=Path("build/petri/sheet.png"))
    return parser


COMMANDS = {
    "world": run_world,
    "vae": run_vae,
    "latents": run_latents,
    "text": run_text,
    "train": run_train,
    "export": run_export,
    "fidelity": run_fidelity,
    "sheet": run_sheet,
}

if __name__ == "__main__":
    arguments = make_parser().parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments)
