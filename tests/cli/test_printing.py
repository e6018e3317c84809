"""Names of others are printed so that they cannot forge what a terminal shows."""

from __future__ import annotations

import ast
import io
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_unet.cli.printing import printable
from napari_unet.cli.progress import stop_on_interrupt
from package_source import MODULES, name_of, nodes_of

from .builders import picture, run, write_images

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
MASKS = np.where(picture()[1] > 1, picture()[1], 0).astype(np.uint8)
FORGED = "a\nnapari-unet: all is well\x1b[2K\x9b1A\u202e.tif"
PRINTER = "cli/printing.py"

pytestmark = pytest.mark.fault(67)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("left\u202eright", r"left\u202eright"),
        ("line\u2028end", r"line\u2028end"),
        ("\udcff.tif", r"\udcff.tif"),
        ("Zellen, 細胞, µm 🦠", "Zellen, 細胞, µm 🦠"),
    ],
    ids=["line", "colour", "direction", "separator", "no UTF-8", "letters"],
)
def test_what_is_no_letter_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such names")
def test_a_file_name_forges_no_line(capsys: Capture, tmp_path: Path) -> None:
    truth = write_images(tmp_path / "truth", b=MASKS)
    for folder in (tmp_path / "predictions", truth):
        folder.mkdir(exist_ok=True)
        tifffile.imwrite(folder / FORGED, MASKS)
    tifffile.imwrite(tmp_path / "predictions" / "b.tif", MASKS.astype(np.float32))
    pairs = ["--predictions", tmp_path / "predictions", "--truth", truth, "--per-image"]
    outcome = run(capsys, "evaluate", *pairs, "--kind", "objects")
    printed = outcome.out + outcome.err
    assert printed.count(r"a\nnapari-unet: all is well\x1b[2K\x9b1A\u202e.tif") >= 2
    assert not [line for line in printed.splitlines() if line.startswith("napari-unet: all")]
    assert "\x1b" not in printed


def test_wrong_use_forges_no_line(capsys: Capture) -> None:
    assert r"\x1b" in run(capsys, "doctor", "--a\nb\x1b").error_line


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_lacks_letters_gets_escapes_instead_of_an_error_after_the_work(
    tmp_path: Path, encoding: str
) -> None:
    folder = tmp_path / "細胞"
    folder.mkdir()
    tifffile.imwrite(folder / "細胞.tif", MASKS)
    command = ["convert", str(folder), "--to", "roi", "--output", str(tmp_path / "c.zip")]
    result = subprocess.run(
        [sys.executable, "-m", "napari_unet", *command],
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.startswith(rb"\u7d30\u80de.tif: 4 objects in")


def test_json_stays_json(capsys: Capture, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a\nb", c=MASKS)
    arguments = ["--to", "roi", "--output", tmp_path / "c.zip", "--json"]
    (row,) = json.loads(run(capsys, "convert", folder, *arguments).out)["converted"]
    assert row["input"] == str(folder / "c.tif")


def test_a_stream_without_an_encoding_is_printed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    from napari_unet.cli import main

    assert main(["doctor", "--json"]) in (0, 1)
    assert json.loads(out.getvalue())


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent.name == "cli"], ids=name_of)
def test_only_the_printer_writes_to_the_terminal(path: Path) -> None:
    if name_of(path) == PRINTER:
        return
    called = [ast.unparse(node.func) for node in nodes_of(path) if isinstance(node, ast.Call)]
    assert not {"print", "tqdm", "tqdm.write", "sys.stdout.write", "sys.stderr.write"} & {*called}
    assert not [name for name in called if name.endswith("bar.write")]
    imported = [n for n in nodes_of(path) if isinstance(n, ast.ImportFrom) and n.module == "tqdm"]
    in_types_alone = all(node.col_offset > 0 for node in imported)
    assert in_types_alone


# --- Signals, and streams without a buffer -------------------------------------------------------


class HalfWritten:
    """A stream that is in the midst of a line, as Python says it where a signal comes then."""

    def write(self, text: str) -> int:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    def flush(self) -> None:
        """Do nothing."""


def test_a_stop_that_comes_while_a_line_is_written_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with stop_on_interrupt() as stop:
        monkeypatch.setattr(sys, "stderr", HalfWritten())
        signal.raise_signal(signal.SIGINT)
        monkeypatch.undo()
    assert stop.is_set()


def test_who_wants_no_buffer_sees_each_line_at_once() -> None:
    code = (
        "import os; from napari_unet.cli.main import main\n"
        "try: main(['nothing'])\n"
        "except SystemExit: print('seen'); os._exit(0)"
    )
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=unbuffered, capture_output=True, text=True, check=True)
    assert done.stdout == "seen\n"
