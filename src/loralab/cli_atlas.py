"""The command `atlas`: what people believe about LoRA training, what came out on petri, and the same studies on a base of one's own."""

from __future__ import annotations

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
    lab: LabOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what people believe about LoRA training with what came out, or run these studies, here or on a base of your own."""
    from loralab.atlas.beliefs import all_beliefs, belief_of
    from loralab.store import find_lab

    if which is not None and run is not None:
        raise lab_error("spec", f"{which} and --run {run}", "one of them")
    folder = lab or find_lab(Path.cwd())
    if which is None and run is None:
        _list(folder, base, as_json)
        return
    asked = which or str(run)
    beliefs = all_beliefs() if asked == "all" else tuple(belief_of(one) for one in asked.split(","))
    _run(beliefs, folder, base, twice, minutes, as_json)


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
    import json

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
