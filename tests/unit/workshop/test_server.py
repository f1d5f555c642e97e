"""A server's start and end, with a main.py that is quicker than ComfyUI's."""

import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from storybooth.workshop import ROOT, WorkshopError
from storybooth.workshop.server import serve

MAIN = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

# A parent that ends without any goodbye while its server runs.
PARENT = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from workshop.server import serve
with serve(Path(sys.argv[2]), Path(sys.argv[2]) / "base") as server:
    print(server.url, flush=True)
    os._exit(1)
"""


def answers(url):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def test_a_server_ends_with_its_context(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    with serve(tmp_path, tmp_path / "base") as server:
        assert answers(server.url)
    assert not answers(server.url)


def test_a_server_does_not_outlive_its_parent(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(ROOT), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith("http://127.0.0.1:"), done.stderr
    for _ in range(300):
        if not answers(done.stdout.strip()):
            break
        time.sleep(0.1)
    assert not answers(done.stdout.strip())


def test_a_comfyui_that_does_not_start_is_reported_with_its_log(tmp_path):
    (tmp_path / "main.py").write_text("raise SystemExit('this machine has no such card')")
    with pytest.raises(WorkshopError, match="no such card"), serve(tmp_path, tmp_path / "base"):
        pass


def test_a_folder_without_comfyui_is_refused(tmp_path):
    with pytest.raises(WorkshopError, match=r"no main\.py"), serve(tmp_path, tmp_path / "base"):
        pass
