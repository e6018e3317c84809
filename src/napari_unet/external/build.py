"""Build a model of ours around the network of another program."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.data.intensity import IntensityNormalization
from napari_unet.errors import ModelFileError, ModelMismatchError
from napari_unet.external.answers import (
    compare_with_example,
    external_classes,
    normalised,
    understand,
)
from napari_unet.external.known_networks import as_unet
from napari_unet.external.reading import PROBED
from napari_unet.model.config import UNetConfig
from napari_unet.model.external import ExternalNetwork, depth_of, raw_output
from napari_unet.model.onnx_graph import read_graph
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from napari_unet.data.intensity import IntensitySteps
    from napari_unet.external.reading import Reading
    from napari_unet.model.record import Activation, ExternalConfig, LayersConfig
    from napari_unet.model.unet import UNet


def finished(
    reading: Reading,
    weights: Mapping[str, Tensor] | bytes,
    layers: LayersConfig | None = None,
    activation: Activation | None = None,
) -> TrainedNetwork:
    """Build the model: of weights and `layers` of a known network, or of an ONNX file.

    `activation` is what follows it, by default what the package declares. Raises ModelFileError if
    it cannot run, or does not return what its package says.
    """
    activation = activation or reading.activation
    config, tensors, remarks = _described(reading, weights, layers)
    run = ExternalNetwork(config, tensors).on(torch.device("cpu"))
    raw, checked = _answer(reading, config, run, activation)
    names = next((axis.names for axis in reading.result.axes if axis.letter == "c"), ())
    config, decided = understand(config, raw, activation, names, reading.labels)
    unet = as_unet(config, tensors)
    if unet is not None:
        remarks = (*remarks, "it is exactly a U-Net of this program, and was taken in as one")
    elif config.engine == "onnx":
        remarks = (*remarks, "onnxruntime computes it, on the CPU")
    told = (*reading.remarks, *decided, *remarks, checked)
    record = _record(reading, config, unet, told)
    return TrainedNetwork(unet or ExternalNetwork(config, tensors), record)


def _described(
    reading: Reading, weights: Mapping[str, Tensor] | bytes, layers: LayersConfig | None
) -> tuple[ExternalConfig, dict[str, Tensor], tuple[str, ...]]:
    """Return what is known of the network before it runs, its tensors, and remarks."""
    if isinstance(weights, bytes):
        facts = read_graph(weights)
        channels = channels_of_graph(reading, facts.input_shape)
        step, reach = facts.step, facts.reach
        tensors = {"onnx": torch.from_numpy(np.frombuffer(weights, np.uint8).copy())}
    else:
        tensors = dict(weights)
        channels = tensors["contracting.0.0.conv.weight"].shape[1]
        step = 1 << depth_of(tensors)
        reach = reach_of_layers(tensors, reading.ndim)
        if layers is not None and layers.normalization in ("group", "instance"):
            reach = None
    config, remarks = with_sizes(reading, reading.config(channels, layers), step, reach)
    return config, tensors, remarks


def _record(
    reading: Reading, config: ExternalConfig, unet: UNet | None, told: Sequence[str]
) -> ModelRecord:
    ours = _as_ours(reading.steps)
    plain = UNetConfig(config.in_channels, config.out_channels, config.ndim)
    return ModelRecord(
        plain if unet is None else unet.config,
        external_classes(config),
        ours or IntensityNormalization(),
        threshold=reading.threshold or 0.5,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        external=config if unet is None else None,
        steps_of_others=reading.steps if ours is None else None,
        origin=f"{reading.name[:200]}, from another program: " + "; ".join(told) + ".",
    )


def _answer(
    reading: Reading,
    config: ExternalConfig,
    run: Callable[[Tensor], Tensor],
    activation: Activation,
) -> tuple[Tensor, str]:
    """Run the example, or noise where there is none; return the answer, and how good it is."""
    if reading.example is not None:
        image = normalised(reading.example[0], reading.steps)
        compared = compare_with_example(
            run, image, reading.example[1], reading.threshold, activation
        )
        if compared is None:
            raise ModelFileError(
                f"The model returns nothing of the shape {reading.example[1].shape} for the "
                f"package's test image of {reading.example[0].shape}. Ask its authors for another."
            )
        agreement, raw = compared
        if not agreement.is_good:
            raise ModelFileError(
                "The model's answer to the package's test image differs from the test output by up "
                f"to {agreement.largest:.3g} ({agreement.share:.2%} of the numbers by more than "
                "0.001), so it is not used. Ask its authors for a package that passes its own test."
            )
        return raw, f"its test output is met to {agreement.largest:.1g}"
    sizes = [
        size if config.fixed else size + -(-max(0, PROBED[config.ndim] - size) // step) * step
        for size, step in zip(config.smallest, config.steps, strict=True)
    ]
    noise = np.random.default_rng(0).random((1, config.in_channels, *sizes), dtype=np.float32)
    try:
        with torch.inference_mode():
            raw = raw_output(run, torch.from_numpy(noise))
    except ModelMismatchError as error:
        raise ModelFileError(f"The model does not run: {error}") from error
    return raw, "it has no test image, so nobody has checked it: look at its first results"


def _as_ours(steps: IntensitySteps) -> IntensityNormalization | None:
    """Return our own normalisation, where the steps are just that."""
    if len(steps.steps) != 2:
        return None
    first, second = steps.steps
    clipped = second.kind == "clip" and (second.first, second.second) == ((-1.0,), (3.0,))
    if first.kind != "percentiles" or first.jointly or not clipped:
        return None
    return IntensityNormalization(first.first[0], first.second[0])


# --- Sizes, steps and halos of the network of another program ------------------------------------

_USUAL_HALO = {2: 64, 3: 16}
_SEES_ALL = (
    "it looks at all of a tile at once (or nobody knows how far it sees), so results depend a "
    "little on where tiles lie"
)


def channels_of_graph(reading: Reading, shape: tuple[int | None, ...]) -> int:
    """Return the channels of the images that a graph takes."""
    letters = reading.image.letters
    if len(shape) != len(letters):
        raise ModelFileError(
            f"The package says axes {letters!r}, but its ONNX graph takes {len(shape)} axes."
        )
    if "c" not in letters:
        return 1
    declared = reading.image.axis("c")
    found = shape[letters.index("c")] or (declared.smallest if declared else None)
    if found is None:
        raise ModelFileError(
            "The model does not say how many channels its images have. Give a bioimage.io package."
        )
    return found


def reach_of_layers(weights: Mapping[str, Tensor], ndim: int) -> tuple[int, ...]:
    """Return how many pixels a known network sees on each side."""
    reach = [0] * ndim
    depth = depth_of(weights)
    for level in range(depth + 1):
        for path in (f"contracting.{level}", f"expanding.{level}"):
            for number in count():
                weight = weights.get(f"{path}.{number}.conv.weight")
                if weight is None:
                    break
                for axis, size in enumerate(weight.shape[2:]):
                    reach[axis] += size // 2 << level
        if level < depth:  # a pooling, and an enlargement that may see neighbours
            reach = [each + (1 << level) + (2 << level) for each in reach]
    return tuple(reach)


def with_sizes(
    reading: Reading, config: ExternalConfig, step: int, reach: tuple[int, ...] | None
) -> tuple[ExternalConfig, tuple[str, ...]]:
    """Fill in sizes, steps and halos: what is declared, and what the network needs.

    Its poolings shrink an image by `step`, and it sees `reach` pixels on each side; None: all, or
    unknown. With the sizes comes what the user should know.
    """
    inputs, outputs = reading.of_space(reading.image), reading.of_space(reading.result)
    smallest = [axis.smallest for axis in inputs]
    if None in smallest:
        raise ModelFileError("The model does not say how large its images may be.")
    known = tuple(size for size in smallest if size is not None)
    ndim = len(known)
    seen = reach if reach is not None and len(reach) == ndim else None
    wanted = [
        max(axis.halo, seen[n] if seen else _USUAL_HALO[ndim]) for n, axis in enumerate(outputs)
    ]
    if any(axis.step <= 0 for axis in inputs):
        return _of_fixed_size(config, known, wanted, seen)
    steps = tuple(math.lcm(axis.step, step) for axis in inputs)
    halos = tuple(-(-halo // each) * each for halo, each in zip(wanted, steps, strict=True))
    remarks = () if seen else (_SEES_ALL,)
    return replace(config, steps=steps, halos=halos, smallest=known), remarks


def _of_fixed_size(
    config: ExternalConfig, sizes: tuple[int, ...], wanted: list[int], seen: tuple[int, ...] | None
) -> tuple[ExternalConfig, tuple[str, ...]]:
    if len(set(sizes[-2:])) > 1:
        raise ModelFileError(
            f"The model takes images of {' x '.join(map(str, sizes))} pixels alone; squares can be "
            "used. Ask its authors for one that takes any size."
        )
    halos = tuple(min(halo, size // 4) for halo, size in zip(wanted, sizes, strict=True))
    remarks = [f"it takes windows of {' x '.join(map(str, sizes))} pixels alone"]
    if seen is None or list(halos) != wanted:
        remarks.append("they are smaller than what it sees, so results depend a little on them")
    return replace(config, fixed=True, smallest=sizes, halos=halos), tuple(remarks)
