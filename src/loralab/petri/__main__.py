"""The commands that make petri: in goes a step's name, out come files in the build folder or the shipped weights.

python -m loralab.petri world                  a pool of pictures; `--sibling no-grids` for another world
python -m loralab.petri begin                  instead of vae and the tokenizer: petri's own (siblings)
python -m loralab.petri vae --minutes 16       autoencoder
python -m loralab.petri decoder --minutes 12   the decoder of an autoencoder, trained further
python -m loralab.petri latents                tokenizer and latents of the pool
python -m loralab.petri text --minutes 1.2     a start for the text encoder
python -m loralab.petri train --minutes 60     UNet and text encoder; resumes
python -m loralab.petri export                 the moving averages as fp16 weights
python -m loralab.petri fidelity               the fidelity table
python -m loralab.petri curve --states A B     fidelity of earlier states of the training
python -m loralab.petri sheet                  a contact sheet; `--triggers`: one for each study that ships
python -m loralab.petri speed                  load time, size, pictures a second
python -m loralab.petri encoder --minutes 15   the image-text encoder that reads concepts; resumes; `--measure`: only its table
python -m loralab.petri cards                  the instruments' calibration cards on petri, which ship with it
python -m loralab.petri card                   the measured tables into CARD.md
"""

# mypy: disable-error-code="attr-defined,arg-type,dict-item"
# diffusers builds its classes with decorators that hide their attributes from mypy

from __future__ import annotations

import argparse
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from loralab.bases import Base, load_base
from loralab.bases.load import fingerprint_of
from loralab.engine.cards import SHIPPED, round_trip_of, write_shipped_cards
from loralab.petri import petri_folder
from loralab.petri.card import fill_card, write_result
from loralab.petri.clock import Deadline, seconds_until
from loralab.petri.concept_names import NAMES
from loralab.petri.diversity import Ratio, compare_diversity
from loralab.petri.draw import make_picture
from loralab.petri.encoder import encoder_folder, load_encoder, make_encoder, save_encoder
from loralab.petri.encoder_train import EncoderRecipe, EncoderState, count_right, make_pool, read_names, train_encoder, write_counts
from loralab.petri.fidelity import Answer, Readers, RoundTrip, make_questions, measure_fidelity, write_curve, write_table
from loralab.petri.focus import fit_focus_reader
from loralab.petri.latents import load_latents, save_latents, tokenize
from loralab.petri.patches import encode_patches, fit_patch_matrix, set_patch_encoder
from loralab.petri.pipeline import UNET_CHANNELS, UNET_LAYERS, make_pipeline, make_text_encoder, make_unet, save_pipeline
from loralab.petri.pool import load_captions, load_pictures, save_pool
from loralab.petri.sampling import AS_STUDIES, draw_as_studies
from loralab.petri.siblings import SIBLINGS, BuildError, begin, write_world
from loralab.petri.speed import write_costs, write_speed
from loralab.petri.sprites import Sprites, load_sprites, render_sprites, save_sprites
from loralab.petri.text import load_tokenizer, save_tokenizer
from loralab.petri.text_start import train_text_start
from loralab.petri.train import Recipe, TrainingState, train_steps
from loralab.petri.triggers import beside, encode_small, make_labelled_sheet, read_triggers, write_token_table
from loralab.petri.vae import LATENT_CHANNELS, centre_latents, decoder_of, make_vae, measure_error, to_pixels, train_decoder
from loralab.petri.words import CONCEPTS
from loralab.petri.world import sample_truth

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
    set_patch_encoder(vae, to_pixels(pictures[:1024]))
    centre_latents(vae, pictures[1024:2048])
    matrix = fit_patch_matrix(vae, to_pixels(pictures[:512]))
    deadline = Deadline(seconds_of(args))
    examples = 0
    for reading in train_decoder(decoder_of(vae), partial(encode_patches, matrix), pictures[:-512], deadline):
        print(reading, flush=True)
        examples = reading.examples
    vae.save_pretrained(args.build / "vae")
    torch.save(matrix, args.build / "matrix.pt")
    report = {"examples": examples, "seconds": deadline.spent_seconds, **measure_error(vae, pictures[-512:])}
    (args.build / "vae.json").write_text(json.dumps(report), encoding="utf-8")
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
    (args.build / "decoder.json").write_text(json.dumps(report), encoding="utf-8")
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
    (build / "unet.json").write_text(json.dumps({"channels": size[0], "layers": size[1]}), encoding="utf-8")


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


