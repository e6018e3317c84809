"""Options that several commands have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def add_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add a command, with what all commands have."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )
    return command


def add_paths(parser: argparse.ArgumentParser, flag: str, text: str) -> None:
    """Add an option that takes files, folders and globs."""
    parser.add_argument(flag, nargs="+", required=True, metavar="PATH", help=text)


def add_pixel_size(command: argparse.ArgumentParser) -> None:
    """Add the option that says how large a pixel is."""
    command.add_argument(
        "--pixel-size",
        type=float,
        nargs="+",
        metavar="UM",
        help="micrometres per pixel: of both axes, along Y X, or along Z Y X (default: the file's)",
    )
