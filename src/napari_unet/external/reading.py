"""What is known of the model of another program before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_unet.data.intensity import IntensityStep, IntensitySteps
from napari_unet.errors import ConfigError, ModelFileError
from napari_unet.external.package_text import Axis, TensorText
from napari_unet.model.onnx_graph import read_graph
from napari_unet.model.record import ExternalConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.external.package_text import Operation
    from napari_unet.model.record import Activation, LayersConfig

    Example = tuple[NDArray[Any], NDArray[Any]]

# Where nothing is said of how images are normalised: as this program does.
_OURS = IntensitySteps(
    (IntensityStep("percentiles", (1.0,), (99.8,), eps=0), IntensityStep("clip", (-1.0,), (3.0,)))
)
_LETTERS = {"batch": "b", "channel": "c"}
_FLOATS = ("float16", "float32", "float64")
PROBED = {2: 128, 3: 32}  # pixels, at least, of what is tried


@dataclass(frozen=True)
class Reading:
    """What is known of a model before it runs."""

    name: str
    image: TensorText
    result: TensorText
    steps: IntensitySteps
    activation: Activation = "none"
    """What makes probabilities of what the network returns."""
    threshold: float | None = None
    """Above it a pixel is an object, where the package says so."""
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
        sizes = [
            {"letter": letter, "smallest": size or smallest, "step": 0 if size else facts.step}
            for letter, size in zip(letters, facts.input_shape, strict=True)
        ]
        image = TensorText.model_validate({"axes": sizes})
        result = TensorText.model_validate({"axes": [{"letter": letter} for letter in letters]})
        remark = "it does not say how images are normalised: percentiles 1 and 99.8 became 0 and 1"
        return cls(name, image, result, _OURS, remarks=(remark,))

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


# --- What a package wants done before and after its network, as steps of our own ----------------


def preprocessing(operations: Sequence[Operation], axes: str) -> IntensitySteps:
    """Translate the preprocessing that a package declares for images of these axes of bczyx.

    An operation that is not known, or has settings that are not, raises ModelFileError.
    """
    steps = []
    for operation in operations:
        try:
            step = _step(operation.name, dict(operation.kwargs), axes)
        except (ConfigError, KeyError, TypeError, ValueError, IndexError) as error:
            raise _refused(operation, "preprocessing", str(error)) from error
        if step is not None:
            steps.append(step)
    return IntensitySteps(tuple(steps))


def _step(name: str, kwargs: dict[str, Any], axes: str) -> IntensityStep | None:
    if name == "ensure_dtype":
        if kwargs["dtype"] not in _FLOATS:
            raise ValueError(f"dtype {kwargs['dtype']}")
        return None  # all is computed in float
    if name == "clip":
        return IntensityStep("clip", _figures(kwargs["min"]), _figures(kwargs["max"]))
    if name == "binarize":
        return IntensityStep("binarise", (_number(kwargs["threshold"]),))
    if name == "scale_linear":
        _check_channels(kwargs)
        gain, offset = kwargs.get("gain", 1.0), kwargs.get("offset", 0.0)
        return IntensityStep("linear", _figures(gain), _figures(offset))
    if name == "fixed_zero_mean_unit_variance" or kwargs.get("mode") == "fixed":
        return _fixed(name, kwargs)
    if name not in ("zero_mean_unit_variance", "scale_range"):
        raise ValueError("it is not known")
    if kwargs.get("mode", "per_sample") != "per_sample":
        raise ValueError(f"mode {kwargs['mode']}: a data set is needed that is not here")
    if kwargs.get("reference_tensor") is not None:
        raise ValueError("it refers to another tensor")
    jointly = _jointly(kwargs.get("axes"), axes)
    eps = _number(kwargs.get("eps", 1e-6))
    if name == "zero_mean_unit_variance":
        return IntensityStep("standardise", jointly=jointly, eps=eps)
    low, high = kwargs.get("min_percentile", 0.0), kwargs.get("max_percentile", 100.0)
    return IntensityStep("percentiles", _figures(low), _figures(high), jointly, eps)


def _fixed(name: str, kwargs: dict[str, Any]) -> IntensityStep:
    """Return fixed figures; format 0.4 calls them a mode of zero_mean_unit_variance."""
    if name not in ("fixed_zero_mean_unit_variance", "zero_mean_unit_variance"):
        raise ValueError(f"mode {kwargs.get('mode')}")
    _check_channels(kwargs)
    means, deviations = _figures(kwargs["mean"]), _figures(kwargs["std"])
    if min(deviations) <= 0 or len(means) not in (1, len(deviations)):
        raise ValueError("mean and std do not fit together")
    eps = _number(kwargs.get("eps", 1e-6))
    means = means * len(deviations) if len(means) == 1 else means
    return IntensityStep(
        "linear",
        tuple(1 / (std + eps) for std in deviations),
        tuple(-mean / (std + eps) for mean, std in zip(means, deviations, strict=True)),
    )


def _check_channels(kwargs: dict[str, Any]) -> None:
    """Refuse figures per row or column."""
    if kwargs.get("axis") not in (None, "channel", "c"):
        raise ValueError(f"axis {kwargs['axis']}")


def _jointly(named: Any, axes: str) -> bool:
    """Return whether all channels are measured together; refuse rows and planes of their own."""
    if named is None:
        return True
    letters = {_LETTERS.get(str(each), str(each)) for each in named}
    space = {axis for axis in axes if axis in "zyx"}
    if not space <= letters:
        raise ValueError(f"axes {''.join(sorted(letters))}: only whole images are measured")
    return "c" in letters


def postprocessing(operations: Sequence[Operation]) -> tuple[Activation, float | None]:
    """Translate the postprocessing of a package: what makes probabilities, and its threshold.

    Raises ModelFileError for what is not known.
    """
    activation: Activation = "none"
    threshold = None
    for operation in operations:
        name, kwargs = operation.name, operation.kwargs
        if threshold is not None and name != "ensure_dtype":
            raise _refused(operation, "postprocessing", "it follows a threshold")
        if name == "sigmoid" and activation == "none":
            activation = "sigmoid"
        elif name == "softmax" and activation == "none":
            if kwargs.get("axis", "channel") not in ("channel", "c"):
                raise _refused(operation, "postprocessing", f"axis {kwargs['axis']}")
            activation = "softmax"
        elif name == "binarize" and isinstance(kwargs.get("threshold"), (int, float)):
            threshold = float(kwargs["threshold"])
        elif name == "clip" and (kwargs.get("min"), kwargs.get("max")) == (0, 1):
            continue  # probabilities are there already
        elif name != "ensure_dtype":
            raise _refused(operation, "postprocessing", "it is not known")
    if threshold is not None and not 0 < threshold < 1:
        raise ModelFileError(f"The model's threshold is {threshold}, not between 0 and 1.")
    return activation, threshold


def _figures(value: Any) -> tuple[float, ...]:
    return tuple(_number(each) for each in (value if isinstance(value, list) else [value]))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{str(value)[:40]!r} is no number")
    return float(value)


def _refused(operation: Operation, of: str, why: str) -> ModelFileError:
    return ModelFileError(
        f"The package's {of} {operation.name[:60]!r} cannot be done here ({why[:200]}). Its "
        "results would be wrong without it; use the model in a program that offers it."
    )