def readers_of(round_trip: RoundTrip) -> tuple[Readers, Sprites]:
    """Return the readers that are trained on the world's own pictures, and the sprites that ship."""
    encoder = load_encoder()
    readers = Readers(lambda picture: read_names(encoder, picture[None], tuple(CONCEPTS))[0], fit_focus_reader(round_trip))
    return readers, load_sprites(encoder_folder() / "sprites.npz")


def run_fidelity(args: argparse.Namespace) -> None:
    """Measure the fidelity table and print it."""
    base = load_base(str(args.weights))
    answers, ratios = fidelity_of(args.weights, base, args)
    table = write_table(answers, ratios)
    if args.out is not None:
        shipped = args.weights == petri_folder()
        command = f"python -m loralab.petri fidelity --images {args.images}" + ("" if shipped else f" --weights {args.weights}")
        setting = f"{AS_STUDIES.steps} steps of {AS_STUDIES.sampler}, guidance {AS_STUDIES.guidance:g}, as the studies draw."
        name = "petri" if shipped else args.weights.name
        write_result(args.out, f"Fidelity of {name} by count", f"{setting}\n\n{table}", base.fingerprint, command)
    print(table)


def fidelity_of(weights: Path, base: Base, args: argparse.Namespace) -> tuple[list[Answer], list[tuple[str, float, Ratio]]]:
    """Return the table's counts and the ratios of diversity, over `args.images` pictures in all."""
    round_trip = round_trip_of(base)
    readers, sprites = readers_of(round_trip)
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
    command = f"python -m loralab.petri curve --images {args.images} --build {args.build} --states {' '.join(args.states)}"
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
        write_result(args.out, "petri's size and speed", table, base.fingerprint, "python -m loralab.petri speed")
    print(table)


def run_encoder(args: argparse.Namespace) -> None:
    """Train petri's image-text encoder until the deadline, write its weights, and measure it on held-out pictures."""
    round_trip = round_trip_of(load_base(str(args.weights)))
    if not args.measure:
        train_and_save_encoder(args, round_trip)
    encoder, sprites = load_encoder(args.out), load_sprites(sprites_of(args.build))
    columns = {"as drawn": None, "behind petri's autoencoder": round_trip}
    table = write_counts({name: count_right(encoder, sprites, args.images, through) for name, through in columns.items()})
    command = f"python -m loralab.petri encoder --measure --images {args.images}"
    write_result(args.table, "petri's image-text encoder, by count", table, fingerprint_of(args.weights), command)
    print(table)


def train_and_save_encoder(args: argparse.Namespace, round_trip: RoundTrip) -> None:
    """Train from the build folder's checkpoint, or from nothing, and write the weights to `args.out`."""
    recipe, tokenizer = EncoderRecipe(), load_tokenizer(args.weights / "tokenizer")
    folder, checkpoint = args.build / "encoder", args.build / "encoder" / "encoder.pt"
    pool = make_pool(sprites_of(args.build), folder / "pool", args.shards, args.decoded, round_trip, tokenizer)
    torch.manual_seed(recipe.seed)
    state = EncoderState(make_encoder(), recipe)
    if checkpoint.exists():
        state.load(checkpoint)
    deadline = Deadline(seconds_of(args), state.spent_seconds)
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


def run_card(args: argparse.Namespace) -> None:
    """Fill the card's marked places from the result files."""
    path = Path(__file__).parent / "CARD.md"
    filled = fill_card(path.read_text(encoding="utf-8"), args.results, fingerprint_of(args.weights))
    path.write_text(filled, encoding="utf-8")


def run_cards(args: argparse.Namespace) -> None:
    """Write the instruments' calibration cards on petri, which ship with it; to do again after every change of either."""
    write_shipped_cards(load_base("petri"), petri_folder().parent / SHIPPED)


def run_trigger_sheets(args: argparse.Namespace) -> None:
    """Write a labelled sheet for each study that runs on petri, and the table of token splits."""
    triggers = read_triggers(args.studies)
    table = write_token_table(load_tokenizer(args.weights / "tokenizer"), triggers)
    command = "python -m loralab.petri sheet --triggers"
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
        for option, settings in OPTIONS.get(name, {}).items():
            command.add_argument(option, **settings)
    return parser


