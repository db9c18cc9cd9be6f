"""From a check and its result to what its page shows: rows, curves, trails and pictures; everything ready to be rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loralab import __version__
from loralab.checking.advice import Advice
from loralab.checking.drawing import pictures
from loralab.checking.opening import Checked, Variant
from loralab.checking.order import mark_of
from loralab.checking.result import Result, file_sha256
from loralab.checking.scores import Scores
from loralab.checking.sentences import limits_of, shown_numbers
from loralab.infer.units import estimate_mean, estimate_share
from loralab.png import png_bytes
from loralab.report.check_input import Chart, CheckInput, Curve, Differences, FileRow, PictureRow, Point, Trail, TrailPoint
from loralab.report.input import Picture

SHOWN_SEEDS = 6
MOST_TRAINING = 8
MOST_FILES_SHOWN = 12
MOST_VALUE = 60  # letters of a recipe's value that are shown
DAMAGE_SAYS = "0 = the same as the base's picture, 1 = as different as a picture from another seed."
PARTS = ("trigger", "without", "unrelated")  # of a file's prompts
CURVES = (("firing", "the same without its trigger"), ("damage", "damage to unrelated prompts"))


def make_input(check: Checked, result: Result, sentences: Sequence[str], refresh_seconds: int = 0) -> CheckInput:
    """Return everything that the page shows."""
    resembles = check.training is not None
    word = "resemblance to the training set" if resembles else "change at the trigger"
    says = f"Resemblance: 0 = as the base draws, 1 = a copy of a training picture. Damage: {DAMAGE_SAYS}"
    says = says if resembles else f"Change and damage: {DAMAGE_SAYS}"
    training = list(check.training) if check.training is not None else []
    return CheckInput(
        title=title_of(check), headline=sentences[0], sentences=tuple(sentences[1:]), notes=check.notes, effect_word=word,
        effect_says=says,
        files=tuple(_row(check, result, index) for index in check.drawn), charts=tuple(_charts(check, result, word, says)),
        trails=tuple(_trails(result)), trails_say=f"Upwards: {word}. To the right: damage to unrelated prompts. The best place is "
            "top left; the recommended choice is green.",
        pictures=tuple(_picture_rows(check)), training=tuple(_training(training)),
        training_says=f"training set, the first {min(MOST_TRAINING, len(training))} of {len(training)} pictures",
        limits=tuple(limits_of(check, result)), facts=tuple(facts_of(check, result.seconds).items()), differences=_differences(check),
        advice_word="keep?" if check.role == "epochs" else "advice", refresh_seconds=refresh_seconds,
    )  # fmt: skip


def title_of(check: Checked) -> str:
    """Return what the page is called."""
    files = check.files
    if check.role == "file":
        return files[0].path.name
    if check.role == "files":
        return " and ".join(file.label for file in files) if len(files) < 4 else f"{len(files)} LoRAs side by side"
    return f"{len(files)} {'epochs' if check.role == 'epochs' else 'trainings'} in {mark_of(files[0].path).home.name}"


# --- numbers ------------------------------------------------------------------------------------------------------------


def _point(label: str, units: np.ndarray, at: float | None = None) -> Point:
    found = estimate_mean(units)
    return Point(label, found.value, found.low, found.high, at)


def _curves(scores: Mapping[str, Scores], effect_word: str, places: Mapping[str, float | None]) -> tuple[Curve, ...]:
    curves = []
    for name, title in (("effect", effect_word), *CURVES):
        values = {label: getattr(item, name) for label, item in scores.items()}
        if all(value is not None for value in values.values()):
            curves.append(Curve(title, name, tuple(_point(label, value, places.get(label)) for label, value in values.items())))
    return tuple(curves)


def _charts(check: Checked, result: Result, word: str, says: str) -> list[Chart]:
    charts = []
    if len(result.scores) > 1:
        places = {file.label: file.at for file in check.files}
        numeric = check.role == "epochs" and sum(at is not None for at in places.values()) > 1
        across = {"epochs": "training progresses to the right", "seeds": "training", "files": "file"}
        counted = (
            "epochs" if any(file.label.startswith("epoch") and file.at == _last_number(file.label) for file in check.files) else "steps"
        )
        curves = _curves(result.scores, word, places)
        charts.append(
            Chart("File by file", says, counted if numeric else across[check.role], curves, numeric, joined=check.role == "epochs")
        )
    for label, by_strength in result.strengths.items():
        if len(by_strength) > 1:
            named = {f"{strength:g}": scores for strength, scores in by_strength.items()}
            charts.append(
                Chart(f"Strength of {label}", says, "strength", _curves(named, word, {at: float(at) for at in named}), numeric=True)
            )
    return charts


def _last_number(label: str) -> float:
    last = label.split()[-1]
    return float(last) if last.isdecimal() else -1.0


def _trails(result: Result) -> list[Trail]:
    advised = {advice.use for advice in result.advice.values() if advice is not None}
    trails = []
    for label, scores in result.scores.items():
        by_strength = result.strengths.get(label, {1.0: scores})
        points = tuple(
            TrailPoint(
                label if strength == 1 else f"{label} at {strength:g}", _point(label, own.effect), _point(label, own.damage),
                (label, strength) in advised,
            )
            for strength, own in by_strength.items()
        )  # fmt: skip
        trails.append(Trail(label, points))
    return trails


def _row(check: Checked, result: Result, index: int) -> FileRow:
    file = check.files[index]
    scores, label = result.scores[file.label], file.label
    copies = None if scores.copies is None else estimate_share(scores.copies)
    keep, why = _advice_word(check, result, label)
    trigger = check.triggers[index]
    return FileRow(
        label, file.path.name, file_sha256(file.path), _point(label, scores.effect),
        None if scores.firing is None else _point(label, scores.firing), _point(label, scores.damage),
        None if copies is None else Point(label, copies.value, copies.low, copies.high), keep, why,
        trigger.words if trigger and not check.is_one_trigger else "",
    )  # fmt: skip


def _advice_word(check: Checked, result: Result, label: str) -> tuple[bool, str]:
    """Return whether a file is what is advised, and the word for its row."""
    own: Advice | None = result.advice.get(label, result.advice.get(""))
    if own is not None and own.use.label == label:
        return True, f"use it at strength {own.use.strength:g}" if check.role != "epochs" else f"keep, strength {own.use.strength:g}"
    if label in result.beaten:
        return False, f"beaten by {result.beaten[label]}"
    return False, "not beaten" if check.role == "epochs" else ""


def _differences(check: Checked) -> Differences | None:
    if check.role != "files" or not check.differences:
        return None
    rows = tuple((name, tuple(_cut(value) for value in shown_numbers(values))) for name, values in check.differences.items())
    return Differences(tuple(file.label for file in check.files), rows)


def _cut(value: str) -> str:
    return value if len(value) <= MOST_VALUE else f"{value[: MOST_VALUE - 1]}\u2026"


# --- pictures -----------------------------------------------------------------------------------------------------------


def shown(check: Checked, variant: Variant, prompt: str) -> tuple[list[int], tuple[Picture, ...]]:
    """Return the first seeds of a variant and their pictures."""
    seeds, images = pictures(check, variant, prompt, SHOWN_SEEDS)
    return seeds, tuple(Picture(png_bytes(image), f"seed {seed}", f"seed {seed}") for seed, image in zip(seeds, images, strict=True))


def _picture_rows(check: Checked) -> list[PictureRow]:
    """Return the pictures prompt by prompt: those of the files' own words first."""
    drawn = [check.prompts[index] for index in check.drawn]
    order = dict.fromkeys(prompt for part in PARTS for own in drawn for prompt in getattr(own, part))
    return [_prompt_rows(check, prompt) for prompt in order]


