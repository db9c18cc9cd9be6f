"""The functions of the public API, as `import loralab` offers them; what the command line does, for scripts and notebooks.

Nothing is printed, and mistakes are raised as `loralab.LabError`. `docs/api.md` shows them in use.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from loralab.errors import lab_error
from loralab.measure import Instrument, with_instruments
from loralab.portable import replace_folder
from loralab.quiet import quiet_libraries
from loralab.spec import BASE, Cell
from loralab.spec.load import Loaded

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from loralab.data import Example
    from loralab.infer.verdict import Verdict
    from loralab.study import result as found
    from loralab.work.events import Event

Given = ParamSpec("Given")
Returned = TypeVar("Returned")
#: makes examples of a size; what else the study's data entry says comes as keywords
Generator = Callable[..., "Sequence[Example]"]


@dataclass(frozen=True)
class Study:
    """A checked study, ready to be planned and run; ``instruments`` are one's own that its claims name."""

    loaded: Loaded
    instruments: tuple[Instrument, ...] = ()

    @property
    def name(self) -> str:
        """The study's name."""
        return self.loaded.spec.study

    @property
    def spec(self) -> Any:
        """The resolved study: `spec.arms`, `spec.data`, `spec.experiments`, ..."""
        return self.loaded.spec


@dataclass(frozen=True)
class Drawn:
    """A picture that was drawn: by which training (a base's picture: beside which), at which image seed, and where it lies."""

    training: int
    seed: int
    path: Path

    @property
    def array(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8."""
        from loralab.measure.files import load_pictures

        picture: np.ndarray = load_pictures([self.path])[0]
        return picture


class Figure(str):
    """A figure as SVG text; notebooks show it, `save` writes it."""

    def _repr_svg_(self) -> str:
        return str(self)

    def save(self, path: str | Path) -> Path:
        """Return the path, behind writing the figure there."""
        Path(path).write_text(self, encoding="utf-8", newline="\n")
        return Path(path)


@dataclass(frozen=True)
class StudyResult:
    """What a study found: a frozen view of what lies in the lab."""

    found: found.StudyResult

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on each question, in the order of the study; empty where the preset prints none."""
        return self.found.verdicts

    @property
    def readings(self) -> pl.DataFrame:
        """One row a reading: arm, replicate, prompt, strength, step, seed, measure, value, status, reason, is_base."""
        return self.found.readings

    @property
    def report(self) -> Path:
        """The report's page."""
        return self.found.page

    def pictures(self, arm: str | None, prompt: str, strength: float = 1.0, step: int | None = None) -> list[Drawn]:
        """Return the pictures of an arm at a prompt, training by training; of the study's base, for ``arm`` None.

        Raises LabError("spec") where nothing was drawn there, with what was.
        """
        cell = Cell(BASE if arm is None else arm, prompt, 1.0 if arm is None else strength, step)
        files = {training: self.found.pictures(cell, training) for training in self.found.replicates(cell)}
        drawn = [Drawn(training, seed, path) for training, of_it in files.items() for seed, path in of_it.items()]
        if not drawn:
            there = ", ".join(dict.fromkeys(str(each) for each in self.found.plan.cells))
            raise lab_error("spec", f"no pictures of {cell}", f"one of {there}")
        return drawn

    def figure(self, question: str | Verdict) -> Figure:
        """Return the figure of a question: a verdict, or the words of its claim; raises LabError("spec") with the questions there are."""
        from loralab.report.standalone import figure_svg

        asked = [verdict for verdict in self.verdicts if question in (verdict, verdict.say)]
        if not asked:
            known = "; ".join(verdict.say for verdict in self.verdicts) or "none: this preset prints no verdicts"
            raise lab_error("spec", f"no question {question!r}", known)
        return Figure(figure_svg(asked[0]))


@dataclass(frozen=True)
class Checked:
    """What `check` found: ``document`` as `--json` prints it, the ``page``, and the ``card`` to share."""

    document: dict[str, Any]
    page: Path
    card: Path


@dataclass(frozen=True)
class Audited:
    """What `audit` found: ``document`` as `--json` prints it, and the ``page``."""

    document: dict[str, Any]
    page: Path


def _quietly(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """Return the function with other libraries silenced while it runs: what is wrong is raised in the lab's words."""

    @wraps(function)
    def quiet(*args: Given.args, **named: Given.kwargs) -> Returned:
        with quiet_libraries():
            return function(*args, **named)

    return quiet


@_quietly
def load_study(
    study: str | Path | Mapping[str, Any], preset: str | None = None, *, instruments: Sequence[Instrument] = (),
    generators: Mapping[str, Generator] | None = None, folder: str | Path = ".", lab: str | Path | None = None,
) -> Study:  # fmt: skip
    """Return a study, checked as the command line checks it.

    ``study`` is the name of one that ships (`"article"`), the path of a file, or what such a file says as dictionaries and lists; relative
    paths in the latter are relative to ``folder``. ``instruments`` may be named by its claims. ``generators`` are functions by name: a
    data entry `{generate: NAME, ...}` becomes the examples that `function(size_px=..., ...)` returns, kept as a folder in the lab.
    Raises LabError("spec") that lists every mistake.
    """
    from loralab.preflight import checked
    from loralab.spec.load import draft_study, draft_text, shipped_file

    with with_instruments(*instruments):
        if isinstance(study, Mapping):
            draft = draft_text(_written(_with_generated(study, generators or {}, _lab(lab))), Path(folder).resolve(), preset)
        elif generators:
            raise lab_error(
                "spec",
                "generators together with a study file",
                "the study as a dictionary",
                "a study file can use only the generators that ship with loralab",
            )
        else:
            path = Path(study)
            shipped = shipped_file(str(study)) if not path.suffix and not path.exists() else None
            draft = draft_study(shipped or path, preset)
        return Study(checked(draft), tuple(instruments))


@_quietly
def plan(study: Study, *, lab: str | Path | None = None, calibrate: bool = False) -> dict[str, Any]:
    """Return what the study would do, cost and be able to decide, as `loralab run --plan --json` prints it; nothing is made.

    Keys include `cost` (`minutes`, `disk_mib`), `arms`, `claims`, `n_runs`, `n_images`; ``calibrate`` measures this machine again.
    """
    from loralab.engine.estimate import describe_plan

    with with_instruments(*study.instruments):
        return describe_plan(study.loaded, _lab(lab), calibrate=calibrate)


@_quietly
def run(
    study: Study, *, lab: str | Path | None = None, until: str = "", minutes: float | None = None,
    on_event: Callable[[Event], None] | None = None, on: str = "",
) -> StudyResult:  # fmt: skip
    """Return the study's result, behind training, drawing, measuring and judging what the lab does not hold already.

    ``lab`` is the lab's folder (default: the nearest `lab` at or above the working folder). With ``until="decided"``, or ``minutes``, the
    study looks after 8, 16 and 32 trainings and goes on with what is open. ``on_event`` is called as work goes on, and ``on`` is "", `ray`
    or `ray://HOST:PORT`. Cut off, the same call goes on. Raises LabError.
    """
    from loralab.engine.whole import run_study
    from loralab.study.looks import Budget, with_looks

    if until not in ("", "decided"):
        raise lab_error("spec", f"until={until!r}", 'until="decided"')
    loaded, budget = study.loaded, None
    if until or minutes is not None:
        loaded = with_looks(loaded, "--until decided" if minutes is None else f"--minutes {minutes:g}")
        budget = Budget(minutes)
    with with_instruments(*study.instruments):
        return StudyResult(run_study(loaded, _lab(lab), on_event or _unheard, budget, on))


@_quietly
def check(paths: Sequence[str | Path], *, lab: str | Path | None = None, **options: Any) -> Checked:
    """Return what LoRA files do; options are those of `loralab check`: base, dataset, trigger, minutes, seeds, out, ...

    Raises LabError, and TypeError for an option that there is not.
    """
    from loralab.checking import CheckRequest, check_files

    with_paths: dict[str, Any] = {
        name: Path(value) if name in ("dataset", "embedder", "out") and value else value for name, value in options.items()
    }
    outcome = check_files(CheckRequest(tuple(map(Path, paths)), **with_paths), _lab(lab), _unheard)
    return Checked(outcome.document, outcome.page, outcome.card)


@_quietly
def audit(dataset: str | Path, *, base: str = "", trigger: str = "", out: str | Path | None = None) -> Audited:
    """Return what a training set would teach, and the page that shows it; ``out`` is the page's path (default: NAME-audit.html here)."""
    from loralab.auditing.run import run_audit

    found, page = run_audit(Path(dataset), base=base, trigger=trigger, out=None if out is None else Path(out))
    return Audited(found.to_json(), page)


def _lab(lab: str | Path | None) -> Path:
    from loralab.store import find_lab

    return Path(lab) if lab is not None else find_lab(Path.cwd())


def _unheard(event: Any) -> None:
    """Hear an event, and say nothing."""


def _written(study: Mapping[str, Any]) -> str:
    """Return the YAML text that says the same."""
    from ruamel.yaml import YAML

    yaml, out = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.dump(_plain(study), out)
    return out.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _with_generated(study: Mapping[str, Any], generators: Mapping[str, Generator], lab: Path) -> dict[str, Any]:
    """Return the study with each data entry of one's own generators as the folder that its examples are kept in."""
    data = {name: _kept(dict(entry), generators, study, lab) for name, entry in study.get("data", {}).items()}
    return {**study, "data": data} if data else dict(study)


def _kept(entry: dict[str, Any], generators: Mapping[str, Generator], study: Mapping[str, Any], lab: Path) -> dict[str, Any]:
    name = entry.get("generate")
    if not isinstance(name, str) or name not in generators:
        return entry
    from loralab.data import write_kohya_folder

    size_px = int(study.get("load", {}).get("size_px") or (64 if study.get("base", "petri") == "petri" else 512))
    options = {key: value for key, value in entry.items() if key != "generate"}
    examples = list(generators[name](size_px=size_px, **options))
    if not examples:
        raise lab_error("data", f"the generator {name!r} returned no examples", "at least one")
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.image.shape}{example.caption}\0".encode() + example.image.tobytes())
    folder = lab.resolve() / "generated" / digest.hexdigest()[:16]
    if not folder.exists():
        scratch = folder.with_name(folder.name + ".part")
        write_kohya_folder(examples, [example.caption for example in examples], scratch, repeats=1, name=str(name))
        replace_folder(scratch, folder)
    return {"folder": str(folder / f"1_{name}")}
