"""A real browser for the tests: where it is found, how it is started, and how a page is shown in it at a width and in a colour scheme."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip


def find(*names: str) -> str:
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        pytest.fail(f"none of {', '.join(names)} is installed; install it, or set LORALAB_NO_BROWSER=1 to leave the browser tests out")
    return found


def show(browser, page: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    browser.get(page.as_uri())


def until(told: Callable[[], object], seconds: float = 8.0) -> object:
    """Return what ``told`` says as soon as that is something; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := told():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass in time")


def asked_for(browser) -> list[str]:
    """Return every address that the browser asked for since this was last called, as its own log of the network has it."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def beyond(addresses: list[str]) -> list[str]:
    """Return those addresses that are neither a file nor text in a page."""
    return [address for address in addresses if not address.startswith(("file:", "data:", "blob:", "about:"))]


def engine() -> str:
    """Return axe-core's script: the release that pip installs, or the one that LORALAB_AXE names (a newer axe.min.js from npm)."""
    own = os.environ.get("LORALAB_AXE")
    return Path(own).read_text(encoding="utf-8") if own else (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")


def serious(browser) -> list[tuple[str, str, list[str]]]:
    """Return what axe-core calls serious or critical in the page as it stands: the rule, what it asks, and where."""
    if not browser.execute_script("return typeof axe === 'object'"):
        browser.execute_script(engine())
    found: dict[str, Any] = browser.execute_async_script(
        "const told = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then(told, e => told({ error: String(e) }))"
    )
    assert "error" not in found, found
    return [
        (rule["id"], rule["help"], [node["html"][:160] for node in rule["nodes"][:4]])
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
