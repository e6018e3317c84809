"""`napari-unet doctor`: each problem is found, and its remedy is a command."""

from __future__ import annotations

import builtins
import json
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from napari_unet.cli import doctor
from napari_unet.model import devices
from napari_unet.model.devices import Problem, nvidia_gpu

from .builders import Outcome, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without any problem, to add one to."""
    monkeypatch.setattr(
        doctor, "packages_distributions", lambda: {"napari_unet": ["napari-unet-paint"]}
    )
    versions = {"napari": "0.9.2", "PyQt6": "6.9", "torch": "2.13"}
    monkeypatch.setattr(doctor, "version_or_none", versions.get)
    monkeypatch.setattr(doctor, "nvidia_gpu", lambda: None)
    monkeypatch.setattr(doctor, "EXAMINATIONS", ())  # see test_environment.py
    monkeypatch.setattr(doctor, "NOTED", ())
    monkeypatch.setattr(devices, "choose_device", lambda name: torch.device("cpu"))
    return monkeypatch


def problems(outcome: Outcome) -> list[Any]:
    found = json.loads(outcome.out)["problems"]
    assert isinstance(found, list)
    return found


def test_a_healthy_machine_has_no_problem(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    outcome = run(capsys, "doctor")
    assert outcome.code == 0
    assert "No problem found." in outcome.out


def test_json_tells_versions_and_device(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    outcome = run(capsys, "doctor", "--json")
    report = json.loads(outcome.out)
    assert outcome.out.count("\n") == 1
    assert report["versions"]["torch"] == "2.13"
    assert report["device"].startswith("cpu (CPU, ")
    assert report["problems"] == []


def test_a_missing_screen_is_noted_and_no_failure(
    healthy: pytest.MonkeyPatch, capsys: Capture
) -> None:
    healthy.setattr(doctor, "NOTED", (lambda: [Problem("There is no screen.", "Use xvfb-run.")],))
    outcome = run(capsys, "doctor")
    assert outcome.code == 0
    assert "No problem found." in outcome.out
    assert "\nNote: There is no screen. Use xvfb-run." in outcome.out
    report = json.loads(run(capsys, "doctor", "--json").out)
    assert report["notes"] == [{"what": "There is no screen.", "remedy": "Use xvfb-run."}]


def test_what_is_missing_is_shown_as_missing(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    lines = run(capsys, "doctor").out.splitlines()
    assert any(line.split() == ["tifffile", "not", "installed"] for line in lines)


def test_another_distribution_of_our_name_is_found(
    healthy: pytest.MonkeyPatch, capsys: Capture
) -> None:
    owners = {"napari_unet": ["napari-unet", "napari-unet-paint"]}
    healthy.setattr(doctor, "packages_distributions", lambda: owners)
    outcome = run(capsys, "doctor", "--json")
    (problem,) = problems(outcome)
    assert outcome.code == 1
    assert problem["what"].startswith("napari-unet also installs a package napari_unet")
    assert "pip uninstall napari-unet &&" in problem["remedy"]


def test_a_problem_is_printed_with_its_remedy(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    owners = {"napari_unet": ["napari-unet", "napari-unet-paint"]}
    healthy.setattr(doctor, "packages_distributions", lambda: owners)
    outcome = run(capsys, "doctor")
    assert outcome.code == 1
    assert "\nProblem: napari-unet also" in outcome.out
    assert "\nRemedy:  " in outcome.out


def test_an_installation_that_is_listed_twice_is_no_problem() -> None:
    owners = {"napari_unet": ["napari-unet-paint", "napari-unet-paint"]}
    assert list(doctor.same_package_problems(owners)) == []


def test_a_gpu_without_a_cuda_torch_is_found(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    healthy.setattr(doctor, "nvidia_gpu", lambda: "NVIDIA RTX 4090")
    healthy.setattr(torch.version, "cuda", None)
    outcome = run(capsys, "doctor", "--json")
    (problem,) = problems(outcome)
    assert outcome.code == 1
    assert problem["what"].startswith("NVIDIA RTX 4090 is present, but torch ")
    assert "CPU-only build" in problem["what"]
    assert "--index-url https://download.pytorch.org/whl/cu" in problem["remedy"]


def test_a_gpu_that_torch_cannot_use_is_found(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    healthy.setattr(doctor, "nvidia_gpu", lambda: "NVIDIA GTX 580")
    healthy.setattr(torch.version, "cuda", "13.0")
    healthy.setattr(devices, "problem_with", lambda name: "no kernel image.")
    (problem,) = problems(run(capsys, "doctor", "--json"))
    assert problem["what"] == "NVIDIA GTX 580 is present but unusable: no kernel image."
    assert "driver" in problem["remedy"]


def test_a_gpu_in_use_is_no_problem(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(doctor, "nvidia_gpu", lambda: "NVIDIA H200")
    healthy.setattr(devices, "choose_device", lambda name: torch.device("cuda"))
    healthy.setattr(devices, "describe", lambda device: "NVIDIA H200")
    name, found = doctor.examine_devices()
    assert found == []
    assert name.startswith("cuda (NVIDIA H200, ")


def test_napari_without_a_qt_binding_is_found(healthy: pytest.MonkeyPatch, capsys: Capture) -> None:
    healthy.setattr(doctor, "version_or_none", {"napari": "0.9.2"}.get)
    (problem,) = problems(run(capsys, "doctor", "--json"))
    assert "without a Qt binding" in problem["what"]
    assert "napari-unet-paint[all]" in problem["remedy"]


def test_no_napari_at_all_is_no_problem() -> None:
    assert list(doctor.window_problems({"napari": None})) == []


def test_a_torch_that_cannot_be_imported_is_found(
    healthy: pytest.MonkeyPatch, capsys: Capture
) -> None:
    right = builtins.__import__

    def without_torch(name: str, *arguments: Any) -> Any:
        if name == "torch":
            raise ImportError("a DLL is missing")
        return right(name, *arguments)

    healthy.setattr(builtins, "__import__", without_torch)
    outcome = run(capsys, "doctor", "--json")
    (problem,) = problems(outcome)
    assert problem["what"] == "torch cannot be imported: a DLL is missing."
    assert problem["remedy"].endswith("pip install --force-reinstall torch")


def test_a_device_that_breaks_the_examination_is_a_problem(
    healthy: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def broken(name: str) -> torch.device:
        raise SystemError("driver gone")

    healthy.setattr(devices, "choose_device", broken)
    outcome = run(capsys, "doctor", "--json")
    (problem,) = problems(outcome)
    assert outcome.code == 1
    assert problem["what"] == "The device could not be examined (SystemError: driver gone)."


def test_an_examination_that_fails_does_not_stop_the_others(
    healthy: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def broken_problems() -> list[Problem]:
        raise OSError("disk on fire")

    def other_problems() -> list[Problem]:
        return [Problem("Other.", "Mend it.")]

    healthy.setattr(doctor, "EXAMINATIONS", (broken_problems, other_problems))
    found = problems(run(capsys, "doctor", "--json"))
    assert [problem["what"] for problem in found] == [
        "Broken could not be examined (OSError: disk on fire).",
        "Other.",
    ]


def test_remedies_run_with_this_python() -> None:
    (problem,) = doctor.same_package_problems({"napari_unet": ["napari-unet"]})
    assert shlex.split(problem.remedy)[0] == sys.executable


# --- asking the driver -------------------------------------------------------------------------


def pretend_driver(
    monkeypatch: pytest.MonkeyPatch, program: str | None, answer: str | Exception
) -> None:
    def ask(*arguments: object, **options: object) -> SimpleNamespace:
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(stdout=answer)

    monkeypatch.setattr(shutil, "which", lambda name: program)
    monkeypatch.setattr(subprocess, "run", ask)


@pytest.mark.parametrize(
    ("answer", "name"),
    [("NVIDIA A100\nNVIDIA T4\n", "NVIDIA A100"), ("", None), ("\n", None)],
    ids=["two", "none", "blank"],
)
def test_the_first_gpu_of_the_driver_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: str, name: str | None
) -> None:
    pretend_driver(monkeypatch, "/bin/nvidia-smi", answer)
    assert nvidia_gpu() == name


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_driver(monkeypatch, None, OSError())
    assert nvidia_gpu() is None


@pytest.mark.parametrize(
    "error",
    [
        OSError("no permission"),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        subprocess.TimeoutExpired("nvidia-smi", 20),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_driver_that_does_not_answer_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pretend_driver(monkeypatch, "/bin/nvidia-smi", error)
    assert nvidia_gpu() is None
