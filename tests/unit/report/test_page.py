"""The page as a whole: escaped, balanced, closed to the outside, small, and complete where things are missing."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from factory import article_verdicts, make_contrast, make_input, make_picture, make_strip, make_verdict
from PIL import Image, PngImagePlugin

from loralab.errors import LabError
from loralab.infer.verdict import ControlCheck, Verdict
from loralab.report import ArmSummary, ExperimentSection, Picture, ReportInput, StripRow, write_report
from loralab.report.bars import make_bar, possible
from loralab.report.lookup import card_name, unit_of
from loralab.report.page import MOST_BYTES, render_report
from loralab.report.sections.head import trainings_of
from loralab.report.sections.pictures import evenly
from loralab.report.sprites import make_sprite
from loralab.report.strips import aligned, view_training
from loralab.report.words import CHIPS, duration, number, reason_sentence, times, without_paths, would_tell

VOID = {"meta", "img", "br", "link", "input", "hr"}
#: SVG elements that the page writes closed in themselves
SELF_CLOSED = {"rect", "circle", "line", "path", "polyline"}
HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}" onload=\'x\''


class Balanced(HTMLParser):
    """Collects tags, attributes and headings, and fails where an end tag does not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED, f"<{tag}/> is not closed in HTML"
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> too many"
        assert self.open.pop() == tag


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(make_input())


