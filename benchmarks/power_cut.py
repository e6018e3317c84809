"""Cut the power at random moments: only what was synced is on the disk for certain.

::

    python benchmarks/power_cut.py --cuts 200 --output docs/results

strace takes down what a program writes, names, deletes and syncs while it trains, predicts, and
saves annotations, models and results. Each cut takes a moment of that, and builds the folder as a
disk may hold it: what was synced is there; of the rest a random part, down to half a write, and
names without what they stand for. Then what lies under a final name must be whole, and what the
program had said to be saved must be there.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from circumstances import git_commit, machine_in_words, versions
from crash_scenes import SCENES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crash_scenes import Scene

_VICTIMS = Path(__file__).with_name("crash_victims.py")
# How much of each is recorded, by what it says, and its share of the cuts.
_RECORDED = {
    "training": ("done save_checkpoint", 12),
    "prediction": ("at the end", 1),
    "annotations": ("done save", 15),
    "saves": ("done model", 8),
}
_CALLS = (
    "openat,open,creat,write,pwrite64,writev,rename,renameat,renameat2,link,linkat,unlink,"
    "unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync,ftruncate,lseek,sendfile,copy_file_range"
)
_CALL = re.compile(r"\d+ +(\w+)\((.*)\) += (\d+)(?:<(.*)>)?")
# A descriptor with its path, or a text.
_PART = re.compile(r'(\w+)<((?:\\x..)*)>|"((?:\\x..)*)"')


@dataclass(frozen=True)
class Call:
    """A call of the system that succeeded."""

    name: str
    arguments: str
    result: int
    paths: tuple[bytes, ...]
    descriptor: str = ""
    """The first one, or the one that it gave."""
    content: bytes = b""


def record(command: Sequence[str], folder: Path, until: str, count: int) -> list[Call]:
    """Run a program, until it has said something so many times, and return its calls."""
    trace = folder.with_name("trace")
    strace = ["strace", "-f", "-y", "-xx", "-s", str(2**26), "--seccomp-bpf", "-o", str(trace)]
    process = subprocess.Popen(
        [*strace, "-e", f"trace={_CALLS}", *command],
        stdout=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        count -= line.decode().startswith(until)
        if not count:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.communicate()
    inside = os.fsencode(folder)
    return [
        call
        for call in calls_of(trace.read_text(errors="replace"), inside)
        if call.descriptor == "1" or any(path.startswith(inside) for path in call.paths)
    ]


def calls_of(trace: str, working: bytes) -> Iterator[Call]:
    """Read what strace wrote; a call that others interrupted counts when it returned."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        process = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[process] = line.removesuffix("<unfinished ...>")
            continue
        if " resumed>" in line:
            line = begun.pop(process, "") + line.split(" resumed>", 1)[1]
        found = _CALL.match(line)
        if found is not None:
            yield _call(found[1], found[2], int(found[3]), found[4] or "", working)


def _call(name: str, arguments: str, result: int, opened: str, working: bytes) -> Call:
    parts = [(part[1], _plain(part[2] or part[3] or "")) for part in _PART.finditer(arguments)]
    if "write" in name:
        descriptor, path = parts[0]
        content = b"".join(text for _, text in parts[1:])[:result]
        return Call(name, arguments, result, (path,), descriptor, content)
    if opened:
        return Call(name, arguments, result, (_plain(opened),), str(result))
    paths, folder = [], working
    for number, (descriptor, text) in enumerate(parts):
        is_folder_of_next = (
            descriptor and parts[number + 1 : number + 2] and name.endswith(("at", "at2"))
        )
        if is_folder_of_next:
            folder = text
        else:
            paths.append(os.path.join(folder, text))
            folder = working
    return Call(name, arguments, result, tuple(paths), parts[0][0] if parts else "")


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


# --- A disk ------------------------------------------------------------------------------------


@dataclass(eq=False)
class Change:
    """What was written into a file, or names that change together."""

    place: int = 0
    content: bytes | None = None
    """What was written; None: a new size, `place`."""
    names: tuple[tuple[Node, bytes, Node | None], ...] = ()
    unsafe: set[Node] = field(default_factory=set)
    """What is to be synced before it is safe."""


@dataclass(eq=False)
class Node:
    """A file, or a folder with `names`."""

    names: dict[bytes, Node] | None = None
    content: bytes = b""
    """In the beginning."""
    names_before: dict[bytes, Node] = field(default_factory=dict)
    size: int = 0
    changes: list[Change] = field(default_factory=list)


def _node_of(path: Path) -> Node:
    if not path.is_dir():
        content = path.read_bytes()
        return Node(content=content, size=len(content))
    names = {os.fsencode(each.name): _node_of(each) for each in path.iterdir()}
    return Node(names, names_before=dict(names))


