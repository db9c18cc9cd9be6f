"""Who may ask the server, and which files it shows: refused is whatever another page, another name or an odd path could send."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from loralab.viewing.files import file_inside, picture_inside
from loralab.viewing.guard import refusal

TOKEN, HOST = "t0ken", "127.0.0.1:8000"
HOSTS = [HOST, "localhost:8000"]


def refused(path: str = f"/{TOKEN}/", method: str = "GET", host: str = HOST, **headers: str) -> int | None:
    told = [(b"host", host.encode()), *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())]
    found = refusal(method, path, told, TOKEN, HOSTS)
    return found[0] if found else None


def test_the_page_itself_may_ask():
    assert refused() is None
    assert refused(host="localhost:8000") is None
    assert refused(sec_fetch_site="none") is None  # typed into the address bar
    assert refused(f"/{TOKEN}/api/draw", "POST", origin=f"http://{HOST}", content_type="application/json", content_length="2") is None


@pytest.mark.parametrize("path", ["/", "", "/other/", "/t0ke", "/t0kenX/", "//t0ken/", "/api/lab", "/T0KEN/", "/t0ken%2f", "/tökén/"])
def test_without_the_token_nothing_is_told(path: str):
    assert refused(path) == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "0.0.0.0:8000", "", "127.0.0.1:8000.evil"]
)
def test_another_host_is_refused_even_with_the_token(host: str):
    assert refused(host=host) == 421


def test_no_host_and_two_hosts_are_refused():
    assert refusal("GET", f"/{TOKEN}/", [], TOKEN, HOSTS) is not None
    assert refusal("GET", f"/{TOKEN}/", [(b"host", HOST.encode()), (b"Host", b"evil.example")], TOKEN, HOSTS) is not None


ODD_ORIGINS = [
    "http://evil.example",
    "null",
    "https://127.0.0.1:8000",
    "http://127.0.0.1:8001",
    "http://localhost:8000",
    "file://",
]


@pytest.mark.parametrize("origin", ODD_ORIGINS)
def test_another_origin_is_refused(origin: str):
    assert refused(origin=origin) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_a_browser_sends_for_another_page_is_refused(site: str):
    assert refused(sec_fetch_site=site) == 403


def test_forms_and_long_bodies_are_refused():
    post = {"path": f"/{TOKEN}/api/draw", "method": "POST"}
    assert refused(**post, content_type="text/plain", content_length="2") == 415
    assert refused(**post, content_length="2") == 415
    assert refused(**post, content_type="application/json") == 411
    assert refused(**post, content_type="application/json", content_length="-1") == 411
    assert refused(**post, content_type="application/json", content_length="999999999999999999999") == 413
    assert refused(f"/{TOKEN}/", "DELETE") == 405
    assert refused(f"/{TOKEN}/", "OPTIONS") == 405


# --- files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    lab = tmp_path / "lab"
    for name in (
        "studies/one/report/index.html",
        "studies/one/study.yaml",
        "checks/two/index.html",
        "store/images/x/a.html",
        "secret.html",
    ):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text("x", encoding="utf-8")
    (lab / "studies" / "one" / "readings.parquet").write_bytes(b"x")
    (lab / "studies" / "one" / ".hidden.html").write_bytes(b"x")
    (tmp_path / "outside.html").write_text("secret", encoding="utf-8")
    (tmp_path / "lab-evil" / "studies").mkdir(parents=True)
    (tmp_path / "lab-evil" / "studies" / "x.html").write_text("secret", encoding="utf-8")
    return lab


def test_what_is_shown_is_found(lab: Path):
    for name in ("studies/one/report/index.html", "studies/one/study.yaml", "checks/two/index.html"):
        assert file_inside(lab, name) == (lab / name).resolve()


ODD = [
    "",
    "studies",
    "secret.html",
    "store/images/x/a.html",
    "studies/one",
    "studies/one/readings.parquet",
    "studies/one/.hidden.html",
    "../outside.html",
    "studies/../../outside.html",
    "studies/../secret.html",
    "studies/one/../../../outside.html",
    "/etc/hosts",
    "//etc/hosts",
    "studies//one/study.yaml",
    "studies/./one/study.yaml",
    "studies/one/report/index.html/",
    "studies\\..\\..\\outside.html",
    "studies/..\\..\\outside.html",
    "C:/windows/win.ini",
    "studies/C:outside.html",
    "studies/one/study.yaml::$DATA",
    "studies/one/study.yaml.",
    "studies/one/study.yaml\0.html",
    "studies/\u2025/outside.html",
    "../lab-evil/studies/x.html",
    "studies/" + "a/" * 3000 + "b.html",
    "~/x.html",
]
ENCODED = [
    "studies/%2e%2e/%2e%2e/outside.html",
    "studies%2f..%2f..%2foutside.html",
    "studies/%252e%252e/%252e%252e/outside.html",
    "studies/..%5c..%5coutside.html",
    "studies/%c0%ae%c0%ae/outside.html",
    "studies/one/study.yaml%00.html",
]


@pytest.mark.parametrize("path", ODD, ids=range(len(ODD)))
def test_nothing_else_is_ever_shown(lab: Path, path: str):
    assert file_inside(lab, path) is None


@pytest.mark.parametrize("path", ENCODED)
def test_nor_in_any_spelling(lab: Path, path: str):
    assert file_inside(lab, path) is None
    assert file_inside(lab, unquote(path)) is None
    assert file_inside(lab, unquote(unquote(path))) is None


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_links_are_followed_inside_and_refused_outside(lab: Path, tmp_path: Path):
    (lab / "studies" / "out.html").symlink_to(tmp_path / "outside.html")
    (lab / "studies" / "store.html").symlink_to(lab / "store" / "images" / "x" / "a.html")
    (lab / "studies" / "folder").symlink_to(tmp_path)
    (lab / "studies" / "round.html").symlink_to(lab / "studies" / "round.html")
    (lab / "studies" / "same.html").symlink_to(lab / "checks" / "two" / "index.html")
    for name in ("out.html", "store.html", "folder/outside.html", "round.html"):
        assert file_inside(lab, f"studies/{name}") is None
    assert file_inside(lab, "studies/same.html") == (lab / "checks" / "two" / "index.html").resolve()
    (tmp_path / "link").symlink_to(lab)
    assert file_inside(tmp_path / "link", "checks/two/index.html") is not None


def test_pictures_are_reached_by_key_and_seed_alone(lab: Path, tmp_path: Path):
    key = "0123456789abcdef" * 2
    (lab / "store" / "images" / key).mkdir(parents=True)
    (lab / "store" / "images" / key / "00000007.png").write_bytes(b"png")
    assert picture_inside(lab, key, "7") is not None
    for wrong in (
        (key, "8"),
        (key, "../7"),
        (key, "-7"),
        (key, "７"),
        ("..", "7"),
        (key.upper(), "7"),
        (f"../images/{key}", "7"),
        (key, ""),
    ):
        assert picture_inside(lab, *wrong) is None
    if os.name != "nt":
        (tmp_path / "00000009.png").write_bytes(b"secret")
        (lab / "store" / "images" / key / "00000009.png").symlink_to(tmp_path / "00000009.png")
        assert picture_inside(lab, key, "9") is None
