"""The steps that make petri's weights: arguments of the command line in, files in the build folder out."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import argparse
import json
import shutil
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from loralab.petri.encoder import encoder_folder
from loralab.petri.sprites import save_sprites
from loralab.petri.text import load_tokenizer, tokenize
from loralab.pixels import pixels_of
from organism.clock import Deadline, seconds_until
from organism.icons import render_sprites
from organism.latents import load_latents, save_latents
from organism.patches import encode_patches, fit_patch_matrix, set_patch_encoder
from organism.pipeline import UNET_CHANNELS, UNET_LAYERS, make_pipeline, make_text_encoder, make_unet, save_pipeline
from organism.pool import load_captions, load_pictures, save_pool
from organism.siblings import begin, write_world
from organism.text_start import train_text_start
from organism.tokens import save_tokenizer
from organism.train import Recipe, TrainingState, train_steps
from organism.vae import centre_latents, decoder_of, make_vae, measure_error, train_decoder


def seconds_of(args: argparse.Namespace) -> float:
    """Return the length of the run that was asked for."""
    return seconds_until(args.until) if args.until else 60.0 * args.minutes


def sprites_of(build: Path) -> Path:
    """Return the sprites of a build folder, or those that ship where it has none."""
    own = build / "sprites.npz"
    return own if own.exists() else encoder_folder() / "sprites.npz"


def run_world(args: argparse.Namespace) -> None:
    """Draw the pool, with the sprites that ship or with rendered ones."""
    world = write_world(args.sibling, args.build)
    if args.icons is not None:
        save_sprites(render_sprites(args.icons), args.build / "sprites.npz")
    elif args.sprites is not None or not (args.build / "sprites.npz").exists():
        shutil.copyfile(args.sprites or sprites_of(args.build), args.build / "sprites.npz")
    save_pool(args.build / "sprites.npz", args.build / "pool", args.shards, args.processes, world)


def run_begin(args: argparse.Namespace) -> None:
    """Take petri's own tokenizer and autoencoder, and with --trained its UNet and text encoder, instead of training them."""
    begin(args.build, args.trained)


def run_vae(args: argparse.Namespace) -> None:
    """Set the encoder and train the decoder; the last 512 pictures of the pool are kept for its error."""
    torch.manual_seed(0)
    pictures = load_pictures(args.build / "pool")
    vae = make_vae()
    set_patch_encoder(vae, pixels_of(pictures[:1024]))
    centre_latents(vae, pictures[1024:2048])
    matrix = fit_patch_matrix(vae, pixels_of(pictures[:512]))
    deadline = Deadline(seconds_of(args))
    examples = 0
    for reading in train_decoder(decoder_of(vae), partial(encode_patches, matrix), pictures[:-512], deadline):
        print(reading, flush=True)
        examples = reading.examples
    vae.save_pretrained(args.build / "vae")
    torch.save(matrix, args.build / "matrix.pt")
    report = {"examples": examples, "seconds": deadline.spent_seconds, **measure_error(vae, pictures[-512:])}
    (args.build / "vae.json").write_text(json.dumps(report), encoding="utf-8", newline="\n")
    print(report)


def run_decoder(args: argparse.Namespace) -> None:
    """Train the decoder further, in place; the encoder, and so every latent, stays as it is."""
    torch.manual_seed(1)
    pictures = load_pictures(args.build / "pool")
    vae = AutoencoderKL.from_pretrained(args.build / "vae", torch_dtype=torch.float32)
    before = measure_error(vae, pictures[-512:])
    deadline = Deadline(seconds_of(args))
    examples = 0
    encode = partial(encode_patches, torch.load(args.build / "matrix.pt"))
    for reading in train_decoder(decoder_of(vae), encode, pictures[:-512], deadline, batch=16, lr=1e-3):
        print(reading, flush=True)
        examples = reading.examples
    after = measure_error(vae, pictures[-512:])
    vae.save_pretrained(args.build / "vae")
    report = {"examples": examples, "seconds": deadline.spent_seconds, "before": before, "after": after}
    (args.build / "decoder.json").write_text(json.dumps(report), encoding="utf-8", newline="\n")
    print(report)


def run_latents(args: argparse.Namespace) -> None:
    """Train the tokenizer where there is none yet, and encode the pool."""
    if not (args.build / "tokenizer").exists():
        save_tokenizer((c for row in load_captions(args.build / "pool") for c in row), args.build / "tokenizer")
    vae = AutoencoderKL.from_pretrained(args.build / "vae")
    matrix = torch.load(args.build / "matrix.pt")
    save_latents(vae, matrix, load_tokenizer(args.build / "tokenizer"), args.build / "pool", args.build / "latents")


def unet_size(build: Path) -> tuple[tuple[int, ...], int]:
    """Return channels and layers a block of the UNet that this build folder trains."""
    noted = build / "unet.json"
    if not noted.exists():
        return UNET_CHANNELS, UNET_LAYERS
    size = json.loads(noted.read_text(encoding="utf-8"))
    return tuple(size["channels"]), size["layers"]


def note_unet_size(build: Path, channels: list[int] | None, layers: int | None) -> None:
    """Write down another size than petri's, before the first stretch; raises SystemExit where weights of another size are there."""
    old = unet_size(build)
    size = tuple(channels or old[0]), layers or old[1]
    if size == old:
        return
    if (build / "train.pt").exists():
        raise SystemExit(f"{build} holds a UNet of {old}, not of {size}: choose another --build")
    (build / "unet.json").write_text(json.dumps({"channels": size[0], "layers": size[1]}), encoding="utf-8", newline="\n")


def load_state(build: Path, recipe: Recipe) -> TrainingState:
    """Return the state of an earlier stretch, or an untrained one."""
    torch.manual_seed(recipe.seed)
    state = TrainingState(make_unet(*unet_size(build)), make_text_encoder(load_tokenizer(build / "tokenizer")), recipe)
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
    note_unet_size(args.build, args.channels, args.layers)
    recipe = Recipe(batch=args.batch, workers=args.workers, lr=args.lr, hold=args.hold)
    state = load_state(args.build, recipe)
    deadline = Deadline(seconds_of(args), state.spent_seconds)
    empty = tokenize(load_tokenizer(args.build / "tokenizer"), [""])[0]
    saved_at = state.spent_seconds
    kept = [n for n in sorted(args.keep) if n > state.examples]
    for reading in train_steps(state, lambda: load_latents(args.build / "latents"), empty, recipe, deadline):
        print(reading, flush=True)
        if reading.seconds - saved_at > 60 * args.checkpoint_minutes:
            state.save(args.build / "train.pt")
            saved_at = reading.seconds
        if kept and state.examples >= kept[0]:
            state.save(args.build / f"at-{kept.pop(0)}.pt")
    state.save(args.build / "train.pt")


def run_export(args: argparse.Namespace) -> None:
    """Write the moving averages as a pipeline."""
    state = load_state(args.build, Recipe())
    vae = AutoencoderKL.from_pretrained(args.build / "vae")
    tokenizer = load_tokenizer(args.build / "tokenizer")
    save_pipeline(make_pipeline(state.ema["unet"], state.ema["text_encoder"], vae, tokenizer), args.weights)
    print(f"{state.examples} examples, {state.spent_seconds:.0f} s -> {args.weights}")
