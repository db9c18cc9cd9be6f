"""False alarms, detections and coverage on real trainings: many small studies on petri in which the truth is known.

    python benchmarks/aa_real.py OUT.jsonl                               # 300 A/A studies and 25 planted ones; the same command goes on
    python benchmarks/aa_real.py OUT.jsonl --minutes 20                  # begins nothing new after 20 minutes
    python benchmarks/aa_real.py OUT.jsonl --summary --markdown docs/results/false-alarms.md

Three suites take turns in stacks of 16 trainings: two A/A studies of 4 trainings an arm, or a planted one of 8:
  same      two arms of the same treatment (coloured shapes under one tag) that differ in their random streams alone: A/A
  placebo   two placebos (trained on the base's own pictures) that differ in their random streams alone: A/A
  planted   red squares under a word against a placebo: the word must turn red, and come nearer to the squares

A study has trainings of its own, with image seeds of its own: no training serves in two studies, so studies are independent
(given the base). Each goes through the lab's own rule (`judge`) with a margin of next to nothing, so that a claim is "found" if its
interval leaves out 0. In an A/A study every claim that is found is a false alarm. The claims of a study read the same pictures and are
not independent: the count of studies with any false alarm, at the level that the claims share, is the honest one, and its bound is Clopper
and Pearson's over studies. With 300 A/A studies the upper bound is at most 7 % if 12 or fewer raise an alarm (4.0 %); the number of studies
is fixed beforehand and never extended because of what came out. Three more things are read from the same pictures:
  learned   the whole rule: arm a against the base with arm b as its placebo; in an A/A study nothing may be called learned
  coverage  the trainings of one suite repeat one recipe, so the mean over all of them is as good as the truth: how often does the
            interval of 4, 8 or 16 of them (in the order of their training, each used once) hold it? The two arms of a study share their
            base pictures, so each study gives one arm, in turn: groups that mixed both held the truth too seldom
  skewness  of the trainings' effects, and how much trainings spread
A study is written as soon as it is judged; a line that was cut off is made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy import stats

from loralab.adapters import Adapter
from loralab.bases import Base, embed_prompts, encode_images, load_base
from loralab.data import make_examples
from loralab.infer.case import ControlCells, InstrumentFacts
from loralab.infer.estimate import estimate_contrast
from loralab.infer.judge import judge
from loralab.infer.looks import Looks, one_look
from loralab.infer.pairs import cell_readings, run_effects
from loralab.measure import TABLE, measure_images
from loralab.sample import ImageBlock, plan_batches, sample_batch
from loralab.spec import BASE
from loralab.spec.cells import Cell
from loralab.spec.models import ExperimentSpec, SampleSpec, ShapesData, TrainSpec
from loralab.spec.questions import QuestionId
from loralab.train import TrainRun, train_stack

ROOT_SEED = 20_261_123  # not the root of any shipped result
STACK, SEEDS = 16, 3
MOST_RUNS = 8  # of an arm: how far the streams and image seeds of two studies lie apart
DRAW = SampleSpec(steps=4, guidance=3, seeds=SEEDS)
OWN_PROMPTS = ("myshape", "monster", "red circle", "cat")
PROMPT = "myshape"
#: instruments of the A/A claims: continuous ones and shares, of the whole picture and of its subject.
MEASURES = ("chroma", "hue_red", "background_from_white", "shape_primitive", "edge_sigma", "local_contrast", "change", "copy_distance")
PLANTED = {"hue_red": "higher", "copy_distance": "lower"}
FIRST_OWN_SEED = 5_000_000  # of the placebo's pictures, far from the studies' seeds
NEXT_TO_NOTHING = 1e-9
RULE = 2  # 1: Student over trainings; 2: moderated variances, one look
FOUND = ("higher", "lower")
LEVEL = 0.95


@dataclass(frozen=True)
class Suite:
    """What a suite's two arms are trained on, the instruments that are asked, and the recipe."""

    ours: str
    theirs: str
    measures: Mapping[str, str]  # instrument: what is expected, where a thing is expected at all
    recipe: TrainSpec
    runs: int  # trainings an arm


