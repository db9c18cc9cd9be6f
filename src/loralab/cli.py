"""The command line: arguments in, exit code out; torch is imported only by the commands that need it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loralab import __version__, cli_atlas, cli_live
from loralab.errors import LabError, lab_error
from loralab.options import (
    AnywayOption,
    AsLoadedOption,
    BaseOption,
    CalibrateOption,
    ClipSkipOption,
    DatasetOption,
    DeviceOption,
    EmbedderOption,
    FullOption,
    GateOption,
    GuidanceOption,
    JsonOption,
    LabOption,
    MinutesOption,
    NegativeOption,
    OnOption,
    OrderOption,
    PlanOption,
    PrecisionOption,
    PredictionOption,
    PromptsOption,
    QuickOption,
    SamplerOption,
    ScheduleOption,
    SeedsOption,
    SizeOption,
    SmokeOption,
    StepsOption,
    StudyBaseOption,
    TriggerOption,
    TwiceOption,
    UntilOption,
    VaeOption,
    WithinOption,
)
from loralab.portable import never_fail_to_print
from loralab.quiet import quiet_libraries

if TYPE_CHECKING:
    from loralab.spec.load import Loaded

app = typer.Typer(
    name="loralab", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="The laboratory for LoRA training: give it a study, get measured answers.",
)  # fmt: skip


@app.command()
def demo(
    lab: LabOption = None, smoke: SmokeOption = False, precision: PrecisionOption = None, on: OnOption = "", as_json: JsonOption = False
) -> None:
    """Run the article study on the embedded base and print the path of its report."""
    preset = "smoke" if smoke else "quick"
    _run(shipped_study("article"), preset, lab, plan=False, gate=False, as_json=as_json, precision=precision, on=on)


@app.command()
def run(
    study: Annotated[
        Path, typer.Argument(help="Study file (.yaml), or the name of a study that ships with loralab: article, atlas/NN-name.")
    ],
    lab: LabOption = None,
    smoke: SmokeOption = False,
    quick: QuickOption = False,
    full: FullOption = False,
    plan: PlanOption = False,
    calibrate: CalibrateOption = False,
    anyway: AnywayOption = False,
    gate: GateOption = False,
    minutes: WithinOption = None,
    until: UntilOption = None,
    base: StudyBaseOption = None,
    twice: TwiceOption = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    on: OnOption = "",
    as_json: JsonOption = False,
) -> None:
    """Train every arm of a study, draw pictures, measure and judge; if interrupted, run the same command to continue."""
    chosen = [name for name, given in (("smoke", smoke), ("quick", quick), ("full", full)) if given]
    if len(chosen) > 1:
        raise lab_error("spec", f"--{' and --'.join(chosen)} together", "one preset")
    path = study_path(study)
    if calibrate and not plan:
        raise lab_error("spec", "--calibrate without --plan", "both", "without --plan, the speed is measured as the study runs")
    if until not in (None, "decided"):
        raise lab_error("spec", f"--until {until}", "--until decided")
    if smoke and (until or minutes):
        raise lab_error("spec", "a smoke run with looks", "--quick, --full or no preset", "a smoke run prints no verdict")
    _run(
        path, chosen[0] if chosen else None, lab, plan=plan, calibrate=calibrate, gate=gate, as_json=as_json, anyway=anyway, device=device,
        precision=precision, on=on, in_rounds=until is not None or minutes is not None, minutes=minutes, base=base, twice=twice,
    )  # fmt: skip


@app.command()
def report(
    study: Annotated[str, typer.Argument(help="Name of a finished study in the lab.")], lab: LabOption = None, as_json: JsonOption = False
) -> None:
    """Judge a finished study again from the data in the lab, rewrite its report, and print the verdicts and the report's path."""
    from loralab.report.again import judge_and_report
    from loralab.screen import print_verdicts, print_verdicts_json

    result, page = judge_and_report(_lab_folder(lab), study)
    found = {"study": result.spec.study, "study_sha256": result.loaded.sha256, "preset": result.loaded.preset or "none"}
    document = {**found, "verdicts": [verdict.to_json() for verdict in result.verdicts]}
    (print_verdicts_json if as_json else print_verdicts)(document, page)


