"""Options that several commands share: what they are called, and what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LabOption = Annotated[
    Path | None, typer.Option("--lab", help="Lab folder. Default: the nearest `lab` at or above this folder.", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Does it run at all? Under a minute, no verdicts.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="The study's quick budget.")]
FullOption = Annotated[bool, typer.Option("--full", help="The study's full budget.")]

DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Where the base runs: cpu, cuda, cuda:1, mps, xpu. Default: what the study says, or cpu.")
]

PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="How the base is held: fp32, bf16 or fp16. Default: what the study says, or fp32. `doctor` tells what bf16 gains.",
    ),
]

OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        help="Where it is done: `ray` (a Ray of this machine), `ray://HOST:PORT` (a cluster). Default: here.",
        metavar="WHERE",
    ),
]

BaseOption = Annotated[str, typer.Option("--base", help="`petri`, or the base that the LoRAs belong to.")]
DatasetOption = Annotated[Path | None, typer.Option("--dataset", help="The training set, for resemblance, copies and the trigger.")]
TriggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger", help="The words that call the LoRA; given several times, one a file. Default: found in metadata or captions."
    ),
]
EmbedderOption = Annotated[
    Path | None, typer.Option("--embedder", help="Local folder of a CLIP, SigLIP or DINOv2 encoder that says what looks alike.")
]
PromptsOption = Annotated[
    Path | None, typer.Option("--prompts", help="Text file of your own prompts, one a line; those without the trigger show the damage.")
]
NegativeOption = Annotated[str | None, typer.Option("--negative", help="Negative prompt.")]
SamplerOption = Annotated[str | None, typer.Option("--sampler", help="dpmpp-2m, ddim, euler or euler-a, or as other tools call them.")]
ScheduleOption = Annotated[
    str | None, typer.Option("--schedule", help="Spacing of the steps: normal, karras, exponential, simple, ddim-uniform, sgm-uniform.")
]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Steps of the sampler.")]
GuidanceOption = Annotated[float | None, typer.Option("--guidance", help="Classifier-free guidance (CFG scale); 1 = off.")]
ClipSkipOption = Annotated[int | None, typer.Option("--clip-skip", help="Layer of the text encoder that is read; 1 = the last.")]
PredictionOption = Annotated[
    str | None, typer.Option("--prediction", help="What the base predicts: epsilon or v_prediction. Default: what its files say.")
]
SizeOption = Annotated[int | None, typer.Option("--size", help="Side of the pictures in px. Default: the base's own.")]
