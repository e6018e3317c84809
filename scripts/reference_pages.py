"""Write the parts of the reference that the code knows better than anyone: options and settings."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from napari_unet.cli.main import build_parser
from napari_unet.settings import declared
from napari_unet.training.config import PRESET_HELP, TrainConfig

if TYPE_CHECKING:
    from napari_unet.settings import Setting


def command_line() -> str:
    """Return a section for each command: its options, with help and default."""
    parser = build_parser()
    commands = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    texts = {action.dest: action.help or "" for action in commands._choices_actions}
    sections = [_section(name, texts.get(name, ""), commands.choices[name]) for name in texts]
    return "\n".join(sections)


def _section(name: str, text: str, command: argparse.ArgumentParser) -> str:
    lines = [f"## napari-unet {name}", "", f"{text[:1].upper()}{text[1:]}.", ""]
    for group in command._action_groups:
        actions = [each for each in group._group_actions if each.dest != "help"]
        if not actions:
            continue
        title = group.title or ""
        lines += [f"**{title[:1].upper()}{title[1:]}**", ""]
        lines += ["| option | what it does | default |", "|---|---|---|"]
        lines += [_row(command, action) for action in actions]
        lines.append("")
    if command.epilog:
        lines += [_cell(command.epilog), ""]
    return "\n".join(lines)


def _row(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = command._get_formatter()
    text = formatter._expand_help(action) if action.help else _choices(action)
    return f"| {_flags(action)} | {_cell(text)} | {_default(action)} |"


def _flags(action: argparse.Action) -> str:
    value = ""
    if action.nargs != 0 and not isinstance(action, argparse.BooleanOptionalAction):
        value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        if action.choices and not action.metavar:
            value = "{" + ",".join(map(str, action.choices)) + "}"
        if action.nargs == "+":
            value += " ..."
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(
        f"`{flag} {value}`" if value else f"`{flag}`" for flag in action.option_strings
    )


def _choices(action: argparse.Action) -> str:
    return " or ".join(map(str, action.choices)) if action.choices else ""


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    if action.default == argparse.SUPPRESS:  # the preset's
        return _value(getattr(TrainConfig(), action.dest))
    if action.default in (None, False, "", []) or not action.option_strings:
        return ""
    return _value(action.default)


def settings() -> str:
    """Return the table of all settings of a training, with what the presets make of them."""
    presets = {name: TrainConfig.preset(name) for name in PRESET_HELP}
    lines = ["| setting | what it is | type, bounds | default (fast) | other presets |"]
    lines.append("|---|---|---|---|---|")
    for setting in declared(TrainConfig).values():
        default, *others = [getattr(config, setting.name) for config in presets.values()]
        differing = [
            f"{name}: {_value(value)}"
            for name, value in zip(list(presets)[1:], others, strict=True)
            if value != default
        ]
        cells = [f"`{setting.name}`", _cell(setting.help), _bounds(setting)]
        lines.append(f"| {' | '.join([*cells, _value(default), ', '.join(differing)])} |")
    return "\n".join(lines)


def _bounds(setting: Setting) -> str:
    if setting.choices:
        return " or ".join(f"`{choice}`" for choice in setting.choices)
    kind = setting.kind.__name__
    if setting.minimum is None:
        return kind
    upper = "" if setting.maximum is None else f" to {setting.maximum:,}"
    return f"{kind}, {setting.minimum}{upper}"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value}`" if value != "" else "all"


def _cell(text: str) -> str:
    """Return a text that a table's cell can hold."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
