"""`loralab view` as it is served: what is refused on the wire, and the page in a real browser, from a prompt to a question in a study."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from browsers import serious, until

from loralab.engine.whole import run_study
from loralab.spec import LoadSpec
from loralab.spec.load import load_study
from loralab.store.running import published
from loralab.viewing.bench import Bench
from loralab.viewing.server import listening, make_app
from loralab.work.events import Event

TOKEN = "a-token-of-the-tests"
STUDY = """
study: shapes
base: own
load: {size_px: 64}
data: {grey: {generate: shapes, shapes: [circle, square], fill: grey}}
train: {rank: 2, lr: 5e-2, steps: 2, batch: 1, replicates: 3}
sample: {steps: 2, guidance: 2, seeds: 1}
arms:
  strong: {data: grey, captions: x}
experiments:
  one:
    question: Does it change anything?
    claims:
      - {say: it does, measure: change, cell: strong @ "x", expect: higher, margin_absolute: 1}
"""


@dataclass(frozen=True)
class Served:
    """A lab with a study on a tiny base, and the address of its page."""

    lab: Path
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def ask(
        self, path: str, *, method: str = "GET", body: bytes = b"", host: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request as it is written, without any tidying up of the path."""
        told = {"host": host or f"127.0.0.1:{self.port}", **({"content-length": str(len(body))} if method == "POST" else {})}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in (told | {name.replace("_", "-"): value for name, value in headers.items()}).items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def post(self, path: str, told: object) -> tuple[int, dict]:
        status, _, content = self.ask(f"/{TOKEN}/{path}", method="POST", body=json.dumps(told).encode(), content_type="application/json")
        return status, json.loads(content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_base_folder: Path, dry_runs_known: None) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("view")
    shutil.copytree(tiny_base_folder, root / "own")
    (root / "shapes.yaml").write_text(STUDY, encoding="utf-8")
    run_study(load_study(root / "shapes.yaml"), root / "lab", lambda event: None)
    (root / "outside.html").write_text("secret", encoding="utf-8")
    own = listening(0)
    port = own.getsockname()[1]
    bench = Bench(root / "lab", str(root / "own"), LoadSpec(size_px=64, side_by_side=False))
    config = uvicorn.Config(make_app(bench, TOKEN, port), log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
    thread.start()
    until(lambda: server.started, 30)
    yield Served(root / "lab", port)
    server.should_exit = True
    thread.join()


def blocks(served: Served) -> int:
    return sum(1 for _ in (served.lab / "store" / "images").iterdir())


# --- on the wire --------------------------------------------------------------------------------------------------------


def test_the_page_is_told_to_nobody_else(served: Served):
    status, headers, content = served.ask(f"/{TOKEN}/")
    assert (status, b"<title>loralab</title>" in content) == (200, True)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (headers["cache-control"], headers["referrer-policy"], headers["x-frame-options"]) == ("no-store", "no-referrer", "DENY")
    assert "access-control-allow-origin" not in headers
    for path in ("/", "/api/lab", f"/{TOKEN}x/", "/part/view.js"):
        assert served.ask(path)[0] == 403
    assert served.ask(f"/{TOKEN}/api/lab", host=f"evil.example:{served.port}")[0] == 421
    assert served.ask(f"/{TOKEN}/api/lab", origin="http://evil.example")[0] == 403
    assert served.ask(f"/{TOKEN}/api/lab", sec_fetch_site="cross-site")[0] == 403
    asked = json.dumps({"prompt": "x"}).encode()
    assert served.ask(f"/{TOKEN}/api/draw", method="POST", body=asked, content_type="text/plain")[0] == 415
    assert served.ask(f"/{TOKEN}/api/draw", method="POST", body=b" " * 70_000, content_type="application/json")[0] == 413
    assert served.ask(f"/{TOKEN}/api/draw", method="OPTIONS", origin=f"http://127.0.0.1:{served.port}")[0] == 405


def test_it_is_reached_from_this_machine_alone(served: Served):
    outward = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET) if not info[4][0].startswith("127.")]
    for address in outward:
        with pytest.raises(OSError, match=r"refused|timed out"):
            socket.create_connection((address, served.port), timeout=2)
    with listening(0) as own:
        assert own.getsockname()[0] == "127.0.0.1"


