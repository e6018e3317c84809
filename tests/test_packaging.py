"""What is published: the wheel, the sdist, and what they say of themselves."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import check_archives  # noqa: E402

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CLASSIFIERS: list[str] = PROJECT["project"]["classifiers"]
PYTHONS = [c.split()[-1] for c in CLASSIFIERS if re.search(r":: 3\.\d+$", c)]


class Archives(NamedTuple):
    """What was built: the sdist, the wheel of the checkout, and the wheel of the sdist."""

    sdist: Path
    wheel: Path
    rebuilt: Path


def build(project: Path, target: str, folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=project, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    folder = tmp_path_factory.mktemp("archives")
    sdist = build(ROOT, "sdist", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    source = next((folder / "source").iterdir())
    return Archives(
        sdist, build(ROOT, "wheel", folder / "wheel"), build(source, "wheel", folder / "rebuilt")
    )


def changed(wheel: Path, target: Path, **files: bytes | None) -> Path:
    """Copy a wheel with other files; None leaves one out. "__" in a name stands for "/"."""
    changes = {name.replace("__", "/"): content for name, content in files.items()}
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, content in changes.items():
            if content is not None:
                new.writestr(name, content)
    return target


def test_the_wheel_holds_the_package_and_nothing_else(archives: Archives) -> None:
    assert list(check_archives.wheel_problems(archives.wheel)) == []


def test_the_sdist_holds_all_to_build_and_test_but_no_pictures(archives: Archives) -> None:
    assert list(check_archives.sdist_problems(archives.sdist)) == []


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_checkout(archives: Archives) -> None:
    assert list(check_archives.differences(archives.wheel, archives.rebuilt)) == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tests__test_api.py", b"", "tests/test_api.py does not belong into a wheel"),
        ("napari_unet__picture.png", b"", "napari_unet/picture.png does not belong into a wheel"),
        ("napari_unet__napari.yaml", b"../../napari.yaml", "napari_unet/napari.yaml differs from"),
        ("napari_unet__py.typed", None, "napari_unet/py.typed is missing"),
        ("napari_unet__model__weights__cells.safetensors", None, "cells.safetensors is missing"),
    ],
    ids=["a test", "a picture", "a link for the manifest", "no types", "no weights"],
)
def test_a_wheel_with_a_fault_is_refused(
    archives: Archives, tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    wheel = changed(archives.wheel, tmp_path / archives.wheel.name, **{name: content})
    problems = list(check_archives.wheel_problems(wheel))
    assert len(problems) == 1
    assert problem in problems[0]


METADATA = "Name: x\nClassifier: Framework :: napari\n"


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (METADATA + "\n[how](docs/start.md)", "the link docs/start.md leads nowhere"),
        (METADATA + "\n![how](docs/a.png)", "the picture docs/a.png leads nowhere"),
        (METADATA + '\n<img src="docs/a.png">', "the picture docs/a.png leads nowhere"),
        (METADATA + "Requires-Dist: PyQt6>=6\n\ntext", "PyQt6>=6 is required"),
        (METADATA + "Requires-Dist: napari[all]\n\ntext", "napari[all] is required"),
        ("Name: x\n\ntext", 'without the classifier "Framework :: napari"'),
        (METADATA, "the description is empty"),
    ],
    ids=["link", "picture", "html", "Qt", "napari", "classifier", "nothing"],
)
def test_metadata_with_a_fault_are_refused(metadata: str, problem: str) -> None:
    problems = list(check_archives.metadata_problems(metadata.encode()))
    assert len(problems) == 1
    assert problem in problems[0]


def test_extras_may_require_napari_and_qt() -> None:
    text = METADATA + "Requires-Dist: napari[all]>=0.6; extra == 'all'\n\ntext"
    assert list(check_archives.metadata_problems(text.encode())) == []


def test_dependencies_have_lower_bounds_only() -> None:
    groups = [PROJECT["project"]["dependencies"]]
    groups += PROJECT["project"]["optional-dependencies"].values()
    asked = [Requirement(text) for group in groups for text in group]
    ours = PROJECT["project"]["name"]
    # what is known to be broken may be left out, as "!=2.14.*"
    loose = [r.name for r in asked if not {s.operator for s in r.specifier} <= {">=", "!="}]
    loose += [r.name for r in asked if not r.specifier]
    assert [name for name in loose if name != ours] == []


def test_the_pinned_versions_satisfy_the_bounds() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    asked = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    asked += [Requirement(text) for text in PROJECT["project"]["optional-dependencies"]["test"]]
    wrong = [
        f"{requirement.name} {pinned.get(requirement.name.lower())}"
        for requirement in asked
        if requirement.name != PROJECT["project"]["name"]
        and pinned.get(requirement.name.lower(), "0") not in requirement.specifier
    ]
    assert wrong == []


def test_the_lowest_python_is_the_first_that_is_classified() -> None:
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
    assert PYTHONS == ["3.11", "3.12", "3.13", "3.14"]


def addresses(repository: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what a wheel says of the project's addresses, built for a repository."""
    monkeypatch.setenv("PROJECT_REPOSITORY", repository)
    with zipfile.ZipFile(build(ROOT, "wheel", folder)) as wheel:
        metadata = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
        lines = wheel.read(metadata).decode().splitlines()
    said = [line.removeprefix("Project-URL: ") for line in lines if line.startswith("Project-URL")]
    return dict(line.split(", ", 1) for line in said)


