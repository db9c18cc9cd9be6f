"""The pages under docs/results in the order in which they are made anew: what each rests on, how long it takes, and by what command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of results. ``command`` are Python's arguments, run in the repository's root; empty where a hand is needed."""

    name: str
    rests: tuple[str, ...]
    hours: float  # of two cores, estimated
    command: str = ""
    by_hand: str = ""
    place: str = ""  # its path from docs/results; left out: its name there

    @property
    def file(self) -> str:
        """The page's path from docs/results."""
        return self.place or f"{self.name}.md"


READ = ("weights", "readers")
MEASURED = ("weights", "instruments")
JUDGED = ("weights", "instruments", "rule")
LAB = "lab"
STATES = "`python -m organism curve`: needs the states of"
ORGANISM = f"-m organism.benchmarks.questions --lab {LAB}"

PAGES = (
    Page("petri-tokens", ("weights",), 0.01, "-m organism sheet --triggers --rows 0"),
    Page("petri-speed", ("weights",), 0.05, "-m organism speed --out docs/results/petri-speed.md"),
    Page("petri-encoder", READ, 0.05, "-m organism encoder --measure --images 900"),
    Page("petri-fidelity", READ, 0.1, "-m organism fidelity --images 4000 --out docs/results/petri-fidelity.md"),
    Page(
        "petri-guidance-scale", READ, 0.1,
        "-m organism.benchmarks.guidance_scale --images 512 --scales 2 3 4 5 --out docs/results/petri-guidance-scale.md",
    ),
    Page("petri-guidance", READ, 0.1, "-m organism.benchmarks.guidance_interval --images 512 --out docs/results/petri-guidance.md"),
    Page("petri-steps", READ, 0.15, "-m organism.benchmarks.solver_steps --images 816 --steps 8 12 25 --out docs/results/petri-steps.md"),
    Page("petri-no-grids", ("sibling", "readers"), 0.05,
         "-m organism fidelity --images 1440 --weights studies/siblings/no-grids --out docs/results/petri-no-grids.md"),
    Page("petri-size", MEASURED, 0.3, by_hand="`python -m organism.benchmarks.petri_size --pool POOL`: needs a pool of the world"),
    Page("petri-codes", MEASURED, 0.4, by_hand="`python -m organism.benchmarks.petri_codes --pool POOL`: needs a pool of the world"),
    Page("petri-focus", ("instruments",), 0.1, "-m organism.benchmarks.petri_focus --out docs/results/petri-focus.md"),
    Page("petri-concepts-by-eye", READ, 0.5, by_hand="`python -m organism.benchmarks.concepts_by_eye`: somebody names 96 pictures"),
    Page("petri-focus-by-eye", MEASURED, 0.5, by_hand="`python -m organism.benchmarks.focus_by_eye`: somebody names 96 pictures"),
    Page("petri-curve", READ, 0.2, by_hand=f"{STATES} the training"),
    Page("petri-curve-no-grids", ("sibling", "readers"), 0.2, by_hand=f"{STATES} the sibling's training"),
    Page("petri-unets", ("readers",), 3.5, by_hand="`python -m organism curve`: needs trainings of four sizes, fifty minutes each"),
    Page("petri-organism", MEASURED, 0.7, f"{ORGANISM} --out docs/results/petri-organism.md"),
    Page("petri-organism-again", MEASURED, 0.7, f"{ORGANISM} --again 12 --out docs/results/petri-organism-again.md"),
    Page("article", (*JUDGED, "article"), 0.4, f"-m loralab run studies/article.yaml --full --minutes 20 --lab {LAB}"),
    Page("variance", (*MEASURED, "article"), 0.05, f"benchmarks/run_spread.py {LAB}/studies/article --markdown docs/results/variance.md"),
    Page("sibling-grid", (*JUDGED, "sibling", "grid"), 0.8, f"-m loralab run studies/siblings/grid.yaml --lab {LAB}"),
    Page("atlas", (*JUDGED, "atlas"), 1.6, f"-m organism.atlas make --lab {LAB}", place="../atlas.md"),
    Page("rule-rates", ("rule",), 0.3, by_hand="`benchmarks/rule_rates.py`: its head says which parts; the page has several"),
    Page("answers", (*JUDGED, "article"), 0.3, by_hand="`python benchmarks/answers.py`: its head says what it needs"),
    Page("false-alarms", JUDGED, 5, f"benchmarks/aa_real.py {LAB}/aa.jsonl --markdown docs/results/false-alarms.md"),
    Page("planted", JUDGED, 0.3, f"benchmarks/aa_planted.py {LAB}/planted.jsonl --markdown docs/results/planted.md"),
    Page("check-of-known-dose", JUDGED, 0.3, by_hand="the page says its files and commands"),
    Page("adapter-files", (), 0.1, by_hand="`python benchmarks/adapter_files.py`"),
    Page("audit-of-an-unbalanced-set", (), 0.01, by_hand="the page says its commands"),
    Page("full-size", (), 0.3, by_hand="`python benchmarks/full_size.py sd1 sdxl`"),
    Page("fuzz", (), 2, by_hand="`python tests/fuzz`"),
)  # fmt: skip
#: pages that are the summary of a study: where the run leaves it
SUMMARIES = {"article": f"{LAB}/studies/article/summary", "sibling-grid": f"{LAB}/studies/sibling-grid/summary"}
