"""Carries a check out: what the minutes afford is drawn, block by block of seeds; scores are taken, page and PNG written."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loralab.checking.advice import Advice, Choice, advise
from loralab.checking.budget import MOST_SEEDS, SEEDS_A_BLOCK, USEFUL_SEEDS, Budget, Wanted, afford, spread_over
from loralab.checking.drawing import Listener, Pace, draw_wave, measure_pace, n_missing
from loralab.checking.opening import Checked, open_check
from loralab.checking.request import STRENGTHS, CheckRequest
from loralab.checking.result import CheckOutcome, Result
from loralab.checking.scores import Scores, worth_keeping
from loralab.checking.scoring import learn_training_set, score, set_threshold
from loralab.checking.writing import write_outcome
from loralab.store.running import published

#: with few files side by side each is drawn at the strengths; of many epochs, those that may be advised
MOST_WITH_STRENGTHS = 3


def check_files(request: CheckRequest, lab: Path, listen: Listener) -> CheckOutcome:
    """Check the files of ``request``; raises LabError where they, the base or the data set cannot be used."""
    with published(lab, "check", name_of(request.paths), listen) as hear:
        return _check_files(request, lab, hear)


def name_of(paths: Sequence[Path]) -> str:
    """Return what a check of these paths is called while it goes on."""
    name = paths[0].resolve().name if paths else ""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:60] or "files"


def _check_files(request: CheckRequest, lab: Path, listen: Listener) -> CheckOutcome:
    started = time.monotonic()
    check = open_check(request, lab)
    learn_training_set(check)
    try:
        pace = measure_pace(check, started)
        _draw_files(check, pace, listen)
        set_threshold(check)
        scores = {check.files[index].label: score(check, index) for index in check.drawn}
        strengths = _draw_strengths(check, scores, pace, listen)
    finally:
        check.executor.close()
    kept, beaten = worth_keeping(scores) if check.role == "epochs" else (list(scores), {})
    gave_up = tuple(given_up(check, strengths))
    result = Result(scores, strengths, advices(check, scores, strengths), kept, beaten, gave_up, time.monotonic() - started)
    return write_outcome(check, result, lab)


def given_up(check: Checked, strengths: Mapping[str, Mapping[float, Scores]]) -> Iterator[str]:
    """Yield what time did not allow, in words."""
    if n := len(check.files) - len(check.drawn):
        left_out = [file.label for index, file in enumerate(check.files) if index not in check.drawn]
        yield f"{n} of {len(check.files)} files ({', '.join(left_out)})"
    whole, drawn = check.all_prompts[0], check.prompts[0]
    for what, all_of, some in (
        ("prompts with the trigger", whole.trigger, drawn.trigger),
        ("unrelated prompts", whole.unrelated, drawn.unrelated),
    ):
        if n := len(all_of) - len(some):
            yield f"{n} of {len(all_of)} {what}"
    if check.n_seeds < USEFUL_SEEDS:
        yield f"more than {check.n_seeds} seeds per prompt, so the intervals are wide"
    for label, at in strengths.items():
        if missing := [f"{strength:g}" for strength in sorted(STRENGTHS) if strength not in at]:
            yield f"the strengths {', '.join(missing)} of {label}"


def plan_budget(check: Checked, pace: Pace) -> None:
    """Decide what is drawn in the time there is, counting what has been drawn, and shorten the check's prompts and files to it."""
    n, longest = len(check.files), max(check.all_prompts, key=lambda prompts: len(prompts.trigger))
    wanted = Wanted(
        n, len(longest.trigger), len(longest.unrelated), len(STRENGTHS), bases_a_seed=n if check.role == "seeds" else 1,
        without=bool(longest.without),
    )  # fmt: skip
    if check.request.seeds is not None:
        check.budget = Budget(check.request.seeds, len(STRENGTHS), n, len(longest.trigger) - 1, len(longest.unrelated))
        return
    found = afford(wanted, pace.seconds_a_picture, pace.left + pace.seconds)
    check.budget = found.at_least(check.budget) if check.n_waves else found
    check.prompts = [prompts.shortened(check.budget.n_captions, check.budget.n_unrelated) for prompts in check.all_prompts]
    check.drawn = sorted({*spread_over(n, check.budget.n_files), *(check.drawn if check.n_waves else ())})


