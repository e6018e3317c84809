"""The workflows, and the pages, name only sessions of nox and targets of make that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CLASSIFIERS: list[str] = PROJECT["project"]["classifiers"]
PYTHONS = [c.split()[-1] for c in CLASSIFIERS if re.search(r":: 3\.\d+$", c)]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOX = re.compile(r"\bnox -s ([^#`\n]+)")
MAKE = re.compile(r"(?:^|`)(?:\w+=\S+ )*make (?:--[a-z-]+ )*([a-z][a-z-]*)", re.MULTILINE)
CURRENT = {  # major versions by which the actions of others are called
    "actions/checkout": "v6",
    "actions/deploy-pages": "v5",
    "actions/download-artifact": "v8",
    "actions/setup-python": "v6",
    "actions/upload-artifact": "v7",
    "actions/upload-pages-artifact": "v5",
    "pypa/gh-action-pypi-publish": "release/v1",
    "pyvista/setup-headless-display-action": "v4",
}


def nox_sessions() -> dict[str, bool]:
    """Return the names of noxfile.py's sessions, and whether each runs for several Pythons."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            texts = [ast.unparse(decorator) for decorator in node.decorator_list]
            if any(text.startswith("nox.session") for text in texts):
                found[node.name] = "nox.session(python=PYTHONS)" in texts
    return found


SESSIONS = nox_sessions()
NAMES = {*SESSIONS, *(f"{n}-{p}" for n, several in SESSIONS.items() if several for p in PYTHONS)}


def workflow(path: Path) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job.get("steps", ())]


def rows() -> list[dict[str, str]]:
    ci = workflow(ROOT / ".github" / "workflows" / "ci.yml")
    found: list[dict[str, str]] = ci["jobs"]["tests"]["strategy"]["matrix"]["include"]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_jobs_that_need_each_other(path: Path) -> None:
    jobs = workflow(path)["jobs"]
    needed = [job.get("needs", []) for job in jobs.values()]
    names = {name for each in needed for name in ([each] if isinstance(each, str) else each)}
    assert names <= set(jobs)
    assert all("uses" in job or job["steps"] for job in jobs.values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_where_nothing_else_is_said(path: Path) -> None:
    assert workflow(path)["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_called_by_their_major_version(path: Path) -> None:
    used = [step["uses"].split("@") for step in steps(path) if "uses" in step]
    assert [name for name, version in used if CURRENT.get(name) != version] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_sessions_of_nox_that_exist(path: Path) -> None:
    said = [name for step in steps(path) for name in NOX.findall(step.get("run", ""))]
    named = {word for each in said for word in each.split() if "{{" not in each}
    assert named <= NAMES


def test_the_matrix_names_sessions_of_nox_that_exist() -> None:
    assert {row["session"] for row in rows()} <= NAMES


def test_the_matrix_gives_each_session_its_python() -> None:
    wrong = [
        row for row in rows()
        if "-" in row["session"] and row["session"].rpartition("-")[2] != row["python"]
    ]  # fmt: skip
    assert wrong == []


def test_every_python_that_is_classified_is_tested() -> None:
    assert {f"tests-{python}" for python in PYTHONS} <= {row["session"] for row in rows()}


def test_linux_macos_and_windows_are_tested_and_both_qt_bindings() -> None:
    assert {row["os"].split("-")[0] for row in rows()} == {"ubuntu", "macos", "windows"}
    assert {"tests_pyqt6", "tests_pyside6", "tests_lowest"} <= {row["session"] for row in rows()}


def test_only_the_job_that_publishes_may_prove_who_it_is() -> None:
    jobs = workflow(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert [n for n, j in jobs.items() if "id-token" in j.get("permissions", {})] == ["publish"]
    assert jobs["publish"]["needs"] == "ci"
    assert jobs["publish"]["environment"]["name"] == "pypi"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", ".ci/run"])
def test_targets_of_make_that_are_named_exist(page: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    named = MAKE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md"])
def test_sessions_of_nox_that_are_named_exist(page: str) -> None:
    said = NOX.findall((ROOT / page).read_text(encoding="utf-8"))
    assert said
    assert {word for each in said for word in each.split(" -- ")[0].split()} <= NAMES


def test_files_of_the_source_that_are_named_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("## Where is what")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_/]+\.py)`", table)
    assert len(named) > 20
    assert [each for each in named if not (ROOT / "src" / "napari_unet" / each).exists()] == []