class Disk:
    """What a program has written into a folder, and what of it is safe."""

    def __init__(self, folder: Path) -> None:
        self._path = os.fsencode(folder)
        self._root = _node_of(folder)
        self._changes: list[Change] = []
        self._places: dict[str, int] = {}
        self._appending: set[str] = set()

    def take(self, call: Call) -> None:
        """Follow a call."""
        name = call.name.removesuffix("2").removesuffix("64").removesuffix("at")
        if name in ("open", "creat"):
            self._open(call)
        elif name in ("write", "pwrite", "writev"):
            self._write(call)
        elif name == "lseek":
            self._places[call.descriptor] = call.result
        elif name == "ftruncate":
            node = self._there(call.paths[0])
            size = int(call.arguments.rpartition(", ")[2])
            self._change_content(node, Change(size, None))
        elif name in ("fsync", "fdatasync"):
            self._sync(self._there(call.paths[0]))
        elif name == "mkdir":
            self._name((call.paths[0], Node({})))
        elif name in ("unlink", "rmdir"):
            self._name((call.paths[0], None))
        elif name == "rename":
            old, new = call.paths
            self._name((new, self._there(old)), (old, None))
        elif name == "link":
            self._name((call.paths[1], self._there(call.paths[0])))
        else:
            raise NotImplementedError(call.name)

    def _find(self, path: bytes) -> tuple[Node, bytes]:
        """Return the folder that a path lies in, and its name there."""
        node = self._root
        *folders, name = path.removeprefix(self._path + b"/").split(b"/")
        for each in folders:
            assert node.names is not None
            node = node.names[each]
        return node, name

    def _there(self, path: bytes) -> Node:
        if path == self._path:
            return self._root
        folder, name = self._find(path)
        assert folder.names is not None
        return folder.names[name]

    def _open(self, call: Call) -> None:
        self._places[call.descriptor] = 0
        self._appending.discard(call.descriptor)
        if "O_APPEND" in call.arguments:
            self._appending.add(call.descriptor)
        path = call.paths[0]
        if path == self._path:
            return
        folder, name = self._find(path)
        if folder.names is not None and name not in folder.names:
            self._name((path, Node()))
        elif "O_TRUNC" in call.arguments:
            self._change_content(self._there(path), Change(0, None))

    def _write(self, call: Call) -> None:
        node, place = self._there(call.paths[0]), self._places[call.descriptor]
        if call.name == "pwrite64":
            place = int(call.arguments.rpartition(", ")[2])
        elif call.descriptor in self._appending:
            place = node.size
        self._change_content(node, Change(place, call.content))
        if call.name != "pwrite64":
            self._places[call.descriptor] = place + len(call.content)

    def _change_content(self, node: Node, change: Change) -> None:
        change.unsafe = {node}
        node.changes.append(change)
        end = change.place + len(change.content or b"")
        node.size = end if change.content is None else max(node.size, end)

    def _name(self, *names: tuple[bytes, Node | None]) -> None:
        found = tuple((*self._find(path), node) for path, node in names)
        for folder, name, node in found:
            assert folder.names is not None
            if node is None:
                del folder.names[name]
            else:
                folder.names[name] = node
        self._changes.append(Change(names=found, unsafe={folder for folder, _, _ in found}))

    def _sync(self, node: Node) -> None:
        for change in node.changes if node.names is None else self._changes:
            change.unsafe.discard(node)

    def after_a_cut(self, target: Path, chance: random.Random) -> None:
        """Write what the disk may hold if the power is cut now: all that is safe, and some."""
        share = chance.choice((0.0, 0.5, 0.9, 1.0))

        def stays(change: Change) -> bool:
            return not change.unsafe or chance.random() < share

        names: dict[Node, dict[bytes, Node]] = {}
        for change in filter(stays, self._changes):
            for folder, name, node in change.names:
                held = names.setdefault(folder, dict(folder.names_before))
                if node is None:
                    held.pop(name, None)
                else:
                    held[name] = node

        def write(node: Node, path: Path) -> None:
            if node.names is None:
                path.write_bytes(_content(node, stays, chance))
                return
            path.mkdir()
            for name, each in names.get(node, node.names_before).items():
                write(each, path / os.fsdecode(name))

        write(self._root, target)


