"""Checks the files that have come so far, by the stages and the store of a check: copies in; scores, the page and what is new out.

What is drawn is found in the store, and what was measured in this process is kept in memory: a new file costs its own pictures alone.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loralab.checking import CheckOutcome, CheckRequest
from loralab.checking.budget import FEWEST_SEEDS, SEEDS_A_BLOCK, Budget, Wanted, afford
from loralab.checking.drawing import Listener, Pace, draw_wave, measure_pace
from loralab.checking.found import CheckedFile, read_files
from loralab.checking.listing import Listed
from loralab.checking.opening import Checked, Features, Held, Variant, hold, open_files
from loralab.checking.order import mark_of, moment_of, places_of
from loralab.checking.prompts import read_prompts
from loralab.checking.result import Result
from loralab.checking.run import advices
from loralab.checking.scores import Scores, worth_keeping
from loralab.checking.scoring import learn_training_set, score, set_threshold
from loralab.checking.writing import write_outcome
from loralab.errors import lab_error
from loralab.store import write_atomically
from loralab.watching.request import MOST_SEEDS

PLAN, WATCHED = "plan.json", "watched.txt"


@dataclass
class Session:
    """What stays while a folder is watched."""

    request: CheckRequest
    lab: Path
    out: Path
    held: Held
    plan: Budget | None
    listen: Listener
    features: dict[tuple[str, int], dict[tuple[str, int], Features]] = field(default_factory=dict)  # by weights and first seed
    learned: tuple[Any, Any, Any] | None = None  # what the training set looks like, and how far its pictures lie from themselves
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class State:
    """The check of what has been drawn so far, and the scores in the order of the files."""

    check: Checked
    scores: dict[str, Scores]


def open_session(request: CheckRequest, lab: Path, out: Path, listen: Listener) -> Session:
    """Return a session with base and training set in memory; raises LabError where one of them cannot be used."""
    lines = read_prompts(request.prompts) if request.prompts is not None else None
    return Session(replace(request, out=out), lab, out, hold(request, lines), load_plan(out / PLAN, request), listen)


def load_plan(file: Path, request: CheckRequest) -> Budget | None:
    """Return what an earlier watch of this folder drew of each file, so that files stay comparable; None for the first."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        plan = Budget(int(told["seeds"]), 0, 1, int(told["captions"]), int(told["unrelated"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return plan if request.seeds in (None, plan.n_seeds) else None


def checked_one_by_one(session: Session, copies: Sequence[Path]) -> Iterator[tuple[State, CheckedFile]]:
    """Draw and measure what is missing of the files, and yield after each of them what has been drawn so far."""
    readable, notes = read_files([Listed(copy, named=False) for copy in copies])
    check = open_files(session.request, session.lab, session.held, readable, notes)
    _name_alone(check)
    _learn(session, check)
    _shorten(check, _plan(session, check))
    order = sorted(range(len(check.files)), key=lambda index: not _is_known(session, check, index))  # what needs no drawing comes first
    scores: dict[int, Scores] = {}
    for index in order:
        now = replace(check, drawn=sorted([*scores, index]))  # what is yielded stays as it is
        _draw(session, now, index)
        set_threshold(now)
        scores[index] = score(now, index)
        yield State(now, {now.files[known].label: scores[known] for known in now.drawn}), now.files[index]


def _name_alone(check: Checked) -> None:
    """Call a single file by its moment, as it will be called when others stand beside it."""
    if check.role != "file":
        return
    (file,) = check.files
    places, _ = places_of([mark_of(file.path)], [moment_of(file.metadata)])
    if places:
        check.files = [replace(file, label=places[0].label, at=places[0].at)]
        check.weights = {places[0].label: check.weights[file.label]}


def _learn(session: Session, check: Checked) -> None:
    if session.learned is None:
        learn_training_set(check)
        session.learned = (check.training_features, check.training_copy_features, check.disturbed)
    check.training_features, check.training_copy_features, check.disturbed = session.learned