def _prompt_rows(check: Checked, prompt: str) -> PictureRow:
    rows: list[tuple[str, tuple[Picture, ...]]] = []
    seeds: list[int] = []
    own_seeds = check.role == "seeds"
    for index in [index for index in check.drawn if prompt in check.prompts[index].all][:MOST_FILES_SHOWN]:
        label = check.files[index].label
        if own_seeds or not rows:
            seeds, base = shown(check, check.base_of(index), prompt)
            rows.append((f"the base, seeds of {label}" if own_seeds else "the base", base))
        rows.append((label, shown(check, check.variant(index), prompt)[1]))
    return PictureRow(prompt, () if own_seeds else tuple(seeds), tuple(rows))


def _training(images: Sequence[np.ndarray]) -> list[Picture]:
    return [Picture(png_bytes(image), "", f"training picture {k + 1}") for k, image in enumerate(images[:MOST_TRAINING])]


# --- facts --------------------------------------------------------------------------------------------------------------


def facts_of(check: Checked, seconds: float) -> dict[str, str]:
    """Return how the check was made."""
    sample = check.sample
    triggered = dict.fromkeys(prompt for index in check.drawn for prompt in check.prompts[index].trigger)
    unrelated = dict.fromkeys(prompt for index in check.drawn for prompt in check.prompts[index].unrelated)
    settings = [
        sample.sampler, f"schedule {sample.schedule}" if sample.schedule else "", f"{sample.steps} steps", f"guidance {sample.guidance:g}",
        "in {:.0%} to {:.0%} of the steps".format(*sample.guidance_interval) if sample.guidance_interval != (0, 1) else "",
        f"negative \u201c{sample.negative}\u201d" if sample.negative else "",
        f"clip skip {sample.clip_skip}" if sample.clip_skip != 1 else "", f"{check.base.size_px} px",
    ]  # fmt: skip
    return {
        "trigger": _triggers(check),
        "prompts at the trigger": "; ".join(f"\u201c{prompt}\u201d" for prompt in triggered),
        "unrelated prompts": "; ".join(f"\u201c{prompt}\u201d" for prompt in unrelated),
        "seeds": f"{check.n_seeds} per prompt, from {check.first_seed(0)} on"
        + (", a separate block for each training" if check.role == "seeds" else ""),
        "sampling": ", ".join(part for part in settings if part),
        "base": f"{check.base.name}, sha256 {check.base.fingerprint}",
        "likeness": f"{check.embedder.name}: {check.embedder.says}",
        "loralab": __version__,
        "time": f"{seconds:.0f} s",
    }


def _triggers(check: Checked) -> str:
    told = [None if trigger is None else f"\u201c{trigger.words}\u201d ({trigger.told})" for trigger in check.triggers]
    if len(set(told)) == 1:
        return told[0] or "none known"
    return "; ".join(f"{file.label}: {own or 'none known'}" for file, own in zip(check.files, told, strict=True))
