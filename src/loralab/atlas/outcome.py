"""What came out of a study of the atlas, as data: a finished study in, one row out; and the rows that ship.

A row is plain JSON, so that others can repeat a study on their base and compare it. What was not run has no row.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loralab.atlas.beliefs import ASSAY, BELIEF, Belief
from loralab.infer.verdict import Verdict
from loralab.report.words import unit_of
from loralab.spec import BASE
from loralab.spec.load import Loaded, preset_of
from loralab.spec.variants import TWICE, named_after, slug
from loralab.study.result import RESULT_FILE, StudyResult, load_result, study_folder

Row = dict[str, Any]
VERSION = 1
#: of a belief, shared among its claims and spent over the looks
ERROR_RATE = 0.05
#: a belief's verdict -> its word on screens and pages
WORDS: Mapping[str, str] = {
    "yes": "yes", "no": "no", "in part": "in part", "open": "can't tell yet", "not measurable": "not measurable", "not run": "not run yet",
}  # fmt: skip


def overall(rulings: Sequence[str]) -> str:
    """Return a belief's verdict from those of its claims: yes or no where all agree, in part where at least one is decided, else open."""
    counts = Counter(rulings)
    n = sum(counts.values())
    if n and counts["not_measurable"] == n:
        return "not measurable"
    if n and counts["supported"] == n:
        return "yes"
    if n and counts["contradicted"] == n:
        return "no"
    return "in part" if counts["supported"] or counts["contradicted"] else "open"


def tally(rulings: Sequence[str]) -> str:
    """Return how many claims came to what: "2 of 4 hold, 1 does not, 1 open"."""
    counts, n = Counter(rulings), len(rulings)
    holds, fails = counts["supported"], counts["contradicted"]
    parts = [f"{holds} of {n} hold{'s' if holds == 1 else ''}"]
    parts += [f"{fails} do{'es' if fails == 1 else ''} not"] if fails else []
    waiting = counts["open"] + counts["leaning"]
    parts += [f"{waiting} open"] if waiting else []
    parts += [f"{counts['not_measurable']} not measurable"] if counts["not_measurable"] else []
    return ", ".join(parts)


def claims_of(row: Mapping[str, Any], experiment: str = BELIEF) -> list[Row]:
    """Return the claims of one experiment that were written before the run."""
    return [claim for claim in row["claims"] if claim["experiment"] == experiment and not claim["exploratory"]]


def rulings_of(row: Mapping[str, Any], experiment: str = BELIEF) -> list[str]:
    """Return the verdicts of one experiment's claims."""
    return [claim["verdict"] for claim in claims_of(row, experiment)]


def assay_of(row: Mapping[str, Any]) -> str:
    """Return what the study's assay came to: "" where it has none, passed where all of its claims hold, else failed or open."""
    rulings = rulings_of(row, ASSAY)
    if not rulings:
        return ""
    return {"yes": "passed", "open": "open"}.get(overall(rulings), "failed")


def decided(row: Mapping[str, Any]) -> bool:
    """Return whether at least one claim of a belief was decided."""
    return row["verdict"] in ("yes", "no", "in part")


def against(row: Mapping[str, Any]) -> bool:
    """Return whether a claim of the belief itself came out against what is said."""
    return "contradicted" in rulings_of(row)


def told(row: Mapping[str, Any]) -> str:
    """Return a belief's verdict in words; what came out against it is called so only once a second version has said the same."""
    word, second = WORDS[row["verdict"]], row.get("twice")
    if assay_of(row) == "failed":
        return "not shown: the LoRA learned too little for an answer"
    if second is None:
        return f"not confirmed yet (came out “{word}” once)" if against(row) else word
    if not against(row) and not against(second):
        return word
    if row["verdict"] == second["verdict"]:
        return f"{word}, asked twice"
    return f"not the same twice: first “{word}”, then “{WORDS[second['verdict']]}”"


# --- from a lab ---------------------------------------------------------------------------------------------------------------