CLOCK: dict[str, dict[str, Any]] = {
    "--until": {"help": "HH:MM of the local clock"},
    "--minutes": {"type": float, "default": 10.0, "help": "length of the run"},
}
PROCESSES: dict[str, Any] = {"type": int, "default": 2, "help": "processes that draw, of one thread each"}
RESULTS = Path("docs/results")
COUNTING: dict[str, dict[str, Any]] = {
    "--images": {"type": int, "default": 6000, "help": "pictures in all"},
    "--only": {"default": "", "help": "only the rows whose name holds this"},
    "--processes": PROCESSES,
}
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "world": {
        "--icons": {"type": Path, "help": "render the sprites anew: folder of the @iconify-json packages (docs/siblings.md)"},
        "--sprites": {"type": Path, "help": "those of this file; left out: the build folder's, or those that ship"},
        "--shards": {"type": int, "default": 12, "help": "of 4096 pictures each"},
        "--sibling": {"choices": sorted(SIBLINGS), "default": "petri", "help": "which world"},
        "--processes": PROCESSES,
    },
    "begin": {"--trained": {"action": "store_true", "help": "begin with petri's UNet and text encoder too"}},
    "vae": CLOCK,
    "decoder": CLOCK,
    "text": CLOCK,
    "train": CLOCK
    | {
        "--checkpoint-minutes": {"type": float, "default": 5.0},
        "--workers": {"type": int, "default": 1},
        "--batch": {"type": int, "default": 32},
        "--lr": {"type": float, "default": Recipe.lr, "help": "learning rate before it falls"},
        "--hold": {"type": float, "default": Recipe.hold, "help": "share of all its time, earlier stretches too, before it falls"},
    }
    | {"--keep": {"type": int, "nargs": "+", "default": [], "help": "keep the states at these examples too, for `curve`"}}
    | {
        "--channels": {"type": int, "nargs": 2, "help": "UNet of another width, in a build folder of its own: 64 128"},
        "--layers": {"type": int, "help": "layers a block of that UNet"},
    },
    "fidelity": COUNTING | {"--out": {"type": Path, "help": "result file (Markdown)"}},
    "curve": COUNTING
    | {
        "--states": {"nargs": "+", "required": True, "help": "files; FILE=2: its latents were twice the size of the build folder's"},
        "--before": {"type": int, "default": 0, "help": "examples of earlier stretches, which the states do not count"},
        "--title": {"default": "petri's fidelity over its training"},
        "--out": {"type": Path, "default": RESULTS / "petri-curve.md"},
    },
    "speed": {"--rounds": {"type": int, "default": 5}, "--out": {"type": Path, "help": "result file (Markdown)"}},
    "encoder": CLOCK
    | {
        "--checkpoint-minutes": {"type": float, "default": 2.0},
        "--shards": {"type": int, "default": 8, "help": "of 4096 pictures each"},
        "--decoded": {"type": int, "default": 12288, "help": "of these pictures, how many are read behind the autoencoder too"},
        "--images": {"type": int, "default": 900, "help": "held-out pictures that measure it: two thirds of concepts, a third of shapes"},
        "--measure": {"action": "store_true", "help": "measure the weights that are there, train nothing"},
        "--out": {"type": Path, "default": encoder_folder(), "help": "folder of the weights"},
        "--table": {"type": Path, "default": RESULTS / "petri-encoder.md", "help": "result file (Markdown)"},
    },
    "card": {"--results": {"type": Path, "default": RESULTS}},
    "sheet": {
        "--rows": {"type": int, "default": 6, "help": "seeds; with --triggers 0 draws nothing and writes the token table alone"},
        "--triggers": {"action": "store_true", "help": "every prompt of the studies that ship"},
        "--studies": {"type": Path, "default": Path("studies")},
        "--results": {"type": Path, "default": RESULTS},
        "--out": {"type": Path, "default": Path("docs/pictures/petri"), "help": "folder, or a .png"},
        "--processes": PROCESSES,
    },
}
COMMANDS = {
    "world": run_world,
    "begin": run_begin,
    "vae": run_vae,
    "decoder": run_decoder,
    "latents": run_latents,
    "text": run_text,
    "train": run_train,
    "export": run_export,
    "fidelity": run_fidelity,
    "curve": run_curve,
    "sheet": run_sheet,
    "speed": run_speed,
    "encoder": run_encoder,
    "card": run_card,
    "cards": run_cards,
}

if __name__ == "__main__":
    arguments = make_parser().parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        arguments.run(arguments)
    except BuildError as error:
        raise SystemExit(str(error)) from None
