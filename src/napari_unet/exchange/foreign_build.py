"""Build a model of ours around the network of another program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_unet.data.intensity import IntensityNormalization
from napari_unet.data.intensity_steps import IntensityStep, IntensitySteps
from napari_unet.errors import ModelFileError, ModelMismatchError
from napari_unet.exchange.as_unet import as_unet
from napari_unet.exchange.foreign_check import compare, normalised
from napari_unet.exchange.foreign_meaning import class_table, understand
from napari_unet.exchange.foreign_sizes import channels_of_graph, reach_of_layers, with_sizes
from napari_unet.exchange.operations import Postprocessing
from napari_unet.exchange.package_text import Axis, TensorText
from napari_unet.model.config import UNetConfig
from napari_unet.model.foreign import ForeignNetwork, raw_output
from napari_unet.model.foreign_config import ForeignConfig
from napari_unet.model.onnx_graph import read_graph
from napari_unet.model.plain_layers import depth_of
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_unet.model.foreign_config import Activation, LayersConfig

    Example = tuple[NDArray[Any], NDArray[Any]]

# Where nothing is said of how images are normalised: as this program does.
_OURS = IntensitySteps(
    (IntensityStep("percentiles", (1.0,), (99.8,), eps=0), IntensityStep("clip", (-1.0,), (3.0,)))
)
_PROBED = {2: 128, 3: 32}  # pixels, at least, of what is tried


@dataclass(frozen=True)
class Reading:
    """What is known of a model before it runs.

    Parameters
    ----------
    name : str
        Of the model.
    image, result : TensorText
        What goes in and what comes out.
    steps : IntensitySteps
        How images are normalised.
    post : Postprocessing
        What follows the network.
    labels : tuple of str
        Tags and names, lower case.
    example : tuple of ndarray or None
        An image and the answer to it; C followed by the spatial axes.
    remarks : tuple of str
        What was decided already.
    """

    name: str
    image: TensorText
    result: TensorText
    steps: IntensitySteps
    post: Postprocessing = Postprocessing()
    labels: tuple[str, ...] = ()
    example: Example | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def of_graph(cls, data: bytes, name: str) -> Reading:
        """Read what an ONNX file without a package says of itself.

        Raises
        ------
        ModelFileError
            It is none, or does not take images as (batch, channel, [z,] y, x).
        """
        facts = read_graph(data)
        letters = {4: "bcyx", 5: "bczyx"}.get(len(facts.input_shape))
        if letters is None or len(facts.output_shape) not in (0, len(letters)):
            raise ModelFileError(
                f"{name} takes arrays of {len(facts.input_shape)} axes and returns "
                f"{len(facts.output_shape)}; (batch, channel, y, x) or (batch, channel, z, y, x) "
                "can be used. Give a bioimage.io package, which says what its axes are."
            )
        smallest = max(facts.step, _PROBED[len(letters) - 2] // 2)
        smallest = -(-smallest // facts.step) * facts.step
        sizes = tuple(
            _axis(letter, size or smallest, 0 if size else facts.step)
            for letter, size in zip(letters, facts.input_shape, strict=True)
        )
        axes = tuple(_axis(letter) for letter in letters)
        remark = "it does not say how images are normalised: percentiles 1 and 99.8 became 0 and 1"
        return cls(name, TensorText(axes=sizes), TensorText(axes=axes), _OURS, remarks=(remark,))

    @property
    def ndim(self) -> int:
        """Spatial dimensions."""
        return len(self.space)

    @property
    def space(self) -> str:
        """The spatial axes, in our order."""
        found = "".join(axis for axis in "zyx" if axis in self.image.letters)
        if found not in ("yx", "zyx"):
            raise ModelFileError(
                f"The model takes images of axes {self.image.letters!r}; not used."
            )
        return found

    def config(self, channels: int = 1, layers: LayersConfig | None = None) -> ForeignConfig:
        """Describe the network as far as that is known before it has run."""
        ones = (1,) * self.ndim
        return ForeignConfig(
            "onnx" if layers is None else "layers",
            self.ndim,
            channels,
            1,
            ones,
            (0,) * self.ndim,
            ones,
            input_axes=self.image.letters,
            output_axes=self.result.letters,
            layers=layers,
        )

    def of_space(self, tensor: TensorText) -> tuple[Axis, ...]:
        """Return the spatial axes of a tensor, in our order."""
        found = [tensor.axis(letter) for letter in self.space]
        if None in found or "".join(a for a in tensor.letters if a in "zyx") != self.space:
            raise ModelFileError(f"The model has axes {tensor.letters!r}; give a plain U-Net's.")
        return tuple(axis for axis in found if axis is not None)


def _axis(letter: str, smallest: int | None = None, step: int = 0) -> Axis:
    return Axis.model_validate({"letter": letter, "smallest": smallest, "step": step})


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
    table = class_table(understood, config.out_channels)
    unet = as_unet(config, tensors)
    if unet is not None:
        remarks = (*remarks, "it is exactly a U-Net of this program, and was taken in as one")
    elif config.engine == "onnx":
        remarks = (*remarks, "onnxruntime computes it, on the CPU")
    ours = _as_ours(reading.steps)
    told = (*reading.remarks, *understood.remarks, *remarks, checked)
    record = ModelRecord(
        UNetConfig(config.in_channels, config.out_channels, config.ndim)
        if unet is None
        else unet.config,
        table,
        ours or IntensityNormalization(),
        threshold=reading.post.threshold or 0.5,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        foreign=config if unet is None else None,
        steps_of_others=reading.steps if ours is None else None,
        origin=f"{reading.name[:200]}, from another program: " + "; ".join(told) + ".",
    )
    return TrainedNetwork(unet or ForeignNetwork(config, tensors), record)


def _answer(
    reading: Reading,
    config: ForeignConfig,
    run: Callable[[Tensor], Tensor],
    activation: Activation,
) -> tuple[Tensor, str]:
    """Run the example, or noise where there is none; return the answer, and how good it is."""
    if reading.example is not None:
        image = normalised(reading.example[0], reading.steps)
        compared = compare(run, image, reading.example[1], reading.post, activation)
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
        size if config.fixed else size + -(-max(0, _PROBED[config.ndim] - size) // step) * step
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
