"""Options that several commands share: what they are called, and what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LabOption = Annotated[
    Path | None, typer.Option("--lab", help="Lab folder. Default: the nearest folder called `lab`, here or further up.", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a single JSON document instead of text.")]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Just check that it works: under a minute, no verdicts.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Use the study's quick budget.")]
FullOption = Annotated[bool, typer.Option("--full", help="Use the study's full budget.")]

DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Device for the base: cpu, cuda, cuda:1, mps or xpu. Default: as in the study, else cpu.")
]

PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="Precision of the base: fp32, bf16 or fp16. Default: as in the study, else fp32. `loralab doctor` shows what bf16 would gain.",
    ),
]

OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        help="Where to do the work: `ray` (Ray on this machine) or `ray://HOST:PORT` (a cluster). Default: in this process.",
        metavar="WHERE",
    ),
]

BaseOption = Annotated[str, typer.Option("--base", help="`petri`, or the base that the LoRAs were trained for.")]
VaeOption = Annotated[
    str | None,
    typer.Option("--vae", help="A VAE to use instead of the base's own: a .safetensors file or a diffusers folder.", metavar="VAE"),
]
DatasetOption = Annotated[Path | None, typer.Option("--dataset", help="The training set: needed for resemblance, copies and the trigger.")]
TriggerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger", help="The LoRA's trigger words; repeat it to give one for each file. Default: read from metadata or captions."
    ),
]
EmbedderOption = Annotated[
    Path | None, typer.Option("--embedder", help="Local folder of a CLIP, SigLIP or DINOv2 encoder that judges likeness.")
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", help="Text file with your own prompts, one per line; those without the trigger are used to measure damage."),
]
NegativeOption = Annotated[str | None, typer.Option("--negative", help="Negative prompt.")]
SamplerOption = Annotated[str | None, typer.Option("--sampler", help="dpmpp-2m, ddim, euler or euler-a; names from other tools work too.")]
ScheduleOption = Annotated[
    str | None, typer.Option("--schedule", help="Noise schedule: normal, karras, exponential, simple, ddim-uniform or sgm-uniform.")
]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Sampling steps.")]
GuidanceOption = Annotated[float | None, typer.Option("--guidance", help="Classifier-free guidance (CFG scale); 1 = off.")]
ClipSkipOption = Annotated[int | None, typer.Option("--clip-skip", help="Which layer of the text encoder to use; 1 = the last.")]
PredictionOption = Annotated[
    str | None, typer.Option("--prediction", help="What the base predicts: epsilon or v_prediction. Default: as its files say.")
]
SizeOption = Annotated[int | None, typer.Option("--size", help="Side of the pictures in pixels. Default: the base's own size.")]