@app.command()
def check(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="LoRA files, folders or patterns: epochs of one training, one file per training seed, or different LoRAs to compare.",
            metavar="FILES_OR_DIR",
        ),
    ],
    base: BaseOption = "petri",
    dataset: DatasetOption = None,
    trigger: TriggerOption = None,
    embedder: EmbedderOption = None,
    minutes: MinutesOption = 10.0,
    seeds: SeedsOption = None,
    order: OrderOption = "",
    prompts: PromptsOption = None,
    negative: NegativeOption = None,
    sampler: SamplerOption = None,
    schedule: ScheduleOption = None,
    steps: StepsOption = None,
    guidance: GuidanceOption = None,
    clip_skip: ClipSkipOption = None,
    prediction: PredictionOption = None,
    vae: VaeOption = None,
    size: SizeOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the page. Default: checks/NAME in the lab.")] = None,
    device: DeviceOption = None,
    precision: AsLoadedOption = "fp32",
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find out what LoRA files do: which to keep, at what strength, whether they fire without their trigger, what they damage and copy."""
    from loralab.checking import CheckRequest, check_files, load_spec, sample_spec
    from loralab.screen import Screen, print_check

    sample = sample_spec(negative=negative, sampler=sampler, schedule=schedule, steps=steps, guidance=guidance, clip_skip=clip_skip)
    load = load_spec(device=device, precision=precision, prediction=prediction, vae=vae, size_px=size)
    request = CheckRequest(
        tuple(paths), base, dataset, tuple(trigger) if trigger else None, embedder, minutes, seeds, out, order, load, sample, prompts
    )
    with Screen(quiet=as_json) as screen:
        outcome = check_files(request, _lab_folder(lab), screen)
    print_check(outcome.document, outcome.page, outcome.card, as_json)


app.command()(cli_live.watch)
app.command()(cli_live.view)
app.command()(cli_atlas.atlas)


@app.command()
def audit(
    dataset: Annotated[
        Path, typer.Argument(help="A folder of training pictures (kohya's or with metadata.jsonl), or a kohya dataset .toml.")
    ],
    base: Annotated[str, typer.Option("--base", help="Also check sizes and captions against this base: petri, or a folder.")] = "",
    vae: VaeOption = None,
    trigger: Annotated[str, typer.Option("--trigger", help="The trigger word. Default: the word that most captions start with.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="The page to write. Default: NAME-audit.html in this folder.", metavar="FILE")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a training set before training: captions, trigger, duplicates, balance, and what the pictures share but no caption says."""
    from loralab.auditing import run_audit
    from loralab.screen import print_audit

    print_audit(*run_audit(dataset, base=base, vae=vae, trigger=trigger, out=out), as_json)


@app.command()
def export(
    study: Annotated[
        Path, typer.Argument(help="Study file (.yaml), or the name of a study that ships with loralab: article, atlas/NN-name.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to, new or empty. Default: export-STUDY in this folder.", metavar="DIR")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="A preset of the study: smoke, quick, full.")] = None,
    precision: PrecisionOption = None,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write each arm out for another trainer, without training: a kohya data folder, a dataset TOML and sd-scripts commands."""
    from loralab.exporting.study import export_study
    from loralab.preflight import checked_study
    from loralab.spec.load import held_as

    path = study_path(study)
    loaded = held_as(checked_study(path, preset), None, precision)
    done = export_study(loaded, _lab_folder(lab), out if out is not None else Path(f"export-{loaded.spec.study}"))
    if as_json:
        typer.echo(json.dumps({"folder": str(done.folder), "arms": done.arms, "n_runs": done.n_runs, "notes": done.notes}, indent=1))
    else:
        typer.echo(f"{len(done.arms)} arms, {done.n_runs} trainings; train an arm with its train.sh, or train.ps1 in PowerShell")
        for note in done.notes:
            typer.echo(f"note: {note}")
        typer.echo(done.folder)


@app.command()
def cards(
    base: Annotated[str, typer.Option("--base", help="petri, or the folder of a diffusers pipeline.", metavar="BASE")] = "petri",
    vae: VaeOption = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the page and the JSON of each card.", metavar="DIR")] = Path("cards"),
) -> None:
    """Test every instrument on pictures with known content, through a base's own encoder and decoder; print the path of the page."""
    from loralab.bases import load_base
    from loralab.engine.card_files import write_cards
    from loralab.spec import LoadSpec

    typer.echo(write_cards(load_base(base, LoadSpec(vae=vae)), out))