BRIEF = TrainSpec(rank=2, lr=1e-2, steps=8, batch=2)
SUITES = {
    "same": Suite("shapes", "shapes", dict.fromkeys(MEASURES, "higher"), BRIEF, 4),
    "placebo": Suite("own", "own", dict.fromkeys(MEASURES, "higher"), BRIEF, 4),
    "planted": Suite("red", "own", PLANTED, BRIEF.model_copy(update={"steps": 16}), 8),
}
A_A = ("same", "placebo")
#: whose turn it is, over and over.
TURNS = (*A_A, *A_A, *A_A, "planted")


@dataclass(frozen=True)
class TrainingSet:
    """What an arm is trained on: pictures, their latents and their captions' embeddings."""

    images: np.ndarray
    latents: torch.Tensor
    embeddings: torch.Tensor


@dataclass(frozen=True)
class Place:
    """Where a training stands: its study, its arm, its replicate there, its own random stream and its image seeds."""

    study: int
    arm: str
    replicate: int

    @property
    def stream(self) -> int:
        """A stream that no other training has."""
        return (self.study * 2 + (self.arm == "b")) * MOST_RUNS + self.replicate

    @property
    def seeds(self) -> tuple[int, ...]:
        """The image seeds of the replicate, which both arms and the base share."""
        first = (self.study * MOST_RUNS + self.replicate) * SEEDS
        return tuple(range(first, first + SEEDS))

    @property
    def name(self) -> str:
        """The name of the training."""
        return f"{self.study}{self.arm}{self.replicate}"


def make_training_set(base: Base, images: np.ndarray, captions: list[str]) -> TrainingSet:
    """Return the pictures with what training needs of them."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    return TrainingSet(images, encode_images(base, pixels), embed_prompts(base, captions))


def shapes(base: Base, spec: ShapesData) -> TrainingSet:
    """Return generated shapes under the one tag."""
    examples = make_examples(spec, base.size_px)
    return make_training_set(base, np.stack([example.image for example in examples]), [PROMPT] * len(examples))


def own_pictures(base: Base) -> TrainingSet:
    """Return the base's own pictures under their own prompts, drawn without guidance."""
    blocks = [ImageBlock(None, prompt, 0.0, (FIRST_OWN_SEED + i,)) for i, prompt in enumerate(OWN_PROMPTS)]
    images = draw(base, blocks, {}, SampleSpec(steps=12, guidance=1))
    own = np.stack([images[None, prompt, FIRST_OWN_SEED + i] for i, prompt in enumerate(OWN_PROMPTS)])
    return make_training_set(base, own, list(OWN_PROMPTS))


def make_sets(base: Base) -> dict[str, TrainingSet]:
    """Return the training sets by name."""
    coloured = ShapesData(generate="shapes", shapes=("circle", "square", "triangle"), fill=("red", "green", "blue"), outline="black")
    red = ShapesData(generate="shapes", shapes=("square", "square", "square"), fill="red", size=0.75)
    return {"shapes": shapes(base, coloured), "red": shapes(base, red), "own": own_pictures(base)}


def draw(
    base: Base, blocks: list[ImageBlock], adapters: Mapping[str, Adapter], spec: SampleSpec
) -> dict[tuple[str | None, str, int], np.ndarray]:
    """Return the blocks' pictures by (adapter, prompt, seed)."""
    prompts = [*dict.fromkeys([*(block.prompt for block in blocks), spec.negative])]
    embeddings = dict(zip(prompts, embed_prompts(base, prompts), strict=True))
    drawn: dict[tuple[str | None, str, int], np.ndarray] = {}
    for batch in plan_batches(blocks, 32):
        images = sample_batch(base, batch, adapters, spec, embeddings)
        for (name, _), items, group in zip(batch.groups, batch.items, images, strict=True):
            drawn.update({(None if name is None else str(name), *item): image for item, image in zip(items, group, strict=True)})
    return drawn


# --- one stack of studies -----------------------------------------------------------------------------------------------


