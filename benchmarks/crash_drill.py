"""Kill the program at random moments, and look for what should be there on the next start.

::

    python benchmarks/crash_drill.py --kills 100 --output docs/results

A real process is killed by SIGKILL (elsewhere by its like) while it trains, predicts into an
OME-Zarr, or saves annotations; by the clock, or just when it begins to write. What it had said to
be safe must be there, and the next process, which is the next to be killed, goes on from it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from circumstances import git_commit, machine_in_words, versions
from crash_scenes import SCENES, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VICTIMS = Path(__file__).with_name("crash_victims.py")
_LONGEST_LIFE = 40.0
_SHARES = {
    **{"training": 0.34, "prediction": 0.29, "cluster": 0.08},
    **{"annotations": 0.18, "saves": 0.06, "window": 0.05},
}


@dataclass(frozen=True)
class Kill:
    """One kill, and what was found after it.

    Parameters
    ----------
    scene : str
        What the program was doing.
    moment : str
        When it was killed.
    announced : str
        What it had said to be safe last.
    torn : bool
        Whether it died between the first and the last byte of a write: unfinished files were left,
        or of two files that belong together one was newer.
    problems : tuple of str
        What was lost or wrong.
    """

    scene: str
    moment: str
    announced: str
    torn: bool
    problems: tuple[str, ...]


@dataclass
class Victim:
    """A process at work, and what it says."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)
    spoke: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        """Take down what is said, until the process is gone."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.spoke:
                self.lines.append(line.decode(errors="replace").strip())
                self.spoke.notify_all()

    def wait_for(self, word: str, count: int, seconds: float) -> bool:
        """Wait until a line with a word was said so many times; False if it ended before."""
        deadline = time.monotonic() + seconds
        with self.spoke:
            while sum(line.startswith(word) for line in self.lines) < count:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    return False
                self.spoke.wait(0.05)
        return True

    def said(self, what: str) -> list[str]:
        """Return the values of all ``done WHAT VALUE`` so far."""
        head = f"done {what} "
        with self.spoke:
            return [line.removeprefix(head) for line in self.lines if line.startswith(head)]


@contextmanager
def victim_of(scene: str, folder: Path) -> Iterator[Victim]:
    """Start a process, and make sure that it is gone in the end."""
    with (folder / "stderr.txt").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(_VICTIMS), scene, str(folder)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    victim = Victim(process)
    listener = threading.Thread(target=victim.listen, daemon=True)
    listener.start()
    try:
        yield victim
    finally:
        process.kill()
        process.wait()
        listener.join()
        assert process.stdout is not None
        process.stdout.close()


def run_scene(scene: Scene, folder: Path, kills: int, chance: random.Random) -> Iterator[Kill]:
    """Kill one process after the other; each goes on with what the previous left."""
    scene.prepare(folder)
    for number in range(1, kills + 1):
        moment = chance.choice(scene.moments)
        # Late occurrences too, but the first ones often: files are made by them.
        count = 1 + int(chance.expovariate(1 / scene.late))
        count = 1 + (count - 1) % scene.most.get(moment, count)
        delay = chance.choice((0.0, chance.uniform(0, 0.002), chance.uniform(0, 0.02)))
        with victim_of(scene.name, folder) as victim:
            if moment == "by the clock":
                limit = chance.uniform(0, scene.seconds)
                _wait_for_end(victim, limit)
                told = f"after {limit:.2f} s"
            else:
                victim.wait_for(moment, count, _LONGEST_LIFE)
                time.sleep(delay)
                told = f"{moment}, number {count}"
            ended = victim.process.poll()
            victim.process.kill()
            victim.process.wait()
        problems = list(scene.problems(folder, victim.said, ended))
        if ended not in (None, 0):
            problems.append(f"it ended with {ended}: {_last_line(folder / 'stderr.txt')}")
        torn = scene.torn(folder)
        if number == kills:
            problems += scene.end(folder)
        announced = (victim.said(scene.safe) or [""])[-1]
        yield Kill(scene.name, told, announced, torn, tuple(problems))


def _wait_for_end(victim: Victim, seconds: float) -> None:
    try:
        victim.process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _last_line(path: Path) -> str:
    return (path.read_text(errors="replace").strip().splitlines() or [""])[-1]


def drill(kills: int, seed: int, scenes: Sequence[str] = tuple(_SHARES)) -> list[Kill]:
    """Kill so many processes, of all scenes in turn.

    Parameters
    ----------
    kills : int
        How many.
    seed : int
        Of the moments.
    scenes : sequence of str
        Which.
    """
    total = sum(_SHARES[name] for name in scenes)
    counts = {name: round(kills * _SHARES[name] / total) for name in scenes}
    counts[scenes[0]] += kills - sum(counts.values())
    found: list[Kill] = []
    for name in scenes:
        with tempfile.TemporaryDirectory() as work:
            for kill in run_scene(SCENES[name](), Path(work), counts[name], random.Random(seed)):
                found.append(kill)
                told = (f"{len(found):3} {kill.scene}: {kill.moment}", *kill.problems)
                print("; ".join(told), flush=True)
    return found


def report(kills: Sequence[Kill], seed: int, seconds: float) -> tuple[str, str]:
    """Return the record as JSON and as a table in Markdown."""
    about = {
        "machine": machine_in_words(),
        "versions": versions(),
        "commit": git_commit(),
        "seed": seed,
        "seconds": round(seconds),
    }
    rows = []
    for name in SCENES:
        own = [kill for kill in kills if kill.scene == name]
        torn, lost = sum(k.torn for k in own), sum(bool(k.problems) for k in own)
        rows.append(f"| {name} | {len(own)} | {torn} | {lost} |")
    writing = sum(kill.moment.startswith("at ") for kill in kills)
    problems = [f"- {k.scene}, {k.moment}: {text}" for k in kills for text in k.problems]
    text = "\n".join(
        [
            "# Crash recovery drill",
            "",
            f"`python benchmarks/crash_drill.py --kills {len(kills)} --seed {seed}`, "
            f"{seconds:.0f} s on {about['machine']}, commit {about['commit']}.",
            "",
            "A real process was killed by SIGKILL; what it had said to be safe had to be there, "
            "and the next process had to go on from it. *In the middle of a write*: unfinished "
            "files were left, or of two files that belong together one was newer.",
            "",
            "| scene | kills | in the middle of a write | something lost or wrong |",
            "|---|---|---|---|",
            *rows,
            "",
            f"{writing} kills were aimed at the beginning of a write, the others at the clock.",
            *(["", "## What was lost or wrong", "", *problems] if problems else []),
            "",
        ]
    )
    record = {**about, "kills": [asdict(kill) for kill in kills]}
    return json.dumps(record, indent=1) + "\n", text


def main() -> None:
    """Run the drill; exit code 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scene", choices=tuple(_SHARES), action="append", dest="scenes")
    parser.add_argument("--output", type=Path, help="folder for crash_drill.json and .md")
    options = parser.parse_args()
    began = time.monotonic()
    kills = drill(options.kills, options.seed, options.scenes or tuple(_SHARES))
    record, text = report(kills, options.seed, time.monotonic() - began)
    print(text)
    if options.output is not None:
        (options.output / "crash_drill.json").write_text(record, encoding="utf-8")
        (options.output / "crash_drill.md").write_text(text, encoding="utf-8")
    sys.exit(any(kill.problems for kill in kills))


if __name__ == "__main__":
    main()