def test_the_page_is_balanced_and_its_ids_and_links_fit(page: str) -> None:
    seen = parsed(page).seen
    ids = [attrs["id"] for _, attrs in seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"] for tag, attrs in seen if tag == "a"}
    assert targets <= {f"#{name}" for name in ids}
    assert all(attrs.get("alt") for tag, attrs in seen if tag == "img")
    levels = [int(tag[1]) for tag, _ in seen if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_nothing_is_loaded_and_nothing_runs(page: str) -> None:
    seen = parsed(page).seen
    assert "http:" not in page
    assert "https:" not in page
    assert "url(" not in page
    assert "@import" not in page
    assert not {tag for tag, _ in seen} & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert all(attrs["src"].startswith("data:image/") for _, attrs in seen if "src" in attrs)
    assert not [name for _, attrs in seen for name in attrs if name.startswith("on") or name == "style"]
    policy = next(attrs["content"] for _, attrs in seen if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def hostile_input() -> ReportInput:
    report = make_input()
    section, verdict = report.experiments[0], replace(report.experiments[0].verdicts[0], experiment=HOSTILE, say=HOSTILE, measure=HOSTILE)
    verdict = replace(verdict, cell=HOSTILE, versus=HOSTILE, article=HOSTILE, reason=HOSTILE, margin_source=HOSTILE)
    strip = replace(
        section.strips[0], cell=HOSTILE, prompt=HOSTILE, rule=HOSTILE, rows=(replace(section.strips[0].rows[0], label=HOSTILE),)
    )
    strip = replace(strip, training=tuple(replace(picture, caption=HOSTILE, alt=HOSTILE) for picture in strip.training))
    section = replace(section, name=HOSTILE, question=HOSTILE, article=HOSTILE, verdicts=(verdict,), strips=(strip,))
    arm = replace(report.arms[0], name=HOSTILE, captions=HOSTILE, data=HOSTILE, recipe=HOSTILE)
    card = replace(report.cards[0], name=HOSTILE, unit=HOSTILE, says=HOSTILE, note=HOSTILE, sha256=HOSTILE)
    source = replace(report.provenance, base=HOSTILE, device=HOSTILE, seeds_rule=HOSTILE, started=HOSTILE, versions={HOSTILE: HOSTILE},
                     attempts=(HOSTILE,), commands=(HOSTILE,))  # fmt: skip
    return replace(report, study=HOSTILE, about=HOSTILE, preset=HOSTILE, experiments=(section,), arms=(arm,), cards=(card,),
                   exclusions=(HOSTILE,), not_measured=(HOSTILE,), notes=(HOSTILE,), provenance=source)  # fmt: skip


def test_hostile_text_is_escaped_everywhere() -> None:
    page = render_report(hostile_input())
    seen = parsed(page).seen
    assert "script" not in {tag for tag, _ in seen}
    assert page.count("</style>") == 1
    assert not [name for _, attrs in seen for name in attrs if name.startswith("on")]
    assert page.count("&lt;script&gt;") > 25


def test_chips_agree_with_the_intervals(page: str) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        expect = str(rng.choice(["higher", "lower", "no change"]))
        verdict = make_verdict(make_contrast(rng, rng.normal(0, 6), 2), 4.0, expect, controls=())
        section = ExperimentSection("a", "q?", "", (verdict,), ())
        page = render_report(replace(make_input(noisy=False), experiments=(section,), cards=(), arms=()))
        chips = re.findall(r'<span class="chip (\w+)">', page.split('id="reading"')[0])
        interval = verdict.contrast
        assert interval is not None
        above, below = interval.low > 4, interval.high < -4
        small = interval.low >= -4 and interval.high <= 4
        yes = {"higher": above, "lower": below, "no change": small}[expect]
        no = {"higher": interval.high <= 4, "lower": interval.low >= -4, "no change": above or below}[expect]
        sure = (expect == "higher" and interval.low > 0) or (expect == "lower" and interval.high < 0)
        right = "supported" if yes else "contradicted" if no else "leaning" if sure else "open"
        assert len(chips) == 3  # beside the figure, at the claim, in the table of all claims
        assert set(chips) == {right}
        assert CHIPS[right][1] in page


def test_bars_in_the_file_are_the_numbers(page: str) -> None:
    interval = article_verdicts(np.random.default_rng(0))[0].contrast
    assert interval is not None
    svg = page.split('class="lead-figure"')[1].split("</svg>")[0]
    found = re.search(r'class="interval" x="([\d.]+)%" y="56" width="([\d.]+)%"', svg)
    dots = [float(x) for x in re.findall(r'class="dot" cx="([\d.]+)%"', svg)]
    assert found is not None
    slope, intercept = np.polyfit(interval.run_effects, dots, 1)
    assert float(found[1]) == pytest.approx(slope * interval.low + intercept, abs=0.01)
    assert float(found[1]) + float(found[2]) == pytest.approx(slope * interval.high + intercept, abs=0.01)


def test_a_trial_run_prints_no_verdict() -> None:
    page = render_report(replace(make_input(), verdicts_printed=False, preset="smoke"))
    parsed(page)
    assert "A trial run without verdicts" in page
    assert "grey is learned" not in page
    assert 'class="bar"' not in page
    assert 'class="sprite' in page


def test_missing_things_still_give_a_page() -> None:
    report = make_input()
    bare = make_verdict(None, None, verdict="open", finding=None, more_runs=3, article="", training_mean=None, gap=None,
                        cell_mean=None, versus_mean=None, reason="can't tell yet: only one run can be compared")  # fmt: skip
    section = ExperimentSection("a", "Why?", "", (bare,), (replace(make_strip(np.random.default_rng(0), "a", "b"), training=()),))
    empty = ExperimentSection("b", "What else?", "", (), ())
    arm = ArmSummary("a", "", "d", "r", 0, 0, (), ())
    sparse = replace(report, about="", experiments=(empty, section), arms=(arm,), cards=(), exclusions=(), not_measured=(), notes=())
    page = render_report(sparse)
    parsed(page)
    assert "No claims were made here" in page
    assert 'href="#claim-2-1"' in page
    assert "article saw" not in page
    parsed(render_report(replace(sparse, experiments=(), arms=())))


def test_a_lie_is_not_printed(tmp_path: Path) -> None:
    report = make_input()
    lie: Verdict = replace(report.experiments[0].verdicts[0], verdict="contradicted")
    with pytest.raises(LabError):
        write_report(replace(report, experiments=(replace(report.experiments[0], verdicts=(lie,)),)), tmp_path / "index.html")
    assert list(tmp_path.iterdir()) == []


def test_thirty_strips_stay_under_the_limit(tmp_path: Path) -> None:
    report = make_input()
    rng = np.random.default_rng(1)
    strips = tuple(make_strip(rng, "myshape", "myshape") for _ in range(30))
    assert 3_500 < len(strips[0].rows[0].pictures[0].png) < 9_000  # about as large as petri's pictures
    page = write_report(replace(report, experiments=(replace(report.experiments[0], strips=strips),)), tmp_path / "report" / "index.html")
    assert page.stat().st_size < MOST_BYTES
    assert [path.name for path in page.parent.iterdir()] == ["index.html"]


def test_a_page_too_large_shows_fewer_columns_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    report = make_input()
    whole = len(render_report(report).encode())
    monkeypatch.setattr("loralab.report.page.MOST_BYTES", whole - 1)
    page = render_report(report)
    assert len(page.encode()) < whole
    assert "Six of eight pictures shown in each row: the first picture of each of the first 8 trainings" in page
    monkeypatch.setattr("loralab.report.page.MOST_BYTES", 1000)
    with pytest.raises(LabError, match="split the study"):
        render_report(report)


def test_claims_are_sorted_by_what_came_out_and_the_first_that_has_a_figure_stands_for_the_question(page: str) -> None:
    """In the file: yes, can't tell, no, not measured, can't tell."""
    claims = re.findall(r'<article class="claim" id="claim-1-(\d)"', page)
    assert claims == ["1", "3", "2", "5", "4"]
    table = page.split('id="claims"')[1].split("</table>")[0]
    assert re.findall(r'href="#claim-(\d-\d)"', table) == ["1-1", "2-1", "1-3", "1-2", "1-5", "1-4"]
    lead = page.split('class="lead-figure"')[1]
    assert re.search(r'href="#(claim-\d-\d)"', lead)[1] == "claim-1-1"  # type: ignore[index]


def test_only_answers_figures_and_strips_stand_open(page: str) -> None:
    """Whatever lies in <details> is folded until someone opens it."""
    depth, open_ = 0, []
    for part in re.split(r"(<details|</details>)", page):
        depth += {"<details": 1, "</details>": -1}.get(part, 0)
        if depth == 0:
            open_.append(part)
    seen = "".join(open_)
    assert seen.count('class="answer"') == seen.count('class="lead-figure"') == seen.count('<figure class="strip"') == 2
    assert "<table" not in seen
    assert "<details open" not in page


def test_each_dot_leads_to_the_pictures_of_its_training() -> None:
    report = make_input()
    section = replace(report.experiments[0], trainings={"myshape:claim:0": (1, 2, 3, 4, 5, 7, 8, 9)})
    page = render_report(replace(report, experiments=(section,), has_explorer=True))
    svg = page.split('class="lead-figure"')[1].split("</svg>")[0]
    links = re.findall(r'<a class="dot-link" href="explore.html#claim=myshape%3Aclaim%3A0&amp;training=%3D(\d)"', svg)
    assert links == ["1", "2", "3", "4", "5", "7", "8", "9"]
    assert svg.count("<title>training 7: ") == 1
    unknown = render_report(replace(report, experiments=(replace(section, trainings={}),), has_explorer=True))
    assert "training=%3D" not in unknown  # where it is not certain which trainings these are, a dot leads to all of them
    assert 'class="dot-link" href="explore.html#claim=myshape%3Aclaim%3A0"' in unknown


def test_of_a_strip_that_shows_a_part_the_page_says_which() -> None:
    report = make_input()
    strip = replace(report.experiments[1].strips[0], n_pictures=48)
    page = render_report(replace(report, experiments=(replace(report.experiments[1], strips=(strip,)),)))
    assert "Eight of 48 pictures shown in each row: the first picture of each" in page
    assert "Four more seeds" in page


def test_intervals_of_shares_are_drawn_as_far_as_shares_can_differ() -> None:
    """Two shares differ by at most 1, the difference of two differences is at most 2; other units have no end."""
    wide = replace(make_contrast(np.random.default_rng(0), 0.9, 0.05), low=0.5, high=1.4)
    check = ControlCheck("placebo", "more than the placebo", True, "passed", replace(wide, low=-1.3), "", surely=True)
    share = make_verdict(wide, 0.1, "higher", measure="background_white", controls=(check,))
    drawn = possible(share)
    assert (drawn.contrast.low, drawn.contrast.high) == (0.5, 1.0)  # type: ignore[union-attr]
    assert drawn.controls[0].contrast.low == -1.0  # type: ignore[union-attr]
    bar = make_bar(share)
    assert bar is not None
    at_one = next(tick.x for tick in bar.ticks if tick.label == "+100")
    assert bar.whisker.high == pytest.approx(at_one)
    assert bar.says.startswith("change +91.8 points, between +50 and +100; ")
    twice = replace(wide, effect=1.2, run_effects=(1.1, 1.3), high=2.6)
    assert possible(replace(share, contrast=twice, controls=())).contrast.high == 2.0  # type: ignore[union-attr]
    assert possible(replace(share, measure="chroma")).contrast.high == 1.4  # type: ignore[union-attr]


def decoded(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))


def test_a_sprite_keeps_the_colours_of_small_pictures_at_their_edges() -> None:
    """Stored at twice their size, so that what the compression does to colours stays below what an eye sees at the edge of a shape."""
    rng = np.random.default_rng(2)
    first, second = (make_picture(rng, "", "") for _ in range(2))
    sheet = decoded(make_sprite([first, None, second]))
    assert sheet.size == (2 * (3 * 64 + 2 * 2), 128)
    pixels = np.asarray(sheet.resize((196, 64), Image.Resampling.BOX)).astype(int)
    for left, picture in ((0, first), (132, second)):
        off = np.abs(pixels[:, left : left + 64, :3] - np.asarray(Image.open(io.BytesIO(picture.png))).astype(int))
        assert off.mean() < 2.5
        assert off.max() < 48
    assert not pixels[:, 64:132, 3].any()


def test_a_sprite_makes_large_pictures_small_and_drops_metadata() -> None:
    big = decoded(make_sprite([make_picture(np.random.default_rng(0), "", "", size_px=512)]))
    assert (big.format, big.size) == ("WEBP", (128, 128))
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a secret prompt")
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    Image.new("RGB", (64, 64)).save(out, "PNG", pnginfo=info, exif=exif)
    sprite = make_sprite([Picture(out.getvalue(), "", "")])
    assert b"secret" not in base64.b64decode(sprite.split(",")[1])


def test_rows_that_lack_pictures_keep_their_columns() -> None:
    row = make_strip(np.random.default_rng(0), "a", "p").rows[0]
    gap = StripRow("a", (row.pictures[0], *row.pictures[2:]))
    assert aligned(gap, (0, 4, 8, 12, 16, 20, 24, 28))[1] is None
    assert aligned(gap, (0, 4, 8, 12, 16, 20, 24, 28))[2] == row.pictures[2]
    unnamed = StripRow("a", tuple(replace(picture, caption="") for picture in row.pictures[:2]))
    assert [picture is not None for picture in aligned(unnamed, (0, 4, 8))] == [True, True, False]


def test_no_absolute_path_is_shown() -> None:
    report = make_input()
    source = replace(
        report.provenance, base="/srv/models/dream/", commands=(r"loralab run C:\Users\kim\a.yaml", "loralab run /home/kim/b.yaml")
    )
    page = render_report(replace(report, provenance=source, exclusions=("cannot read '/home/kim/set/1.png': cut off",)))
    for secret in ("/srv", "/home", "kim", "Users"):
        assert secret not in page.replace(page[page.index("<style>") : page.index("</style>")], "").split("base64")[0]
        assert f"{secret}/" not in page
    assert "b.yaml" in page
    assert ">dream<" in page


def test_the_chips_say_what_the_verdict_is() -> None:
    said = {ruling: word for ruling, (_, word) in CHIPS.items()}
    assert said == {"supported": "yes", "leaning": "some", "contradicted": "no", "open": "can’t tell yet", "not_measurable": "not measured"}


def test_the_head_does_not_claim_trainings_that_failed() -> None:
    report = make_input()  # 8 trainings, and 8 of which one failed
    assert trainings_of(report) == ("LoRAs trained", "7 to 8 times")
    assert trainings_of(replace(report, arms=report.arms[:1])) == ("every LoRA trained", "8 times")
    assert trainings_of(replace(report, arms=())) is None


def test_words() -> None:
    assert without_paths("circle and/or square, 1/2, r*4") == "circle and/or square, 1/2, r*4"
    assert without_paths("read /a/b/c.png, twice") == "read …/c.png, twice"
    assert [duration(s) for s in (0.42, 38.2, 250, 3600, 7500)] == ["0.4 s", "38 s", "4 min 10 s", "1 h", "2 h 5 min"]
    assert [number(v) for v in (-0.1234, 12345.0, 0.0, -0.0)] == ["−0.123", "12345", "0", "0"]
    assert [times(n) for n in (1, 2, 8)] == ["once", "twice", "8 times"]
    open_claim = make_verdict(None, None, verdict="open", reason="can't tell yet: only one run can be compared", more_runs=9)
    assert would_tell(open_claim) == "at least 9 trainings"
    seen = make_verdict(make_contrast(np.random.default_rng(0), 2, 4), 3.0, "higher", more_runs=16, more_minutes=2.6)
    assert would_tell(seen) == "8 more trainings, 3 minutes"
    assert would_tell(replace(seen, more_runs=None)) == "more trainings would hardly settle it"
    assert reason_sentence(open_claim) == "Only one run can be compared."


def test_a_training_set_is_shown_whole_or_told_how_much_of_it(tmp_path: Path) -> None:
    """Nine red pictures and a blue one: all ten are there; of 300 the page says how many are shown."""
    rng = np.random.default_rng(0)
    ten = tuple(make_picture(rng, "mychar", "a picture") for _ in range(10))
    view = view_training(ten)
    assert view.label == "ten pictures, captions: mychar"
    assert len(view.rows) == 3
    assert view_training(ten[:6]).label == "six pictures"
    assert view_training(ten, 300).label.startswith("ten of 300 pictures shown, at even distances")
    assert evenly(10, 24) == list(range(10))
    assert (evenly(300, 24)[0], evenly(300, 24)[-1], len(set(evenly(300, 24)))) == (0, 299, 24)


def test_the_same_pictures_stand_on_the_page_once(page: str) -> None:
    report = make_input()
    section = next(section for section in report.experiments if section.strips)
    twice = replace(section, name="again")
    text = render_report(replace(report, experiments=(section, twice)))
    assert text.count("The same pictures as above") == len(section.strips)
    parsed(text)


def test_a_measure_that_takes_a_word_has_its_own_card() -> None:
    cards = make_input().cards
    named = (*cards, replace(cards[0], name="hue[magenta]", unit="share"))
    assert (card_name("hue[magenta]", named), unit_of("hue[magenta]", named)) == ("hue[magenta]", "share")
    assert (card_name("nothing", named), unit_of("nothing", named)) == ("", "")
    assert card_name(f"{cards[0].name}[mine]", cards) == cards[0].name
