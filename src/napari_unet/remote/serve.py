"""A scheduler and a worker of one user on one machine: ``python -m napari_unet.remote.serve``.

They listen on the machine itself alone, and to who has the key: other users of the machine reach
its ports too. What is printed, a line of JSON, says port and key; ssh carries it. What runs already
is found again. It ends by itself when nobody has asked for a while and nothing is going on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from napari_unet.errors import NapariUNetError, RemoteError
from napari_unet.io.disk import make_folder, write_file
from napari_unet.io.locks import HeldError, Lock

if TYPE_CHECKING:
    from pathlib import Path

IDLE_MINUTES = 30.0
_START_SECONDS = 120.0
_LOOK_SECONDS = 1.0


def main() -> int:
    """Print where the server listens, and start it where there is none."""
    parser = argparse.ArgumentParser(prog="python -m napari_unet.remote.serve")
    parser.add_argument("--idle", type=float, default=IDLE_MINUTES, metavar="MINUTES")
    parser.add_argument("--stay", action="store_true", help="be the server")
    options = parser.parse_args()
    try:
        if options.stay:
            asyncio.run(_serve(options.idle * 60))
        else:
            print(json.dumps(_running(options.idle)))
    except NapariUNetError as error:
        print(json.dumps({"error": str(error)}))
    return 0


def _running(idle: float) -> dict[str, Any]:
    """Return what is known of the server that runs, or of a new one."""
    place = _place()
    if not _is_held(place):
        place.unlink(missing_ok=True)
        command = [sys.executable, "-m", "napari_unet.remote.serve", "--stay", "--idle", str(idle)]
        with (place.parent / "serve.log").open("ab") as log:
            subprocess.Popen(  # it outlives the connection, as a training does
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    until = time.monotonic() + _START_SECONDS
    while not place.exists():
        if time.monotonic() > until:
            raise RemoteError(f"No worker has started; {place.parent / 'serve.log'} says why.")
        time.sleep(0.1)
    found: dict[str, Any] = json.loads(place.read_bytes())
    return found


def _place() -> Path:
    from platformdirs import user_data_path

    folder = user_data_path("napari-unet-paint") / "remote"
    make_folder(folder)
    return folder / f"serve-{platform.node()}.json"  # nodes of a cluster share homes


def _is_held(place: Path) -> bool:
    try:
        Lock(place.with_suffix(".lock"), patience=0).release()
    except HeldError:
        return True
    return False


async def _serve(idle: float) -> None:
    """Be the server until nobody asks any more."""
    from distributed import Scheduler, Security, Worker

    from napari_unet.remote import jobs

    os.umask(0o077)  # the file holds the key
    place = _place()
    lock = Lock(place.with_suffix(".lock"))
    security = Security.temporary()  # type: ignore[no-untyped-call]
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "security": security}
    try:
        async with (
            _untyped(Scheduler)(port=0, protocol="tls://", **options) as scheduler,
            _untyped(Worker)(scheduler.address, nthreads=1, memory_limit=0, **options),
        ):
            found = {
                "pid": os.getpid(),
                "port": scheduler.port,
                "ca": security.tls_ca_file,
                "cert": security.tls_client_cert,
                "key": security.tls_client_key,
            }
            write_file(place, json.dumps(found).encode())
            jobs.heard_now()
            while jobs.idle_seconds() < idle:
                await asyncio.sleep(min(_LOOK_SECONDS, idle))
    finally:
        place.unlink(missing_ok=True)
        lock.give_back()


def _untyped(thing: Any) -> Any:
    """Drop the type of what dask.distributed has typed in part only."""
    return thing


if __name__ == "__main__":
    sys.exit(main())
