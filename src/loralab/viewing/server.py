"""The server: a lab and a bench in; a page on this machine's own address out, until it is interrupted."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from loralab.errors import LabError, lab_error
from loralab.measure import TABLE
from loralab.viewing.asked import DrawAsked, KeepAsked, read_asked
from loralab.viewing.bench import Bench, choices, draw
from loralab.viewing.files import POLICY, TYPES, file_inside, picture_inside
from loralab.viewing.guard import Guard
from loralab.viewing.keeping import keep
from loralab.viewing.overview import overview

LOOPBACK = "127.0.0.1"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: what the page is made of -> its files in the package, one behind the other
PARTS = {
    "view.html": (("loralab.viewing", "view.html"),),
    "view.js": (("loralab.viewing", "view.js"),),
    "view.css": (("loralab.report", "report.css"), ("loralab.viewing", "view.css")),
}


def make_app(bench: Bench, token: str, port: int) -> Guard:
    """Return the ASGI application: everything stands under the token."""

    async def page(request: Request) -> Response:
        return _part("view.html")

    async def part(request: Request) -> Response:
        name = request.path_params["name"]
        return _part(name) if name in PARTS else _nothing()

    async def told(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(overview, bench.lab))

    async def offered(request: Request) -> Response:
        measures = {name: row.says for name, row in TABLE.items() if not row.needs}
        return JSONResponse({**await run_in_threadpool(choices, bench), "measures": measures})

    async def drawing(request: Request) -> Response:
        return JSONResponse({"done": bench.done, "total": bench.total})

    async def drawn(request: Request) -> Response:
        asked = read_asked(DrawAsked, await _json(request))
        return JSONResponse(await run_in_threadpool(draw, bench, asked))

    async def kept(request: Request) -> Response:
        asked = read_asked(KeepAsked, await _json(request))
        return JSONResponse(await run_in_threadpool(keep, bench.lab, asked, bench.base))

    async def picture(request: Request) -> Response:
        return _file(picture_inside(bench.lab, request.path_params["key"], request.path_params["seed"]))

    async def lab_file(request: Request) -> Response:
        return _file(file_inside(bench.lab, request.path_params["path"]))

    routes = [
        Route("/", page), Route("/part/{name}", part), Route("/api/lab", told), Route("/api/bench", offered),
        Route("/api/drawing", drawing), Route("/api/draw", drawn, methods=["POST"]), Route("/api/keep", kept, methods=["POST"]),
        Route("/picture/{key}/{seed}", picture), Route("/lab/{path:path}", lab_file),
    ]  # fmt: skip
    app = Starlette(routes=[Mount(f"/{token}", routes=routes)], exception_handlers={LabError: _mistake})
    return Guard(app, token, [f"{name}:{port}" for name in (LOOPBACK, "localhost")])


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise lab_error("spec", "the request is not JSON", "a JSON object") from error


async def _mistake(request: Request, error: Exception) -> Response:
    assert isinstance(error, LabError)  # what it is registered for
    problems = [{"found": each.found, "expected": each.expected, "do": each.do} for each in error.problems]
    return JSONResponse({"problems": problems}, 422)


def _part(name: str) -> Response:
    text = "\n".join((files(package) / file).read_text(encoding="utf-8") for package, file in PARTS[name])
    headers = {"content-security-policy": PAGE_POLICY}
    return Response(text, media_type=TYPES[Path(name).suffix], headers=headers)


def _file(file: Path | None) -> Response:
    if file is None:
        return _nothing()
    kind = TYPES[file.suffix.lower()]
    return FileResponse(file, media_type=kind, headers={"content-security-policy": POLICY})


def _nothing() -> Response:
    return Response("There is nothing here.\n", 404, media_type="text/plain; charset=utf-8")


def listening(port: int) -> socket.socket:
    """Return a socket on this machine's own address; raises LabError("spec") where the port is taken."""
    own = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        own.bind((LOOPBACK, port))
    except OSError as error:
        own.close()
        why = error.strerror or "it cannot be opened"
        raise lab_error("spec", f"port {port}: {why.lower()}", "a free port", "--port 0 uses any free port") from error
    return own


def serve(bench: Bench, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl+C; ``say`` is given its address."""
    own, token = listening(port), secrets.token_urlsafe(24)
    taken = int(own.getsockname()[1])
    config = uvicorn.Config(
        make_app(bench, token, taken), log_level="error", access_log=False, lifespan="off", server_header=False, proxy_headers=False,
        date_header=False, ws="none",
    )  # fmt: skip
    say(f"http://{LOOPBACK}:{taken}/{token}/")
    uvicorn.Server(config).run(sockets=[own])
