"""Measure how fast everything is, each case in a process of its own; write docs/results/speed.

Usage: ``python benchmarks/speed/run.py [--only CASE ...] [--threads N] [--rounds N]``. Cases that
compare with MONAI, nnU-Net or OpenVINO leave those lines out where they are not installed
(``pip install monai nnunetv2 openvino``). Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_RESULTS = _HERE.parents[1] / "docs" / "results"
sys.path.insert(0, str(_HERE.parent))

# In the order of the table; each is a module with `measure(Options) -> Iterator[Figure]`.
CASES = (
    "case_prediction",
    "case_streaming",
    "case_layout",
    "case_training",
    "case_patches",
    "case_border_weights",
    "case_objects",
    "case_startup",
    "case_memory",
    "case_gui",
)


def main() -> None:
    """Run the cases that are asked for, and write all results that there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, metavar="CASE")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small images: figures mean nothing")
    parser.add_argument("--output", type=Path, default=_RESULTS)
    parser.add_argument("--in-this-process", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_this_process:
        _measure(options.in_this_process, options.rounds, quick=options.quick)
        return
    path = options.output / "speed.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    for case in options.only:
        print(f"== {case}", flush=True)
        results[case] = _in_own_process(case, options)
        options.output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        (options.output / "speed.md").write_text(_as_markdown(results))


def _measure(case: str, rounds: int, *, quick: bool) -> None:
    from figures import Options

    for figure in importlib.import_module(case).measure(Options(rounds, quick)):
        print(json.dumps(asdict(figure)), flush=True)


def _in_own_process(case: str, options: argparse.Namespace) -> dict[str, Any]:
    from circumstances import git_commit, machine_in_words, versions

    command = [sys.executable, __file__, "--in-this-process", case, "--rounds", options.rounds]
    command += ["--quick"] if options.quick else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line sets it
    figures = []
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"what"'):
                figures.append(json.loads(line))
                print("  ", _line(figures[-1]), flush=True)
    if process.returncode:
        print(f"   (ended with code {process.returncode})", flush=True)
    return {
        "case": case,
        "figures": figures,
        "complete": process.returncode == 0,
        "threads": options.threads,
        "machine": machine_in_words(),
        "versions": versions(),
        "commit": git_commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _line(figure: dict[str, Any]) -> str:
    mark = {True: "held", False: "MISSED", None: ""}[figure["held"]]
    return f"{figure['what']}: {figure['value']:.4g} {figure['unit']} {figure['goal']} {mark}"


def _versions(result: dict[str, Any]) -> str:
    shown = ("torch", "monai", "nnunetv2") if "prediction" in result["case"] else ("torch",)
    versions = result["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)


def _as_markdown(results: dict[str, Any]) -> str:
    lines = [
        "# Speed",
        "",
        "Written by `python benchmarks/speed/run.py`. What is compared ran in turns, in one",
        "process; the fastest of several times counts.",
    ]
    for case in CASES:
        if case not in results:
            continue
        result = results[case]
        lines += [
            "",
            f"## {case.removeprefix('case_').replace('_', ' ')}",
            "",
            f"{result['machine']}, {result['threads']} thread(s), {_versions(result)}, "
            f"commit {result['commit']}, {result['date']}."
            + ("" if result["complete"] else " It did not run to its end."),
            "",
            "| what | measured | goal | |",
            "|---|---|---|---|",
        ]
        for figure in result["figures"]:
            mark = {True: "held", False: "**missed**", None: ""}[figure["held"]]
            measured = f"{figure['value']:.4g} {figure['unit']}"
            lines.append(f"| {figure['what']} | {measured} | {figure['goal']} | {mark} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
