"""What the terminal shows: events and outcomes in, progress bars and plain sentences out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from loralab.terminal import Screen as Screen
from loralab.terminal import console as console_for_output

if TYPE_CHECKING:
    from loralab.auditing import Audit
    from loralab.infer.verdict import Verdict
    from loralab.study.result import StudyResult

WORDS = {
    "supported": "[green]yes[/]",
    "contradicted": "[red]no[/]",
    "leaning": "[green]some[/]",
    "open": "[yellow]can't tell yet[/]",
    "not_measurable": "[magenta]not measurable[/]",
}
#: names of pictures behind a remark of an audit
FILES_A_REMARK = 6
#: the share of the cores by which a machine is busier now than when its speed was measured, before the plan says so.
BUSIER = 0.25
#: behind a claim that was written after something could be seen: it suggests what to test next, and answers nothing.
AFTERTHOUGHT = " [dim](afterthought: written after results had been seen)[/]"


def print_result(result: StudyResult, as_json: bool) -> None:
    """Print a study's verdicts and, last, the path of its report."""
    plan, times = result.plan, result.finished
    verdicts = [verdict.to_json() for verdict in result.verdicts]
    if as_json:
        document = {
            "study": result.spec.study, "preset": result.loaded.preset or "none", "report": str(result.page), "images": plan.n_images,
            "runs": len(plan.runs), "failures": {str(source): reason for source, reason in result.failures.items()},
            "wall_seconds": times["wall_seconds"], "stage_seconds": times["stage_seconds"], "verdicts": verdicts,
        }  # fmt: skip
        print(json.dumps(document, indent=1))
        return
    console = console_for_output()
    if verdicts:
        _show_verdicts(console, verdicts)
        _show_answers(console, result.verdicts)
    else:
        console.print("This preset gives no verdicts: it only shows that everything works.")
    console.print(f"\n{len(plan.runs)} LoRAs, {plan.n_images} pictures, {times['wall_seconds'] / 60:.1f} minutes. The report:")
    print(result.page)


