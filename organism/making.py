"""The steps that make petri's weights: arguments of the command line in, files in the build folder out."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import argparse
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from loralab.petri.encoder import encoder_folder
from loralab.petri.sprites import save_sprites
from loralab.petri.text import load_tokenizer, tokenize
from loralab.pixels import pixels_of
from organism.clock import Deadline, Goal, save_whole, seconds_until
from organism.icons import render_sprites
from organism.latents import load_latents, save_latents
from organism.parallel import run_together
from organism.patches import encode_patches, fit_patch_matrix, set_patch_encoder
from organism.pipeline import UNET_CHANNELS, UNET_LAYERS, make_pipeline, make_text_encoder, make_unet, save_pipeline
from organism.pool import load_captions, load_pictures, save_pool
from organism.siblings import begin, write_world
from organism.strokes import make_strokes
from organism.text_start import train_text_start
from organism.tokens import save_tokenizer
from organism.train import Recipe, TrainingState, train_steps
from organism.vae import DecoderState, centre_latents, decoder_of, make_vae, measure_error, train_decoder


def deadline_of(args: argparse.Namespace, spent_seconds: float = 0.0) -> Deadline:
    """Return the end of the run that was asked for: a number of examples, those of earlier stretches with them, or a time."""
    if args.examples:
        return Goal(args.examples, spent_seconds)
    return Deadline(seconds_until(args.until) if args.until else 60.0 * args.minutes, spent_seconds)


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
    """Set the encoder, which needs no training; the decoder is trained by the step `decoder`."""
    torch.manual_seed(0)
    pictures = load_pictures(args.build / "pool", 1)
    vae = make_vae()
    set_patch_encoder(vae, pixels_of(pictures[:1024]))
    centre_latents(vae, pictures[1024:2048])
    save_whole({"matrix": fit_patch_matrix(vae, pixels_of(pictures[:512]))}, args.build / "matrix.pt")
    vae.save_pretrained(args.build / "vae")


def load_matrix(build: Path) -> torch.Tensor:
    """Return the matrix (193, 16) that stands in for the set encoder."""
    return torch.load(build / "matrix.pt")["matrix"]


def run_decoder(args: argparse.Namespace) -> None:
    """Train the decoder, on pictures of the world and on strokes; resumes. The encoder, and so every latent, stays as it is.

    The last 512 pictures of the pool are kept for its error.
    """
    torch.manual_seed(1)
    vae = AutoencoderKL.from_pretrained(args.build / "vae", torch_dtype=torch.float32)
    state, checkpoint = DecoderState(decoder_of(vae), args.lr), args.build / "decoder.pt"
    if checkpoint.exists():
        state.load(checkpoint)
    pictures = load_pictures(args.build / "pool", args.shards)
    trained = np.concatenate([pictures[:-512], make_strokes(round(args.strokes * len(pictures)))])
    saved_at = state.spent_seconds
    encode = partial(encode_patches, load_matrix(args.build))
    for reading in train_decoder(state, encode, trained, deadline_of(args, state.spent_seconds), batch=args.batch):
        print(reading, flush=True)
        if reading.seconds - saved_at > 60 * args.checkpoint_minutes:
            save_decoder(state, vae, args.build)
            saved_at = reading.seconds
    save_decoder(state, vae, args.build)
    report = {"examples": state.examples, "seconds": state.spent_seconds, **measure_error(vae, pictures[-512:])}
    (args.build / "decoder.json").write_text(json.dumps(report), encoding="utf-8", newline="\n")
    print(report)


def save_decoder(state: DecoderState, vae: AutoencoderKL, build: Path) -> None:
    """Write the training's state and the autoencoder as it now is."""
    state.save(build / "decoder.pt")
    vae.save_pretrained(build / "vae")


def run_latents(args: argparse.Namespace) -> None:
    """Train the tokenizer where there is none yet, and encode the pool."""
    if not (args.build / "tokenizer").exists():
        save_tokenizer((c for row in load_captions(args.build / "pool") for c in row), args.build / "tokenizer")
    vae = AutoencoderKL.from_pretrained(args.build / "vae")
    save_latents(vae, load_matrix(args.build), load_tokenizer(args.build / "tokenizer"), args.build / "pool", args.build / "latents")


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


def load_state(build: Path, recipe: Recipe, device: str = "cpu") -> TrainingState:
    """Return the state of an earlier stretch, or an untrained one."""
    torch.manual_seed(recipe.seed)
    state = TrainingState(make_unet(*unet_size(build)), make_text_encoder(load_tokenizer(build / "tokenizer")), recipe, device)
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
    for loss in train_text_start(encoder, load_latents(args.build / "latents"), deadline_of(args)):
        print(f"{loss:.4f}", flush=True)
    save_whole(encoder.state_dict(), args.build / "text_start.pt")


def run_train(args: argparse.Namespace) -> None:
    """Train until the deadline, with a checkpoint every few minutes."""
    note_unet_size(args.build, args.channels, args.layers)
    if args.processes == 1:
        train_one(0, args)
    elif args.examples:
        run_together(args.processes, train_one, args)
    else:
        raise SystemExit("several processes end together only by --examples: clocks differ")


def train_one(rank: int, args: argparse.Namespace) -> None:
    """Train as one of `args.processes`; the first one tells and writes what all of them have."""
    recipe = Recipe(batch=args.batch, lr=args.lr, hold=args.hold, ema_decay=args.ema, processes=args.processes, rank=rank)
    state = load_state(args.build, recipe)
    empty = tokenize(load_tokenizer(args.build / "tokenizer"), [""])[0]
    saved_at = state.spent_seconds
    kept = [n for n in sorted(args.keep) if n > state.examples]
    deadline = deadline_of(args, state.spent_seconds)
    for reading in train_steps(state, lambda: load_latents(args.build / "latents"), empty, recipe, deadline):
        if rank > 0:
            continue
        print(reading, flush=True)
        if reading.seconds - saved_at > 60 * args.checkpoint_minutes:
            state.save(args.build / "train.pt")
            saved_at = reading.seconds
        if kept and state.examples >= kept[0]:
            state.save(args.build / f"at-{kept.pop(0)}.pt")
    if rank == 0:
        state.save(args.build / "train.pt")


def run_export(args: argparse.Namespace) -> None:
    """Write the moving averages as a pipeline."""
    state = load_state(args.build, Recipe())
    vae = AutoencoderKL.from_pretrained(args.build / "vae")
    tokenizer = load_tokenizer(args.build / "tokenizer")
    save_pipeline(make_pipeline(state.ema["unet"], state.ema["text_encoder"], vae, tokenizer), args.weights)
    print(f"{state.examples} examples, {state.spent_seconds:.0f} s -> {args.weights}")
