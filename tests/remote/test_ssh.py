"""The way by ssh: through a real sshd where there is one, else through what stands for it."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from napari_unet.errors import ConfigError, RemoteError
from napari_unet.remote import jobs
from napari_unet.remote.machines import check_address, connected_to
from napari_unet.remote.training import train_on
from napari_unet.run import Run
from napari_unet.training.events import StepDone
from training.builders import cells, run, tiny_config

from .test_training import same_model, told, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="sh stands for the shell of ssh"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
CONFIG = tiny_config(device="cpu", steps=8)
# Another sshd than that of the system, for who must not install one
SSHD = os.environ.get("SSHD") or shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture(scope="module", params=["stand-in", "sshd"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """How ssh is called."""
    folder = tmp_path_factory.mktemp("way")
    if request.param == "stand-in":
        yield shlex.join([sys.executable, str(Path(__file__).with_name("ssh_here.py"))])
    elif SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no sshd")
    else:
        with subprocess.Popen(sshd_in(folder), stderr=subprocess.DEVNULL) as process:
            client = f"ssh -F {folder / 'client'}"
            wait_for(lambda: not subprocess.run([*client.split(), "there", "true"]).returncode)
            yield client
            process.terminate()


def sshd_in(folder: Path) -> list[str]:
    """Write keys and settings of a server and of its client; return what starts the server."""
    folder.chmod(0o755)
    for name in ("host", "user"):
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(made, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "server").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\n"
        f"AuthorizedKeysFile {folder / 'user.pub'}\nStrictModes no\nPermitRootLogin yes\n"
    )
    (folder / "client").write_text(
        f"Host there\nHostName 127.0.0.1\nPort {port}\nUser {getpass.getuser()}\n"
        f"IdentityFile {folder / 'user'}\nUserKnownHostsFile {folder / 'known'}\n"
        "StrictHostKeyChecking no\n"
    )
    assert SSHD is not None
    return [SSHD, "-D", "-f", str(folder / "server")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python over there, with a home of its own."""
    folder = tmp_path_factory.mktemp("over there")
    path = folder.rename(folder.with_name("there")) / "python"
    source = Path(jobs.__file__).parents[2]
    path.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={source} XDG_DATA_HOME={path.parent} OMP_NUM_THREADS=1\n"
        f'exec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def on(way: str, python: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAPARI_UNET_SSH", way)
        yield f"ssh://there{python}"
    for process in servers(python):
        process.kill()


def servers(python: Path) -> list[psutil.Process]:
    """Return the servers that run."""
    return [
        each
        for each in having("--stay", psutil.process_iter())
        if home_of(each) == str(python.parent)
    ]


def having(word: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that live and have a word on their command line."""
    found: list[psutil.Process] = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if word in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def home_of(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("XDG_DATA_HOME"))
    except psutil.Error:
        return ""


def tunnels() -> list[psutil.Process]:
    """Return the processes of ssh that this one has started."""
    return having("-L", psutil.Process().children())


def trained_on(on: str, config: Any, watch: Any = lambda event: None) -> tuple[list[Any], Any]:
    training = Run(train_on(on, False, cells(config), config, threading.Event()))
    events = []
    for event in training:
        events.append(event)
        watch(event)
    return events, training.result


def test_the_model_is_that_of_this_machine(on: str) -> None:
    events, result = trained_on(on, CONFIG)
    assert same_model(result, run(cells(CONFIG), CONFIG)[1])
    assert ": CPU, " in told(events)


def test_the_same_worker_is_found_again(on: str, python: Path) -> None:
    for _ in range(2):
        with connected_to(on, trusted=False):
            assert len(servers(python)) == 1


def test_no_ssh_stays(on: str) -> None:
    with connected_to(on, trusted=False):
        assert len(tunnels()) == 1
    assert tunnels() == []


def test_no_ssh_stays_of_a_program_that_is_killed(on: str, tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom napari_unet.remote.machines import connected_to\n"
        f"with connected_to({on!r}, False):\n    print('there', flush=True)\n    time.sleep(100)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = having("-L", psutil.Process(process.pid).children())
        process.kill()
    assert len(found) == 1
    wait_for(lambda: not having("-L", found))


def test_a_tunnel_that_is_killed_costs_nothing(on: str) -> None:
    config = CONFIG.changed(steps=300, validate_every=100)
    killed: list[psutil.Process] = []

    def kill(event: Any) -> None:
        if isinstance(event, StepDone) and len(killed) < 2 and event.step > 40 * len(killed):
            killed.append(tunnels()[0])
            killed[-1].kill()

    events, result = trained_on(on, config, kill)
    assert len(killed) == 2
    assert "trying again" in told(events)
    assert same_model(result, run(cells(config), config)[1])


def test_a_server_that_is_killed_goes_on_from_its_checkpoint(on: str, python: Path) -> None:
    config = CONFIG.changed(steps=1500, validate_every=500, seed=9)
    killed: list[psutil.Process] = []

    def kill(event: Any) -> None:
        if not killed and list(python.parent.rglob("model.state.safetensors")):
            killed.extend(servers(python))
            killed[0].kill()

    events, result = trained_on(on, config, kill)
    assert killed
    assert "goes on from step" in told(events)
    assert same_model(result, run(cells(config), config)[1])


def test_it_listens_to_its_own_machine_alone(on: str, python: Path) -> None:
    with connected_to(on, trusted=False):
        (server,) = servers(python)
        listening = [c for c in server.net_connections() if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


def test_who_has_no_key_is_not_let_in(on: str, python: Path) -> None:
    from distributed import Client, Security

    with connected_to(on, trusted=False):
        (place,) = python.parent.rglob("serve-*.json")
        assert place.stat().st_mode & 0o077 == 0
        port = json.loads(place.read_bytes())["port"]
        other = Security.temporary()  # type: ignore[no-untyped-call]
        with pytest.raises(OSError, match=r"."):
            Client(f"tls://127.0.0.1:{port}", security=other, timeout=2)  # type: ignore[no-untyped-call]


def test_an_idle_server_ends(python: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    other = tmp_path / "python"
    other.write_text(python.read_text().replace(str(python.parent), str(tmp_path)))
    other.chmod(0o755)
    command = [str(other), "-m", "napari_unet.remote.serve", "--idle", "0.02"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wait_for(lambda: not servers(other) and not list(tmp_path.rglob("serve-*.json")))


def test_a_python_without_the_program_is_told(on: str) -> None:
    with pytest.raises(RemoteError, match=r"/bin/false on there.*pip install 'napari-unet-paint"):
        trained_on("ssh://there/bin/false", CONFIG)


def test_a_machine_that_is_not_there_is_told(on: str) -> None:
    with pytest.raises(RemoteError, match=r"nowhere does not answer: .*ssh -o BatchMode=yes nowh"):
        trained_on("ssh://nowhere", CONFIG)


def test_ssh_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_UNET_SSH", "/no/such/ssh")
    with pytest.raises(ConfigError, match="install OpenSSH's client"):
        trained_on("ssh://there", CONFIG)


@pytest.mark.parametrize("on", ["ssh://-oProxyCommand=x", "ssh://a b", "ssh://", "ssh://me@-x"])
def test_what_is_no_machine_never_reaches_ssh(on: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        check_address(on, trusted=False)
