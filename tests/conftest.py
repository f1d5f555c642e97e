"""What every test stands on: the pack under the package name `storybooth`, and real ComfyUI servers to load it.

The pack is imported by its folder, as ComfyUI does it, so its folder may have any name. Helper modules of the
tests are imported in the same way: `from storybooth.tests.host import graphs`.
"""

import importlib.util
import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The root on sys.path (as `python -m pytest` puts it there) would let `import nodes` find the pack's folder.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

# Everything here is small: threads that wait for each other, beside a server and a browser, would only slow it down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if importlib.util.find_spec("comfy") is not None:
    raise pytest.UsageError("ComfyUI is importable here; the unit tests must prove that they do without it.")

runpy.run_path(str(ROOT / "workshop" / "load_pack.py"))

from storybooth.workshop import host, server  # noqa: E402

HOSTS = Path(os.environ.get("STORYBOOTH_HOSTS", host.HOSTS))
"""Folder that contains comfyui-<release>; `python dev.py test` fills it."""


@pytest.fixture(scope="session", params=host.RELEASES)
def comfyui_folder(request: pytest.FixtureRequest) -> Path:
    """ComfyUI's own folder, one for each release: for tests that import it in a process of their own."""
    return HOSTS / f"comfyui-{request.param}"


@pytest.fixture(scope="session", params=host.RELEASES)
def comfy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A running ComfyUI with the pack in it, one for all tests of a release. See `workshop/client.py`."""
    base = tmp_path_factory.mktemp(f"comfyui-{request.param}")
    server.install_pack(base, "whatever-name")
    shutil.copy(ROOT / "tests" / "host" / "odd_inputs.py", base / "custom_nodes")
    with server.serve(HOSTS / f"comfyui-{request.param}", base) as running:
        yield running


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--everything`: all tests on both releases."""
    parser.addoption("--everything", action="store_true", help="tests marked `once` run on both releases, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One release after the other: a worker of `dev.py test` starts each server once. What needs none comes last."""
    if not config.getoption("everything"):
        deselect(config, items, lambda item: _release(item.nodeid) == host.OLDEST and item.get_closest_marker("once"))
    order = [*host.RELEASES, ""]
    items.sort(key=lambda item: order.index(_release(item.nodeid)))


def deselect(config: pytest.Config, items: list[pytest.Item], which: Callable[[pytest.Item], object]) -> None:
    """Leave these tests out; pytest says how many."""
    left_out = [item for item in items if which(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a worker one file's tests on one release at a time: they share trainings, pages and processes."""
    from xdist.scheduler import LoadScopeScheduling

    class OfOneFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return f"{_release(nodeid)} {nodeid.partition('::')[0]}"

    return OfOneFile(config, log)


def _release(nodeid: str) -> str:
    """The release that a test runs on, by its name; an empty text for none."""
    named = re.search(rf"[\[-]({'|'.join(map(re.escape, host.RELEASES))})[-\]]", nodeid)
    return named[1] if named else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the end of ComfyUI's log under a failed test that used it."""
    report = yield
    running = getattr(item, "funcargs", {}).get("comfy")
    if running is not None and report.failed:
        report.sections.append(("end of ComfyUI's log", running.log_text()[-6000:]))
    return report
