"""A cluster gives the bytes of a single process, whatever happens to its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.config
import numpy as np
import psutil
import pytest
import zarr

from napari_unet.errors import ConfigError, DeviceError, UnreadableError
from napari_unet.io.files import read_image
from napari_unet.model.trained import TrainedNetwork, save_network
from napari_unet.prediction import cluster
from napari_unet.prediction.cluster import connected, predict_on_cluster
from napari_unet.prediction.config import PredictConfig
from napari_unet.prediction.predictor import predict_image
from napari_unet.prediction.results import Prediction, PredictionProgress
from napari_unet.run import Run

from .builders import a_model, noise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.slow,
    # a worker that is killed leaves its sockets to the collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TILE = 32
CONFIG = PredictConfig(device="cpu", tile_size=TILE)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with connected(None, 2) as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, Path]:
    """A model file and an image that workers can open."""
    save_network(a_model(), tmp_path / "model.safetensors")
    image = noise(3, 200, 230)
    stored = zarr.create_array(
        tmp_path / "image.zarr", shape=image.shape, chunks=(1, 64, 64), dtype=image.dtype
    )
    stored[:] = image
    return str(tmp_path / "model.safetensors"), tmp_path / "image.zarr"


def drained(events: Any, watch: Callable[[object], object] | None = None) -> Prediction:
    result: Prediction = Run(events).finish(watch)
    return result


def by_one_process(files: tuple[str, Path], target: Path, config: PredictConfig) -> Any:
    image = read_image(files[1]).array
    drained(predict_image(a_model(), image, config, threading.Event(), target))
    return read_image(target).array[:]


def by_the_cluster(
    client: Any,
    files: tuple[str, Path],
    target: Path,
    config: PredictConfig = CONFIG,
    watch: Callable[[object], object] | None = None,
    stop: threading.Event | None = None,
) -> Prediction:
    events = predict_on_cluster(client, *files, config, target, stop or threading.Event())
    return drained(events, watch)


@pytest.mark.parametrize("kind", ["objects", "classes", "probabilities"])
def test_two_workers_give_what_one_process_gives(
    kind: Any, client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    config = PredictConfig(device="cpu", tile_size=TILE, result=kind)
    result = by_the_cluster(client, files, tmp_path / "cluster.zarr", config)
    found = read_image(tmp_path / "cluster.zarr").array[:]
    expected = by_one_process(files, tmp_path / "alone.zarr", config)
    np.testing.assert_array_equal(found, expected)
    assert result.objects == (int(expected.max()) if kind == "objects" else None)


@pytest.mark.parametrize("binning", [0.5, 1.5])
def test_two_workers_see_the_image_at_any_binning(
    binning: float, client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    model = a_model()
    model = TrainedNetwork(model.network, replace(model.record, binning=binning))
    save_network(model, Path(files[0]))
    by_the_cluster(client, files, tmp_path / "cluster.zarr")
    image = read_image(files[1]).array
    drained(predict_image(model, image, CONFIG, threading.Event(), tmp_path / "alone.zarr"))
    found, expected = (read_image(tmp_path / f"{n}.zarr").array[:] for n in ("cluster", "alone"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.fault(44)
def test_a_worker_that_is_killed_changes_nothing(
    client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    victim = sorted(client.run(os.getpid).values())[0]

    def kill(event: object) -> None:
        if isinstance(event, PredictionProgress) and event.tile == 20:
            os.kill(victim, signal.SIGKILL)

    result = by_the_cluster(client, files, tmp_path / "cluster.zarr", watch=kill)
    assert result.complete
    assert victim not in client.run(os.getpid).values()
    expected = by_one_process(files, tmp_path / "alone.zarr", CONFIG)
    np.testing.assert_array_equal(read_image(tmp_path / "cluster.zarr").array[:], expected)


@pytest.mark.fault(43)
def test_workers_are_spawned_whatever_dask_is_told(client: Any) -> None:
    def how_begun() -> list[str]:
        import psutil

        return [str(part) for part in psutil.Process().cmdline()]

    told = {"distributed.worker.multiprocessing-method": "fork"}
    with dask.config.set(told), connected(None, 1) as own:
        found = [*own.run(how_begun).values(), *client.run(how_begun).values()]
    assert len(found) == 3
    assert all(any("spawn_main" in part for part in command) for command in found)


@pytest.mark.fault(44)
def test_a_tile_that_kills_its_workers_is_named(
    files: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(*_: Any) -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(cluster, "predict_one", deadly)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),  # else it takes longer
        connected(None, 1) as client,
        pytest.raises(
            DeviceError, match=r"2 workers were killed.* of frame \d to do, probably out of"
        ),
    ):
        by_the_cluster(client, files, tmp_path / "c.zarr")
    assert (tmp_path / "c.zarr.partial").exists()


@pytest.mark.fault(45)
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_workers_end_with_the_program_that_started_them(
    files: tuple[str, Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "napari_unet", "predict", files[0], str(files[1])]
    command += ["--output", str(tmp_path / "out"), "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen([*command, "--tile-size", "16"], stderr=subprocess.DEVNULL)
    journal = tmp_path / "out" / "image.zarr.partial" / ".scratch" / "journal.txt"
    deadline = time.monotonic() + 90
    while not journal.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    left = psutil.wait_procs(children, timeout=20)[1]  # at once on a quiet machine
    for child in left:
        child.kill()
    assert len(children) >= 2
    assert not left


@pytest.mark.slow
@pytest.mark.fault(63)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_to_all_processes_stops_and_what_is_done_is_gone_on_with(
    files: tuple[str, Path], tmp_path: Path
) -> None:
    """As a terminal does that is closed, and Slurm when the time is over."""
    command = [sys.executable, "-m", "napari_unet", "predict", files[0], str(files[1])]
    command += ["--output", str(tmp_path / "out"), "--workers", "2", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--tile-size", "16"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    journal = tmp_path / "out" / "image.zarr.partial" / ".scratch" / "journal.txt"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
        if journal.exists() and "tile" in journal.read_text():
            break
    os.killpg(process.pid, signal.SIGTERM)
    out, told = process.communicate(timeout=120)
    assert process.returncode == 1, told
    assert "Stopping after this step; what is done is kept." in told
    assert "go on where they were when asked again" in out
    assert "tile" in journal.read_text()


def test_a_stopped_cluster_goes_on_where_it_was(
    client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    stop = threading.Event()
    numbers: list[int] = []

    def stop_early(event: object) -> None:
        if isinstance(event, PredictionProgress) and not event.blocks:
            numbers.append(event.tile)
            if event.tile == 30:
                stop.set()

    first = by_the_cluster(client, files, tmp_path / "c.zarr", watch=stop_early, stop=stop)
    assert not first.complete
    second = by_the_cluster(client, files, tmp_path / "c.zarr", watch=stop_early)
    assert second.complete
    assert min(numbers[30:]) > 30
    expected = by_one_process(files, tmp_path / "alone.zarr", CONFIG)
    np.testing.assert_array_equal(read_image(tmp_path / "c.zarr").array[:], expected)


def test_a_single_process_goes_on_with_what_a_cluster_began(
    client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    stop = threading.Event()

    def stop_early(event: object) -> None:
        if isinstance(event, PredictionProgress) and event.tile == 30:
            stop.set()

    by_the_cluster(client, files, tmp_path / "c.zarr", watch=stop_early, stop=stop)
    found = by_one_process(files, tmp_path / "c.zarr", CONFIG)
    expected = by_one_process(files, tmp_path / "alone.zarr", CONFIG)
    np.testing.assert_array_equal(found, expected)


def test_a_model_file_that_was_replaced_is_read_again(
    client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    by_the_cluster(client, files, tmp_path / "first.zarr")
    other = a_model(seed=5)
    save_network(other, Path(files[0]))
    by_the_cluster(client, files, tmp_path / "second.zarr")
    image = read_image(files[1]).array
    drained(predict_image(other, image, CONFIG, threading.Event(), tmp_path / "alone.zarr"))
    found, expected = (read_image(tmp_path / n).array[:] for n in ("second.zarr", "alone.zarr"))
    np.testing.assert_array_equal(found, expected)


def test_a_run_that_goes_on_counts_each_tile_once_and_says_so(
    client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    stop = threading.Event()
    seen: list[Any] = []

    def stop_late(event: object) -> None:
        if isinstance(event, PredictionProgress) and event.tile == 120:
            stop.set()

    by_the_cluster(client, files, tmp_path / "c.zarr", watch=stop_late, stop=stop)
    by_the_cluster(client, files, tmp_path / "c.zarr", watch=seen.append)
    numbers = [event.tile for event in seen if isinstance(event, PredictionProgress)]
    assert "goes on" in seen[1].text
    assert max(numbers) == seen[0].tiles


def test_an_error_of_a_worker_is_that_of_a_single_process(
    client: Any, files: tuple[str, Path], tmp_path: Path
) -> None:
    chunk = next((files[1] / "c" / "1").rglob("1"))
    for path in [chunk] if chunk.is_file() else list(chunk.rglob("*")):
        path.write_bytes(b"broken")
    with pytest.raises(UnreadableError, match=r"cannot be read at \[1, .*:"):
        by_the_cluster(client, files, tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()


def test_no_worker_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="--workers is 0"), connected(None, 0):
        pass


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_unet.prediction.cluster._CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(DeviceError, match=r"tcp://127.0.0.1:1 does not answer"),
        connected("tcp://127.0.0.1:1", None),
    ):
        pass
