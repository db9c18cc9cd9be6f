"""The commands that stay while something goes on: `watch` and `view`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loralab import options
from loralab.errors import lab_error
from loralab.options import JsonOption, LabOption

if TYPE_CHECKING:
    from loralab.watching import Said


def watch(
    folder: Annotated[Path, typer.Argument(help="The folder in which a trainer saves its LoRA files.", metavar="DIR")],
    base: options.BaseOption = "petri",
    dataset: options.DatasetOption = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help="The LoRA's trigger words. Default: found in the captions.")] = None,
    until: options.QuietOption = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, help="How long each new file may take.")] = 2.0,
    seeds: options.SeedsOption = None,
    tensorboard: options.TensorboardOption = None,
    every: Annotated[float, typer.Option("--every", min=0.05, help="Seconds between two looks at the folder.")] = 5.0,
    embedder: options.EmbedderOption = None,
    prompts: options.PromptsOption = None,
    negative: options.NegativeOption = None,
    sampler: options.SamplerOption = None,
    schedule: options.ScheduleOption = None,
    steps: options.StepsOption = None,
    guidance: options.GuidanceOption = None,
    clip_skip: options.ClipSkipOption = None,
    prediction: options.PredictionOption = None,
    vae: options.VaeOption = None,
    size: options.SizeOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the page. Default: checks/watch-NAME in the lab.")] = None,
    device: options.DeviceOption = None,
    precision: options.AsLoadedOption = "fp32",
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """While any trainer saves into a folder: check each new file as it appears, print a line about it, and say when to stop and why."""
    from loralab.checking import CheckRequest, load_spec, sample_spec
    from loralab.store import find_lab
    from loralab.terminal import Screen
    from loralab.watching import WatchRequest, watch_folder

    sample = sample_spec(negative=negative, sampler=sampler, schedule=schedule, steps=steps, guidance=guidance, clip_skip=clip_skip)
    # one process: the cores are the trainer's
    load = load_spec(device=device, precision=precision, prediction=prediction, vae=vae, size_px=size, side_by_side=False)
    check = CheckRequest((folder,), base, dataset, trigger, embedder, minutes, seeds, out, "", load, sample, prompts)

    with Screen(quiet=as_json) as screen:
        bars = screen if screen.console.is_terminal else lambda event: None
        outcome = watch_folder(
            WatchRequest(folder, check, every, until, tensorboard), lab or find_lab(Path.cwd()), partial(_say, as_json), bars
        )
    if outcome is not None and not as_json:
        print(outcome.page)


def _say(as_json: bool, said: Said) -> None:
    text = json.dumps({"kind": said.kind, "text": said.text, **said.document}) if as_json else said.text
    print(f"note: {text}" if said.kind == "note" and not as_json else text, flush=True)


def view(
    files: Annotated[list[Path] | None, typer.Argument(help="LoRA files or folders of them for the bench.", metavar="FILES_OR_DIR")] = None,
    base: options.BaseOption = "petri",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on this machine; 0 uses any free port.")] = 0,
    size: options.SizeOption = None,
    prediction: options.PredictionOption = None,
    device: options.DeviceOption = None,
    precision: options.AsLoadedOption = "fp32",
    lab: LabOption = None,
) -> None:
    """Open the lab as a page on this machine: studies and checks, what is running, and a bench to draw with its LoRAs at the same seeds."""
    from loralab.checking import load_spec
    from loralab.store import find_lab
    from loralab.viewing.bench import Bench

    try:
        from loralab.viewing.server import serve
    except ImportError as error:
        raise lab_error("spec", "`view` needs a server, which is not installed", "the extra", "pip install 'loralab[view]'") from error
    load = load_spec(device=device, precision=precision, prediction=prediction, size_px=size, side_by_side=False)
    bench = Bench(lab or find_lab(Path.cwd()), base, load, tuple(files or ()))

    def say(address: str) -> None:
        print(f"The lab {bench.lab.name} as a page, for this machine alone; Ctrl+C ends it:\n{address}", flush=True)

    try:
        serve(bench, port, say)
    except KeyboardInterrupt:  # how it ends
        return
