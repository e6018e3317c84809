"""Write docs/reference/settings.md: each setting in Python, on the command line, in the window.

    python scripts/make_settings_reference.py

Run it after a declaration has changed: a test compares the page with the declarations.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from napari_unet.export.config import ExportConfig
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import Caller, declared

if TYPE_CHECKING:
    from napari_unet.settings import Setting

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
_OF: dict[str, type] = {"prediction": PredictConfig, "export": ExportConfig}
_INTRODUCTION = """\
# Settings, side by side

What can be set of a prediction and of an export: as a keyword in Python (`TrainedModel.predict`,
`export_model`), as a flag of the command line (`napari-unet predict`, `napari-unet export`) and in
the window (the dock *Predict*, the dialog *Export…*). Where one of the three lacks a setting, it
says why. The settings of trainings are [in a table of their own](python.md#settings).

| of | what it is | Python | command line | window |
|---|---|---|---|---|
"""


def page() -> str:
    """Return the page as the declarations have it."""
    rows = [
        _row(of, setting) for of, config in _OF.items() for setting in declared(config).values()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _row(of: str, setting: Setting) -> str:
    unset = f" Default: {setting.usual}." if setting.unset else ""
    cells = [of, f"{setting.help}{unset}", *(_cell(setting, each) for each in get_args(Caller))]
    return f"| {' | '.join(cells)} |"


def _cell(setting: Setting, caller: Caller) -> str:
    if caller in setting.lacks:
        return f"none: {setting.lacks[caller]}"
    return {
        "Python": f"`{setting.name}`",
        "command line": f"`{setting.flag}`",
        "window": f"*{setting.label}*",
    }[caller]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
