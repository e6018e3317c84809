"""What the user prefers in general: napari's Preferences show it, and napari keeps it in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import napari.settings

if TYPE_CHECKING:
    from napari_unet.model.config import Precision
    from napari_unet.prediction.config import PredictConfig
    from napari_unet.training.config import TrainConfig

    Config = TypeVar("Config", TrainConfig, PredictConfig)

PLUGIN = "napari-unet-paint"
_MACHINES = 8  # that are remembered


@dataclass(frozen=True)
class Preferences:
    """What napari.yaml offers as `configurations`, with the same defaults."""

    device: str = "auto"
    precision: Precision = "auto"
    threads: int = 0
    """Of training and prediction; 0: all cores but one."""
    machines: str = ""
    """Addresses of other machines that were used, the newest first."""
    autosave_seconds: int = 20
    """From a stroke until it is saved for recovery."""
    model_folder: str = ""
    """Where models are kept; "": in the user's data folder."""
    side: str = "right"
    """Of the image, where docks open."""

    @property
    def models(self) -> Path | None:
        """The folder to keep models in; None: that of the user's data."""
        return Path(self.model_folder).expanduser() if self.model_folder.strip() else None


def preferences() -> Preferences:
    """Return what is preferred now; the defaults where napari keeps none of it, as before 0.9."""
    kept = _kept()
    if kept is None:
        return Preferences()
    groups = (kept.computing, kept.files, kept.window)
    values = {name: value for group in groups for name, value in group.model_dump().items()}
    return Preferences(**values)


def preferred(config: Config) -> Config:
    """Return settings with the device and the precision that are preferred to automatic ones."""
    chosen = preferences()
    if chosen.device != "auto":
        config = replace(config, device=chosen.device)
    return config if chosen.precision == "auto" else replace(config, precision=chosen.precision)


def prefer_side(side: str) -> None:
    """Let docks open on this side from now on."""
    kept = _kept()
    if kept is not None and kept.window.side != side:
        kept.window.side = side


def remember_machine(on: str) -> None:
    """Offer the address of a machine before all others from now on."""
    kept = _kept()
    if kept is not None:
        others = [each for each in kept.computing.machines.split() if each != on]
        kept.computing.machines = " ".join([on, *others][:_MACHINES])


def _kept() -> Any:
    """Return what napari keeps for this plugin; None where it keeps nothing, or is too old."""
    settings_of = getattr(napari.settings, "get_plugin_settings", None)
    try:
        return None if settings_of is None else settings_of(PLUGIN)
    except KeyError:  # the plugin is switched off, or was never installed
        return None