def run_studies(base: Base, sets: Mapping[str, TrainingSet], name: str, studies: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Train and draw some studies of a suite together, then yield each one's record: findings and effects by instrument."""
    suite = SUITES[name]
    all_places = [Place(index, arm, r) for index in studies for arm in ("a", "b") for r in range(suite.runs)]
    places = {place.name: place for place in all_places}
    chosen = {"a": sets[suite.ours], "b": sets[suite.theirs]}
    runs = [
        TrainRun(place.name, suite.recipe, chosen[place.arm].latents, chosen[place.arm].embeddings, replicate=place.stream)
        for place in places.values()
    ]
    adapters = {run.run_id: run.adapter for run in finish(train_stack(base, runs, root_seed=ROOT_SEED)) if run.failed is None}
    blocks = [ImageBlock(run_id, PROMPT, 1.0, places[run_id].seeds) for run_id in adapters]
    blocks += [ImageBlock(None, PROMPT, 0.0, place.seeds) for place in places.values() if place.arm == "a"]
    drawn = draw(base, blocks, adapters, DRAW)
    for index in studies:
        own = [place for place in places.values() if place.study == index and place.name in adapters]
        readings = read(drawn, own, sets[suite.ours].images)
        yield {
            "suite": name,
            "index": index,
            "settings": settings(),
            "runs": len(own),
            **judged(readings, suite.measures, one_look(suite.runs)),
        }


def finish(steps):  # type: ignore[no-untyped-def]
    """Run a training to its end and return what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def read(drawn: Mapping[Any, np.ndarray], places: Sequence[Place], training: np.ndarray) -> pl.DataFrame:
    """Return the frame of readings of a study: arms `a` and `b` and the base, replicate r of each at the same image seeds."""
    rows = []
    wanted = [(place.arm, place.name, place) for place in places] + [("base", None, place) for place in places if place.arm == "a"]
    for arm, who, place in wanted:
        images, beneath = (np.stack([drawn[key, PROMPT, seed] for seed in place.seeds]) for key in (who, None))
        found = measure_images(images, list(MEASURES), base_images=beneath, training_images=training)
        for measure, readings in found.items():
            for seed, reading in zip(place.seeds, readings, strict=True):
                told = (measure, reading.value, reading.status, reading.reason)
                rows.append((arm, place.replicate, PROMPT, 0.0 if who is None else 1.0, None, seed, *told))
    schema = {
        "arm": pl.String, "replicate": pl.Int64, "prompt": pl.String, "strength": pl.Float64, "step": pl.Int64, "seed": pl.Int64,
        "measure": pl.String, "value": pl.Float64, "status": pl.String, "reason": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def judged(readings: pl.DataFrame, measures: Mapping[str, str], looks: Looks) -> dict[str, Any]:
    """Return a study's findings by instrument, and the effect of each of its trainings against the base.

    `shared`: arm a against arm b at the level that the claims share; `alone`: the same at 95 %; `learned`: a against the base, with b as
    its placebo, at the shared level. A study is looked at once, so all of the error rate is spent there.
    """
    facts = {name: InstrumentFacts(name, TABLE[name].kind, TABLE[name].low, TABLE[name].high, "", 0.0, 0.0, True, "") for name in measures}
    found: dict[str, dict[str, Any]] = {name: {} for name in measures}
    between, learned = (claims_of(measures, versus) for versus in (f'b @ "{PROMPT}"', "base"))
    for level, claims in (("shared", [between]), ("alone", [[claim] for claim in between]), ("learned", [learned])):
        experiments = {str(i): ExperimentSpec(question="?", claims=tuple(own)) for i, own in enumerate(claims)}
        asked = [QuestionId("0", "claim", i) for i in range(len(learned))] if level == "learned" else []
        controls = {question: ControlCells(Cell("b", PROMPT), None) for question in asked}
        for verdict in judge(experiments, readings, training={}, instruments=facts, controls=controls, looks=looks):
            found[verdict.measure][level] = verdict.finding or verdict.verdict
            if level == "shared" and verdict.contrast is not None:
                found[verdict.measure]["effect"] = round(verdict.contrast.effect, 4)
    return {"findings": found, "effects": {name: effects_by_arm(readings, name) for name in measures}}


def claims_of(measures: Mapping[str, str], versus: str) -> list[dict[str, Any]]:
    """Return one claim an instrument: arm a against ``versus``."""
    return [
        {"say": name, "measure": name, "cell": f'a @ "{PROMPT}"', "versus": versus, "expect": expect, "margin_absolute": NEXT_TO_NOTHING}
        for name, expect in measures.items()
    ]


def effects_by_arm(readings: pl.DataFrame, measure: str) -> dict[str, list[float]]:
    """Return each training's mean difference from the base, by arm."""
    found = {}
    for arm in ("a", "b"):
        cell = Cell(arm, PROMPT)
        sides = [cell_readings(readings, side, measure) for side in (cell, cell.on(BASE))]
        found[arm] = [round(float(effect), 5) for effect in run_effects(sides, (1, -1), TABLE[measure].kind).effects]
    return found


def settings() -> str:
    """Return a hash of all that makes two results comparable."""
    suites = [[suite.ours, suite.theirs, suite.measures, suite.recipe.model_dump(mode="json"), suite.runs] for suite in SUITES.values()]
    text = json.dumps([suites, DRAW.model_dump(mode="json"), STACK, SEEDS, MOST_RUNS, MEASURES, OWN_PROMPTS, ROOT_SEED, RULE])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# --- what came out ------------------------------------------------------------------------------------------------------


def clopper_pearson(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper and Pearson 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, n - hits + 1))
    return low, 1.0 if hits == n else float(stats.beta.ppf(1 - tail, hits + 1, n - hits))