def _show_answers(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print the most important answers in words, and what the units in them mean."""
    from loralab.infer.words import unit_notes
    from loralab.report.sentences import most_important, one_answer
    from loralab.report.words import unit_of

    told = most_important(verdicts)
    console.print("\n[bold]In short[/]")
    for verdict in told:
        console.print(Padding(escape(one_answer(verdict)), (0, 0, 0, 2), expand=False))
    for note in unit_notes(unit_of(verdict.measure) for verdict in told):
        console.print(Padding(f"[dim]{escape(note)}[/]", (0, 0, 0, 2), expand=False))


def print_verdicts(document: Mapping[str, Any], page: Path) -> None:
    """Print the verdicts of a finished study and the path of its report."""
    if document["verdicts"]:
        _show_verdicts(console_for_output(), document["verdicts"])
    print(page)


def print_verdicts_json(document: Mapping[str, Any], page: Path) -> None:
    """Print the verdicts of a finished study as JSON."""
    print(json.dumps({**document, "report": str(page)}, indent=1))


def _show_verdicts(console: Console, verdicts: list[dict[str, Any]]) -> None:
    """Print the verdicts under their experiments: the answer first, then the claim, then why; an afterthought is marked as one."""
    experiment = ""
    for verdict in verdicts:
        if verdict["experiment"] != experiment:
            experiment = verdict["experiment"]
            console.print(f"\n[bold]{escape(experiment)}[/]")
        later = AFTERTHOUGHT if verdict.get("exploratory") else ""
        console.print(f"  {WORDS[verdict['verdict']]}: {escape(verdict['say'])}{later}")
        console.print(Padding(f"[dim]{escape(verdict['reason'])}[/]", (0, 0, 0, 6), expand=False))


def print_plan(plan: Mapping[str, Any], as_json: bool) -> None:
    """Print what a study would do, what it costs, and what it can decide."""
    if as_json:
        print(json.dumps(plan, indent=1))
        return
    console = console_for_output()
    cost = plan["cost"]
    console.print(f"[bold]{escape(plan['study'])}[/], preset {plan['preset']}: {escape(plan['about'])}")
    console.print(
        f"{plan['n_arms']} arms, {plan['n_runs']} LoRAs, {plan['n_images']} pictures in {plan['n_cells']} cells; "
        f"about {cost['minutes']:.1f} minutes and {cost['disk_mib']:.0f} MiB"
    )
    if plan["looks"]:
        told = ", ".join(f"{look['trainings']}: {look['minutes']:.1f} minutes" for look in plan["looks"])
        console.print(f"time by number of trainings per arm, if every claim stays open: {told}")
    console.print(speed_line(cost))
    console.print(_memory_line(plan["memory"], plan["device"]))
    arms = Table("arm", "training set", "captions", "trigger", "LoRAs", "recipe", title="Arms")
    for arm in plan["arms"]:
        arms.add_row(*(escape(str(arm[key])) for key in ("name", "data", "captions", "trigger_shown", "runs", "recipe")))
    console.print(arms)
    claims = Table("experiment", "claim", "decides", "with this budget", "answered by", title="What this budget can decide")
    for claim in plan["claims"]:
        claims.add_row(*(escape(str(claim[key])) for key in ("experiment", "say", "decidable", "note")), chances(claim))
    console.print(claims)
    console.print(
        "[dim]answered by: the chance of an answer after 8, 16 and 32 trainings of each arm, if the change is twice the smallest that "
        "counts (or zero, where no change is claimed)[/]"
    )
    for pair in plan["pairs"]:
        console.print(f"{escape(pair['arms'])} differ in: {escape(pair['differ'])}")
    for note in plan["notes"]:
        console.print(f"[yellow]note:[/] {escape(note)}")


def chances(claim: Mapping[str, Any]) -> str:
    """Return the chances of an answer at the planned looks: "8: 61 %, 16: 93 %, 32: 100 %"; that they are not known in advance else."""
    told = [f"{n}: {100 * chance:.0f} %" for n, chance in zip(claim["looks"], claim["chances"], strict=True)]
    return ", ".join(told) or "not known in advance"


def speed_line(cost: Mapping[str, Any]) -> str:
    """Return on which day the machine's speed was measured, what else it had to do then, and what it has to do now."""
    then, now, cores = cost["busy_then"], cost["busy_now"], cost["cores"]
    told = "" if then is None else f", with {then:.1f} of its {cores} cores busy with other work"
    line = f"at this machine's speed of {cost['rates_measured']}{told} (--calibrate measures it again)"
    busier = now - (then or 0.0)
    if busier >= BUSIER * cores:
        line += f"; {now:.1f} of {cores} cores are busy now, so it will take longer"
    return line


def print_check(document: Mapping[str, Any], page: Path, card: Path, as_json: bool) -> None:
    """Print what a check found; the page's path comes last."""
    if as_json:
        print(json.dumps({**document, "page": str(page), "card": str(card)}, indent=1))
        return
    console = console_for_output()
    for sentence in document["sentences"]:
        console.print(escape(sentence))
    for note in document["notes"]:
        console.print(f"[yellow]note:[/] {escape(note)}")
    table = Table("file", "effect", "without trigger", "damage", "copies", "")
    for file in document["files"]:
        effect = file["resemblance"] or file["change"]
        cells = (_estimate(found) for found in (effect, file["firing"], file["damage"], file["copies"]))
        word = "" if document["role"] != "epochs" else "not beaten" if file["kept"] else f"beaten by {file['beaten_by']}"
        table.add_row(escape(file["label"]), *cells, escape(word))
    console.print(table)
    console.print(
        f"Trigger {escape(document['trigger'])}; {document['n_seeds']} seeds per prompt; {document['time']}. To share: {escape(str(card))}",
        soft_wrap=True,
    )
    print(page)


def _estimate(found: Mapping[str, float] | None) -> str:
    return "can't tell" if found is None else f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def print_audit(audit: Audit, page: Path, as_json: bool) -> None:
    """Print what an audit found and, last, the path of its page."""
    if as_json:
        print(json.dumps({**audit.to_json(), "page": str(page)}, indent=1))
        return
    console = console_for_output()
    for problem in audit.problems:
        console.print(f"[red]problem:[/] {escape(str(problem))}", soft_wrap=True)
    if audit.trigger is not None:
        console.print(f"trigger: [bold]{escape(audit.trigger.words)}[/] [dim]({escape(audit.trigger.told)})[/]")
    for remark in audit.remarks:
        console.print(f"[yellow]-[/] [bold]{escape(remark.says)}[/]")
        console.print(Padding(f"[dim]{escape(remark.do)}[/]", (0, 0, 0, 2), expand=False))
        console.print(Padding(escape(_some_files(audit.files_of(remark))), (0, 0, 0, 2), expand=False))
    if not audit.remarks:
        console.print("Nothing stands out.")
    for note in audit.notes:
        console.print(f"[dim]file: {escape(note)}[/]")
    counts = (len(audit.pictures), "picture"), (len(audit.remarks), "remark"), (len(audit.problems), "problem")
    told = ", ".join(f"{n} {word}" + ("" if n == 1 else "s") for n, word in counts if n or word != "problem")
    console.print(f"\n{told}. The page:")
    print(page)


def _some_files(files: Sequence[str]) -> str:
    """Return the names of the first few pictures of a remark."""
    more = len(files) - FILES_A_REMARK
    return ", ".join(files[:FILES_A_REMARK]) + (f" and {more} more" if more > 0 else "")


def _memory_line(sizes: Mapping[str, Any], device: str) -> str:
    """Return in words what is trained and drawn together, and the memory that this is predicted to take."""
    weights, train, draw, room = (sizes[key] / 2**30 for key in ("weights_bytes", "train_bytes", "draw_bytes", "room_bytes"))
    again = ", recomputing activations" if sizes["checkpointing"] else ""
    return (
        f"on {device}: at most {sizes['stack']} LoRAs and {sizes['images']} pictures together; the base takes {weights:.2f} GiB, "
        f"training {train:.2f} more{again}, drawing {draw:.2f} more, of {room:.1f} GiB available"
    )


def print_instruments(as_json: bool) -> None:
    """Print every instrument: its name in a study, its unit, what it reads, and what a lower and a higher reading look like."""
    from loralab.measure import TABLE
    from loralab.measure.table import TAKING

    rows = [
        {"name": row.name, "unit": row.unit, "reads": row.says, "lower": row.lower, "higher": row.higher, "needs": row.needs}
        for row in TABLE.values()
    ]
    rows += [
        {"name": f"{taking.name}[{taking.word}]", "unit": "share", "reads": f"{taking.says}; {taking.word}: {taking.expected}",
         "lower": "less of it", "higher": "more of it", "needs": ""}
        for taking in TAKING.values()
    ]  # fmt: skip
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table("name", "unit", "reads", "lower", "higher")
    for row in rows:
        name = f"{row['name']}[NAME]" if row["needs"] == "concept" else row["name"]
        table.add_row(*(escape(text) for text in (name, row["unit"], row["reads"], row["lower"], row["higher"])))
    Console().print(table)


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Print a flat table of facts."""
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, value in facts.items():
        print(f"{name:<28} {value}")
