"""The trainers' regression suite: a few of the atlas' arms, exported for an author's trainer, and two sets of its LoRAs compared.

In: a base; a folder to export to, or the folders of two versions' LoRAs. Out: training sets and commands; or a study per belief in which
each arm's new LoRAs must do what the old ones did, by the same readings and margins as in the atlas.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from loralab.adapters.header import Entry, read_header
from loralab.atlas.beliefs import Belief, all_beliefs
from loralab.errors import LabError, Problem, lab_error
from loralab.preflight import checked
from loralab.spec import StudySpec
from loralab.spec.elsewhere import natural_key
from loralab.spec.load import Loaded, draft_study, draft_text
from loralab.spec.models import ClaimSpec
from loralab.spec.tree import parse_yaml, plain

#: belief -> the arms that the suite trains: the plain recipe, captions, batches, alpha, a schedule, the text encoder
SUITE: Mapping[str, tuple[str, ...]] = {
    "01-unsaid": ("nothing-named", "colour-named"),
    "14-batch": ("one", "four"),
    "08-alpha": ("half",),
    "13-schedules": ("cosine",),
    "11-text-encoder": ("subject-text-encoder-lr-0-0002",),
}
#: trainings of each arm and pictures of each: what the margins need where two versions share no random numbers
TRAININGS, PICTURES = 16, 12
TRAINERS = ("kohya",)
NEW, OLD = "new", "old"


@dataclass(frozen=True)
class Compared:
    """One arm's LoRAs of two versions: in how many trainings they are the same weights, byte for byte, of how many."""

    arm: str
    n_same: int
    n_new: int
    n_old: int

    @property
    def identical(self) -> bool:
        """Whether there is nothing to compare: all are the same."""
        return self.n_same == self.n_new == self.n_old


def suite_beliefs() -> list[tuple[Belief, tuple[str, ...]]]:
    """Return the beliefs of the suite with their arms, in the suite's order."""
    known = {belief.name: belief for belief in all_beliefs()}
    return [(known[name], arms) for name, arms in SUITE.items()]


def files_of(folder: Path, belief: Belief, arm: str) -> list[Path]:
    """Return the LoRAs of an arm where the exported scripts write them; empty where there are none."""
    found = (folder / belief.name / arm / "loras").glob("*.safetensors")
    return sorted(found, key=lambda file: natural_key(file.name))


# --- the studies --------------------------------------------------------------------------------------------------------------


def study_to_export(belief: Belief, arms: tuple[str, ...], base: str | None, trainings: int = TRAININGS) -> Loaded:
    """Return the study whose arms an author's trainer trains; its claims are never judged, they name the prompts."""
    spec = _resolved(belief, base)
    made = {arm: _arm(spec, arm) | {"train": dict(spec.arms[arm].train)} for arm in arms}
    study = _study(belief, spec, made, {arm: list(_claims(spec, arm, arm, "base")) for arm in arms})
    study["train"] = spec.train.model_dump(mode="json", exclude_unset=True) | {"replicates": trainings}
    return _loaded(study, belief.path.parent, base)


def study_to_compare(belief: Belief, arms: tuple[str, ...], base: str | None, new: Path, old: Path) -> Loaded:
    """Return the study in which each arm's new LoRAs must read as the old ones do."""
    spec, made, claims = _resolved(belief, base), dict[str, dict[str, Any]](), dict[str, list[dict[str, Any]]]()
    for arm in arms:
        for version, folder in ((NEW, new), (OLD, old)):
            pattern = (folder.resolve() / belief.name / arm / "loras").as_posix() + "/*.safetensors"
            made[_version(arm, version)] = _arm(spec, arm) | {"adapters": pattern}
        claims[arm] = list(_claims(spec, arm, _version(arm, NEW), _version(arm, OLD)))
    study = _study(belief, spec, made, claims)
    study["sample"] |= {"seeds": PICTURES}
    return _loaded(study, belief.path.parent, base)


def _resolved(belief: Belief, base: str | None) -> StudySpec:
    return draft_study(belief.path, base=base).finished().spec


def _arm(spec: StudySpec, arm: str) -> dict[str, Any]:
    told = spec.arms[arm]
    return {"data": told.data, "captions": told.captions} | ({"trigger": told.trigger} if told.trigger else {})


def _version(arm: str, version: str) -> str:
    return f"{arm[:36]}-{version}"


def _claims(spec: StudySpec, arm: str, cell: str, versus: str) -> Iterator[dict[str, Any]]:
    """Yield a claim of no change for every reading that the belief's study makes of an arm, or of the arms that it is compared with."""
    found: dict[tuple[str, str], float] = {}
    for claim in (claim for experiment in spec.experiments.values() for claim in experiment.claims):
        if claim.margin_absolute is not None and arm in _read(spec, claim):
            found.setdefault((claim.measure, claim.cell.prompt), claim.margin_absolute)
    for (measure, prompt), margin in found.items():
        at = f'{cell} @ "{prompt}"'
        yield {
            "say": f"{measure} at “{prompt}” has not moved", "measure": measure, "cell": at, "expect": "no change",
            "versus": versus if versus == "base" else f'{versus} @ "{prompt}"', "margin_absolute": margin, "anyway": True,
        }  # fmt: skip


