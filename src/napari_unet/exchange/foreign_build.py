"""Build a model of ours around the network of another program."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.data.intensity import IntensityNormalization
from napari_unet.errors import ModelFileError, ModelMismatchError
from napari_unet.exchange.as_unet import as_unet
from napari_unet.exchange.foreign_check import compare_with_example, normalised
from napari_unet.exchange.foreign_meaning import class_table, understand
from napari_unet.exchange.foreign_reading import PROBED
from napari_unet.exchange.foreign_sizes import channels_of_graph, reach_of_layers, with_sizes
from napari_unet.model.config import UNetConfig
from napari_unet.model.foreign import ForeignNetwork, raw_output
from napari_unet.model.onnx_graph import read_graph
from napari_unet.model.plain_layers import depth_of
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from napari_unet.data.intensity_steps import IntensitySteps
    from napari_unet.exchange.foreign_meaning import Understood
    from napari_unet.exchange.foreign_reading import Reading
    from napari_unet.model.foreign_config import Activation, ForeignConfig, LayersConfig
    from napari_unet.model.unet import UNet


def finished(
    reading: Reading,
    weights: Mapping[str, Tensor] | bytes,
    layers: LayersConfig | None = None,
    activation: Activation | None = None,
) -> TrainedNetwork:
    """Build the model.

    Parameters
    ----------
    reading : Reading
        What is known of it.
    weights : mapping of str to Tensor, or bytes
        Of a known network, or an ONNX file.
    layers : LayersConfig, optional
        The known network.
    activation : {"none", "sigmoid", "softmax"}, optional
        What follows it; what the package declares by default.

    Raises
    ------
    ModelFileError
        It cannot run, or does not return what its package says.
    """
    activation = activation or reading.post.activation
    config, tensors, remarks = _described(reading, weights, layers)
    run = ForeignNetwork(config, tensors).on(torch.device("cpu"))
    raw, checked = _answer(reading, config, run, activation)
    names = next((axis.names for axis in reading.result.axes if axis.letter == "c"), ())
    understood = understand(raw, activation, names, reading.labels)
    config = replace(
        config,
        raw_channels=raw.shape[1],
        activation=understood.activation,
        meaning=understood.meaning,
        foreground=understood.foreground,
        boundary=understood.boundary,
    )
    unet = as_unet(config, tensors)
    if unet is not None:
        remarks = (*remarks, "it is exactly a U-Net of this program, and was taken in as one")
    elif config.engine == "onnx":
        remarks = (*remarks, "onnxruntime computes it, on the CPU")
    told = (*reading.remarks, *understood.remarks, *remarks, checked)
    record = _record(reading, config, understood, unet, told)
    return TrainedNetwork(unet or ForeignNetwork(config, tensors), record)


def _described(
    reading: Reading, weights: Mapping[str, Tensor] | bytes, layers: LayersConfig | None
) -> tuple[ForeignConfig, dict[str, Tensor], tuple[str, ...]]:
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
    reading: Reading,
    config: ForeignConfig,
    understood: Understood,
    unet: UNet | None,
    told: tuple[str, ...],
) -> ModelRecord:
    ours = _as_ours(reading.steps)
    plain = UNetConfig(config.in_channels, config.out_channels, config.ndim)
    return ModelRecord(
        plain if unet is None else unet.config,
        class_table(understood, config.out_channels),
        ours or IntensityNormalization(),
        threshold=reading.post.threshold or 0.5,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        foreign=config if unet is None else None,
        steps_of_others=reading.steps if ours is None else None,
        origin=f"{reading.name[:200]}, from another program: " + "; ".join(told) + ".",
    )


def _answer(
    reading: Reading,
    config: ForeignConfig,
    run: Callable[[Tensor], Tensor],
    activation: Activation,
) -> tuple[Tensor, str]:
    """Run the example, or noise where there is none; return the answer, and how good it is."""
    if reading.example is not None:
        image = normalised(reading.example[0], reading.steps)
        compared = compare_with_example(run, image, reading.example[1], reading.post, activation)
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
