"""From a check's scores to its sentences, its page, its JSON document and the picture to share."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from loralab import __version__
from loralab.engine.check.run import Checked, CheckOutcome, Result, file_sha256, pictures
from loralab.engine.check.scores import Estimate, Scores, estimate_mean, estimate_share, mean_scores
from loralab.report.check_input import Chart, CheckInput, Curve, FileRow, PictureRow, Point
from loralab.report.check_page import make_card, render_check
from loralab.report.input import Picture
from loralab.store import write_atomically

SHOWN_SEEDS = 6
MOST_TRAINING = 8
MOST_FILES_SHOWN = 12
LEAST_FILES = 3  # a sentence about a recipe rests on this many trainings at least
#: side damage whose whole interval lies below this share of "another picture" is called small
SMALL_DAMAGE = 0.25


def write_outcome(check: Checked, result: Result, lab: Path) -> CheckOutcome:
    """Write page, JSON and PNG into the check's folder and return everything."""
    folder = check.request.out or lab / "checks" / _folder_name(check)
    sentences = sentences_of(check, result)
    document = _document(check, result, sentences)
    page, card = folder / "index.html", folder / "card.png"
    write_atomically(page, render_check(make_input(check, result, sentences)).encode())
    write_atomically(folder / "check.json", json.dumps(document, indent=1).encode())
    write_atomically(card, _card(check, result.chosen, sentences[1 if check.role == "epochs" else 0]))
    return CheckOutcome(check, result, page, card, document)


def _folder_name(check: Checked) -> str:
    first = check.files[0].path
    name = first.stem if check.role == "file" else first.parent.name
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:60].strip("-") or "check"


# --- sentences ----------------------------------------------------------------------------------------------------------


def sentences_of(check: Checked, result: Result) -> list[str]:
    """Return what was found in plain sentences, the most important first."""
    scores = result.scores
    if check.role == "seeds" and len(scores) >= LEAST_FILES:
        return _about(check, mean_scores(list(scores.values())), f"Over {len(scores)} trainings, the recipe")
    shown = result.kept[-1]
    found = _about(check, scores[shown], "This file" if check.role == "file" else shown[0].upper() + shown[1:])
    if check.role == "epochs":
        found.insert(0, _which_to_keep(list(scores), result.kept, result.beaten))
        found[2:2] = too_early(scores)  # behind the sentence about the last one
    return found


def too_early(scores: Mapping[str, Scores]) -> list[str]:
    """Return a sentence that names the epochs whose effect cannot be told from none, where others have one."""
    idle = [label for label, own in scores.items() if estimate_mean(own.effect).low <= 0]
    if not idle or len(idle) == len(scores):
        return []
    return [f"No effect can be told yet in {', '.join(idle)}."]


def _which_to_keep(labels: Sequence[str], kept: Sequence[str], beaten: Mapping[str, str]) -> str:
    if not beaten:
        n = len(labels)
        return f"None of the {n} files beats another: they trade learning against damage, or differ by less than these seeds show."
    gone = ", ".join(f"{name} (by {by})" for name, by in beaten.items())
    return f"Worth keeping: {', '.join(kept)}. Beaten: {gone}."


def _about(check: Checked, scores: Scores, subject: str) -> list[str]:
    effect = estimate_mean(scores.effect)
    lines = (_effect_line(check, scores, effect, subject), _firing_line(scores, effect), _damage_line(scores), _copy_line(check, scores))
    return [line for line in lines if line]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %".replace("-", "\u2212")


def _range(estimate: Estimate) -> str:
    return f"{_percent(estimate.low)} to {_percent(estimate.high)}"


def _effect_line(check: Checked, scores: Scores, effect: Estimate, subject: str) -> str:
    at, how_far, range_ = f"\u201c{check.trigger.words}\u201d", _percent(effect.value), _range(effect)
    if scores.resemblance is None:
        return f"{subject} changes the pictures at {at} by {how_far} of the way to another picture ({range_})."
    if effect.low > 0:
        return f"{subject} goes {how_far} of the way from the base to the training set at {at} ({range_})."
    if effect.high < 0:
        return f"{subject} draws {at} less like the training set than the base does ({range_} of the way)."
    return (
        f"{subject}: can\u2019t tell whether {at} looks more like the training set than the base\u2019s pictures do ({range_} of the way)."
    )


def _firing_line(scores: Scores, effect: Estimate) -> str:
    if scores.firing is None:
        return "Whether it fires without its trigger can be told with a training set only: give --dataset DIR."
    firing = estimate_mean(scores.firing)
    if effect.low <= 0:
        return ""
    if firing.low > 0:
        return f"It fires without its trigger: {_percent(firing.value / effect.value)} of its effect stays when the trigger is taken out."
    if firing.high < 0.25 * effect.value:
        return "It does not fire without its trigger: less than a quarter of its effect stays."
    return f"Can\u2019t tell whether it fires without its trigger: between {_range(firing)} of the way."


