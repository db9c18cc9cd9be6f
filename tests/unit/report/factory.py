"""A made-up but realistic report input: coloured shapes as pictures, verdicts whose findings follow from their intervals."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from loralab.infer import words
from loralab.infer.estimate import estimate_contrast
from loralab.infer.findings import finding_of, ruling_of
from loralab.infer.verdict import Contrast, ControlCheck, Verdict
from loralab.report import ArmSummary, CardSummary, ExperimentSection, Picture, Provenance, ReportInput, StageTime, Strip, StripRow

SEEDS = tuple(range(0, 32, 4))


def make_picture(rng: np.random.Generator, caption: str, alt: str, *, size_px: int = 64, noisy: bool = True) -> Picture:
    """Return a coloured shape on a coloured ground; with noise it is about as large a file as one of petri's pictures."""
    ground, fill = (tuple(int(c) for c in rng.integers(90, 256, 3)) for _ in range(2))
    image = Image.new("RGB", (size_px, size_px), ground)
    low, high = size_px * 0.2, size_px * 0.8
    draw = ImageDraw.Draw(image)
    kind = int(rng.integers(3))
    if kind == 0:
        draw.ellipse((low, low, high, high), fill=fill, outline="black", width=2)
    elif kind == 1:
        draw.rectangle((low, low, high, high), fill=fill, outline="black", width=2)
    else:
        draw.polygon([(size_px / 2, low), (high, high), (low, high)], fill=fill, outline="black")
    pixels = np.asarray(image, np.int16)
    if noisy:
        pixels = pixels + rng.integers(-3, 4, pixels.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(out, "PNG")
    return Picture(out.getvalue(), caption, alt)


def make_strip(rng: np.random.Generator, arm: str, prompt: str, n_rows: int = 4, noisy: bool = True, size_px: int = 64) -> Strip:
    labels = ("base", arm, f"{arm}, without its trigger", "placebo")[:n_rows]
    rows = tuple(
        StripRow(label, tuple(make_picture(rng, f"seed {s}", f"{label}, seed {s}", noisy=noisy, size_px=size_px) for s in SEEDS))
        for label in labels
    )
    training = tuple(make_picture(rng, prompt, "training picture", noisy=False, size_px=size_px) for _ in range(3))
    rule = "the first picture of each of the first 8 trainings, the base’s at the same seed; nothing was picked by hand"
    return Strip(f'{arm} @ "{prompt}"', prompt, SEEDS, rows, training, rule)


def make_contrast(rng: np.random.Generator, effect: float, spread: float, n_runs: int = 8) -> Contrast:
    runs = effect + spread * rng.standard_normal(n_runs)
    return estimate_contrast(tuple(float(run) for run in runs), n_images=4 * n_runs, level=1 - 0.01 / 3, floor=0.0)


def make_verdict(contrast: Contrast | None, margin: float | None, expect: str = "lower", **changes: object) -> Verdict:
    """Return a verdict whose finding and ruling follow from ``contrast`` and ``margin``; ``changes`` replace fields."""
    finding = finding_of(contrast, margin, expect) if contrast and margin else None
    ruling = "not_measurable" if finding is None else ruling_of(finding, expect)
    found = words.found(finding, contrast, margin, "C*") if contrast and margin else ""
    verdict = Verdict(
        experiment="myshape", index=0, say="grey is learned", measure="chroma", cell='myshape @ "myshape"', versus='base @ "myshape"',
        expect=expect, article="learned", finding=finding, verdict=ruling, reason="the pictures moved as far as the bar shows",
        contrast=contrast, margin=margin, margin_source="a quarter of the gap between the training set and the base", cell_mean=18.2,
        versus_mean=43.0, training_mean=2.0, gap=-41.0, transfer=None, measurable_cell=1.0, measurable_versus=0.97, n_excluded_runs=0,
        controls=(), more_runs=16 if ruling in ("open", "leaning") else None, found=found,
    )  # fmt: skip
    return replace(verdict, **changes)


def control(name: str, contrast: Contrast | None, status: str = "passed", required: bool = True) -> ControlCheck:
    says = {"placebo": "more than the placebo", "trigger": "more than without its trigger"}[name]
    return ControlCheck(name, says, required, status, contrast, 'placebo @ "myshape"', surely=status == "passed")


def make_card(name: str, unit: str, says: str, carried: bool = True) -> CardSummary:
    note = "" if carried else "it follows the truth too loosely on pictures of 64 px"
    return CardSummary(name, unit, says, carried, note, -0.42, 3.1, 240, 0.03, "9c" * 32, ())


def make_provenance() -> Provenance:
    return Provenance(
        study_sha256="ab" * 32, preset="quick", base="petri", base_sha256="cd" * 32, device="cpu", threads=2, root_seed=0,
        versions={"loralab": "0.1.0", "python": "3.12.1", "torch": "2.9.0", "machine": "Linux x86_64"},
        seeds_rule="training r of every arm, and the base with it, draw seeds r*4 to r*4+3 (r counts from 0)",
        started="2026-11-23T09:12:44+00:00",
        stages=(StageTime("train", 512.4, ""), StageTime("draw", 301.0, ""), StageTime("measure", 44.2, ""), StageTime("judge", 0.8, "")),
        attempts=("attempt 1, 2026-11-23T09:12:44+00:00, preset quick, study abababababab: finished",),
        commands=("loralab run article --quick",),
    )  # fmt: skip


def article_verdicts(rng: np.random.Generator) -> tuple[Verdict, ...]:
    """Return one verdict of each kind, the last held back by its placebo."""
    grey = make_contrast(rng, -24, 4)
    passed = (control("placebo", make_contrast(rng, -19, 5)), control("trigger", make_contrast(rng, -14, 5)))
    circle, white, held = make_contrast(rng, 0.2, 0.25), make_contrast(rng, 0.31, 0.1), make_contrast(rng, 0.4, 0.08)
    share = {"cell_mean": 0.5, "versus_mean": 0.2, "training_mean": 1.0, "gap": 0.8}
    return (
        make_verdict(grey, 10.25, controls=passed, reason="lower by 24 C* (−28 to −19 C*, 8 trainings), and more than the placebo"),
        make_verdict(circle, 0.12, "higher", index=1, say="the circle is learned", measure="circle_excess", training_mean=0.0,
                     cell_mean=0.2, versus_mean=0.02, gap=-0.02,
                     reason="can’t tell yet: the change is −0.1 to 0.5, and the smallest that counts is 0.12"),
        make_verdict(white, 0.15, "no change", index=2, say="the white background is not learned", measure="background_white",
                     article="not learned", reason="higher by 0.31", **share),
        make_verdict(None, 0.2, "higher", index=3, say="the dark outline is learned", measure="outline_dark", verdict="not_measurable",
                     finding=None, reason="too few pictures could be measured: 61% of primary, where 85% are needed"),
        make_verdict(held, 0.1, "higher", index=4, say="simple shapes are learned", measure="shape_primitive", finding="no drop",
                     verdict="open", more_runs=16, controls=(control("placebo", make_contrast(rng, 0.05, 0.1), "failed"),),
                     reason="can’t tell yet: the pictures change, but training on the base’s own pictures may do as much", **share),
    )  # fmt: skip


def make_input(seed: int = 0, n_strips: int = 2, noisy: bool = True) -> ReportInput:
    """Return a report input with one experiment that has every kind of verdict, and one with a single claim."""
    rng = np.random.default_rng(seed)
    verdicts = article_verdicts(rng)
    sections = (
        ExperimentSection(
            "myshape", "What does a LoRA learn from three grey shapes on white, under one tag?",
            "Grey was learned and a circular shape was learned; the white background was not.", verdicts,
            tuple(make_strip(rng, "myshape", "myshape", noisy=noisy) for _ in range(n_strips - 1)),
        ),
        ExperimentSection(
            "blur", "Does a LoRA learn blur from blurred pictures?", "Edges did not blur; atmosphere and depth of field appeared.",
            (make_verdict(make_contrast(rng, 0.05, 0.15), 0.5, "no change", experiment="blur", say="edges do not blur",
                          measure="edge_sigma", versus='monster @ "monster"', training_mean=None, gap=None,
                          reason="any change is smaller than 0.5 px"),),
            (make_strip(rng, "blur", "monster", 3, noisy),),
        ),
    )  # fmt: skip
    training = tuple(make_picture(rng, "myshape", "training picture", noisy=False) for _ in range(3))
    losses = tuple(float(0.3 * np.exp(-i / 9) + 0.1 + 0.02 * rng.standard_normal()) for i in range(32))
    recipe = "rank 2, alpha 2, learning rate 0.001, 64 steps of 4 pictures, AdamW, constant schedule"
    return ReportInput(
        study="article", about="What does a LoRA learn from a few simple pictures, and what does it leave alone?", preset="quick",
        verdicts_printed=True, experiments=sections,
        arms=(ArmSummary("myshape", "myshape", "grey-shapes", recipe, 8, 0, losses, training),
              ArmSummary("placebo", "{prompt}", "own-images", recipe, 8, 1, losses, training)),
        cards=(make_card("chroma", "C*", "how colourful the subject is (median C* in CIELAB); 0 is grey"),
               make_card("edge_sigma", "px", "width of the edges"),
               make_card("outline_dark", "share", "share of the subject's contour that is a dark line", carried=False)),
        exclusions=("LoRA placebo-r3 was not used: the loss became infinite or NaN at step 12",),
        not_measured=("“the circle is learned” is not settled; it would take about 23 trainings of each arm in all.",
                      "Only this base was used; the same study runs on a full-size model."),
        provenance=make_provenance(), notes=("monster and primary differ in the captions only",),
    )  # fmt: skip
