"""The command `atlas`: what people believe about LoRA training, what came out on petri, and the same studies on a base of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from loralab import options
from loralab.errors import lab_error
from loralab.options import JsonOption, LabOption


def atlas(
    which: Annotated[str | None, typer.Argument(help="Number or name of a belief, to run its study. Default: list all.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="`all`, or numbers and names with commas between them.", metavar="WHICH")] = None,
    minutes: Annotated[float, typer.Option("--minutes-each", min=0.1, help="Start no round of a study that would end later.")] = 10.0,
    base: options.StudyBaseOption = None,
    twice: options.TwiceOption = False,
    suite: Annotated[
        str | None, typer.Option("--suite", help="`trainer`: the studies by which a trainer's author tests a change.", metavar="SUITE")
    ] = None,
    export: Annotated[Path | None, typer.Option("--export", help="With --suite: write its data and commands here.", metavar="DIR")] = None,
    trainer: Annotated[str, typer.Option("--trainer", help="With --export: whose commands to write: kohya.")] = "kohya",
    trainings: Annotated[int, typer.Option("--trainings", min=3, max=256, help="With --export: trainings of each arm.")] = 16,
    adapters: Annotated[
        Path | None, typer.Option("--adapters", help="With --suite: an export that the changed trainer has trained.", metavar="DIR")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="With --adapters: an export that the trainer before the change has trained.")
    ] = None,
    gate: options.GateOption = False,
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people believe about LoRA training with what came out, or run these studies, here or on a base of your own."""
    from loralab.atlas.beliefs import all_beliefs, belief_of
    from loralab.store import find_lab

    if which is not None and run is not None:
        raise lab_error("spec", f"{which} and --run {run}", "one of them")
    folder = lab or find_lab(Path.cwd())
    if suite is not None or export is not None or adapters is not None or against is not None:
        if which is not None or run is not None or twice:
            raise lab_error("spec", "--suite together with a belief, --run or --twice", "--suite alone")
        _suite(suite, export, trainer, trainings, adapters, against, gate, folder, base, as_json)
        return
    if which is None and run is None:
        _list(folder, base, as_json)
        return
    asked = which or str(run)
    beliefs = all_beliefs() if asked == "all" else tuple(belief_of(one) for one in asked.split(","))
    _run(beliefs, folder, base, twice, minutes, as_json)


def _suite(
    suite: str | None, export: Path | None, trainer: str, trainings: int, adapters: Path | None, against: Path | None, gate: bool,
    lab: Path, base: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write the trainers' suite out, or compare two versions' LoRAs of it."""
    expected = "--suite trainer with --export DIR, or with --adapters DIR --against DIR"
    if suite != "trainer":
        raise lab_error("spec", f"--suite {suite}" if suite else "--export, --adapters or --against without --suite", expected)
    if (export is None) == (adapters is None) or (adapters is None) != (against is None):
        raise lab_error("spec", "--suite trainer with options that do not belong together", expected)
    if export is not None:
        _export_suite(export, trainer, trainings, lab, base, as_json)
    elif adapters is not None and against is not None:
        _compare(adapters, against, gate, lab, base, as_json)


def _export_suite(folder: Path, trainer: str, trainings: int, lab: Path, base: str | None, as_json: bool) -> None:
    from loralab.atlas.suite import export_suite

    done = export_suite(folder, lab, base=base, trainer=trainer, trainings=trainings)
    if as_json:
        print(json.dumps(done, indent=1))
        return
    print(f"{len(done['arms'])} arms, {done['trainings']} trainings; train each with its train.sh, or train.ps1 in PowerShell")
    print(*(f"note: {note}" for note in done["notes"]), sep="\n", end="\n" if done["notes"] else "")
    print(done["folder"])


def _compare(new: Path, old: Path, gate: bool, lab: Path, base: str | None, as_json: bool) -> None:
    from loralab.atlas.regression import compare_versions, lines_of
    from loralab.terminal import Screen

    with Screen(quiet=as_json) as screen:
        found = compare_versions(new, old, lab, screen, base)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        print(*lines_of(found), sep="\n")
        print(*(result.page for _, result in found.studies), sep="\n")
    if gate:
        raise typer.Exit(found.code)


def _list(lab: Path, base: str | None, as_json: bool) -> None:
    from loralab.atlas.beliefs import all_beliefs
    from loralab.atlas.minutes import minutes_by_look
    from loralab.atlas.outcome import rows_in, shipped_rows
    from loralab.atlas.showing import listed, print_list
    from loralab.spec.load import load_study
    from loralab.terminal import console

    beliefs = all_beliefs()
    minutes = {belief.name: max(minutes_by_look(load_study(belief.path)).values()) for belief in beliefs}
    print_list(listed(beliefs, shipped_rows(), rows_in(lab, beliefs, base), minutes), console(), as_json)


def _run(beliefs: tuple[Any, ...], lab: Path, base: str | None, twice: bool, minutes: float, as_json: bool) -> None:
    """Run studies one behind another and print a line about each; the exit code is 1 where one could not be run."""
    from loralab.atlas.outcome import row_of
    from loralab.atlas.running import Asked, run_beliefs
    from loralab.atlas.showing import sentence_of, sentences
    from loralab.screen import Screen, print_result

    rows, failed = [], False
    with Screen(quiet=as_json) as screen:
        for answered in run_beliefs(beliefs, Asked(base, twice, minutes), lab, lambda _: screen):
            row = None if answered.result is None else row_of(answered.belief, answered.result)
            rows += [] if row is None else [row]
            failed = failed or row is None
            if as_json:
                continue
            if answered.result is not None and len(beliefs) == 1:
                print_result(answered.result, as_json=False)
            print(sentence_of(answered, row), flush=True)
    if as_json:
        print(json.dumps({"beliefs": rows}, indent=1))
    elif len(beliefs) > 1:
        print(*sentences(rows), sep="\n")
    if failed:
        raise typer.Exit(1)
