"""What is known of the model of another program before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_unet.data.intensity import IntensityStep, IntensitySteps
from napari_unet.errors import ModelFileError
from napari_unet.external.package_text import Axis, TensorText
from napari_unet.external.reading import Postprocessing
from napari_unet.model.external_config import ExternalConfig
from napari_unet.model.onnx_graph import read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_unet.model.external_config import LayersConfig

    Example = tuple[NDArray[Any], NDArray[Any]]

# Where nothing is said of how images are normalised: as this program does.
_OURS = IntensitySteps(
    (IntensityStep("percentiles", (1.0,), (99.8,), eps=0), IntensityStep("clip", (-1.0,), (3.0,)))
)
PROBED = {2: 128, 3: 32}  # pixels, at least, of what is tried


@dataclass(frozen=True)
class Reading:
    """What is known of a model before it runs."""

    name: str
    image: TensorText
    result: TensorText
    steps: IntensitySteps
    """How images are normalised."""
    post: Postprocessing = Postprocessing()
    """What follows the network."""
    labels: tuple[str, ...] = ()
    """Tags and names, lower case."""
    example: Example | None = None
    """An image and the answer to it; C followed by the spatial axes."""
    remarks: tuple[str, ...] = ()
    """What was decided already."""

    @classmethod
    def of_graph(cls, data: bytes, name: str) -> Reading:
        """Read what an ONNX file without a package says of itself.

        Raises ModelFileError if it does not take images as (batch, channel, [z,] y, x).
        """
        facts = read_graph(data)
        letters = {4: "bcyx", 5: "bczyx"}.get(len(facts.input_shape))
        if letters is None or len(facts.output_shape) not in (0, len(letters)):
            raise ModelFileError(
                f"{name} takes arrays of {len(facts.input_shape)} axes and returns "
                f"{len(facts.output_shape)}; (batch, channel, y, x) or (batch, channel, z, y, x) "
                "can be used. Give a bioimage.io package, which says what its axes are."
            )
        smallest = max(facts.step, PROBED[len(letters) - 2] // 2)
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

    def config(self, channels: int = 1, layers: LayersConfig | None = None) -> ExternalConfig:
        """Describe the network as far as that is known before it has run."""
        ones = (1,) * self.ndim
        return ExternalConfig(
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