def share(hits: int, n: int) -> str:
    """Return "3 of 40 | 7.5 % | 1.6 to 20.4 %" as the cells of a table."""
    low, high = clopper_pearson(hits, n)
    return f"{hits} of {n} | {100 * hits / n:.1f} % | {100 * low:.1f} to {100 * high:.1f} %"


def summary(records: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the result, as Markdown."""
    by_suite = {name: [record for record in records if record["suite"] == name] for name in SUITES}
    silent = [record for name in A_A for record in by_suite[name]]
    yield f"{len(records)} studies, {sum(record['runs'] for record in records)} trainings; settings {settings()}."
    yield from ("", "## Whole studies", "", "| studies | what | should be | came out | share | 95 % bounds |", "|---|---|---|---|---|---|")
    for name, own in (*((name, by_suite[name]) for name in A_A), ("both", silent)):
        if own:
            for level, what in (("shared", "any claim, arm against arm, is found"), ("learned", "anything is called learned")):
                hits = sum(any(row[level] in FOUND for row in record["findings"].values()) for record in own)
                yield f"| A/A, {name} | {what} | at most 5 % | {share(hits, len(own))} |"
    planted = by_suite["planted"]
    for measure, expected in PLANTED.items() if planted else ():
        for level, what in (("shared", "against a placebo"), ("learned", "learned, by the whole rule")):
            hits = sum(record["findings"][measure][level] == expected for record in planted)
            yield f"| planted | {measure} {expected}, {what} | found | {share(hits, len(planted))} |"
    if silent:
        yield from _claims(silent)
        yield from _trainings(by_suite)


def _claims(silent: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table of single claims at 95 %."""
    yield from ("", "## Single claims of the A/A studies, each alone at 95 %", "")
    yield from ("| instrument | false alarms | share | 95 % bounds |", "|---|---|---|---|")
    for measure in MEASURES:
        rows = [record["findings"][measure] for record in silent if "effect" in record["findings"][measure]]
        if rows:
            yield f"| {measure} | {share(sum(row['alone'] in FOUND for row in rows), len(rows))} |"


def _trainings(by_suite: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the table of coverage, skewness and spread over all trainings of an A/A suite."""
    yield from ("", "## Trainings of one recipe against the base: does an interval at 95 % hold the mean of all?", "")
    yield from (
        "| suite | instrument | trainings | mean | sd between trainings | skewness | 4 trainings | 8 trainings | 16 trainings |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    total = {n: [0, 0] for n in (4, 8, 16)}
    for name in A_A:
        for measure in MEASURES:
            effects = np.array([e for record in by_suite[name] for arm in ("a", "b") for e in record["effects"][measure][arm]])
            if len(effects) < 32 or effects.std() == 0:
                continue
            apart = apart_effects(by_suite[name], measure)
            cells = []
            for n, counts in total.items():
                hits, tried = coverage(apart, n, float(effects.mean()))
                counts[0], counts[1] = counts[0] + hits, counts[1] + tried
                cells.append(f"{hits} of {tried} ({100 * hits / tried:.0f} %)")
            head = (name, measure, str(len(effects)), f"{effects.mean():.3g}", f"{effects.std(ddof=1):.3g}", f"{stats.skew(effects):.2f}")
            yield "| " + " | ".join((*head, *cells)) + " |"
    if all(tried for _, tried in total.values()):
        told = (f"{hits} of {tried} ({100 * hits / tried:.1f} %)" for hits, tried in total.values())
        yield "| both | all (not independent) | | | | | " + " | ".join(told) + " |"


def apart_effects(records: Sequence[Mapping[str, Any]], measure: str) -> np.ndarray:
    """Return the effects of one arm of each study, the first's `a`, the second's `b`, and so on: no two share a base picture."""
    return np.array([effect for turn, record in enumerate(records) for effect in record["effects"][measure]["ab"[turn % 2]]])


def coverage(effects: np.ndarray, n: int, truth: float) -> tuple[int, int]:
    """Return (intervals that hold ``truth``, intervals) over disjoint groups of ``n`` independent effects, in order.

    The mean of all is known to its own standard error only; with N effects that widens an interval's miss by about n / (2 N) of its width.
    """
    groups = effects[: len(effects) // n * n].reshape(-1, n)
    found = [estimate_contrast(group, n_images=n * SEEDS, level=LEVEL, floor=NEXT_TO_NOTHING) for group in groups]
    return sum(contrast.low <= truth <= contrast.high for contrast in found), len(found)


PAGE = """# False alarms, detections and coverage on real trainings

Each study trains LoRAs of its own on petri and goes through the lab's own rule; the truth is known. *same*: two arms of one treatment.
*placebo*: two placebos. *planted*: red squares under a word. 4 trainings an arm (planted: 8), {seeds} pictures a training; claims of an
A/A study: {claims}.
Bounds: Clopper and Pearson. Made by `python benchmarks/aa_real.py OUT.jsonl --markdown FILE`, whose head says more.

"""


def main() -> None:
    """Run what is missing, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stacks", type=int, default=175, help="stacks in all; of 7, 6 hold two A/A studies each, and one a planted study")
    parser.add_argument("--suites", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing new after so many minutes")
    parser.add_argument("--threads", type=int, help="threads of torch; default: as many as it takes")
    parser.add_argument("--summary", action="store_true", help="print what is there; run nothing")
    parser.add_argument("--markdown", type=Path, help="also write the result to this file")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    records = load_records(given.out)
    if not given.summary:
        records += list(run_missing(given.out, records, given.suites, given.stacks, given.minutes))
    text = "\n".join(summary(records))
    print(text)
    if given.markdown:
        given.markdown.parent.mkdir(parents=True, exist_ok=True)
        head = PAGE.format(seeds=SEEDS, claims=", ".join(MEASURES))
        given.markdown.write_text(head + text + "\n", encoding="utf-8", newline="\n")


def load_records(out: Path) -> list[dict[str, Any]]:
    """Return the studies of these settings that ``out`` holds; a last line that was cut off is taken off the file."""
    if not out.is_file():
        return []
    text = out.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        out.write_text(text, encoding="utf-8", newline="\n")
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["settings"] == settings()]


def turns(n_stacks: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (suite, indices) of each stack; an index belongs to one suite for ever, so that nothing shares trainings or seeds."""
    index = 0
    for turn in range(n_stacks):
        name = TURNS[turn % len(TURNS)]
        n_studies = STACK // (2 * SUITES[name].runs)
        yield name, tuple(range(index, index + n_studies))
        index += n_studies


def run_missing(
    out: Path, records: list[dict[str, Any]], suites: Sequence[str], n_stacks: int, minutes: float
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield the studies that were missing, each written to ``out`` as soon as it is judged."""
    done = {(record["suite"], record["index"]) for record in records}
    missing = [(name, studies) for name, studies in turns(n_stacks) if name in suites and any((name, i) not in done for i in studies)]
    if not missing:
        return
    base, began = load_base("petri"), time.perf_counter()
    sets = make_sets(base)
    out.parent.mkdir(parents=True, exist_ok=True)
    for count, (name, studies) in enumerate(missing, start=1):
        if time.perf_counter() - began > 60 * minutes:
            return
        before = time.perf_counter()
        for record in run_studies(base, sets, name, studies):  # the stack is always whole, so that what goes on equals what was not cut off
            if (name, record["index"]) not in done:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                yield record
        spent = time.perf_counter() - before
        print(f"{count} of {len(missing)}: {name} {studies}, {spent:.1f} s, {(time.perf_counter() - began) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main()
