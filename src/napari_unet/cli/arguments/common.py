"""Options that several commands have."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_unet.settings import declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.settings import Setting


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


def add_setting(
    group: Any, setting: Setting, default: Any, aliases: Sequence[str] = (), **more: Any
) -> None:
    """Make a flag of a setting; `default` is what the options hold where it is not given."""
    text = setting.help.replace("%", "%%")
    if setting.usual and default != argparse.SUPPRESS and not more.get("required"):
        text = f"{text.rstrip('.')} (default: {setting.usual})"
    more |= {"dest": setting.name, "default": default, "help": text}
    if setting.kind is bool:
        group.add_argument(setting.flag, action=argparse.BooleanOptionalAction, **more)
        return
    if not setting.choices:
        word = setting.flag.strip("-") if setting.kind is str else setting.kind.__name__
        more.setdefault("metavar", (setting.unit or word).replace("-", "_").upper())
    more |= {"type": setting.parse or setting.kind, "choices": setting.choices or None}
    if setting.kind is tuple:  # given several times
        more |= {"action": "append", "default": list(default)}
    group.add_argument(setting.flag, *aliases, **more)


def given_settings(config: type, options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that options hold, by name."""
    return {name: getattr(options, name) for name in declared(config) if name in options}