def _damage_line(scores: Scores) -> str:
    damage = estimate_mean(scores.damage)
    size = "little" if damage.high < SMALL_DAMAGE else "much" if damage.low > 0.5 else "somewhat" if damage.low > SMALL_DAMAGE else ""
    how = f"It changes unrelated pictures {size}" if size else "It changes unrelated pictures"
    return f"{how}: {_percent(damage.value)} of the difference between two seeds ({_range(damage)})."


def _copy_line(check: Checked, scores: Scores) -> str:
    if check.training is None:
        return ""
    if scores.copies is None:
        return (
            "Copies of training pictures cannot be told here: the base\u2019s own pictures lie as near to the training set as a copy would."
        )
    share = estimate_share(scores.copies)
    return (
        f"{_percent(share.value)} of the pictures at the trigger are as near to a training picture as a copy of it."
        if share.value
        else "None of its pictures is a copy of a training picture."
    )


def _limits(check: Checked, result: Result) -> list[str]:
    recipe = check.role == "seeds" and len(result.scores) >= LEAST_FILES
    lines = [
        *check.notes,
        f"Likeness is measured by {check.embedder.name}: {check.embedder.says}.",
        f"Intervals are 95 % each, over {'trainings' if recipe else 'image seeds'}; with many files side by side some will miss.",
    ]
    if not recipe:
        lines.append(
            "This is about these files only: one training each. What the recipe does needs three trainings or more, one file a seed."
        )
    if check.role == "epochs":
        lines.append(_resolution(check, result))
    if check.training is None:
        lines.append("Without the training set (--dataset DIR) resemblance, firing without the trigger and copies cannot be measured.")
    return lines


def _resolution(check: Checked, result: Result) -> str:
    """Return what the seeds that were afforded can tell apart."""
    apart = [estimate_mean(later.effect - sooner.effect) for sooner, later in itertools.pairwise(result.scores.values())]
    half = max((found.high - found.low) / 2 for found in apart)
    return (
        f"With {check.n_seeds} seeds a prompt, neighbouring files that differ by less than about {_percent(half)} cannot be told apart; "
        f"half of that takes about {4 * result.seconds / 60:.0f} minutes (--minutes)."
    )


# --- the page -----------------------------------------------------------------------------------------------------------


def _point(label: str, units: np.ndarray) -> Point:
    found = estimate_mean(units)
    return Point(label, found.value, found.low, found.high)


def _curves(scores: Mapping[str, Scores], effect_word: str) -> tuple[Curve, ...]:
    rows = [
        ("effect", effect_word, "effect"),
        ("firing", "the same without its trigger", "firing"),
        ("damage", "damage to unrelated prompts", "damage"),
    ]
    curves = []
    for name, title, css in rows:
        values = {label: getattr(item, name) for label, item in scores.items()}
        if all(value is not None for value in values.values()):
            curves.append(Curve(title, css, tuple(_point(label, value) for label, value in values.items())))
    return tuple(curves)


DAMAGE_SAYS = "0 = the base's picture, 1 = as different as another seed's."


def make_input(check: Checked, result: Result, sentences: Sequence[str]) -> CheckInput:
    """Return everything that the page shows."""
    resembles = check.training is not None
    word = "resemblance to the training set" if resembles else "change at the trigger"
    says = f"Resemblance: 0 = as the base draws, 1 = a copy of a training picture. Damage: {DAMAGE_SAYS}"
    says = says if resembles else f"Change and damage: {DAMAGE_SAYS}"
    by_strength = {f"{strength:g}": item for strength, item in result.strengths.items()}
    charts = [Chart(f"Strength of {check.files[result.chosen].label}", says, "strength", _curves(by_strength, word))]
    if len(result.scores) > 1:
        across = "file" if check.role == "seeds" else "training goes on to the right"
        charts.insert(0, Chart("File by file", says, across, _curves(result.scores, word)))
    curves = _curves(result.scores if len(result.scores) > 1 else by_strength, word)
    learned = f"{word}, upwards, against damage to unrelated prompts: best is top left."
    return CheckInput(
        title=_title(check), headline=sentences[0], sentences=tuple(sentences[1:]), effect_word=word, effect_says=says,
        files=tuple(_row(check, result, index) for index in range(len(check.files))), charts=tuple(charts),
        scatter=Chart("Learned against damaged", learned[0].upper() + learned[1:], "damage", (curves[0], curves[-1])),
        pictures=tuple(_picture_rows(check)), training=tuple(_training(check)), limits=tuple(_limits(check, result)),
        facts=tuple(_facts(check, result.seconds).items()),
    )  # fmt: skip


def _title(check: Checked) -> str:
    if check.role == "file":
        return check.files[0].path.name
    if check.role == "files":
        return " and ".join(file.label for file in check.files) if len(check.files) < 4 else f"{len(check.files)} LoRAs side by side"
    return f"{len(check.files)} {'epochs' if check.role == 'epochs' else 'trainings'} in {check.files[0].path.absolute().parent.name}"