def _plan(session: Session, check: Checked) -> Budget:
    """Return what is drawn of each file: decided once, with the first, so that all are held against one another at the same seeds."""
    if session.plan is None:
        longest = max(check.all_prompts, key=lambda prompts: len(prompts.trigger))
        n_triggers, n_unrelated = len(longest.trigger), len(longest.unrelated)
        if session.request.seeds is not None:
            plan = Budget(session.request.seeds, 0, 1, n_triggers - 1, n_unrelated)
        else:
            wanted = Wanted(1, n_triggers, n_unrelated, 0, without=bool(longest.without))
            pace = measure_pace(check, time.monotonic())
            plan = afford(wanted, 2 * pace.seconds_a_picture, pace.left)  # a trainer works beside it
            plan = replace(plan, n_seeds=max(FEWEST_SEEDS, min(MOST_SEEDS, plan.n_seeds)))
        session.plan = plan
        told = {"seeds": plan.n_seeds, "captions": plan.n_captions, "unrelated": plan.n_unrelated}
        write_atomically(session.out / PLAN, json.dumps(told).encode())
    return session.plan


def _shorten(check: Checked, plan: Budget) -> None:
    check.budget = plan
    check.prompts = [prompts.shortened(plan.n_captions, plan.n_unrelated) for prompts in check.all_prompts]
    check.n_waves = -(-plan.n_seeds // SEEDS_A_BLOCK)


def _draw(session: Session, check: Checked, index: int) -> None:
    """Draw a file and the base beneath it, block by block of seeds, each alone: what is there is found, and its company does not matter."""
    pace = Pace(float("inf"), 0.0, 0.0, limited=False)
    base, own = check.base_of(index), check.variant(index)
    for variant, title in ((base, "the base"), (own, check.files[index].label)):
        check.features[variant] = session.features.setdefault(_key(check, variant), {})
        for wave in range(check.n_waves):
            draw_wave(check, [variant], wave, pace, session.listen, title)


def _key(check: Checked, variant: Variant) -> tuple[str, int]:
    weights = check.base.fingerprint if variant.index is None else check.weights[check.files[variant.index].label]
    return weights, check.first_seed(variant.owner)


def _is_known(session: Session, check: Checked, index: int) -> bool:
    return bool(session.features.get(_key(check, check.variant(index))))


def write_page(session: Session, state: State, said: Sequence[str], refresh_seconds: int) -> CheckOutcome:
    """Write check's page of what has been drawn so far, with ``said`` on top, and return everything."""
    check, scores = state.check, state.scores
    kept, beaten = worth_keeping(scores) if check.role == "epochs" else (list(scores), {})
    seconds = time.monotonic() - session.began
    result = Result(scores, {}, advices(check, scores, {}), kept, beaten, (), seconds)
    return write_outcome(check, result, session.lab, said, refresh_seconds)


def folder_for(lab: Path, watched: Path, out: Path | None) -> Path:
    """Return the folder of a watch's page: its own for each watched folder, the same each time.

    Raises LabError("spec") where ``out`` already belongs to the watch of another folder.
    """
    own = hashlib.sha256(str(watched.resolve()).encode()).hexdigest()  # a page's folder may be given away: no path stands in it
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in watched.resolve().name)[:60].strip("-") or "folder"
    if out is not None and _watched_there(out) not in ("", own):
        raise lab_error("spec", f"--out {out} already belongs to the watch of another folder", "a separate folder for each")
    numbered = (lab / "checks" / (f"watch-{name}" + (f"-{n}" if n > 1 else "")) for n in itertools.count(1))
    found = out or next(folder for folder in numbered if _watched_there(folder) in ("", own))
    write_atomically(found / WATCHED, own.encode())
    return found


def _watched_there(folder: Path) -> str:
    file = folder / WATCHED
    return file.read_text(encoding="utf-8").strip() if file.is_file() else ""
