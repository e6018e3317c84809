"""What is required may be used with this package, by its licence."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import audit
import check_licences


def test_everything_that_is_required_has_a_free_licence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert check_licences.main() == 0, capsys.readouterr().err


def test_what_is_required_by_the_required_counts_and_extras_do_not() -> None:
    names = {
        found.metadata["Name"].lower() for found in check_licences.required("napari-unet-paint")
    }
    assert {"torch", "numpy", "sympy", "pydantic_core"} <= names
    assert not names & {"napari", "pyqt6", "pytest", "napari-unet-paint"}


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "GNU General Public License v3 (GPLv3)", "AGPL-3.0-or-later",
                "GNU Affero General Public License v3", "MIT AND GPL-2.0", "GPL v2"]
)  # fmt: skip
def test_gpl_and_agpl_are_refused(licence: str) -> None:
    assert licence in check_licences.judge("x", licence).problem


@pytest.mark.parametrize(
    "licence",
    [
        "LGPL v3",
        "GNU Lesser General Public License v3 (LGPLv3)",
        "GNU Library General Public License",
    ],
)
def test_lgpl_is_named_and_not_refused(licence: str) -> None:
    found = check_licences.judge("x", licence)
    assert (found.problem, licence in found.notice) == ("", True)


@pytest.mark.parametrize("licence", ["MIT", "BSD License", "MPL-2.0 AND MIT", "GPL-3.0 OR MIT"])
def test_free_licences_need_no_word(licence: str) -> None:
    assert check_licences.judge("x", licence) == check_licences.Finding("x", licence)


def test_a_package_that_does_not_tell_its_licence_is_refused() -> None:
    assert "tell no licence" in check_licences.judge("x", "").problem


def test_a_package_that_tells_it_elsewhere_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(check_licences.TOLD_ELSEWHERE, "an-x", "MIT")
    assert check_licences.judge("An_X", "") == check_licences.Finding("An_X", "MIT")


def test_the_audit_covers_what_users_install_beside_and_no_tools() -> None:
    names = {line.partition("==")[0].lower() for line in audit.installed()}
    assert {"torch", "zarr", "numcodecs", "napari", "pyqt6", "dask", "distributed"} <= names
    assert not names & {"pytest", "ruff", "mypy", "napari-unet-paint"}
    assert not [line for line in audit.installed() if "+" in line]


def test_the_audit_passes_over_extras_that_are_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_napari(name: str) -> Distribution:
        if name == "napari":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(audit, "distribution", without_napari)
    names = {line.partition("==")[0].lower() for line in audit.installed()}
    assert "napari" not in names
    assert {"torch", "distributed"} <= names


def package(**changes: object) -> dict[str, object]:
    return {"name": "tqdm", "version": "4.66.1", "vulns": [], **changes}


FOUND = {"id": "PYSEC-1", "aliases": ["CVE-2024-34062"], "fix_versions": ["4.66.3"]}


def test_nothing_found_passes() -> None:
    assert audit.judge({"dependencies": [package()]}, "") == (0, ["1 packages audited."])


def test_a_vulnerability_fails_and_says_what_mends_it() -> None:
    code, lines = audit.judge({"dependencies": [package(vulns=[FOUND])]}, "")
    assert (code, lines[0]) == (1, "tqdm 4.66.1: PYSEC-1, mended in 4.66.3")


def test_an_excepted_vulnerability_passes_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(audit.EXCEPTIONS, "CVE-2024-34062", "its command line is not used")
    code, lines = audit.judge({"dependencies": [package(vulns=[FOUND])]}, "")
    assert code == 0
    assert "excepted: its command line is not used" in lines[0]


UNKNOWN = {"name": "tqdm", "skip_reason": "Dependency not found on PyPI"}


def test_a_database_that_knows_no_package_is_not_reached() -> None:
    assert audit.judge({"dependencies": [UNKNOWN, UNKNOWN]}, "") == (0, [audit.NOT_AUDITED])


def test_a_database_that_does_not_answer_is_not_reached() -> None:
    assert audit.judge(None, "urllib3.exceptions.ConnectionError: no") == (0, [audit.NOT_AUDITED])


def test_a_single_package_that_was_not_audited_fails() -> None:
    code, lines = audit.judge({"dependencies": [UNKNOWN, package()]}, "")
    assert (code, lines[0]) == (1, "tqdm was not audited: Dependency not found on PyPI")


def test_an_audit_that_breaks_fails() -> None:
    assert audit.judge(None, "Traceback\nTypeError: x") == (1, ["pip-audit failed: TypeError: x"])