def _row(check: Checked, result: Result, index: int) -> FileRow:
    file = check.files[index]
    scores, keep = result.scores[file.label], check.role == "epochs" and file.label in result.kept
    why = "not beaten" if keep else f"beaten by {result.beaten[file.label]}" if check.role == "epochs" else ""

    def point(units: np.ndarray | None) -> Point | None:
        return None if units is None else _point(file.label, units)

    copies = None if scores.copies is None else estimate_share(scores.copies)

    return FileRow(
        file.label, file.path.name, file_sha256(file.path), _point(file.label, scores.effect), point(scores.firing),
        _point(file.label, scores.damage), None if copies is None else Point(file.label, copies.value, copies.low, copies.high), keep, why,
    )  # fmt: skip


def _png(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def _shown(check: Checked, index: int | None, prompt: str, owner: int = 0) -> tuple[list[int], tuple[Picture, ...]]:
    seeds, images = pictures(check, index, 1.0, prompt, SHOWN_SEEDS, owner)
    return seeds, tuple(Picture(_png(image), f"seed {seed}", f"seed {seed}") for seed, image in zip(seeds, images, strict=True))


def _picture_rows(check: Checked) -> list[PictureRow]:
    rows = []
    for prompt in check.prompts.all:
        shown: list[tuple[str, tuple[Picture, ...]]] = []
        seeds: list[int] = []
        for index, file in enumerate(check.files[:MOST_FILES_SHOWN]):
            if index == 0 or check.role == "seeds":
                seeds, base = _shown(check, None, prompt, index)
                shown.append(("the base" if check.role != "seeds" else f"the base, seeds of {file.label}", base))
            shown.append((file.label, _shown(check, index, prompt)[1]))
        rows.append(PictureRow(prompt, tuple(seeds) if check.role != "seeds" else (), tuple(shown)))
    return rows


def _training(check: Checked) -> list[Picture]:
    images: Sequence[np.ndarray] = [] if check.training is None else list(check.training[:MOST_TRAINING])
    return [Picture(_png(image), "", f"training picture {k + 1}") for k, image in enumerate(images)]


def _facts(check: Checked, seconds: float) -> dict[str, str]:
    return {
        "trigger": f"\u201c{check.trigger.words}\u201d, {check.trigger.told}",
        "prompts at the trigger": "; ".join(f"\u201c{prompt}\u201d" for prompt in check.prompts.trigger),
        "unrelated prompts": "; ".join(f"\u201c{prompt}\u201d" for prompt in check.prompts.unrelated),
        "seeds": f"{check.n_seeds} a prompt, from {check.first_seed(0)} on"
        + (", a block of its own for each training" if check.role == "seeds" else ""),
        "sampling": f"{check.sample.sampler}, {check.sample.steps} steps, guidance {check.sample.guidance:g}",
        "base": f"{check.base.name}, sha256 {check.base.fingerprint}",
        "likeness": f"{check.embedder.name}: {check.embedder.says}",
        "loralab": __version__,
        "time": f"{seconds:.0f} s",
    }


def _card(check: Checked, chosen: int, sentence: str) -> bytes:
    prompt = check.prompts.trigger[0]
    owner = chosen if check.role == "seeds" else 0
    _, base = _shown(check, None, prompt, owner)
    seeds, lora = _shown(check, chosen, prompt)
    footer = f"\u201c{prompt}\u201d, seeds {', '.join(map(str, seeds))}, base {check.base.name}; loralab {__version__}"
    return make_card(sentence, [("the base", base), (check.files[chosen].label, lora)], footer)


# --- JSON ---------------------------------------------------------------------------------------------------------------


def _numbers(scores: Scores) -> dict[str, Any]:
    found = {name: getattr(scores, name) for name in ("resemblance", "firing", "change", "damage")}
    means = {name: None if units is None else estimate_mean(units).to_json() for name, units in found.items()}
    return {**means, "copies": None if scores.copies is None else estimate_share(scores.copies).to_json()}


def _document(check: Checked, result: Result, sentences: Sequence[str]) -> dict[str, Any]:
    files = [
        {"label": file.label, "file": file.path.name, "sha256": file_sha256(file.path), "kept": file.label in result.kept,
         "beaten_by": result.beaten.get(file.label), **_numbers(result.scores[file.label])}
        for file in check.files
    ]  # fmt: skip
    recipe = check.role == "seeds" and len(result.scores) >= LEAST_FILES
    return {
        "role": check.role, "sentences": list(sentences), "notes": list(check.notes), "files": files,
        "recipe": _numbers(mean_scores(list(result.scores.values()))) if recipe else None,
        "strengths": {
            "file": check.files[result.chosen].label, "at": [{"strength": at, **_numbers(item)} for at, item in result.strengths.items()],
        },
        "prompts": {"trigger": check.prompts.trigger, "without": check.prompts.without, "unrelated": check.prompts.unrelated},
        "n_seeds": check.n_seeds, **_facts(check, result.seconds),
    }  # fmt: skip
