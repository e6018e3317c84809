"""The matrix: Python 3.11 to 3.14, lowest versions, both Qt bindings, lint, docs, build.

    nox --list
    nox -s tests-3.12 -- tests/data -q        # what stands after -- goes to pytest
    nox -s build check_installed

uv makes the environments. ``UV_TORCH_BACKEND=cpu`` fetches the much smaller CPU build of torch on
Linux. Without a screen, pytest-xvfb gives the tests a virtual one.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "tests", "build", "check_installed"]

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)  # from the classifiers
GROUPS = PROJECT["dependency-groups"]
DIST = Path("dist")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
CONSTRAINED = ("-c", "constraints.txt")


def _test(session: nox.Session, qt: str, *options: str) -> None:
    environment = {**ONE_THREAD, "QT_API": qt}
    arguments = session.posargs or ["-n", "auto", "--dist", "worksteal"]
    examples = ["--hypothesis-profile", "all"]
    session.run("python", "-m", "pytest", *examples, *options, *arguments, env=environment)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run all tests with the versions of constraints.txt."""
    session.install(*CONSTRAINED, "-e", ".[all,test]")
    _test(session, "pyqt6")


@nox.session(python=PYTHONS[-1])
def tests_newest(session: nox.Session) -> None:
    """Run all tests with the newest versions of everything."""
    session.install("--upgrade", "-e", ".[all,test]")
    _test(session, "pyqt6")


@nox.session(python=PYTHONS[0])
def tests_lowest(session: nox.Session) -> None:
    """Run all tests with the lowest versions that pyproject.toml allows.

    Where those are not to be had, UV_OVERRIDE names a file of others (see uv's manual).
    """
    session.install("--resolution", "lowest-direct", "-e", ".[test]")
    session.install("PyQt6")
    # Libraries of other years warn of each other: that is nothing to mend here.
    _test(session, "pyqt6", "-W", "default")


@nox.session(python=PYTHONS[-1])
def tests_pyqt6(session: nox.Session) -> None:
    """Run the tests of the window with PyQt6, and no other Qt binding there."""
    session.install(*CONSTRAINED, "-e", ".[test]", "PyQt6")
    _test(session, "pyqt6", "tests/widgets")


@nox.session(python=PYTHONS[-1])
def tests_pyside6(session: nox.Session) -> None:
    """Run the tests of the window with PySide6, and no other Qt binding there."""
    session.install(*CONSTRAINED, "-e", ".[test]", "PySide6")
    _test(session, "pyside6", "tests/widgets")


@nox.session(python=PYTHONS[0])
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    session.install(*CONSTRAINED, "-e", ".[all,test]", *GROUPS["dev"])
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; a warning is an error."""
    session.install(*CONSTRAINED, "-e", ".", *GROUPS["docs"])
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session(python=PYTHONS[0])
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/ and check them."""
    session.install(*CONSTRAINED, "build", "twine")
    shutil.rmtree(DIST, ignore_errors=True)
    direct = Path(session.create_tmp())
    for old in direct.glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "build")  # the wheel is made from the sdist
    session.run("python", "-m", "build", "--wheel", "--outdir", str(direct))
    archives = sorted(str(each) for each in DIST.iterdir())
    session.run("twine", "check", "--strict", *archives)
    wheel = next(direct.glob("*.whl"))
    session.run("python", "scripts/check_archives.py", str(DIST), str(wheel))


@nox.session(python=PYTHONS)
def check_installed(session: nox.Session) -> None:
    """Install the wheel of dist/ as a user would, and use it (needs a screen, or xvfb-run)."""
    wheels = sorted(DIST.glob("*.whl"))
    if len(wheels) != 1:
        session.error("dist/ holds no wheel, or several: run nox -s build first")
    session.install(f"{wheels[0]}[all]")
    # -P: the checkout's folders are not searched for modules
    run = ["python", "-P", "scripts/check_installed.py", *session.posargs]
    if sys.platform == "linux" and shutil.which("xvfb-run"):
        run = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", *run]
    session.run(*run, external=True, env=ONE_THREAD)


@nox.session(python=PYTHONS[-1])
def sbom(session: nox.Session) -> None:
    """Write sbom/napari-unet-paint.cdx.json: what the wheel of dist/ brings with it (CycloneDX).

    It lies beside a release, and not in dist/, where all is uploaded to PyPI.
    """
    wheels = sorted(DIST.glob("*.whl"))
    if len(wheels) != 1:
        session.error("dist/ holds no wheel, or several: run nox -s build first")
    session.install(str(wheels[0]))
    python = session.run("python", "-c", "import sys; print(sys.executable)", silent=True)
    Path("sbom").mkdir(exist_ok=True)
    session.run(
        "uvx", "--from", "cyclonedx-bom>=7", "cyclonedx-py", "environment",
        "--pyproject", "pyproject.toml", "--mc-type", "library", "--output-reproducible",
        "--output-file", "sbom/napari-unet-paint.cdx.json", str(python).strip(),
        external=True,
    )  # fmt: skip
