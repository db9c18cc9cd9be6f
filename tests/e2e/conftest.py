"""What the tests in a browser share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from browsers import SWITCHES, find


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if os.environ.get("LORALAB_NO_BROWSER") == "1":
        pytest.skip("LORALAB_NO_BROWSER=1")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = find("chromium", "chromium-browser", "google-chrome", "chrome")
    for switch in SWITCHES:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(find("chromedriver")))
    yield driver
    driver.quit()