def row_of(belief: Belief, result: StudyResult) -> Row:
    """Return what a finished study of a belief found."""
    rulings = [verdict.verdict for verdict in result.verdicts if verdict.experiment == BELIEF and not verdict.exploratory]
    base = result.bases[BASE]
    return {
        "number": belief.number, "name": belief.name, "study": result.spec.study, "study_sha256": result.loaded.sha256,
        "base": base.name, "base_sha256": base.fingerprint, "verdict": overall(rulings), "claims": list(map(_claim, result.verdicts)),
        "minutes": round(minutes_spent(result), 1), "made": _day(result),
        "trainings": max((run.replicate + 1 for run in result.plan.runs), default=0),
        "command": " ".join([belief.command, *_further(result.loaded)]),
    }  # fmt: skip


def _further(loaded: Loaded) -> list[str]:
    """Return the options that a run had beside its number: those of `loralab atlas` alone."""
    told = list(loaded.options)
    return [*(["--twice"] if "--twice" in told else []), *(told[told.index("--base") :][:2] if "--base" in told else [])]


def _day(result: StudyResult) -> str:
    started = [str(record["at"]) for record in result.records if record.get("event") == "started"]
    return started[-1][:10] if started else ""


def _claim(verdict: Verdict) -> Row:
    found = verdict.contrast
    return {
        "experiment": verdict.experiment, "say": verdict.say, "expect": verdict.expect, "verdict": verdict.verdict,
        "found": verdict.found, "measure": verdict.measure, "unit": unit_of(verdict.measure), "cell": verdict.cell,
        "versus": verdict.versus, "margin": verdict.margin, "exploratory": verdict.exploratory,
        "effect": None if found is None else found.effect, "low": None if found is None else found.low,
        "high": None if found is None else found.high, "level": None if found is None else found.level,
        "trainings": 0 if found is None else found.n_runs,
    }  # fmt: skip


def minutes_spent(result: StudyResult) -> float:
    """Return what the looks of a study took, as its ledger has it; of a study without looks, its last attempt's wall time."""
    sha256 = result.loaded.sha256
    looks = [record for record in result.records if record.get("event") in ("look", "drawn") and record["study_sha256"] == sha256]
    if looks:
        return sum(float(record["seconds"]) for record in looks) / 60
    return float(result.finished.get("wall_seconds", 0.0)) / 60


def finished_in(lab: Path, loaded: Loaded) -> StudyResult | None:
    """Return the result of exactly this study if the lab has it judged, else None."""
    if not (study_folder(lab, loaded.spec.study) / RESULT_FILE).is_file():
        return None
    found = load_result(lab, loaded.spec.study)
    asked = preset_of(found.loaded).verdicts
    return found if asked and found.verdicts and found.finished and found.loaded.sha256 == loaded.sha256 else None


def rows_in(lab: Path, beliefs: Sequence[Belief], base: str | None = None) -> dict[str, Row]:
    """Return what a lab has of each belief, by the belief's name, its second version under `twice`."""
    found: dict[str, Row] = {}
    for belief in beliefs:
        first, second = (_row_in(lab, belief, study_name(belief, base, twice=twice)) for twice in (False, True))
        if first is not None:
            found[belief.name] = {**first, "twice": second}
    return found


def study_name(belief: Belief, base: str | None = None, *, twice: bool = False) -> str:
    """Return what a belief's study is called in a lab, on its own base or another, the first or the second version."""
    name = named_after(belief.study, TWICE) if twice else belief.study
    return name if base is None else named_after(name, f"-on-{slug(base)}")


def _row_in(lab: Path, belief: Belief, study: str) -> Row | None:
    if not (study_folder(lab, study) / RESULT_FILE).is_file():
        return None
    result = load_result(lab, study)
    return row_of(belief, result) if result.verdicts else None


# --- what ships ---------------------------------------------------------------------------------------------------------------


def shipped_rows() -> dict[str, Row]:
    """Return the rows that ship, by the beliefs' names; empty where nothing was run yet."""
    here = Path(__file__).parent
    for file in (here / "results.json", here.parents[2] / "docs" / "results" / "atlas.json"):
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if text.startswith("{"):  # a checkout without symbolic links has a path there
            return {row["name"]: row for row in json.loads(text)["beliefs"]}
    return {}
