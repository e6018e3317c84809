"""How predictions are compared with the truth, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_unet.data.labels import Kind, Unpainted
from napari_unet.settings import check_settings, setting


@dataclass(frozen=True)
class EvaluateConfig:
    """Say how predictions are compared with the truth.

    Each setting documents itself, as those of `PredictConfig` do.

    Raises
    ------
    ConfigError
        There is no such choice.
    """

    kind: Kind = setting(
        "objects",
        "What a number stands for: one object, whichever number it has, or one class.",
        choices=get_args(Kind),
        label="Kind",
    )
    unpainted: Unpainted = setting(
        "background",
        "What unpainted pixels (0) mean in the truth. Painted in napari: not labelled yet, they "
        "are not counted, and 1 is background. Finished masks: background.",
        choices=get_args(Unpainted),
        words={"unlabelled": "not labelled yet"},
        label="Unpainted",
    )
    per_image: bool = setting(
        False,
        "Add the scores of each image to those of all.",
        lacks={"window": "It compares one image, and shows its errors."},
    )

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        check_settings(self)
