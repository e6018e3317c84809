"""All settings of a training as one frozen value: it drives the form, the flags and the record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from napari_unet.data.axes import parse_channels
from napari_unet.data.labels import Kind, Unpainted
from napari_unet.errors import ConfigError
from napari_unet.model.config import (
    LARGEST_BINNING,
    LARGEST_WINDOW,
    PRECISIONS,
    SMALLEST_BINNING,
    VIEWS,
    Normalization,
    Padding,
    Precision,
    UNetConfig,
)
from napari_unet.settings import check_names, check_settings, setting
from napari_unet.tasks import TASKS, task_of

PresetName = Literal["fast", "accurate", "paper", "3d"]
Optimiser = Literal["adamw", "sgd"]
Start = Literal["cells", "random"]
Views = Literal[1, 4, 8]
ImageError = Literal["squared", "absolute"]
# Edge length in network pixels of what can be held back.
_SMALLEST_BLOCK = 32
# Slices of a patch and of what is held back, at least.
_THINNEST_PATCH, _THINNEST_BLOCK = 8, 4


@dataclass(frozen=True)
class TrainConfig:
    """How to train. The defaults are the preset "fast".

    Each field documents itself: `napari_unet.settings.declared` returns their help texts, bounds
    and choices.

    Raises
    ------
    ConfigError
        A value is out of its bounds.
    """

    kind: Kind = setting(
        "objects",
        "Objects: each painted value is one cell. Classes: each painted value is one class. "
        "Overlapping: each class has labels of its own, and a pixel may be of several. "
        "Object-classes: so have the objects of each class; touching ones come apart, whatever "
        "they are. Image: another image is to be made (of pairs). Denoise: noise is to go, learned "
        "from the noisy images alone (Noise2Void).",
        choices=tuple(TASKS),
    )
    unpainted: Unpainted = setting(
        "unlabelled",
        "What 0 means: unlabelled while painting, background in finished masks.",
        choices=("unlabelled", "background"),
    )
    ndim: int = setting(
        2, "2: the network looks at single planes. 3: it looks at whole volumes.", 2, 3
    )
    base_channels: int = setting(
        16,
        "Width of the network: feature maps of its first level, doubled per level. More can learn "
        "more, and take longer.",
        1,
        256,
    )
    depth: int = setting(
        3,
        "How often the network halves the image (poolings): each time it sees twice as far around "
        "a pixel.",
        1,
        6,
    )
    flat_levels: int = setting(
        -1,
        "3D, for stacks with thick slices: so many of the first levels look within the slice only. "
        "-1: chosen by the voxel size.",
        -1,
        6,
    )
    window: int = setting(
        1,
        "Timepoints of a time-lapse seen at once, an odd number; 1: each alone.",
        1,
        LARGEST_WINDOW,
    )
    channels: str = setting("", "Channels to use, counted from 0, as in 0,2. Empty: all.")
    padding: Padding = setting(
        "same",
        "At the rim of a patch: same fills up with zeros and answers for all of it; valid answers "
        "only where it sees enough around, as published.",
        choices=("valid", "same"),
    )
    normalization: Normalization = setting(
        "batch",
        "batch: values are brought to one range after each convolution (BatchNorm), and a training "
        "takes fewer steps; none: as published.",
        choices=("none", "batch"),
    )
    start: Start = setting(
        "cells",
        "Weights to begin with: a starting model (2D, presets fast and accurate), or random.",
        choices=("cells", "random"),
    )
    dropout: float = setting(
        0.0,
        "Share of the deepest features that each step leaves out at random, against learning by "
        "heart.",
        0,
        0.9,
    )
    binning: float = setting(
        0.0,
        "Image pixels per network pixel; below 1 the image is enlarged. Brings large and small "
        "cells to the size that a network sees best. 0: from the size of the painted objects.",
        0,
        LARGEST_BINNING,
    )
    patch_size: int = setting(
        192,
        "Edge length in pixels of the patches that it learns from, cut out at random.",
        16,
        2048,
    )
    batch_size: int = setting(4, "Patches per step.", 1, 256)
    steps: int = setting(600, "Training steps.", 1, 10_000_000)
    minutes: float = setting(
        0.0, "Train this long instead of a number of steps; 0: off.", 0, 525_600
    )
    learning_rate: float = setting(
        2e-3,
        "How much a step changes the network, at most: too much learns nothing, too little slowly.",
        1e-8,
        10,
    )
    optimiser: Optimiser = setting(
        "adamw",
        "How a step changes the network: AdamW, or SGD as published.",
        choices=("adamw", "sgd"),
    )
    momentum: float = setting(
        0.9,
        "How much of a step is the direction of those before it (AdamW: its first beta).",
        0,
        0.9999,
    )
    weight_decay: float = setting(
        1e-4, "How much a step pulls all weights towards 0, against learning by heart.", 0, 1
    )
    border_weight: float = setting(
        10.0, "How much gaps between touching cells count beyond other pixels (w0).", 0, 1000
    )
    border_sigma: float = setting(
        0.0,
        "How far that weight reaches around gaps, in network pixels (sigma). 0: a tenth of the "
        "painted cells' diameter, at most 5.",
        0,
        100,
    )
    class_balance: float = setting(
        0.0, "0: each pixel counts alike. 1: rare classes count as much as frequent ones.", 0, 1
    )
    correction_weight: float = setting(
        3.0, "Pixels that you corrected count this many times.", 1, 100
    )
    image_error: ImageError = setting(
        "squared",
        "What is made small where images are made: the squared error, or the absolute one, which "
        "heeds single bright pixels less.",
        choices=("squared", "absolute"),
    )
    flip: bool = setting(True, "Learn from mirrored patches as well.")
    rotate: bool = setting(True, "Learn from patches turned in the plane as well.")
    zoom: float = setting(
        0.15, "Learn from patches enlarged or reduced by up to this share as well.", 0, 0.9
    )
    elastic_sigma: float = setting(
        4.0,
        "Learn from bent patches as well: the points of a 3x3 grid are moved by about this many "
        "pixels (elastic deformation).",
        0,
        100,
    )
    intensity_jitter: float = setting(
        0.2,
        "Learn from patches of other contrast, brightness, gamma and noise as well, by about this "
        "share.",
        0,
        1,
    )
    views: Views = setting(
        4,
        "Predict once, or average the predictions of the image in 4 quarter turns, or of these and "
        "their 4 mirror images: better, at so many times the work (test-time augmentation).",
        choices=VIEWS,
    )
    validation_share: float = setting(0.15, "Share of the paint held back for scores.", 0, 0.5)
    validate_every: int = setting(
        50, "Steps from one score on what is held back to the next.", 1, 1_000_000
    )
    patience: int = setting(
        0,
        "End where so many scores in a row brought no gain; the best weights are kept. 0: make "
        "all steps.",
        0,
        10_000,
    )
    seed: int = setting(
        0,
        "Where random numbers begin: with the same seed a CPU trains the same model again.",
        0,
        2**31 - 1,
    )
    device: str = setting(
        "auto", "Where to compute: auto (a GPU that works, else the CPU), cpu, cuda, cuda:1, mps."
    )
    precision: Precision = setting(
        "auto",
        "How exactly to compute in training: auto computes with fewer digits (bfloat16) where "
        "that is much faster; float32 is exact.",
        choices=PRECISIONS,
    )

    def __post_init__(self) -> None:
        """Refuse values out of bounds, and patches that the poolings cannot halve."""
        check_settings(self)
        parse_channels(self.channels)
        if 0 < self.binning < SMALLEST_BINNING:
            raise ConfigError(
                f"binning is {self.binning}; choose 0 (from the size of the painted objects) or "
                f"{SMALLEST_BINNING:g} to {LARGEST_BINNING:g}."
            )
        if self.ndim == 3 and self.flat_levels > self.depth:
            raise ConfigError(
                f"flat_levels is {self.flat_levels}; with depth {self.depth} choose -1 to "
                f"{self.depth}."
            )
        network = self.network(in_channels=1, out_channels=2)
        offset = 4 if self.padding == "valid" else 0
        if (self.patch_size - offset) % network.pooling_factor:
            raise ConfigError(
                f"patch_size is {self.patch_size}; with depth {self.depth} and padding "
                f"{self.padding!r} choose {offset} plus a multiple of {network.pooling_factor}."
            )

    @property
    def used_channels(self) -> tuple[int, ...]:
        """Numbers of the channels to use; empty for all."""
        return parse_channels(self.channels)

    @classmethod
    def preset(cls, name: PresetName, **changes: Any) -> TrainConfig:
        """Return a named set of settings, with some of them changed.

        Parameters
        ----------
        name : str
            "fast", "accurate", "paper" or "3d".
        **changes
            Settings to change.

        Raises
        ------
        ConfigError
            There is no such preset or setting, or a value is out of its bounds.
        """
        if name not in _PRESETS:
            raise ConfigError(f"There is no preset {name!r}; choose {', '.join(_PRESETS)}.")
        check_names(cls, changes)
        return cls(**{**_PRESETS[name], **changes})

    def changed(self, **changes: Any) -> TrainConfig:
        """Return a copy with some settings changed; ConfigError if one is out of its bounds."""
        return replace(self, **changes)

    def network(self, in_channels: int, out_channels: int) -> UNetConfig:
        """Return the shape of the network for images of so many channels and classes.

        Background is one of the classes; with objects there are two. Where the voxel size is to
        decide on the flat levels, there are none.
        """
        return UNetConfig(
            in_channels=in_channels,
            out_channels=out_channels,
            ndim=self.ndim,
            base_channels=self.base_channels,
            depth=self.depth,
            padding=self.padding,
            normalization=self.normalization,
            dropout=self.dropout,
            flat_levels=max(0, self.flat_levels) if self.ndim == 3 else 0,
            window=self.window,
            output=task_of(self.kind).activation,
        )

    def patch_shape(self) -> tuple[int, ...]:
        """Return the size of a patch along ``[Z]YX`` in pixels: about as thick as wide.

        Flat levels say that slices are thick: fewer of them make up a patch.
        """
        network = self.network(1, 2)
        return tuple(
            network.fitting_output(
                max(_THINNEST_PATCH, self.patch_size >> network.flat_levels), factor
            )
            if axis < self.ndim - 2
            else self.patch_size
            for axis, factor in enumerate(network.pooling_factors)
        )

    def validation_block_shape(self, binning: float = 1) -> tuple[int, ...]:
        """Return the sizes of held-back blocks along ``[Z]YX``, about as thick as wide."""
        edge = self.validation_block(binning)
        return (max(_THINNEST_BLOCK, edge >> self._flat(0)),) * (self.ndim - 2) + (edge, edge)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Strength of the elastic deformation in voxels along ``[Z]YX``."""
        return tuple(self.elastic_sigma / 2 ** self._flat(axis) for axis in range(self.ndim))

    def _flat(self, axis: int) -> int:
        """Return how often voxels halve along Y and X before they are as wide as long."""
        return self.network(1, 2).flat_levels if axis < self.ndim - 2 else 0

    def validation_block(self, binning: float = 1) -> int:
        """Return the edge length in network pixels of the blocks that are held back.

        Binned images are small: their blocks are smaller too, so that there are as many.
        """
        return max(_SMALLEST_BLOCK, int(self.patch_size // 2 // max(1, binning)))


PRESET_HELP: dict[PresetName, str] = {
    "fast": "A light network: first results in seconds, good on clear images.",
    "accurate": "A larger network, trained longer: for finished masks or much paint, or a GPU.",
    "paper": "The 2015 network as published: slow without a GPU.",
    "3d": "A light 3D network for stacks that are labelled as volumes.",
}

_PRESETS: dict[PresetName, dict[str, Any]] = {
    "fast": {},
    "accurate": {
        "base_channels": 24,
        "depth": 4,
        "steps": 5000,
        "validate_every": 200,
        "elastic_sigma": 6.0,
        "zoom": 0.3,
        "views": 8,
        "validation_share": 0.1,
    },
    # Section 3 of the paper: unpadded, one large tile per step, momentum 0.99, elastic sigma 10.
    "paper": {
        "base_channels": 64,
        "depth": 4,
        "padding": "valid",
        "normalization": "none",
        "binning": 1.0,
        "start": "random",
        "dropout": 0.5,
        "patch_size": 388,
        "batch_size": 1,
        "steps": 20_000,
        "validate_every": 500,
        "class_balance": 1.0,
        "border_sigma": 5.0,
        "optimiser": "sgd",
        "momentum": 0.99,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "elastic_sigma": 10.0,
        "zoom": 0.0,
        "views": 1,
        "precision": "float32",
    },
    "3d": {
        "ndim": 3,
        "start": "random",
        "base_channels": 16,
        "depth": 2,
        "patch_size": 48,
        "batch_size": 2,
        "views": 1,
        "elastic_sigma": 2.0,
    },
}


def present_names(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings of an older record or project by the names that they have now."""
    # One starting model before there were several, and one for nuclei.
    replaced = settings.get("start") in ("pretrained", "nuclei")
    return {**settings, "start": "cells"} if replaced else settings
