"""The step that trains and measures petri's image-text encoder: arguments in, weights and a table out."""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import argparse
import shutil

import torch

from loralab.bases import load_base
from loralab.bases.round_trip import round_trip_of
from loralab.petri.concept_names import NAMES
from loralab.petri.encoder import load_encoder, make_encoder, save_encoder
from loralab.petri.sprites import load_sprites
from loralab.petri.text import load_tokenizer, tokenize
from loralab.store.keys import fingerprint_of
from organism.card import write_result
from organism.encoder_train import EncoderRecipe, EncoderState, count_right, make_pool, train_encoder, write_counts
from organism.fidelity import RoundTrip
from organism.making import deadline_of, sprites_of


def run_encoder(args: argparse.Namespace) -> None:
    """Train petri's image-text encoder until the deadline, write its weights, and measure it on held-out pictures."""
    round_trip = round_trip_of(load_base(str(args.weights)))
    if not args.measure:
        train_and_save_encoder(args, round_trip)
    encoder, sprites = load_encoder(args.out, args.weights), load_sprites(sprites_of(args.build))
    columns = {"as drawn": None, "behind petri's autoencoder": round_trip}
    table = write_counts({name: count_right(encoder, sprites, args.images, through) for name, through in columns.items()})
    command = f"python -m organism encoder --measure --images {args.images}"
    write_result(args.table, "petri's image-text encoder, by count", table, fingerprint_of(args.weights), command)
    print(table)


def train_and_save_encoder(args: argparse.Namespace, round_trip: RoundTrip) -> None:
    """Train from the build folder's checkpoint, or from nothing, and write the weights to `args.out`."""
    recipe, tokenizer = EncoderRecipe(), load_tokenizer(args.weights / "tokenizer")
    folder, checkpoint = args.build / "encoder", args.build / "encoder" / "encoder.pt"
    pool = make_pool(sprites_of(args.build), folder / "pool", args.shards, args.decoded, round_trip, tokenizer)
    torch.manual_seed(recipe.seed)
    state = EncoderState(make_encoder(args.weights), recipe)
    if checkpoint.exists():
        state.load(checkpoint)
    deadline = deadline_of(args, state.spent_seconds)
    saved_at = state.spent_seconds
    for loss in train_encoder(state, pool, tokenize(tokenizer, list(NAMES)), recipe, deadline):
        print(f"{state.examples} examples, loss {loss:.3f}", flush=True)
        if state.spent_seconds - saved_at > 60 * args.checkpoint_minutes:
            state.save(checkpoint)
            saved_at = state.spent_seconds
    state.save(checkpoint)
    save_encoder(state.encoder, args.out)
    if sprites_of(args.build) != args.out / "sprites.npz":
        shutil.copyfile(sprites_of(args.build), args.out / "sprites.npz")
