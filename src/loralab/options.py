"""Options that several commands share: what they are called, and what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LabOption = Annotated[
    Path | None, typer.Option("--lab", help="Lab folder. Default: the nearest folder called `lab`, here or further up.", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print a single JSON document instead of text.")]
StudyBaseOption = Annotated[
    str | None,
    typer.Option("--base", help="Run the study on another base than its own: a folder or a .safetensors checkpoint.", metavar="BASE"),
]
TwiceOption = Annotated[
    bool, typer.Option("--twice", help="Ask the study a second time as its `twice:` says: another word, another set, another dose.")
]
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
PlanOption = Annotated[
    bool,
    typer.Option("--plan", help="Show what would be done, what it would cost and what it could decide, without training anything."),
]
CalibrateOption = Annotated[
    bool, typer.Option("--calibrate", help="With --plan: measure this machine's speed again instead of using the speed on record.")
]
AnywayOption = Annotated[bool, typer.Option("--anyway", help="Run even if the plan says that some claims cannot be decided.")]
GateOption = Annotated[
    bool,
    typer.Option(
        "--gate",
        help="Set the exit code: 10 if any claim is contradicted, 11 if any is still open, 12 if any "
        "cannot be measured; the highest one applies.",
    ),
]
WithinOption = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        min=0.1,
        help="Look at the results after 8, 16 and 32 trainings and continue with what is still "
        "open, but start no round that would end later than this.",
    ),
]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", help="`decided`: look at the results after 8, 16 and 32 trainings and continue as long as anything is open."),
]
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", min=4, max=1000, help="Seeds per prompt, instead of as many as the minutes allow.")
]
OrderOption = Annotated[
    str,
    typer.Option(
        "--order", help="Epochs of one training from first to last, as FILE,FILE,...; or `given`, for the order on the command line."
    ),
]
MinutesOption = Annotated[
    float, typer.Option("--minutes", min=0.1, help="How long it may take. More minutes mean more seeds and finer answers.")
]
AsLoadedOption = Annotated[str, typer.Option("--precision", help="Precision of the base: fp32, bf16 or fp16.")]
QuietOption = Annotated[
    float | None,
    typer.Option("--until", min=0.01, help="Stop when no new file has appeared for this many minutes. Default: continue until Ctrl+C."),
]
TensorboardOption = Annotated[
    Path | None,
    typer.Option("--tensorboard", help="Also write the figures for TensorBoard, as a run in this folder.", metavar="DIR"),
]
