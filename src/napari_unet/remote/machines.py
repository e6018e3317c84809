"""The way to another machine: a worker of dask.distributed that is asked by address."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from napari_unet.errors import ConfigError, RemoteError, first_line
from napari_unet.remote import jobs, ssh
from napari_unet.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONNECT_SECONDS = 10
_ADDRESS = re.compile(r"(tcp|tls)://[^/@\s]+:\d+/?")
# What a connection raises that breaks, or a machine that is gone; dask's errors are OSErrors.
LOST = (OSError, TimeoutError)


class Machine:
    """A worker on another machine that trains and predicts."""

    def __init__(self, client: Any, worker: str, facts: dict[str, Any]) -> None:
        self._client, self._worker = client, worker
        self.name = str(facts["name"])
        gigabytes = facts["free"] / 1e9
        self.text = f"{self.name}: {facts['device']}, {gigabytes:.0f} GB free, {facts['version']}"
        """What it is, in a line."""

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Let a function of ours answer there."""
        answers = self._client.run(jobs.in_thread, function, *arguments, workers=[self._worker])
        return answers[self._worker]


@contextmanager
def connected_to(on: str, trusted: bool, run: str = "") -> Iterator[Machine]:
    """Connect to a machine; of several workers to the one that has the run, or the least to do.

    Raises ConfigError where the address is none or must not be trusted; RemoteError if its workers
    cannot train; one of `LOST` if nobody answers.
    """
    check_address(on, trusted)
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "Another machine needs dask.distributed, here and there: "
            "pip install 'napari-unet-paint[distributed]'."
        ) from error
    way = ssh.tunnel(on) if on.startswith("ssh:") else nullcontext((on, None))
    with way as (address, security):
        options = {} if security is None else {"security": security}
        try:
            with Client(  # type: ignore[no-untyped-call]
                address, timeout=_CONNECT_SECONDS, set_as_default=False, **options
            ) as client:
                yield _chosen(client, on, run)
        except ValueError as error:  # tornado's, where the other end closes while dask connects
            if "IOStream" not in str(error):
                raise
            raise ConnectionError(first_line(error)) from error


def check_address(on: str, trusted: bool) -> None:
    """Refuse, by ConfigError, what is no address, and who could run programs here unasked."""
    if not (_ADDRESS.fullmatch(on) or ssh.ADDRESS.fullmatch(on)):
        raise ConfigError(
            f"{on!r} is no address of another machine; give ssh://USER@HOST, or tcp://HOST:PORT or "
            "tls://HOST:PORT of a running dask scheduler."
        )
    if on.startswith("tcp:") and not trusted:
        raise ConfigError(
            f"{on} is not encrypted: who can reach that port can run programs as the user of the "
            "worker, and the scheduler can here. Add --trust-cluster (in Python "
            "trust_cluster=True) if only people you trust are in that network, or give the "
            "scheduler certificates and use tls://."
        )


def look_at(on: str, trusted: bool) -> str:
    """Return what the machine of an address is, in a line.

    Raises ConfigError and RemoteError as `connected_to`, and RemoteError if nobody answers.
    """
    try:
        with connected_to(on, trusted) as machine:
            return machine.text
    except LOST as error:
        raise no_answer(on, error) from error


def no_answer(on: str, error: BaseException) -> RemoteError:
    """Say that a machine does not answer, and what to look at."""
    why = first_line(error).rstrip(".")
    if not on.startswith("ssh:"):
        remedy = "Check the address, and that scheduler and worker run."
    else:
        host = on.removeprefix("ssh://").partition("/")[0]
        remedy = f"See that `ssh -o BatchMode=yes {host}` works in a terminal, without a password."
        if "Host key" in why:
            remedy = (
                f"Your ssh does not know that machine, or by another key: `ssh {host}` in a "
                "terminal shows the key, and asks whether it is right."
            )
    return RemoteError(f"{on} does not answer: {why}. {remedy}")


def _chosen(client: Any, on: str, run: str) -> Machine:
    try:
        found: dict[str, dict[str, Any]] = client.run(jobs.in_thread, jobs.introduce)
    except ImportError as error:
        raise RemoteError(
            f"The workers of {on} have no napari-unet-paint {__version__}: install it there "
            f"(pip install 'napari-unet-paint[distributed]=={__version__}') and start them again."
        ) from error
    if not found:
        raise ConnectionError("it has no worker")
    worker = min(found, key=lambda each: (run not in found[each]["busy"], len(found[each]["busy"])))
    version = found[worker]["version"]
    if version != __version__:
        raise RemoteError(
            f"napari-unet-paint is {version} on {found[worker]['name']} and {__version__} here; "
            "install the same version on both and start the worker again."
        )
    return Machine(client, worker, found[worker])
