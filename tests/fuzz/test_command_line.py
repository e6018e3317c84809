"""Thousands of arguments and inputs by chance: the command line ends with 0, 1 or 2, in one line.

Nothing is written but below ``out``, and no "unexpected" error is told: each is one of our own.
"""

from __future__ import annotations

import io
import json
import logging
import random
import warnings
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli import main
from napari_unet.model.trained import TrainedNetwork, save_network

from .mutations import NUMBERS, TEXTS, changed_bytes
from .sandbox import bounded_memory, contents_of, share_of
from .test_readers import RECORD, a_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.fuzz, pytest.mark.fault(35), pytest.mark.fault(39)]

ODD = (*map(str, NUMBERS), *(text for text in TEXTS if len(text) < 400), "--", "-1", "*", "~nobody")
FLAGS = ("--output", "--axes", "--pixel-size", "--kind", "--json", "--result", "--threshold",
         "--tile-size", "--views", "--channels", "--format", "--steps", "--seed", "--device",
         "--preset", "--resume", "--errors", "--history", "--gap", "--sequence")  # fmt: skip


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Inputs in ``in``, a place for results in ``out``; stopped before anything is trained."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield tmp_path
    logging.disable(logging.NOTSET)


def write_inputs(folder: Path) -> dict[str, bytes]:
    """Write a model, an image and two label images; return what is in each file."""
    labels = (np.arange(24 * 24) // 24 % 5 + 1).reshape(24, 24).astype(np.uint8)
    save_network(TrainedNetwork(a_network(), RECORD), folder / "m.safetensors")
    tifffile.imwrite(folder / "a.tif", labels * 40)
    tifffile.imwrite(folder / "b.tif", labels, compression="zlib")
    tifffile.imwrite(folder / "c.tif", np.stack([labels] * 3), photometric="minisblack")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


COMMANDS = {
    "predict": ["predict", "in/m.safetensors", "in/a.tif", "--output", "out", "--device", "cpu"],
    "evaluate": ["evaluate", "--predictions", "in/a.tif", "--truth", "in/b.tif", "--kind",
                 "objects", "--errors", "out"],
    "link": ["link", "in/c.tif", "--output", "out"],
    "train": ["train", "--images", "in/a.tif", "--labels", "in/b.tif", "--output", "out/m",
              "--device", "nowhere"],
}  # fmt: skip


def changed_arguments(arguments: list[str], chance: random.Random) -> list[str]:
    """Replace, remove, double or add one or two arguments."""
    changed = list(arguments)
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(1, len(changed)) if len(changed) > 1 else 0
        way = chance.randrange(5)
        if way == 0 and len(changed) > 1:
            del changed[at]
        elif way == 1:
            changed[at] = chance.choice(ODD)
        elif way == 2:
            changed.insert(at, changed[at])
        else:
            changed += [chance.choice(FLAGS), chance.choice(ODD)]
    return changed


def stays_inside(arguments: list[str]) -> bool:
    """Return whether the user names no other place to write to: those are the user's choice."""
    targets = ("--output", "--errors", "--history")
    followed = zip(arguments, [*arguments[1:], ""], strict=True)
    named = [value for flag, value in followed if flag.split("=")[0] in targets]
    return all(value in ("out", "out/m") for value in named)


def ending(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(str(end.code))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("command", "cases"), [("predict", 250), ("evaluate", 300), ("link", 300), ("train", 300)]
)
def test_a_command_ends_in_its_own_words(sandbox: Path, command: str, cases: int) -> None:
    inputs = write_inputs(sandbox / "in")
    refused = 0
    with bounded_memory():
        for seed in range(share_of(cases)):
            chance = random.Random(seed)
            arguments = COMMANDS[command]
            if chance.random() < 0.5:
                name = chance.choice([n for n in inputs if f"in/{n}" in arguments])
                (sandbox / "in" / name).write_bytes(changed_bytes(inputs[name], chance))
            else:
                arguments = changed_arguments(arguments, chance)
            if not stays_inside(arguments):
                continue
            before = contents_of(sandbox / "in")
            code, out, err = ending(arguments)
            told = f"seed {seed}: {arguments}\n{err}"
            assert code in (0, 1, 2), told
            assert "unexpected" not in err, told
            assert "Traceback" not in err, told
            assert code == 0 or err, told
            assert contents_of(sandbox / "in") == before, told
            assert {path.name for path in sandbox.iterdir()} == {"in", "out"}, told
            if "--json" in arguments and code == 0:
                json.loads(out)
            refused += code != 0
            for name, content in inputs.items():
                (sandbox / "in" / name).write_bytes(content)
    assert refused > share_of(cases) // 10
