"""What a page says can be typed works: its commands and its Python are run, top-down."""

from __future__ import annotations

import glob
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from napari_unet.cli import main
from napari_unet.cli.main import build_parser
from napari_unet.samples import load_nuclei_2d

from .pages import LANGUAGES, PAGES, ROOT, RUN, Block, blocks_of, commands_of, name_of
from .shortened import shortened_command, shortened_python

if TYPE_CHECKING:
    from collections.abc import Iterator

# Pages of which something is run.
RUNNABLE = [page for page in PAGES if any(block.language in RUN for block in blocks_of(page))]
# What only a shell understands.
_SHELL = re.compile(r"[|<>;&$`(){}]")
# Lines of consoles: ours behind a prompt, settings of the environment, or torchrun.
_OURS = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*(?:napari-unet|torchrun .*-m (?:-- )?napari_unet) ")


def run_commands(text: str) -> None:
    """Run the commands of a block; in this process, where a shell has nothing to do."""
    lines = [shortened_command(line) for line in commands_of(text)]
    if not all(line.startswith("napari-unet ") and not _SHELL.search(line) for line in lines):
        run_in_shell("\n".join(map(shortened_command, text.splitlines())))
        return
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        assert exit_code([file for word in words for file in expanded(word)]) == 0, line


def exit_code(arguments: list[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:  # --help, and wrong use
        return int(str(end.code))


def run_in_shell(script: str) -> None:
    code = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment()).returncode
    assert code == 0, script


def expanded(word: str) -> list[str]:
    """Return the files that a shell would put for a word."""
    return sorted(glob.glob(word)) or [word] if glob.has_magic(word) else [word]


def environment() -> dict[str, str]:
    """Return an environment in which ``napari-unet`` and ``python`` are those under test."""
    folder = Path("bin")
    folder.mkdir(exist_ok=True)
    for name, arguments in (("napari-unet", "-m napari_unet"), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        program.chmod(0o755)
    path = os.pathsep.join([str(folder.resolve()), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def namespace() -> dict[str, Any]:
    """Return what the Python of a page finds."""
    import napari_unet as nu

    image, strokes, labels = load_nuclei_2d()
    return {
        "nu": nu,
        "image": image,
        "painted_labels": strokes,
        "truth": labels,
        "__name__": "page",
    }


def run_block(page: Path, block: Block, names: dict[str, Any]) -> None:
    if block.language == "bash":
        run_commands(block.text)
    else:
        place = f"{name_of(page)}, block of line {block.line}"
        exec(compile(shortened_python(block.text), place, "exec"), names)


@pytest.mark.slow
@pytest.mark.usefixtures("scratch")
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_what_a_page_says_works_from_top_to_bottom(page: Path) -> None:
    names = namespace()
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as a reader has them: what others warn of ends nothing
        for block in blocks_of(page):
            if block.language in RUN:
                run_block(page, block, names)


@pytest.mark.parametrize(
    "text",
    ["napari-unet predict cells nowhere.tif --output results", "napari-unet fly", "true\nfalse"],
    ids=["failure", "wrong use", "shell"],
)
def test_a_command_that_fails_is_noticed(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError):
        run_commands(text)


def test_blocks_of_lists_and_tabs_are_read_without_their_indent(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("1. Type\n\n    ```bash\n    napari-unet --help \\\n      --json\n    ```\n")
    (block,) = blocks_of(page)
    assert (block.language, block.line) == ("bash", 3)
    assert commands_of(block.text) == ["napari-unet --help --json"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_block_says_what_it_is(page: Path) -> None:
    unknown = [(b.line, b.language) for b in blocks_of(page) if b.language not in LANGUAGES]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_that_is_not_run_is_python(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "py":
            compile(block.text, f"{name_of(page)}, block of line {block.line}", "exec")


def console_commands() -> Iterator[Any]:
    """Return our own commands of all blocks that are not run."""
    for page in PAGES:
        for block in blocks_of(page):
            if block.language == "console":
                for line in commands_of(block.text):
                    if _OURS.match(line) and "..." not in line:
                        yield pytest.param(line, id=f"{name_of(page)}: {line}"[:90])


@pytest.mark.parametrize("line", list(console_commands()))
def test_a_command_that_is_not_run_is_one_that_we_have(line: str) -> None:
    words = shlex.split(_OURS.sub("", line), comments=True)
    if not {"--help", "--version"} & set(words):
        assert build_parser().parse_args(words).command == words[0]


def test_a_long_training_is_shortened() -> None:
    line = "napari-unet train --preset accurate --minutes 10 --output m.safetensors"
    assert shortened_command(line) == (
        "napari-unet train --preset accurate --base-channels 4 --steps 3 --batch-size 1 "
        "--output m.safetensors"
    )
    assert shortened_command("napari-unet demo --steps 50") == "napari-unet demo --steps 3"
    assert shortened_python('nu.TrainConfig.preset("fast", steps=300)') == (
        'nu.TrainConfig.preset("fast", steps=3, batch_size=1)'
    )
