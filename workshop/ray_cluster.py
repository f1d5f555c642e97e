"""Joining a Ray cluster, or starting one on this machine. Ray is asked only for an address that answers."""

import os
import runpy
import socket
from contextlib import closing
from urllib.parse import urlsplit

import ray
from ray._private import ray_constants
from ray.exceptions import RayError

from . import ROOT, WorkshopError

_SECONDS = 10


def connect(address: str | None) -> None:
    """Join the Ray cluster at `address`, such as auto or 10.0.0.1:6379, or start one (None).

    Raises WorkshopError where there is none: within seconds, or a minute where something else listens there. Ray itself
    would try for a quarter of an hour.
    """
    try:
        if address is None:
            _stay_on_this_machine()
        else:
            _require_answer(address if address != "auto" else os.environ.get("RAY_ADDRESS", address))
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")  # one try, of 40 s, where something listens
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody's business
        load = str(ROOT / "workshop" / "load_pack.py")
        ray.init(
            address or "local",
            include_dashboard=False if address is None else None,
            log_to_driver=False,
            logging_level="ERROR",
            # Without it, a worker could not import what its actor is made of.
            runtime_env={"worker_process_setup_hook": lambda: runpy.run_path(load) and None},
        )
    except (OSError, RayError, ValueError, RuntimeError) as error:
        told = str(error).strip().splitlines() or [type(error).__name__]
        raise WorkshopError(
            f"--ray: no Ray cluster answers at {address} ({told[0]}). Expected auto, on a machine of the cluster, or "
            "the address of its head, such as 10.0.0.1:6379; `ray start --head` starts one."
            if address is not None
            else f"Ray cannot be started on this machine ({told[0]})."
        ) from error


def _stay_on_this_machine() -> None:
    """Let what Ray starts listen on the loopback address alone, as Ray itself does on Windows and macOS.

    Elsewhere it listens on all of them, for a cluster that others could join.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # for its processes
    ray_constants.ENABLE_RAY_CLUSTER = False  # here it has read that already


def _require_answer(address: str) -> None:
    """Raise OSError where nothing listens, ValueError for what is no address."""
    if address in ("auto", "local"):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("it is no address")
    with closing(socket.create_connection((parts.hostname, parts.port), timeout=_SECONDS)):
        pass
