"""What another program has to know of an exported model.

As plain values, as a text, and as the ``bioimageio.yaml`` of a model package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_unet.data.axes import SPATIAL_AXES
from napari_unet.data.intensity import HIGHEST, LOWEST
from napari_unet.export.graphs import FACTS_KEY, ONNX_OPSET, smallest_sizes, tile_halos, tile_steps
from napari_unet.model.config import VIEW_WORDS
from napari_unet.objects.limits import Limits
from napari_unet.tasks import Decision
from napari_unet.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_unet.export.config import ExportConfig
    from napari_unet.model.record import ModelRecord

_PAPER = {
    "text": "Ronneberger, O., Fischer, P., Brox, T.: U-Net: Convolutional Networks for Biomedical "
    "Image Segmentation. MICCAI 2015.",
    "doi": "10.1007/978-3-319-24574-4_28",
}
_HISTORY_KEYS = ("step", "iou", "object_f1")


@dataclass(frozen=True)
class Facts:
    """What another program has to know."""

    record: ModelRecord
    views: int
    """Views that the exported graph averages."""
    name: str
    """What the user calls the model."""
    description: str

    @property
    def axes(self) -> str:
        """Axes of input and output."""
        return "BC" + SPATIAL_AXES[self.record.network.ndim]

    @property
    def steps(self) -> tuple[int, ...]:
        """Tiles begin at multiples of so many pixels, along ``[Z]YX``."""
        return tile_steps(self.record.network, self.record.binning)

    @property
    def halos(self) -> tuple[int, ...]:
        """So many pixels of a tile are thrown away where the image goes on, along ``[Z]YX``."""
        return tile_halos(self.record.network, self.record.binning)

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input channel is, timepoint by timepoint."""
        network = self.record.network
        channels = self.record.used_channels or tuple(range(network.in_channels))
        names = [f"channel {channel}" for channel in channels]
        if network.window == 1:
            return tuple(names)
        half = network.window // 2
        return tuple(
            f"frame {timepoint:+d} {name}" if timepoint else f"frame {name}"
            for timepoint in range(-half, half + 1)
            for name in names
        )

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each output channel is the probability of."""
        return self.record.classes.task.channel_names(self.record.classes)

    @property
    def summary(self) -> str:
        """The user's description, or one made from the record."""
        if self.description:
            return self.description
        what, ndim = self.record.classes.task.things, self.record.network.ndim
        return f"A {ndim}D U-Net for probabilities of {what}, painted and trained in napari."

    @property
    def decision(self) -> Decision:
        """What results depend on besides the probabilities."""
        return Decision(self.record.threshold, Limits(self.record.smallest_object))

    def as_values(self) -> dict[str, Any]:
        """Return all facts as plain JSON values."""
        record, intensity = self.record, self.record.intensity
        binning = float(record.binning)
        return {
            "name": self.name,
            "description": self.summary,
            "made_with": f"napari-unet-paint {__version__}",
            "axes": self.axes,
            "input_channels": self.input_names,
            "output_channels": self.output_names,
            "percentiles": (intensity.low_percentile, intensity.high_percentile),
            "clipped_inside": (LOWEST, HIGHEST),
            "tile_step": self.steps,
            "tile_halo": self.halos,
            "views": self.views,
            "binning": int(binning) if binning.is_integer() else binning,
            "kind": record.classes.kind,
            "label_values": record.classes.results,
            "threshold": record.threshold,
            "smallest_object": record.smallest_object,
            "pixel_size_um": record.pixel_size,
        }

    def as_json(self) -> str:
        """Return all facts as one line of JSON."""
        return json.dumps(self.as_values())

    def as_markdown(self) -> str:
        """Return a text for people: what comes in, what goes out, how it was trained."""
        head = [f"# {self.name}", "", self.summary, ""]
        parts = (head, _of_input(self), _of_output(self), _of_training(self.record))
        return "\n".join(line for part in parts for line in part)


def _of_input(facts: Facts) -> list[str]:
    intensity = facts.record.intensity
    letters = SPATIAL_AXES[facts.record.network.ndim]
    lines = [
        "## What goes in",
        "",
        f"- Axes {facts.axes} (B is 1), float32, any size from {smallest_sizes(facts)[-1]} "
        f"pixels up. Channels: {', '.join(facts.input_names)}.",
        f"- Grey values: percentile {intensity.low_percentile:g} of each channel of the whole "
        f"image becomes 0, percentile {intensity.high_percentile:g} becomes 1. Measure them on the "
        "whole image, never on a tile.",
        f"- Inside the model: values are clipped to {LOWEST:g}..{HIGHEST:g}, borders are mirrored"
        + _binned(facts.record.binning)
        + (f", {VIEW_WORDS[facts.views]} are averaged" * (facts.views > 1))
        + ".",
        "- Large images go in tiles. Let tiles begin at multiples of "
        f"{_along(facts.steps, letters)} pixels, and throw {_along(facts.halos, letters)} pixels "
        "away at each side where the image goes on. The result is then that of the whole image.",
    ]
    if facts.record.pixel_size:
        sizes = ", ".join(f"{a} {size:.4g}" for a, size in facts.record.pixel_size.items())
        lines.append(f"- Trained on pixels of {sizes} micrometres; rescale other images to that.")
    return [*lines, ""]


def _binned(binning: float) -> str:
    if binning < 1:
        return f", the image is enlarged (a pixel of the network is {binning:g} pixels long)"
    return f", {binning:g} x {binning:g} pixels are averaged" if binning > 1 else ""