@app.command()
def instruments(as_json: JsonOption = False) -> None:
    """List what can be measured: the names to use in a study, their units, and what they measure."""
    from loralab.screen import print_instruments

    print_instruments(as_json)


@app.command()
def doctor(lab: LabOption = None, on: OnOption = "", as_json: JsonOption = False) -> None:
    """Show what this machine has (or a cluster, with --on), and check that the embedded base loads and draws."""
    from loralab.doctor import examine, examine_places
    from loralab.screen import print_facts

    print_facts(examine_places(_lab_folder(lab), on) if on else examine(_lab_folder(lab)), as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of study files, for editors."""
    from loralab.spec import StudySpec

    typer.echo(json.dumps(StudySpec.model_json_schema(), indent=1))


def study_path(study: Path) -> Path:
    """Return the path of a study that is named by its file, or by the name under which it ships."""
    return shipped_study(study.as_posix()) if not study.suffix and not study.exists() else study


def shipped_study(name: str) -> Path:
    """Return the path of a study that ships with the package; raises LabError("spec") with the names there are."""
    from loralab.spec.load import shipped_file

    if (found := shipped_file(name)) is not None:
        return found
    from loralab.spec.load import study_folders

    known = sorted({file.stem for folder in study_folders() for file in folder.glob("*.yaml")})
    raise lab_error(
        "spec",
        f"there is no study file, and no study that ships with loralab, called {name!r}",
        f"the path to a .yaml file, or one of {', '.join(known)}, or a study that `loralab atlas` lists",
    )


def _lab_folder(lab: Path | None) -> Path:
    from loralab.store import find_lab

    return lab if lab is not None else find_lab(Path.cwd())


def _prepared(
    path: Path,
    preset: str | None,
    device: str | None,
    precision: str | None,
    in_rounds: bool,
    minutes: float | None,
    base: str | None,
    twice: bool,
) -> tuple[bool, Loaded]:
    """Return whether a study is judged in rounds, and the study as the command asks for it."""
    from loralab.preflight import checked_study
    from loralab.spec.load import held_as, preset_of

    loaded = held_as(checked_study(path, preset, base=base, twice=twice), device, precision)
    in_rounds = in_rounds or preset_of(loaded).looks
    if in_rounds:
        from loralab.study.looks import with_looks

        loaded = with_looks(loaded, "--until decided" if minutes is None else f"--minutes {minutes:g}")
    return in_rounds, loaded


def _run(
    path: Path,
    preset: str | None,
    lab: Path | None,
    *,
    plan: bool,
    gate: bool,
    as_json: bool,
    anyway: bool = False,
    calibrate: bool = False,
    device: str | None = None,
    precision: str | None = None,
    in_rounds: bool = False,
    minutes: float | None = None,
    on: str = "",
    base: str | None = None,
    twice: bool = False,
) -> None:
    in_rounds, loaded = _prepared(path, preset, device, precision, in_rounds, minutes, base, twice)
    folder = _lab_folder(lab)
    if plan:
        from loralab.engine.estimate import describe_plan
        from loralab.screen import print_plan

        print_plan(describe_plan(loaded, folder, calibrate=calibrate), as_json)
        return
    from loralab.engine.estimate import refuse_undecidable
    from loralab.screen import Screen, print_result

    if not anyway:
        refuse_undecidable(loaded)
    with Screen(quiet=as_json) as screen:
        from loralab.engine.whole import run_study
        from loralab.study.looks import Budget

        result = run_study(loaded, folder, screen, Budget(minutes) if in_rounds else None, on)
    print_result(result, as_json)
    if gate:
        from loralab.study.judging import gate_code

        raise typer.Exit(gate_code(result.verdicts))


def main(argv: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in a message and an exit code, never in a traceback."""
    never_fail_to_print(sys.stdout, sys.stderr)
    try:
        with quiet_libraries(every_logger=True):
            app(args=argv)
    except LabError as error:
        _print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; run the same command again to continue\n")
        sys.exit(130)


def _print_error(error: LabError) -> None:
    if "--json" in sys.argv:
        problems: list[dict[str, Any]] = [vars(problem) for problem in error.problems]
        sys.stdout.write(json.dumps({"error": error.kind, "problems": problems}, indent=1) + "\n")
    sys.stderr.write(f"loralab: {error.kind} error\n{error}\n")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
