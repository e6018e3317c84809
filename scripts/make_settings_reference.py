"""Write docs/reference/settings.md: each setting in Python, on the command line, in the window.

    python scripts/make_settings_reference.py

Run it after a declaration has changed: a test compares the page with the declarations.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from napari_unet.evaluation.scores import EvaluateConfig
from napari_unet.export.config import ExportConfig
from napari_unet.io.annotations.formats import ConvertConfig
from napari_unet.objects.linking import LinkConfig
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import Caller, declared

if TYPE_CHECKING:
    from napari_unet.settings import Setting

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
_OF: dict[str, type] = {
    "prediction": PredictConfig,
    "evaluation": EvaluateConfig,
    "linking": LinkConfig,
    "conversion": ConvertConfig,
    "export": ExportConfig,
}
_INTRODUCTION = """\
# Settings, side by side

*For those who go from the window to scripts, or back.* What can be set in Python, on the
command line and in the window. Where one of the three lacks a setting, it says why. The settings of
trainings are [in a table of their own](python.md#settings).

| of | Python | command line | dock |
|---|---|---|---|
| prediction | `TrainedModel.predict` | `napari-unet predict` | *Predict* |
| evaluation | `evaluate` | `napari-unet evaluate` | *Predict*, *Compare with* |
| linking | `link` | `napari-unet link` | *Predict*, *Link over time or z* |
| conversion | `read_annotations`, `write_objects` | `napari-unet convert` | *Annotate*, *Predict* |
| export | `export_model` | `napari-unet export` | dialog *Export…* |

| of | what it is | Python | command line | window |
|---|---|---|---|---|
"""
_TRAININGS = """
What a training can be told beside its settings:

| what | `train` | `napari-unet train` | window |
|---|---|---|---|
| go on exactly where it ended | `previous` (a file) | `--resume` | *Continue* |
| train a model further | `previous` (a model) | `--previous` | *Continue* |
| write model and state meanwhile | `output` | `--output` | always |
| end after the present step | `stop` | Ctrl+C | *Stop* |
| train on another machine | `on` | `--on` | |
| trust who reaches its scheduler | `trust_cluster` | `--trust-cluster` | |
| annotated regions | `regions` | none: Fill them with 1. | *Everything in this box is painted* |
| corrected pixels, which count more | `corrected` | none: Labels do not tell them. | *Correct* |
"""


def page() -> str:
    """Return the page as the declarations have it."""
    rows = [
        _row(of, setting) for of, config in _OF.items() for setting in declared(config).values()
    ]
    return _INTRODUCTION + "\n".join(rows) + "\n" + _TRAININGS


def _row(of: str, setting: Setting) -> str:
    usual = f" Default: {setting.usual}." if setting.usual else ""
    cells = [of, f"{setting.help}{usual}", *(_cell(setting, each) for each in get_args(Caller))]
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