def _of_output(facts: Facts) -> list[str]:
    table = facts.record.classes
    return [
        "## What comes out",
        "",
        f"- Probabilities of the same size, one channel each: {', '.join(facts.output_names)}.",
        f"- {table.task.recipe(table, facts.decision)}",
        "",
    ]


def _of_training(record: ModelRecord) -> list[str]:
    network = record.network
    images = [
        f"- {image.name}, shape {' x '.join(map(str, image.shape))}, "
        f"SHA-256 of pixels {image.image_sha256[:16]}, of labels {image.labels_sha256[:16]}"
        for image in record.images
    ]
    when = f", {record.created[:10]}" if record.created else ""
    best = max(record.history, key=lambda row: float(row.get("iou") or 0), default={})
    scores = [
        f"{key} {int(value) if float(value).is_integer() else format(value, '.3f')}"
        for key in _HISTORY_KEYS
        if (value := best.get(key)) is not None
    ]
    return [
        "## Training",
        "",
        f"- U-Net (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28), {network.ndim}D, "
        f"{network.depth} poolings, {network.base_channels} channels at first, normalisation "
        f"{network.normalization}; {record.steps} steps{when}.",
        *images,
        "",
        "## Validation",
        "",
        "- Scores on blocks of the training images that were held back: "
        + (", ".join(scores) if scores else "none")
        + ".",
        "- Before use on other images, compare its result with some objects drawn by hand.",
        "",
    ]


def _along(values: tuple[int, ...], letters: str) -> str:
    if len(set(values)) == 1:
        return str(values[0])
    return ", ".join(f"{value} ({letter})" for value, letter in zip(values, letters, strict=True))


# --- The bioimageio.yaml of a package -------------------------------------------------------------


def package_sides(facts: Facts) -> tuple[int, ...]:
    """Return the smallest block that programs may cut, along ``[Z]YX``."""
    return tuple(2 * halo + step for halo, step in zip(facts.halos, facts.steps, strict=True))


def package_description(facts: Facts, config: ExportConfig) -> dict[str, Any]:
    """Return what ``bioimageio.yaml`` holds."""
    from bioimageio.spec.model.v0_5 import ModelDescr

    ndim = facts.record.network.ndim
    version = torch.__version__.partition("+")[0]
    return {
        "type": "model",
        "format_version": ModelDescr.implemented_format_version,
        "name": facts.name,
        "description": facts.summary,
        "authors": list(config.authors),
        "license": config.licence,
        "cite": [_PAPER],
        "documentation": {"source": "README.md"},
        "covers": [{"source": "cover.png"}],
        "tags": ["unet", "semantic-segmentation", f"{ndim}d", "pytorch", "napari"],
        "version": "0.1.0",
        "inputs": [_input(facts)],
        "outputs": [_output(facts)],
        "weights": {
            "onnx": {"source": "weights.onnx", "opset_version": ONNX_OPSET},
            "torchscript": {
                "source": "weights.pt",
                "pytorch_version": version,
                "parent": "onnx",
                "comment": "The same network, written at the same time.",
            },
        },
        "config": {
            "bioimageio": {
                "architecture_type": f"{ndim}D U-Net",
                "task": "segmentation",
                "reproducibility_tolerance": [
                    {"absolute_tolerance": 1e-4, "relative_tolerance": 1e-3}
                ],
            },
            FACTS_KEY: json.loads(facts.as_json()),
        },
    }


def _input(facts: Facts) -> dict[str, Any]:
    intensity = facts.record.intensity
    sizes = [
        {"size": {"min": side, "step": step}, "concatenable": True}
        for side, step in zip(package_sides(facts), facts.steps, strict=True)
    ]
    percentiles = {
        "axes": list(facts.axes[2:].lower()),
        "min_percentile": intensity.low_percentile,
        "max_percentile": intensity.high_percentile,
    }
    return {
        "id": "image",
        "description": "Grey values as the microscope gives them",
        "axes": _axes(facts, facts.input_names, sizes),
        "data": {"type": "float32"},
        "pad": {"mode": "reflect"},
        "test_tensor": {"source": "test_input.npy"},
        "preprocessing": [{"id": "scale_range", "kwargs": percentiles}],
    }


def _output(facts: Facts) -> dict[str, Any]:
    sizes = [
        {"size": {"tensor_id": "image", "axis_id": letter}, "halo": halo}
        for letter, halo in zip(facts.axes[2:].lower(), facts.halos, strict=True)
    ]
    return {
        "id": "probabilities",
        "description": "Probability of each class",
        "axes": _axes(facts, facts.output_names, sizes),
        "data": {"type": "float32", "range": [0.0, 1.0]},
        "test_tensor": {"source": "test_output.npy"},
    }


def _axes(
    facts: Facts, names: tuple[str, ...], sizes: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    space = [
        {"type": "space", "id": letter, **size, **_scale(facts, letter)}
        for letter, size in zip(facts.axes[2:].lower(), sizes, strict=True)
    ]
    plain = [name.replace("-", "minus").replace("+", "plus").replace(" ", "_") for name in names]
    return [{"type": "batch", "size": 1}, {"type": "channel", "channel_names": plain}, *space]


def _scale(facts: Facts, letter: str) -> dict[str, Any]:
    size = facts.record.pixel_size.get(letter.upper())
    return {} if size is None else {"unit": "micrometer", "scale": size}
