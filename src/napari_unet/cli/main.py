"""Parse the command line and run one command.

Exit codes: 0 success, 1 failure, 2 wrong use. Errors are one line on stderr. Nothing heavy is
imported before the arguments are known to be good.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from napari_unet import __version__
from napari_unet.cli.arguments import add_commands
from napari_unet.cli.printing import fail, print_in_any_encoding, printable, say
from napari_unet.errors import AlreadyToldError, ConfigError, NapariUNetError, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SUCCESS, FAILURE, WRONG_USE = 0, 1, 2
# Who reads, such as ``head``, has read enough; or the terminal is closed.
_NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF)


class OneLineParser(argparse.ArgumentParser):
    """A parser that reports wrong use in one line."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where help is, and exit with 2."""
        self.exit(WRONG_USE, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``napari-unet`` with the given arguments and return its exit code."""
    started = time.monotonic()
    _go_on_where_nobody_reads()
    print_in_any_encoding()
    # OpenMP threads that spin while they wait make a busy machine several times slower; it reads
    # this when torch is loaded, so it is set here, where the process is ours.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What it says of damaged files we say in one line; without a handler it would print as well.
    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    try:
        options = build_parser().parse_args(arguments)
        options.started = started
        command = importlib.import_module(f"napari_unet.cli.{options.command.replace('-', '_')}")
        report, code = command.run(options)
        if options.json and report:  # of several processes one has a report
            say(json.dumps(report))
        sys.stdout.flush()
    except ConfigError as error:
        fail(error)
        return WRONG_USE
    except AlreadyToldError:
        return FAILURE
    except NapariUNetError as error:
        fail(error)
        return FAILURE
    except Exception as error:  # in one line like any other; the traceback on demand
        if os.environ.get("NAPARI_UNET_TRACEBACK"):
            raise
        fail(f"{reason_of(error)} (NAPARI_UNET_TRACEBACK=1 shows where)")
        return FAILURE
    except KeyboardInterrupt:
        fail("interrupted")
        return FAILURE
    return int(code)


class _Outlet(io.RawIOBase):
    """A stream into which work tells how far it is: where nobody reads any more, it goes on."""

    def __init__(self, descriptor: int, lost: Sequence[int]) -> None:
        super().__init__()
        self._descriptor, self._lost = descriptor, lost

    def write(self, content: Any, /) -> int:
        """Write, or lose what nobody reads."""
        try:
            return os.write(self._descriptor, content)
        except OSError as error:
            if error.errno not in self._lost:
                raise
            return memoryview(content).nbytes

    def writable(self) -> bool:
        """Return that it is for writing."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)


def _go_on_where_nobody_reads() -> None:
    """Let no error of stdout or stderr end work that is worth more than its words."""
    for name, lost in (("stdout", _NOBODY_READS), ("stderr", (*_NOBODY_READS, errno.ENOSPC))):
        stream = getattr(sys, name)
        ours = stream is getattr(sys, f"__{name}__")  # not where tests read what is printed
        if not ours or not isinstance(stream, io.TextIOWrapper):
            continue
        if sys.platform == "win32" and stream.isatty():  # consoles have calls of their own
            continue
        stream.flush()
        buffer = io.BufferedWriter(_Outlet(stream.fileno(), lost))
        lines = stream.line_buffering or stream.write_through  # as of PYTHONUNBUFFERED
        there = io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=lines)
        setattr(sys, name, there)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = OneLineParser(
        prog="napari-unet",
        description="Train a U-Net on a few painted cells, and segment the rest.",
    )
    parser.add_argument("--version", action="version", version=f"napari-unet-paint {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(commands)
    return parser
