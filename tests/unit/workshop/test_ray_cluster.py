"""A Ray address that is none is refused in seconds; what is started here is nobody else's."""

import json
import socket
import subprocess
import sys
import time

import pytest

from storybooth.workshop import ROOT, WorkshopError

connect = pytest.importorskip("storybooth.workshop.ray_cluster").connect


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "ray://127.0.0.1:9", "no port", "nowhere.invalid:6379", "127.0.0.1:x"]
)
def test_an_address_where_nothing_listens(address):
    begun = time.monotonic()
    with pytest.raises(WorkshopError, match=f"--ray: no Ray cluster answers at {address}"):
        connect(address)
    assert time.monotonic() - begun < 100, "Ray itself would try for a quarter of an hour"


def test_auto_where_the_address_of_the_environment_is_gone(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{probe.getsockname()[1]}")
        with pytest.raises(WorkshopError, match="--ray: no Ray cluster answers at auto"):
            connect("auto")


_LISTENING = """
import contextlib, json, runpy, sys, psutil
runpy.run_path(sys.argv[1])
import ray
from storybooth.workshop.ray_cluster import connect
connect(None)
ray.get(ray.remote(lambda: None).remote())
processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
found = set()
for one in processes:
    with contextlib.suppress(psutil.NoSuchProcess):  # some end by themselves
        found |= {place.laddr.ip for place in one.net_connections() if place.status == "LISTEN"}
print(json.dumps([len(processes), sorted(found)]))
"""


def test_a_ray_of_our_own_listens_on_the_loopback_address_alone():
    script = [sys.executable, "-c", _LISTENING, str(ROOT / "workshop" / "load_pack.py")]
    processes, places = json.loads(subprocess.check_output(script, text=True).splitlines()[-1])
    assert processes > 3
    assert places
    assert {place.removeprefix("::ffff:") for place in places} <= {"127.0.0.1", "::1"}
