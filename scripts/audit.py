"""Look for known vulnerabilities in what is installed for use: pip-audit, read strictly.

That is what the package requires, and of its extras for users what is there: napari, Qt, dask, onnx
and bioimageio.

A vulnerability fails. Where the advisory database cannot be reached nothing is known, and that is
said plainly: NOT AUDITED.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from check_licences import PROJECT, required

EXTRAS = frozenset({"all", "bioimageio", "distributed", "onnx"})
# Advisories that do not concern this package, each with the reason.
EXCEPTIONS: dict[str, str] = {}
NOT_AUDITED = "NOT AUDITED: the advisory database cannot be reached"


def installed() -> list[str]:
    """Return what is installed for use as exact requirements, local builds by public version."""
    needed = {d.metadata["Name"]: d.version for d in required(PROJECT)}  # each must be there
    found = required(PROJECT, EXTRAS, _if_installed)
    both = needed | {d.metadata["Name"]: d.version for d in found}
    return sorted(f"{name}=={version.partition('+')[0]}" for name, version in both.items())


def _if_installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def ask(requirements: list[str]) -> tuple[dict[str, Any] | None, str]:
    """Run pip-audit; return its report, or None, and what it said beside."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text("\n".join(requirements), encoding="utf-8")
        command = ["-m", "pip_audit", "--progress-spinner=off", "--format=json", "--no-deps"]
        result = subprocess.run(
            [sys.executable, *command, "--disable-pip", "-r", str(wanted)],
            capture_output=True,
            text=True,
        )
    try:
        report = json.loads(result.stdout)
    except ValueError:
        return None, result.stderr
    return report if isinstance(report, dict) else None, result.stderr


def judge(report: dict[str, Any] | None, said: str) -> tuple[int, list[str]]:
    """Turn a report into an exit code and lines.

    Parameters
    ----------
    report : dict or None
        Of pip-audit; None where it gave none.
    said : str
        What it wrote to stderr.
    """
    if report is None:
        unreachable = any(word in said for word in ("ConnectionError", "Connection", "Timeout"))
        last = (said.strip().splitlines() or ["nothing"])[-1]
        return (0, [NOT_AUDITED]) if unreachable else (1, [f"pip-audit failed: {last}"])
    packages = report.get("dependencies", [])
    skipped = [each for each in packages if "skip_reason" in each]
    if packages and len(skipped) == len(packages):
        return 0, [NOT_AUDITED]
    lines, code = [], 0
    for each in skipped:
        lines.append(f"{each['name']} was not audited: {each['skip_reason']}")
        code = 1
    for each in packages:
        for found in each.get("vulns", ()):
            names = {found["id"], *found.get("aliases", ())}
            reasons = [EXCEPTIONS[name] for name in sorted(names) if name in EXCEPTIONS]
            mended = ", ".join(found.get("fix_versions", ())) or "no version"
            line = f"{each['name']} {each['version']}: {found['id']}, mended in {mended}"
            lines.append(f"{line} (excepted: {reasons[0]})" if reasons else line)
            code = code if reasons else 1
    return code, [*lines, f"{len(packages) - len(skipped)} packages audited."]


def main() -> int:
    """Audit what is installed; return the exit code."""
    code, lines = judge(*ask(installed()))
    print(*lines, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
