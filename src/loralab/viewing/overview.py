"""What a lab holds and what goes on in it: a lab in; studies, checks and runs as JSON out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loralab.store import read_lines
from loralab.store.running import Running, runs_of

#: a bar's stage -> what a person calls it
STAGES: Mapping[str, str] = {
    "draw": "Drawing pictures", "data": "Making training sets", "train": "Training LoRAs", "measure": "Measuring",
    "calibrate": "Calibrating instruments", "compare": "Comparing pictures", "report": "Writing the report", "": "Beginning",
}  # fmt: skip


def overview(lab: Path) -> dict[str, Any]:
    """Return what the page shows of the lab."""
    runs = runs_of(lab)
    return {"runs": [run_of(run) for run in runs], "studies": list(studies_of(lab, runs)), "checks": list(checks_of(lab))}


def run_of(run: Running) -> dict[str, Any]:
    """Return a run with its stage in words and how far it is, as a share."""
    share = min(1.0, run.done / run.total) if run.total else 0.0
    return {
        **asdict(run),
        "stage": STAGES.get(run.stage, run.stage),
        "share": share,
        "picture": f"lab/{run.picture}" if run.picture else "",
    }


def studies_of(lab: Path, runs: list[Running]) -> Iterator[dict[str, Any]]:
    """Yield the lab's studies, the latest first."""
    folders = [folder for folder in _folders(lab / "studies") if (folder / "ledger.jsonl").is_file()]
    for folder in sorted(folders, key=lambda folder: -(folder / "ledger.jsonl").stat().st_mtime):
        records = read_lines(folder / "ledger.jsonl")
        events = Counter(str(record.get("event")) for record in records)
        running = any(run.kind == "study" and run.name == folder.name for run in runs)
        last: dict[str, Any] = next((record for record in reversed(records) if record.get("event") == "started"), {})
        yield {
            "name": folder.name, "preset": str(last.get("preset", "")), "at": str(last.get("at", "")),
            "state": "running" if running else "finished" if events["finished"] >= events["started"] else "cut off",
            "report": _shown(folder, "report/index.html", lab), "explorer": _shown(folder, "report/explore.html", lab),
            "pictures": _shown(folder, "first-pictures.png", lab), "verdicts": dict(_verdicts(folder)),
        }  # fmt: skip


def checks_of(lab: Path) -> Iterator[dict[str, Any]]:
    """Yield the lab's checks and watches, the latest first."""
    folders = [folder for folder in _folders(lab / "checks") if (folder / "check.json").is_file()]
    for folder in sorted(folders, key=lambda folder: -(folder / "check.json").stat().st_mtime):
        told = _json(folder / "check.json")
        sentences, files = told.get("sentences") or [""], told.get("files") or []
        yield {
            "name": folder.name, "says": str(sentences[0]), "n_files": len(files), "page": _shown(folder, "index.html", lab),
            "at": (folder / "check.json").stat().st_mtime,
        }  # fmt: skip


def _folders(folder: Path) -> list[Path]:
    return [item for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")] if folder.is_dir() else []


def _shown(folder: Path, name: str, lab: Path) -> str:
    return f"lab/{(folder / name).relative_to(lab).as_posix()}" if (folder / name).is_file() else ""


def _verdicts(folder: Path) -> Counter[str]:
    told = _json(folder / "verdicts.json").get("verdicts")
    return Counter(str(row.get("verdict")) for row in told if isinstance(row, dict)) if isinstance(told, list) else Counter()


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