def test_there_are_no_addresses_that_nobody_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert addresses("", tmp_path, monkeypatch) == {}


def test_a_release_tells_the_addresses_of_its_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert addresses("https://github.com/Some-Lab/paint", tmp_path, monkeypatch) == {
        "Homepage": "https://github.com/Some-Lab/paint",
        "Documentation": "https://some-lab.github.io/paint/",
        "Source": "https://github.com/Some-Lab/paint",
        "Issues": "https://github.com/Some-Lab/paint/issues",
        "Changelog": "https://github.com/Some-Lab/paint/blob/main/CHANGELOG.md",
    }


RECIPE: dict[str, Any] = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text("utf-8"))
ON_CONDA_FORGE = {"torch": "pytorch"}  # where a package has another name there


def test_the_recipe_requires_what_the_wheel_requires() -> None:
    asked = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    ours = {ON_CONDA_FORGE.get(r.name.lower(), r.name.lower()): str(r.specifier) for r in asked}
    ours["python"] = PROJECT["project"]["requires-python"].replace("3.11", "${{ python_min }}")
    there = dict(line.split(" ", 1) for line in RECIPE["requirements"]["run"])
    assert there == ours


def test_the_recipe_is_of_this_version_python_command_and_licence() -> None:
    project = PROJECT["project"]
    assert RECIPE["context"]["version"] == project["version"]
    assert project["requires-python"] == f">={RECIPE['context']['python_min']}"
    assert RECIPE["about"]["license"] == project["license"]
    assert RECIPE["about"]["license_file"] == project["license-files"]
    commands = [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == commands
    built_with = [line for line in RECIPE["requirements"]["host"] if line.startswith("hatchling")]
    assert [line.replace(" ", "") for line in built_with] == PROJECT["build-system"]["requires"]


def test_what_is_to_be_cited_is_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["title"] == PROJECT["project"]["name"]
    assert citation["license"] == PROJECT["project"]["license"]


def test_the_description_tells_how_to_install_what_is_published() -> None:
    description = (ROOT / "DESCRIPTION.md").read_text(encoding="utf-8")
    assert f"pip install {PROJECT['project']['name']}" in description
    assert description.startswith("# ")  # the hub takes this as the title


def test_the_wheel_that_pages_install_is_the_one_that_is_built(archives: Archives) -> None:
    named = re.compile(r"napari_unet_paint-[\w.]+-py3-none-any\.whl")
    for page in ("README.md", "DESCRIPTION.md", "docs/start.md"):
        assert set(named.findall((ROOT / page).read_text("utf-8"))) == {archives.wheel.name}, page