def _content(node: Node, stays: Callable[[Change], bool], chance: random.Random) -> bytes:
    content = bytearray(node.content)
    for change in node.changes:
        new, place = change.content, change.place
        if not stays(change):
            lost = chance.choice(("all", "half", "zeros"))
            if new is None or lost == "all":
                continue
            new = new[: len(new) // 2] if lost == "half" else bytes(len(new))
        if new is None:
            content[place:] = bytes(max(0, place - len(content)))
            continue
        content.extend(bytes(max(0, place - len(content))))
        content[place : place + len(new)] = new
    return bytes(content)


# --- Cuts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """A cut, and what was found after it.

    Parameters
    ----------
    scene : str
        What the program was doing.
    moment : int
        After which of its calls.
    announced : str
        What it had said to be safe last.
    problems : tuple of str
        What was lost or torn.
    """

    scene: str
    moment: int
    announced: str
    problems: tuple[str, ...]


def cuts_of(name: str, work: Path, number: int, chance: random.Random) -> Iterator[Cut]:
    """Record a scene, and cut the power so many times."""
    folder = work / name
    folder.mkdir()
    SCENES[name]().prepare(folder)
    disk = Disk(folder)
    until, count = _RECORDED[name]
    calls = record([sys.executable, str(_VICTIMS), name, str(folder)], folder, until, count)
    told = [at for at, call in enumerate(calls) if call.content.startswith(b"done ")]
    # Each second one just after it had said that something is safe.
    moments = [
        chance.choice(told) if told and number % 2 else chance.randrange(len(calls))
        for number in range(number)
    ]
    said: list[str] = []
    done = 0
    for index, moment in enumerate(sorted(moments)):
        for call in calls[done : moment + 1]:
            if call.descriptor == "1" and "write" in call.name:
                said += call.content.decode().splitlines()
            elif call.paths:
                disk.take(call)
        done = moment + 1
        after = work / f"{name} {index}"
        disk.after_a_cut(after, chance)
        yield _examined(name, after, moment, said)
        shutil.rmtree(after)


def _examined(name: str, folder: Path, moment: int, lines: Sequence[str]) -> Cut:
    scene = SCENES[name]()

    def said(what: str) -> list[str]:
        head = f"done {what} "
        return [line.removeprefix(head) for line in lines if line.startswith(head)]

    # Tiles are safe after a kill; after a power cut only what they become in the end is.
    promised = (lambda _: []) if name == "prediction" else said
    problems = list(scene.problems(folder, promised, None))
    if name == "prediction":
        problems += _gone_on(scene, folder, moment)
    return Cut(name, moment, (said(scene.safe) or [""])[-1], tuple(problems))


def _gone_on(scene: Scene, folder: Path, moment: int) -> Iterator[str]:
    """Predict again, as a system does that was started anew, and look at the result."""
    from crash_victims import prediction_arguments

    from napari_unet.cli import main as command_line
    from napari_unet.io import ome_zarr
    from napari_unet.prediction import journal

    with (
        mock.patch.object(ome_zarr, "LARGEST_OVERVIEW", 64),
        mock.patch.object(journal, "boot_id", return_value=f"after cut {moment}"),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        code = command_line(prediction_arguments(folder))
    if code:
        yield f"the prediction that goes on ended with {code}"
    yield from scene.problems(folder, lambda _: [], 0)


def report(cuts: Sequence[Cut], seed: int, seconds: float) -> tuple[str, str]:
    """Return the record as JSON and as a table in Markdown."""
    about = {
        "machine": machine_in_words(),
        "versions": versions(),
        "commit": git_commit(),
        "seed": seed,
        "seconds": round(seconds),
    }
    rows = []
    for name in _RECORDED:
        own = [cut for cut in cuts if cut.scene == name]
        announced = sum(bool(cut.announced) for cut in own)
        rows.append(f"| {name} | {len(own)} | {announced} | {sum(bool(c.problems) for c in own)} |")
    problems = [f"- {c.scene}, call {c.moment}: {text}" for c in cuts for text in c.problems]
    text = "\n".join(
        [
            "# Power cuts",
            "",
            f"`python benchmarks/power_cut.py --cuts {len(cuts)} --seed {seed}`, "
            f"{seconds:.0f} s on {about['machine']}, commit {about['commit']}.",
            "",
            "What real processes wrote, named, deleted and synced was taken down by strace, and a "
            "folder was built as a disk may hold it after a cut at a random moment: what was "
            "synced, and of the rest a random part, down to half a write and to names without "
            "content. Each file under a final name had to be whole, all that the program had said "
            "to be saved had to be there, and a prediction that went on from there had to end with "
            "the same pixels.",
            "",
            "| scene | cuts | after it had said that something is safe | lost or torn |",
            "|---|---|---|---|",
            *rows,
            *(["", "## What was lost or torn", "", *problems] if problems else []),
            "",
        ]
    )
    return json.dumps({**about, "cuts": [asdict(cut) for cut in cuts]}, indent=1) + "\n", text


def main() -> None:
    """Cut the power; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scene", choices=tuple(_RECORDED), action="append", dest="scenes")
    parser.add_argument("--output", type=Path, help="folder for power_cut.json and .md")
    options = parser.parse_args()
    began, scenes = time.monotonic(), options.scenes or list(_RECORDED)
    cuts: list[Cut] = []
    for number, name in enumerate(scenes):
        share = options.cuts * (number + 1) // len(scenes) - options.cuts * number // len(scenes)
        with tempfile.TemporaryDirectory() as work:
            for cut in cuts_of(name, Path(work), share, random.Random(options.seed)):
                cuts.append(cut)
                print(f"{len(cuts):3} {cut.scene}: call {cut.moment}", *cut.problems, sep="; ")
    record_, text = report(cuts, options.seed, time.monotonic() - began)
    print(text)
    if options.output is not None:
        (options.output / "power_cut.json").write_text(record_, encoding="utf-8")
        (options.output / "power_cut.md").write_text(text, encoding="utf-8")
    sys.exit(any(cut.problems for cut in cuts))


if __name__ == "__main__":
    main()
