"""The user's own ssh: it starts the worker on another machine, and is the only way to it.

Keys, agents, jumps and names of machines are those of ``~/.ssh/config``. Nothing is asked for: a
machine that wants a password is refused.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError, RemoteError
from napari_unet.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

# What an address may be: no name begins with a dash, which would be an option of ssh.
ADDRESS = re.compile(
    r"ssh://(?P<target>(?:\w[\w.-]*@)?\w[\w.-]*)(?::(?P<port>\d+))?(?P<python>/\S+)?/?"
)
_OPTIONS = (
    "BatchMode=yes", "ConnectTimeout=10", "ExitOnForwardFailure=yes",
    "ServerAliveInterval=5", "ServerAliveCountMax=3",
)  # fmt: skip
_SERVE = "-m napari_unet.remote.serve"
_START_SECONDS = 180.0
_FAILED = 255  # of ssh itself


@contextmanager
def tunnel(on: str) -> Iterator[tuple[str, Any]]:
    """Let the machine of an ``ssh://`` address start its worker; yield the way to it.

    That is an address on this machine, and the key for it. Raises ConnectionError if ssh fails,
    RemoteError if that machine cannot do it, ConfigError if there is no ssh.
    """
    from distributed import Security

    found = _served(on)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    # Its input ends with this process, however that ends; then cat does, and with it the tunnel.
    command = _command(on, "cat", "-L", f"127.0.0.1:{port}:127.0.0.1:{int(found['port'])}")
    with _started(command) as process:
        try:
            _wait_until_open(process, port)
            security = Security(  # type: ignore[no-untyped-call]
                tls_ca_file=found["ca"],
                tls_client_cert=found["cert"],
                tls_client_key=found["key"],
                require_encryption=True,
            )
            yield f"tls://127.0.0.1:{port}", security
        finally:
            process.kill()
            process.communicate()


def _served(on: str) -> dict[str, Any]:
    """Start the worker over there, or find it; return its port and key."""
    target, python = _parts(on)["target"], _parts(on)["python"] or "python3"
    with _started(_command(on, f"{shlex.quote(python)} {_SERVE}")) as process:
        try:
            out, error = process.communicate(b"", timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise ConnectionError(f"nothing came within {_START_SECONDS:.0f} s") from None
    lines = [line for line in out.splitlines() if line.startswith(b"{")]
    if process.returncode == _FAILED:
        raise ConnectionError((error.decode(errors="replace").strip().splitlines() or ["?"])[-1])
    found = json.loads(lines[-1]) if lines else {}
    if not found:
        raise RemoteError(
            f"{python} on {target} is not there, or has no napari-unet-paint. Install it there "
            f"(pip install 'napari-unet-paint[distributed]=={__version__}'); if it is in an "
            f"environment, name its Python: ssh://{target}/home/me/venv/bin/python"
        )
    if "error" in found:
        raise RemoteError(f"On {target}: {found['error']}")
    return dict(found)


def _parts(on: str) -> dict[str, str | None]:
    match = ADDRESS.fullmatch(on)
    assert match is not None  # as `check_address` has seen
    return match.groupdict()


def _command(on: str, what: str, *options: str) -> list[str]:
    parts = _parts(on)
    given = shlex.split(os.environ.get("NAPARI_UNET_SSH", "ssh"))
    for option in _OPTIONS:
        given += ["-o", option]
    given += ["-T", *options, *(("-p", parts["port"]) if parts["port"] else ())]
    return [*given, "--", str(parts["target"]), what]


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl+C stops a training, not the way to it
        )
    except OSError as error:
        raise ConfigError(
            f"ssh cannot be started ({command[0]}); install OpenSSH's client, or name another one "
            "in the environment variable NAPARI_UNET_SSH."
        ) from error


def _wait_until_open(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            error = process.communicate()[1].decode(errors="replace").strip()
            raise ConnectionError((error.splitlines() or ["the tunnel broke"])[-1])
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ConnectionError("the tunnel does not open")
