"""Writes a check's page, its JSON document and the picture to share into the check's folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loralab import __version__
from loralab.checking.advice import Advice
from loralab.checking.gathering import PARTS, facts_of, make_input, shown
from loralab.checking.opening import Checked
from loralab.checking.order import mark_of
from loralab.checking.result import CheckOutcome, Result, file_sha256
from loralab.checking.scores import Scores, mean_scores
from loralab.checking.sentences import LEAST_FILES, sentences_of
from loralab.infer.units import estimate_mean, estimate_share
from loralab.report.check_page import make_card, render_check
from loralab.store import write_atomically

MOST_ON_CARD = 4


def write_outcome(
    check: Checked, result: Result, lab: Path, said: Sequence[str] = (), refresh_seconds: int = 0
) -> CheckOutcome:  # fmt: skip
    """Write page, JSON and PNG into the check's folder and return everything.

    ``said`` is what stands above all else; a page that is written again as files come loads itself anew every ``refresh_seconds``.
    """
    folder = check.request.out or lab / "checks" / _folder_name(check)
    sentences = [*said, *sentences_of(check, result)]
    document = _document(check, result, sentences)
    page, card = folder / "index.html", folder / "card.png"
    write_atomically(page, render_check(make_input(check, result, sentences, refresh_seconds)).encode())
    write_atomically(folder / "check.json", json.dumps(document, indent=1).encode())
    write_atomically(card, _card(check, result, sentences[0]))
    return CheckOutcome(check, result, page, card, document)


def _folder_name(check: Checked) -> str:
    homes = [mark_of(file.path).home for file in check.files]
    name = check.files[0].label if check.role == "file" else homes[0].name
    if check.role == "files" and (len(check.files) < 4 or len(set(homes)) > 1):
        name = "-".join(file.label for file in check.files[:3])
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name)[:60].strip("-") or "check"


def _card(check: Checked, result: Result, sentence: str) -> bytes:
    """Return the picture to share: the base and the advised file, or a few files side by side, at the first prompt."""
    advice = result.advice.get("")
    if check.role == "files":
        chosen = check.drawn[:MOST_ON_CARD]
    else:
        label = advice.use.label if advice else next(reversed(result.scores))
        chosen = [index for index in check.drawn if check.files[index].label == label]
    prompt = check.prompts[chosen[0]].trigger[0]
    seeds, base = shown(check, check.base_of(chosen[0]), prompt)
    rows = [("the base", base)]
    for index in chosen:
        own = check.prompts[index].trigger[0]
        label = check.files[index].label + ("" if own == prompt else f", \u201c{own}\u201d")
        rows.append((label, shown(check, check.variant(index), own)[1]))
    footer = f"\u201c{prompt}\u201d, seeds {', '.join(map(str, seeds))}, base {check.base.name}; loralab {__version__}"
    return make_card(sentence, rows, footer)


# --- JSON ---------------------------------------------------------------------------------------------------------------


def _numbers(scores: Scores) -> dict[str, Any]:
    found = {name: getattr(scores, name) for name in ("resemblance", "firing", "change", "damage")}
    means = {name: None if units is None else estimate_mean(units).to_json() for name, units in found.items()}
    return {**means, "copies": None if scores.copies is None else estimate_share(scores.copies).to_json()}


def _advice(advice: Advice | None) -> dict[str, Any] | None:
    if advice is None:
        return None
    return {
        "use": {"file": advice.use.label, "strength": advice.use.strength},
        "against": {"file": advice.yardstick.label, "strength": advice.yardstick.strength},
        "effect_share": advice.effect.to_json() if advice.effect else None,
        "damage_share": advice.damage.to_json() if advice.damage else None,
    }


def _document(check: Checked, result: Result, sentences: list[str]) -> dict[str, Any]:
    files = [
        {"label": file.label, "file": file.path.name, "sha256": file_sha256(file.path), "kept": file.label in result.kept,
         "beaten_by": result.beaten.get(file.label), "at": file.at, "trigger": trigger.words if trigger else None,
         "recipe": dict(file.recipe), **_numbers(result.scores[file.label])}
        for index, (file, trigger) in enumerate(zip(check.files, check.triggers, strict=True)) if index in check.drawn
    ]  # fmt: skip
    recipe = check.role == "seeds" and len(result.scores) >= LEAST_FILES
    strengths = [
        {"file": label, "at": [{"strength": at, **_numbers(item)} for at, item in by_strength.items()]}
        for label, by_strength in result.strengths.items()
    ]
    prompts = [check.prompts[index] for index in check.drawn]
    return {
        "role": check.role, "sentences": sentences, "notes": list(check.notes), "files": files,
        "recipe": _numbers(mean_scores(list(result.scores.values()))) if recipe else None,
        "advice": {label: _advice(advice) for label, advice in result.advice.items()}, "strengths": strengths,
        "differences": {name: list(values) for name, values in check.differences.items()}, "gave_up": list(result.gave_up),
        "prompts": {part: list(dict.fromkeys(text for own in prompts for text in getattr(own, part))) for part in PARTS},
        "n_seeds": check.n_seeds, **facts_of(check, result.seconds),
    }  # fmt: skip