def _read(spec: StudySpec, claim: ClaimSpec) -> set[str]:
    """Return the arms that a claim reads at the end of their training; of an effect, the whole family."""
    cells = [cell for cell in (claim.cell, claim.versus_cell) if not cell.is_base and cell.step is None and cell.strength == 1]
    named = {str(cell.arm) for cell in cells}
    families = {spec.arms[name].family for name in named} - {""}
    return named | {name for name, arm in spec.arms.items() if arm.family in families}


def _study(
    belief: Belief, spec: StudySpec, arms: Mapping[str, Any], claims: Mapping[str, list[dict[str, Any]]]
) -> dict[str, Any]:  # fmt: skip
    tree, _ = parse_yaml(belief.path.read_text(encoding="utf-8"), belief.path.name)
    data = plain(tree["data"], belief.path.name)
    used = {arm["data"] for arm in arms.values()}
    return {
        "study": f"trainer-{belief.name}", "about": "Does a change of the trainer move what a LoRA learns?", "base": spec.base,
        "data": {name: entry for name, entry in data.items() if name in used},
        "sample": {"steps": spec.sample.steps, "guidance": spec.sample.guidance, "seeds": spec.sample.seeds},
        "arms": dict(arms),
        "experiments": {arm: {"question": f"Does {arm} learn the same?", "claims": list(told)} for arm, told in claims.items()},
    }  # fmt: skip


def _loaded(study: dict[str, Any], folder: Path, base: str | None) -> Loaded:
    out, yaml = io.StringIO(), YAML(typ="rt")
    yaml.width = 10_000
    yaml.dump(study, out)
    loaded = checked(draft_text(out.getvalue(), folder, name=f"{study['study']}.yaml", given=f"{study['study']}.yaml"))
    return loaded if base is None else replace(loaded, options=("--base", Path(base).name))


# --- export -------------------------------------------------------------------------------------------------------------------


def export_suite(folder: Path, lab: Path, *, base: str | None, trainer: str, trainings: int = TRAININGS) -> dict[str, Any]:
    """Return what was written into ``folder``, new or empty: a folder for each belief, in it one for each arm with data and commands."""
    if trainer not in TRAINERS:
        raise lab_error("spec", f"--trainer {trainer}", f"one of {', '.join(TRAINERS)}", "other trainers can read kohya's folders too")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise lab_error("spec", f"{folder} is already in use", "a new or empty folder")
    from loralab.exporting.study import export_study

    arms, notes, n_runs = [], dict[str, None](), 0
    for belief, chosen in suite_beliefs():
        done = export_study(study_to_export(belief, chosen, base, trainings), lab, folder / belief.name)
        arms += [f"{belief.name}/{arm}" for arm in done.arms]
        notes |= dict.fromkeys(done.notes)
        n_runs += done.n_runs
    told = {"suite": "trainer", "base": base or "petri", "arms": arms, "trainings": n_runs}
    (folder / "suite.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8", newline="\n")
    return {**told, "folder": str(folder), "notes": list(notes)}


# --- comparison ---------------------------------------------------------------------------------------------------------------


def compared(new: Path, old: Path) -> dict[str, list[Compared]]:
    """Return by belief which arms have LoRAs of both versions; raises LabError("spec") that lists what one version lacks."""
    found: dict[str, list[Compared]] = {}
    problems = []
    for belief, arms in suite_beliefs():
        for arm in arms:
            ours, theirs = files_of(new, belief, arm), files_of(old, belief, arm)
            if bool(ours) != bool(theirs):
                lacking = new if theirs else old
                problems.append(Problem(f"{belief.name}/{arm}: no LoRAs in {lacking}", "*.safetensors in its folder `loras`"))
            elif ours:
                same = sum(weights_of(one) == weights_of(other) for one, other in zip(ours, theirs, strict=False))
                found.setdefault(belief.name, []).append(Compared(arm, same, len(ours), len(theirs)))
    if problems or not found:
        nothing = Problem(f"neither {new} nor {old} has LoRAs of the suite", "the folders that `--export` wrote, trained")
        raise LabError("spec", problems or [nothing])
    return found


def weights_of(file: Path) -> tuple[dict[str, Entry], bytes]:
    """Return a LoRA file's tensors without its metadata: where each stands, and their bytes; raises LabError("model")."""
    entries, _, start = read_header(file)
    return entries, file.read_bytes()[start:]