def test_no_spelling_of_a_path_leads_out_of_the_lab(served: Served):
    (served.lab / "studies" / "out.html").symlink_to(served.lab.parent / "outside.html")
    spellings = [
        "lab/../../outside.html", "lab/studies/../../outside.html", "lab/studies/..%2f..%2foutside.html", "lab//etc/hosts",
        "lab/studies/%2e%2e/%2e%2e/outside.html", "lab/studies/%252e%252e/outside.html", "lab/..%5c..%5coutside.html",
        "lab/%2fetc%2fhosts", "lab/studies/out.html", "lab/store/sources.json", "lab/studies/shapes/ledger.jsonl", "../outside.html",
        "lab/studies/shapes/.ledger.jsonl.lock", "picture/../7", "part/../server.py", "part/%2e%2e%2fserver.py", "lab/studies/%00",
        f"lab/{quote(str(served.lab.parent / 'outside.html'), safe='')}",
    ]  # fmt: skip
    for spelling in spellings:
        status, _, content = served.ask(f"/{TOKEN}/{spelling}")
        assert status in (403, 404), spelling
        assert b"secret" not in content
    assert served.ask(f"/{TOKEN}/lab/studies/shapes/report/index.html")[0] == 200


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"chosen": [{"file": "no/such.safetensors"}]}, "no LoRA file at such.safetensors"),
        ({"chosen": [{"file": "/etc/hosts"}]}, "hosts"),
        ({"chosen": [{"study": "../..", "arm": "a"}]}, "no finished study"),
        ({"chosen": [{"study": "shapes", "arm": "weak"}]}, "no LoRA weak-r0"),
        ({"chosen": [{"study": "shapes", "arm": "strong", "training": 9}]}, "no LoRA strong-r9"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"seeds": "many"}, "seeds"),
        ([1], "the request"),
    ],
)
def test_a_mistake_gets_an_answer_in_words(served: Served, told: object, said: str):
    status, answer = served.post("api/draw", told)
    assert status == 422
    assert any(said in problem["found"] for problem in answer["problems"]), answer


def test_what_is_no_json_gets_one_too(served: Served):
    status, _, content = served.ask(f"/{TOKEN}/api/keep", method="POST", body=b"{", content_type="application/json")
    assert (status, "not JSON" in content.decode()) == (422, True)


def test_a_file_and_an_arm_of_the_same_weights_draw_the_same(served: Served):
    file = served.lab / "studies" / "shapes" / "loras" / "strong-r0.safetensors"
    chosen = [{"study": "shapes", "arm": "strong"}, {"file": str(file)}]
    status, answer = served.post("api/draw", {"prompt": "y", "chosen": chosen, "seeds": [3], "steps": 2})
    assert status == 200
    _, arm, by_file = (served.ask(f"/{TOKEN}/{row['pictures'][0]['address']}") for row in answer["rows"])
    assert arm[0] == 200
    assert arm[1]["content-type"] == "image/png"
    assert [row["label"] for row in answer["rows"]] == ["the base", "shapes/strong, training 0", "strong-r0"]
    assert served.post("api/draw", {"prompt": "y", "chosen": chosen[::-1], "seeds": [3], "steps": 2})[1]["drawn"] == 0
    assert by_file[0] == 200


# --- in a browser -------------------------------------------------------------------------------------------------------


