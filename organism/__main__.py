"""The commands that make petri: in goes a step's name, out come files in the build folder or the shipped weights.

python -m organism world                  a pool of pictures; `--sibling no-grids` for another world
python -m organism begin                  instead of vae and the tokenizer: petri's own (siblings)
python -m organism vae                    the autoencoder's encoder, which is set, not trained
python -m organism decoder --minutes 16   its decoder; resumes
python -m organism latents                tokenizer and latents of the pool
python -m organism text --minutes 1.2     a start for the text encoder
python -m organism train --minutes 60     UNet and text encoder; resumes
python -m organism export                 the moving averages as fp16 weights
python -m organism fidelity               the fidelity table
python -m organism curve --states A B     fidelity of earlier states of the training
python -m organism sheet                  a contact sheet; `--triggers`: one for each study that ships
python -m organism speed                  load time, size, pictures a second
python -m organism encoder --minutes 15   the image-text encoder that reads concepts; resumes; `--measure`: only its table
python -m organism focus                  the instrument of sharp, blurry and depth of field; before the cards
python -m organism cards                  the instruments' calibration cards on petri, which ship with it
python -m organism means                  what petri draws by itself at the studies' prompts, measured on 512 pictures each; ships with it
python -m organism siblings               siblings from nothing at equal examples: no grids, its twin with grids, no monsters; resumes
python -m organism card                   the measured tables into CARD.md
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from loralab.petri import petri_folder
from loralab.petri.encoder import encoder_folder
from organism.encoding import run_encoder
from organism.focus import INSTRUMENT_PICTURES, run_focus
from organism.making import run_begin, run_decoder, run_export, run_latents, run_text, run_train, run_vae, run_world
from organism.means import FILE, PICTURES, run_means
from organism.measuring import run_card, run_cards, run_curve, run_fidelity, run_sheet, run_speed
from organism.pair import EXAMPLES, make_siblings
from organism.siblings import SIBLINGS, BuildError
from organism.train import Recipe


def run_siblings(args: argparse.Namespace) -> None:
    """Train siblings and a twin on the whole world from nothing, at equal examples, with petri's own tokenizer and autoencoder."""

    def run(words: list[str]) -> None:
        given = make_parser().parse_args(words)
        given.run(given)

    for name, step, became in make_siblings(args.names, args.build, args.examples, args.processes, run):
        print(f"{name}: {step} {became}", flush=True)


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="python -m organism", description="Make petri, the embedded base.")
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
    "--examples": {"type": int, "help": "in place of a time: how many in all, those of earlier stretches with them"},
}
PROCESSES: dict[str, Any] = {"type": int, "default": 2, "help": "processes that draw, of one thread each"}
RESULTS = Path("docs/results")
COUNTING: dict[str, dict[str, Any]] = {
    "--images": {"type": int, "default": 6000, "help": "pictures in all"},
    "--only": {"default": "", "help": "only the rows whose name holds this"},
    "--encoder": {"type": Path, "help": "folder of the encoder that reads concepts; left out: the one that ships"},
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
    "decoder": CLOCK
    | {
        "--checkpoint-minutes": {"type": float, "default": 3.0},
        "--batch": {"type": int, "default": 8},
        "--lr": {"type": float, "default": 1.5e-3, "help": "learning rate at the start"},
        "--shards": {"type": int, "default": 12, "help": "of the pool, whose pictures it is trained on"},
        "--strokes": {"type": float, "default": 0.2, "help": "pictures of strokes for each of the world's, which it is trained on too"},
    },
    "text": CLOCK,
    "train": CLOCK
    | {
        "--checkpoint-minutes": {"type": float, "default": 5.0},
        "--processes": {"type": int, "default": 1, "help": "of one thread and one batch each; with --examples"},
        "--ema": {"type": float, "default": Recipe.ema_decay, "help": "decay of the moving averages"},
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
    "means": {
        "--pictures": {"type": int, "default": PICTURES, "help": "pictures a prompt"},
        "--out": {"type": Path, "default": FILE, "help": "the table"},
    },
    "siblings": {
        "--names": {"nargs": "+", "choices": sorted(SIBLINGS), "default": ["no-grids", "petri", "no-monsters"], "help": "which worlds"},
        "--examples": {"type": int, "default": EXAMPLES, "help": "of each"},
        "--processes": {"type": int, "default": 2, "help": "that draw, and that train"},
    },
    "card": {"--results": {"type": Path, "default": RESULTS}},
    "cards": {
        "--only": {"nargs": "+", "default": [], "help": "make these alone; the others stay as they are: where nothing of theirs changed"}
    },
    "focus": {
        "--pictures": {"type": int, "default": INSTRUMENT_PICTURES, "help": "pictures that it is fitted to"},
        "--out": {"type": Path, "default": encoder_folder(), "help": "folder of the weights"},
    },
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
    "siblings": run_siblings,
    "card": run_card,
    "cards": run_cards,
    "focus": run_focus,
    "means": run_means,
}

if __name__ == "__main__":
    arguments = make_parser().parse_args()
    torch.set_num_threads(arguments.threads)
    try:
        arguments.run(arguments)
    except BuildError as error:
        raise SystemExit(str(error)) from None
