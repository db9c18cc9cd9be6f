"""Who may ask: the parts of a request in, why it is refused out. Pure, but for the wrapper at the end.

The server listens on this machine alone, but every web page that is open in a browser here can send requests to it. So the address holds a
token that no other page knows; the host must be the one that was opened (a name that leads here is none, which ends DNS rebinding); what a
browser sends for another origin is refused; and what changes anything has to be JSON, which no form can send.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

MOST_BODY_BYTES = 64 << 10
JSON = "application/json"
#: what a browser says of where a request comes from: from the page itself, or typed into the address bar
OWN_SITES = ("same-origin", "none")
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: sent with every answer: nothing is kept, guessed, framed or told to others
HEADERS: Mapping[str, str] = {
    "cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
}  # fmt: skip


def refusal(method: str, path: str, headers: Iterable[tuple[bytes, bytes]], token: str, hosts: Iterable[str]) -> tuple[int, str] | None:
    """Return (status, why) where a request is refused; None where it may pass."""
    told: dict[str, list[str]] = {}
    for name, value in headers:
        told.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    host, origins, sites = told.get("host", []), told.get("origin", []), told.get("sec-fetch-site", [])
    if len(host) != 1 or host[0].lower() not in hosts:
        return 421, "the host name is not the one in the address"
    if any(origin.lower() != f"http://{host[0].lower()}" for origin in origins):
        return 403, "the request came from another page"
    if any(site not in OWN_SITES for site in sites):
        return 403, "the request came from another page; type the address into the address bar"
    first = path.split("/")[1] if path.startswith("/") else ""
    if not hmac.compare_digest(first.encode("utf-8", "surrogatepass"), token.encode()):
        return 403, "the token is missing or old: open the address that `loralab view` printed"
    if method in ("GET", "HEAD"):
        return None
    if method != "POST":
        return 405, "only GET and POST"
    return _body_refusal(told)


def _body_refusal(told: Mapping[str, list[str]]) -> tuple[int, str] | None:
    kind, length = told.get("content-type", [""])[0], told.get("content-length", [""])[0]
    if kind.split(";")[0].strip().lower() != JSON:
        return 415, "only JSON"
    if not (length.isascii() and length.isdecimal()):
        return 411, "its length is missing"
    return (413, "it is too long") if int(length[:12]) > MOST_BODY_BYTES else None


class Guard:
    """An ASGI application around another: refuses what `refusal` does, and sends the headers with everything else."""

    def __init__(self, app: Any, token: str, hosts: Iterable[str]) -> None:
        self.app, self.token, self.hosts = app, token, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # no sockets; the server asks for no lifespan
            return
        refused = refusal(scope["method"], scope["path"], scope["headers"], self.token, self.hosts)
        if refused is None:
            await self.app(scope, receive, _with_headers(send))
            return
        status, why = refused
        content = f"loralab: refused, {why}.\n".encode()
        head = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(content)).encode())]
        await _with_headers(send)({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": content})


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in given]
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return sending
