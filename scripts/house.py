"""Measure how the source is built, and compare two states of it.

    python scripts/house.py [SRC ...]

Each SRC is a folder that holds ``napari_unet`` (``src`` of a checkout; the present one by default).
One column each. *Flows* are run: a stroke to a loss, an array to its objects, and the command line
to a file; counted are the modules of ours in which anything ran, and how deep their calls went.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SRC = Path(__file__).resolve().parents[1] / "src"
PACKAGE = "napari_unet"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
FLOWS = {
    "a stroke to a loss": "nu.train([image], [paint], config=config)",
    "an array to its objects": "model.predict(image)",
    "the command line to a file": "main('predict m.safetensors image.tif --output out'.split())",
}
# Run in a folder of its own with the source to be measured; prints one line of JSON.
TRACED = """
import json, sys, threading
import numpy as np, tifffile
import napari_unet as nu
from napari_unet.cli import main
image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
paint = np.zeros((64, 64), np.uint8)
paint[8:20, 8:20], paint[30:44, 30:44], paint[50:, :] = 2, 3, 1
config = nu.TrainConfig(steps=1, start="random", base_channels=4, depth=1, device="cpu")
model = nu.train([image], [paint], config=config)
model.save("m.safetensors")
tifffile.imwrite("image.tif", image)
files, deepest = set(), 0
def look(frame, event, _):
    global deepest
    if event != "call" or "napari_unet" not in frame.f_code.co_filename:
        return
    files.add(frame.f_code.co_filename)
    chain, depth = frame, 0
    while chain is not None:
        depth += "napari_unet" in chain.f_code.co_filename
        chain = chain.f_back
    deepest = max(deepest, depth)
threading.setprofile(look)
sys.setprofile(look)
FLOW
sys.setprofile(None)
threading.setprofile(None)
print(json.dumps([len(files), deepest]))
"""


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


def measures_of(src: Path) -> dict[str, str]:
    """Measure one state of the source, by what is measured."""
    paths = sorted((src / PACKAGE).rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    nodes = [node for path in paths for node in ast.walk(tree_of(path))]
    lengths = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in nodes
        if isinstance(node, FUNCTIONS)
    ]
    graph = imports_in(src, paths)
    chain, circles = longest_chain(graph)
    return {
        "files": str(len(paths)),
        "lines": f"{sum(text.count(chr(10)) for text in texts):,}",
        "dataclasses": str(sum(is_dataclass(node) for node in nodes)),
        "longest import chain": str(chain),
        "modules in circles": str(circles),
        "function, median and nine tenths": f"{statistics.median(lengths):.0f}, "
        f"{statistics.quantiles(lengths, n=10)[-1]:.0f} lines",
        "modules of one function alone": str(sum(map(holds_one_function, paths))),
        "names that two modules define": str(sum(n > 1 for n in defined_in(paths).values())),
        "asked whether kind is objects or classes": str(sum(map(asks_kind, nodes))),
        "except StopIteration": str(sum(len(re.findall("except StopIteration", t)) for t in texts)),
        **{f"modules, depth: {name}": traced(src, flow) for name, flow in FLOWS.items()},
    }


def is_dataclass(node: ast.AST) -> bool:
    """Return whether a node is a class with the decorator."""
    return isinstance(node, ast.ClassDef) and any(
        "dataclass" in ast.unparse(each) for each in node.decorator_list
    )


def asks_kind(node: ast.AST) -> bool:
    """Return whether a node compares something called kind with objects or classes."""
    if not isinstance(node, ast.Compare):
        return False
    text = ast.unparse(node)
    return bool(re.search(r"\bkind\b", text) and re.search(r"'(objects|classes)'", text))


def holds_one_function(path: Path) -> bool:
    """Return whether a module is a single function."""
    defined = [node for node in tree_of(path).body if isinstance(node, (*FUNCTIONS, ast.ClassDef))]
    return len(defined) == 1 and isinstance(defined[0], FUNCTIONS)


def defined_in(paths: list[Path]) -> Counter[str]:
    """Count in how many modules each public class or function is defined."""
    names: Counter[str] = Counter()
    for path in paths:
        names.update(
            {
                node.name
                for node in tree_of(path).body
                if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_")
            }
        )
    return names


def imports_in(src: Path, paths: list[Path]) -> dict[str, set[str]]:
    """Return which modules of ours each one imports when it is imported itself."""
    names = {module_name(src, path): path for path in paths}
    return {
        name: {found for found in imported_by(path, name) if found in names and found != name}
        for name, path in names.items()
    }


def module_name(src: Path, path: Path) -> str:
    """Return the dotted name of a module."""
    return ".".join(path.relative_to(src).with_suffix("").parts).removesuffix(".__init__")


def imported_by(path: Path, name: str) -> Iterator[str]:
    """Yield the dotted names that a module imports at its top level, not those for types."""
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def longest_chain(graph: Mapping[str, set[str]]) -> tuple[int, int]:
    """Return the modules of the longest chain of imports, and how many lie in circles."""
    lengths: dict[str, int] = {}
    in_circles: set[str] = set()

    def length(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            in_circles.update(above[above.index(name) :])
            return 0
        if name not in lengths:
            below = [length(each, (*above, name)) for each in graph[name]]
            lengths[name] = 1 + max(below, default=0)
        return lengths[name]

    return max(length(name, ()) for name in graph), len(in_circles)


def traced(src: Path, flow: str) -> str:
    """Run a flow; return in how many modules anything ran, and the depth of their calls."""
    program = TRACED.replace("FLOW", flow)
    environment = {**os.environ, "PYTHONPATH": str(src.resolve()), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
    if run.returncode:
        return f"failed: {run.stderr.strip().splitlines()[-1]}"
    modules, depth = json.loads(run.stdout.strip().splitlines()[-1])
    return f"{modules}, {depth}"


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description="How the source is built.")
    parser.add_argument("sources", nargs="*", type=Path, metavar="SRC", default=[SRC])
    columns = [measures_of(src) for src in parser.parse_args().sources]
    print("| |" + " |" * len(columns))
    print("|---|" + "---|" * len(columns))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


if __name__ == "__main__":
    main()
