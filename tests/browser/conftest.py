"""Real Chromium for the canvas tests."""

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from storybooth.development import browser
from storybooth.development.canvas import open_canvas
from storybooth.tests.conftest import deselect
from storybooth.workshop import host
from storybooth.workshop.server import Server

SCREEN = {"width": 1600, "height": 1000}

PATIENCE = 300_000
"""Milliseconds to wait for what must come: no test is about speed, and machines may be busy."""

SLOWER = float(os.environ.get("STORYBOOTH_SLOW_BROWSER", "1"))
"""How many times slower pages compute: with 6, what a test reads a moment too early is not there yet."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless Chromium for the whole session."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=browser.executable(), args=["--no-sandbox"])
        yield launched
        launched.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave Nodes 2.0 out on the oldest release: there it was an experiment."""
    values = {item: getattr(getattr(item, "callspec", None), "params", {}) for item in items}
    deselect(config, items, lambda item: values[item].get("nodes2") and values[item].get("comfy") == host.OLDEST)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of its own (cookies, storage) for each test."""
    made = _new_page(chromium)
    yield made
    made.context.close()


@pytest.fixture(scope="module")
def canvas(chromium: Browser, comfy: Server) -> Iterator[Callable[[bool], Page]]:
    """The page on which a canvas stays open, classic or Nodes 2.0, emptied: opening one takes many seconds.

    For tests of a file that leave nothing behind but another workflow. An open canvas is drawn all the time, which
    slows down whatever comes after that file.
    """
    kept = {}

    def emptied(nodes2: bool = False) -> Page:
        if nodes2 not in kept:
            kept[nodes2] = _new_page(chromium)
            open_canvas(kept[nodes2], comfy.url, nodes2)
        kept[nodes2].set_viewport_size(SCREEN)
        kept[nodes2].evaluate("app.rootGraph.clear()")
        return kept[nodes2]

    yield emptied
    for made in kept.values():
        made.context.close()


def _new_page(chromium: Browser) -> Page:
    context = chromium.new_context(viewport=SCREEN)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    if SLOWER > 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    return page