def open_page(browser, served: Served, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(served.address)
    browser.get_log("browser")  # what an earlier page complained of
    until(lambda: browser.find_elements("css selector", ".lora"), 60)


def put(browser, name: str, text: str) -> None:
    field = browser.find_element("id", name)
    field.clear()
    field.send_keys(text)


def told(browser, name: str) -> str:
    return browser.find_element("id", name).text


def press(browser, name: str) -> None:
    browser.execute_script("arguments[0].click()", browser.find_element("id", name))


def follow(browser, words: str) -> None:
    browser.execute_script("arguments[0].click()", until(lambda: browser.find_elements("link text", words), 20)[0])


def draw(browser) -> str:
    press(browser, "draw")
    return str(until(lambda: (text := told(browser, "told")).endswith((" s.", "drawn.")) and text, 120))


@pytest.mark.browser
def test_the_bench_from_a_prompt_to_a_question(browser, served: Served):
    open_page(browser, served, 1280, "light")
    browser.find_element("css selector", ".lora input").click()
    for name, text in (("prompt", "zx"), ("strengths", "0.5 1"), ("seeds", "0-1"), ("steps", "2"), ("guidance", "2")):
        put(browser, name, text)
    assert draw(browser).startswith("6 pictures drawn in ")
    rows = browser.find_elements("css selector", ".drawn")
    labels = [" ".join(row.find_element("css selector", ".label").text.split("\n")[:2]) for row in rows]
    assert labels == ["the base", "shapes/strong, training 0 strength 0.5", "shapes/strong, training 0 strength 1"]
    loaded = "return [...document.querySelectorAll('.shots img')].map(i => i.complete ? i.naturalWidth : 0)"
    until(lambda: browser.execute_script(loaded) == [64] * 6, 20)
    n = blocks(served)
    assert draw(browser) == "All of them had already been drawn."
    put(browser, "seeds", "1 2")
    assert draw(browser).startswith("3 pictures drawn in ")  # one seed of three rows
    assert blocks(served) == n + 3

    browser.execute_script("document.querySelectorAll('.drawn button')[1].click()")
    put(browser, "say", "it turns grey")
    browser.execute_script("document.getElementById('keep').requestSubmit()")
    until(lambda: browser.find_elements("id", "added"), 30)
    assert "it turns grey" in told(browser, "added")
    assert 'strong @ \\"zx\\"' in told(browser, "added")
    spec = load_study(served.lab / "bench" / "shapes.yaml").spec
    assert (spec.experiments["bench"].claims[0].say, spec.experiments["bench"].claims[0].expect) == ("it turns grey", "higher")
    assert browser.get_log("browser") == []


@pytest.mark.browser
def test_mistakes_stand_beside_the_form(browser, served: Served):
    open_page(browser, served, 1280, "light")
    for name, text, said in (("seeds", "many", "seeds: many is not a number"), ("strengths", "9", "9 is not a valid strength")):
        before = browser.find_element("id", name).get_attribute("value")
        put(browser, name, text)
        press(browser, "draw")
        until(lambda said=said: said in told(browser, "mistakes"), 30)
        put(browser, name, before)
    put(browser, "file", "no/such.safetensors")
    press(browser, "add")
    press(browser, "draw")
    until(lambda: "no LoRA file at such.safetensors" in told(browser, "mistakes"), 30)


@pytest.mark.browser
def test_what_runs_is_seen_and_a_study_opens(browser, served: Served):
    open_page(browser, served, 1280, "dark")
    assert "Nothing is running" in told(browser, "runs")
    with published(served.lab, "study", "shapes", lambda event: None) as hear:
        hear(Event("train", 0, 100))
        time.sleep(1.1)
        hear(Event("train", 25, 100, "stack 1 of 2"))
        until(lambda: "Training LoRAs: 25 %, about" in told(browser, "runs"), 10)
        assert "stack 1 of 2" in told(browser, "runs")
        until(lambda: "running" in told(browser, "study-list"), 10)
    until(lambda: "Nothing is running" in told(browser, "runs"), 10)
    follow(browser, "report")
    until(lambda: "Does it change anything?" in browser.page_source, 10)
    assert browser.get_log("browser") == []
    browser.back()
    follow(browser, "every picture")
    until(lambda: browser.execute_script("return document.querySelectorAll('.tile').length") > 0, 10)
    assert browser.get_log("browser") == []


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def test_it_fits_any_screen_and_asks_no_other_machine(browser, served: Served, width: int, scheme: str, tmp_path: Path):
    open_page(browser, served, width, scheme)
    put(browser, "prompt", "zx")
    put(browser, "steps", "2")
    draw(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked
    assert all(name.startswith((served.address, "data:")) for name in asked)
    assert serious(browser) == []
    assert browser.get_log("browser") == []
