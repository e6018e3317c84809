"""`torchrun -m napari_unet train`: two processes do what one does with twice the batch."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
import torch

from napari_unet.model.trained import load_network
from napari_unet.training.checkpoint import load_state

from .builders import picture, run, training_folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_unet.model.trained import TrainedNetwork

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.slow

SETTINGS = [
    *("--base-channels", "2", "--depth", "2", "--patch-size", "32", "--validate-every", "10"),
    *("--device", "cpu", "--precision", "float32"),
]
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
    *("-m", "napari_unet"),
]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)


def inputs(folder: Path) -> list[str]:
    image, labels = picture()
    folders = training_folders(folder, np.tile(image, (3, 3)), np.tile(labels, (3, 3)))
    return ["train", *map(str, folders), *SETTINGS]


def losses(path: Path) -> list[float]:
    with path.open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@dataclass(frozen=True)
class Pair:
    """The same training by one process and by two, 20 steps."""

    folder: Path
    arguments: list[str]
    together: subprocess.CompletedProcess[str]

    def model(self, name: str) -> TrainedNetwork:
        return load_network(self.folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("ranks")
    train = [*inputs(folder), "--json", "--steps", "20"]
    outputs = {
        name: ["--output", str(folder / name), "--history", str(folder / f"{name}.csv")]
        for name in ("one", "two")
    }
    alone = [sys.executable, "-m", "napari_unet", *train, *outputs["one"], "--batch-size", "4"]
    subprocess.run(alone, env=environment(), check=True, capture_output=True)
    together = torchrun(*train, *outputs["two"], "--batch-size", 2)
    assert together.returncode == 0, together.stderr
    return Pair(folder, train, together)


def test_the_losses_of_all_steps_are_those_of_one_process(pair: Pair) -> None:
    one, two = losses(pair.folder / "one.csv"), losses(pair.folder / "two.csv")
    assert len(one) == len(two) == 20
    largest = max(abs(a - b) for a, b in zip(one, two, strict=True))
    print(f"largest difference of a loss: {largest:.1e}")
    assert largest < 1e-4


def test_the_weights_are_those_of_one_process(pair: Pair) -> None:
    one, two = (pair.model(name).network.state_dict() for name in ("one", "two"))
    assert list(one) == list(two)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-2, atol=1e-3)


def test_the_record_is_that_of_one_process(pair: Pair) -> None:
    one, two = (pair.model(name).record for name in ("one", "two"))
    assert {**one.training, "batch_size": 2} == two.training
    assert (one.steps, one.images, one.classes) == (two.steps, two.images, two.classes)
    assert [entry["step"] for entry in one.history] == [entry["step"] for entry in two.history]


def test_one_json_object_is_printed_once(pair: Pair) -> None:
    report = json.loads(pair.together.stdout)
    assert (report["steps"], report["processes"]) == (20, 2)


def test_one_process_alone_talks(pair: Pair) -> None:
    assert pair.together.stderr.count("Training on 2 x CPU") == 1


def test_a_resumed_training_may_have_another_number_of_processes(
    capsys: Capture, pair: Pair
) -> None:
    resumed = [*pair.arguments[:-1], 22, "--output", pair.folder / "two", "--resume"]
    outcome = run(capsys, *resumed)
    report: dict[str, Any] = json.loads(outcome.out)
    assert (report["steps"], report["processes"]) == (22, 1)


def test_what_is_wrong_is_told_once(tmp_path: Path) -> None:
    arguments = inputs(tmp_path)
    (tmp_path / "labels" / "cells.tif").unlink()
    outcome = torchrun(*arguments, "--output", tmp_path / "m")
    told = [line for line in outcome.stderr.splitlines() if line.startswith("napari-unet:")]
    assert outcome.returncode == 1
    assert len(told) == 1
    assert "holds no image" in told[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_stops_all_and_keeps_what_is_done(tmp_path: Path, name: str) -> None:
    arguments = [*inputs(tmp_path), "--json", "--steps", "1000000", "--validation-share", "0"]
    files = ["--output", str(tmp_path / "m"), "--history", str(tmp_path / "m.csv")]
    with begun(tmp_path / "m.csv", *arguments, *files) as process:
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=60)
    report = json.loads(out)
    assert report["stopped"]
    assert load_state(tmp_path / "m.state.safetensors").step == report["steps"] > 0
    assert err.count("Stopping after this step") == 1


@pytest.mark.fault(44)
@pytest.mark.parametrize("lost", [0, 1], ids=["the first", "another"])
def test_where_one_process_dies_all_end(tmp_path: Path, lost: int) -> None:
    arguments = [*inputs(tmp_path), "--json", "--steps", "1000000", "--validation-share", "0"]
    files = ["--output", str(tmp_path / "m"), "--history", str(tmp_path / "m.csv")]
    with begun(tmp_path / "m.csv", *arguments, *files) as process:
        workers = psutil.Process(process.pid).children()
        workers[lost].kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert out == ""
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert "Signal 9 (SIGKILL) received" in err  # torchrun's table
    if lost != 0:
        told = [line for line in err.splitlines() if line.startswith("napari-unet: ")]
        assert len(told) == 1, err
        assert "Training stopped: one of its 2 processes was killed" in told[0]
        assert "probably out of memory" in told[0]


@pytest.mark.fault(44)
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGSTOP")
def test_a_first_process_that_torchrun_ends_before_it_noticed_still_tells_why(
    tmp_path: Path,
) -> None:
    arguments = [*inputs(tmp_path), "--json", "--steps", "1000000", "--validation-share", "0"]
    files = ["--output", str(tmp_path / "m"), "--history", str(tmp_path / "m.csv")]
    with begun(tmp_path / "m.csv", *arguments, *files) as process:
        first, another = psutil.Process(process.pid).children()
        first.suspend()
        another.kill()
        time.sleep(2)  # torchrun looks ten times a second, and asks the first one to end
        first.resume()
        _, err = process.communicate(timeout=60)
    assert "Training stopped: one of its 2 processes was killed" in err


@pytest.mark.fault(45)
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_where_torchrun_is_killed_no_process_is_left(tmp_path: Path) -> None:
    arguments = [*inputs(tmp_path), "--json", "--steps", "1000000", "--validation-share", "0"]
    files = ["--output", str(tmp_path / "m"), "--history", str(tmp_path / "m.csv")]
    with begun(tmp_path / "m.csv", *arguments, *files) as process:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        left = psutil.wait_procs(workers, timeout=20)[1]  # within 1 s on a quiet machine
        _, err = process.communicate(timeout=20)
    for worker in left:
        worker.kill()
    assert len(workers) >= 2
    assert not left
    assert "torchrun was ended, and so is this process" in err


@contextmanager
def begun(history: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Two processes that are training."""
    process = subprocess.Popen(
        [*TORCHRUN, *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not steps_begun(history) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield process
    finally:
        process.kill()


def steps_begun(history: Path) -> bool:
    return history.exists() and len(history.read_text().splitlines()) > 3