def _draw_files(check: Checked, pace: Pace, listen: Listener) -> None:
    """Draw the base and the files at strength 1, block by block of seeds, as long as strengths can follow in time.

    The base's first block tells how quick this machine is with this base; each block after it tells it better, and the plan follows.
    """
    plan_budget(check, pace)
    draw_wave(check, list(dict.fromkeys(map(check.base_of, check.drawn))), 0, pace, listen, "the base")
    most = -(-(check.request.seeds or MOST_SEEDS) // SEEDS_A_BLOCK)
    for wave in range(most):
        done = check.budget, check.prompts, check.drawn
        plan_budget(check, pace)
        variants = [*dict.fromkeys(map(check.base_of, check.drawn)), *(check.variant(index) for index in check.drawn)]
        later = check.budget.n_strengths * len(check.prompts[0].all) * SEEDS_A_BLOCK * (wave + 1)
        if wave and not pace.affords(n_missing(check, variants, range(wave + 1)) + later):
            check.budget, check.prompts, check.drawn = done  # what the last plan wished for was not drawn
            break
        planned = f"{'' if check.request.seeds else 'about '}{max(check.budget.n_seeds, (wave + 1) * SEEDS_A_BLOCK)}"
        for again in range(wave + 1):  # where there is time for more files or prompts than it seemed, they follow at the first seeds
            seeds = f"seeds {again * SEEDS_A_BLOCK + 1} and {(again + 1) * SEEDS_A_BLOCK} of {planned}"
            draw_wave(check, variants, again, pace, listen, f"{_counted(check)}, {seeds}")
        check.n_waves = wave + 1


def _counted(check: Checked) -> str:
    n = len(check.drawn)
    return "the LoRA and the base" if n == 1 else f"{n} LoRAs and the base"


def _draw_strengths(check: Checked, scores: Mapping[str, Scores], pace: Pace, listen: Listener) -> dict[str, dict[float, Scores]]:
    """Return scores by label and strength of the files that may be advised, as far as time allows; those that tell most come first."""
    found: dict[str, dict[float, Scores]] = {}
    for index in strength_files(check, scores):
        label = check.files[index].label
        by_strength = {1.0: scores[label]}
        for strength in STRENGTHS:
            variant = check.variant(index, strength)
            if not pace.affords(n_missing(check, [variant], range(check.n_waves))):
                continue
            for wave in range(check.n_waves):
                draw_wave(check, [variant], wave, pace, listen, f"{label}, strength {strength:g}")
            by_strength[strength] = score(check, index, strength)
        found[label] = dict(sorted(by_strength.items()))
    return found


def strength_files(check: Checked, scores: Mapping[str, Scores]) -> list[int]:
    """Return the files whose strengths are drawn: each of a few side by side, else that of the most effect and what may replace it."""
    index_of = {file.label: index for index, file in enumerate(check.files)}
    by_effect = sorted(scores, key=lambda label: -float(scores[label].effect.mean()))
    if check.role == "files":
        return [index_of[label] for label in by_effect[:MOST_WITH_STRENGTHS]]
    if check.role != "epochs":
        return [index_of[by_effect[0]]]
    first = advise({Choice(label, 1.0): own for label, own in scores.items()})
    named = [by_effect[0]] if first is None else [first.use.label, first.yardstick.label]
    return [index_of[label] for label in dict.fromkeys(named)]


def advices(check: Checked, scores: Mapping[str, Scores], strengths: Mapping[str, Mapping[float, Scores]]) -> dict[str, Advice | None]:
    """Return one piece of advice over all files of one trigger, else one a file: effects at different words cannot be compared."""
    by_choice = {Choice(label, 1.0): own for label, own in scores.items()}
    by_choice |= {Choice(label, at): own for label, own_at in strengths.items() for at, own in own_at.items()}
    if check.role == "seeds":
        return {label: advise({choice: own for choice, own in by_choice.items() if choice.label == label}) for label in strengths}
    if check.role == "files" and not check.is_one_trigger:
        return {label: advise({choice: own for choice, own in by_choice.items() if choice.label == label}) for label in scores}
    return {"": advise(by_choice)}
