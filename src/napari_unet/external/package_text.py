"""The description of a model package (``rdf.yaml``), format 0.4 or 0.5, as plain facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_unet.errors import ModelFileError, first_line
from napari_unet.external.package_files import LARGEST_TEXT

if TYPE_CHECKING:
    from napari_unet.external.package_files import PackageFiles

_NAMES = ("bioimageio.yaml", "rdf.yaml", "model.yaml")
_MOST_VALUES = 100_000
_DEEPEST = 60


class _Part(BaseModel):
    """A part of a description; what else stands there is for others."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", frozen=True)


class PackageFile(_Part):
    """A file of the package, and its hash."""

    source: str
    sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class Operation(_Part):
    """A step of the preprocessing or postprocessing, as the format calls it."""

    name: str
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_id(cls, value: Any) -> Any:
        if isinstance(value, dict) and "id" in value and "name" not in value:
            return {"name": value["id"], "kwargs": value.get("kwargs") or {}}
        return value


class Axis(_Part):
    """One axis of a tensor."""

    letter: Literal["b", "c", "z", "y", "x"]
    smallest: int | None = None
    """Smallest size; None where it depends on others."""
    step: int = 0
    """Sizes grow by this; 0: there is only the smallest."""
    halo: int = 0
    """Of a result: pixels at its border that are worth little."""
    names: tuple[str, ...] = ()
    """Names of channels."""


class TensorText(_Part):
    """What a description says of the image or the result."""

    axes: tuple[Axis, ...]
    operations: tuple[Operation, ...] = ()
    """What is done before or after the network."""
    test: PackageFile | None = None
    """An example."""

    @property
    def letters(self) -> str:
        """The axes as letters."""
        return "".join(axis.letter for axis in self.axes)

    def axis(self, letter: str) -> Axis | None:
        """Return an axis, where it is there."""
        return next((axis for axis in self.axes if axis.letter == letter), None)


class WeightsText(PackageFile):
    """Weights in one format."""

    kwargs: dict[str, Any] = Field(default_factory=dict)
    """The arguments of their authors' program: read as numbers, never given to a program."""


class PackageText(_Part):
    """What is used of a description."""

    name: str
    image: TensorText
    result: TensorText
    weights: dict[str, WeightsText]
    """By format."""
    labels: tuple[str, ...] = ()
    """Tags and channel names, lower case."""


def read_text(files: PackageFiles) -> tuple[PackageText, str]:
    """Read the description of a package, and find the folder in it where names begin.

    That is "" or "NAME/". A package that describes nothing that can be used raises ModelFileError.
    """
    found = [name for name in files.names() if name.rpartition("/")[2] in _NAMES]
    found = [name for name in found if name.count("/") <= 1]
    if not found:
        raise ModelFileError(
            f"{files.name} holds no description ({' or '.join(_NAMES[:2])}), so it is no model "
            "package of bioimage.io."
        )
    name = min(found, key=lambda each: (each.count("/"), _NAMES.index(each.rpartition("/")[2])))
    content = read_yaml(files.read(name, LARGEST_TEXT), name)
    if not isinstance(content, dict) or content.get("type", "model") != "model":
        raise ModelFileError(f"{name} of {files.name} describes no model.")
    version = str(content.get("format_version", ""))
    minor = version.rpartition(".")[0]
    if minor not in ("0.4", "0.5"):
        raise ModelFileError(
            f"The package has format {version[:20] or 'unknown'}; 0.4 and 0.5 are read. Ask for a "
            "newer package."
        )
    try:
        text = PackageText.model_validate(_facts(content, minor))
        return text, name.removesuffix(name.rpartition("/")[2])
    except (ValidationError, KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        reason = " ".join(" ".join(str(error).splitlines()[:3]).split())[:300]
        raise ModelFileError(
            f"{name} of {files.name} describes the model in a way that is not understood "
            f"({reason or type(error).__name__}). Ask for a package that bioimageio.core accepts."
        ) from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Reads YAML without merge keys: they copy, where other references only point."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse a table that copies the entries of another."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(
                problem="it has merge keys (<<), which are not read; write out what they stand for"
            )
        super().flatten_mapping(node)


def read_yaml(data: bytes, name: str) -> Any:
    """Read YAML as plain values.

    Raises ModelFileError if it is none, or made to fill the memory.
    """
    try:
        content = _Loader(data.decode()).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} cannot be read: {first_line(error)[:200]}.") from error
    _count(content, {}, 0, name)
    return content


def _count(value: Any, known: dict[int, int], depth: int, name: str) -> int:
    """Count the values that a table stands for, with all repetitions by reference."""
    if not isinstance(value, (dict, list, tuple, set)):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES + 1  # itself inside of itself is too many
        inside = [*value.keys(), *value.values()] if isinstance(value, dict) else [*value]
        if depth < _DEEPEST:
            known[id(value)] = 1 + sum(_count(each, known, depth + 1, name) for each in inside)
    if known[id(value)] > _MOST_VALUES:
        raise ModelFileError(f"{name} repeats itself endlessly; not read.")
    return known[id(value)]


# --- Bring descriptions of the formats 0.4 and 0.5 of bioimage.io to one form --------------------
# See :class:`napari_unet.external.package_text.PackageText`, which then checks it.

_SPACE = "zyx"


def _only(tensors: Any, what: str) -> dict[str, Any]:
    needed = [each for each in tensors if not each.get("optional")]
    if len(needed) != 1:
        raise ModelFileError(
            f"The model has {len(needed)} {what}; one image in and one result out can be used."
        )
    result: dict[str, Any] = needed[0]
    return result


def _axes_04(image: Any, result: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the axes of image and result, of format 0.4."""
    shape = image["shape"]
    smallest, steps = (
        (shape["min"], shape["step"]) if isinstance(shape, dict) else (shape, [0] * len(shape))
    )
    of_result = result.get("shape")
    scales = of_result["scale"] if isinstance(of_result, dict) else [1] * len(result["axes"])
    halo = result.get("halo") or [0] * len(result["axes"])
    return (
        [
            {"letter": letter, "smallest": size, "step": step}
            for letter, size, step in zip(image["axes"], smallest, steps, strict=True)
        ],
        [
            {"letter": letter, "halo": around, "scale": scale}
            for letter, around, scale in zip(result["axes"], halo, scales, strict=True)
        ],
    )


def _axis_05(axis: dict[str, Any]) -> dict[str, Any]:
    kind = axis["type"]
    letter = {"batch": "b", "channel": "c", "space": axis.get("id")}.get(kind)
    if letter is None:
        raise ModelFileError(f"The model has an axis of type {str(kind)[:40]!r}; not supported.")
    names = axis.get("channel_names") or []
    size = axis.get("size")
    smallest, step = size, 0
    if isinstance(size, dict):
        smallest, step = size.get("min"), size.get("step", 0)
    if kind == "channel":
        smallest = len(names) or (size if isinstance(size, int) else None)
    return {
        "letter": letter,
        "smallest": smallest,
        "step": step,
        "halo": axis.get("halo") or 0,
        "names": [str(name) for name in names],
        "scale": axis.get("scale", 1) if kind == "space" else 1,
    }


def _facts(content: dict[str, Any], version: str) -> dict[str, Any]:
    """Return what is used of a description, in one form."""
    image, result = _only(content["inputs"], "inputs"), _only(content["outputs"], "outputs")
    if version == "0.4":
        of_image, of_result = _axes_04(image, result)
        tests = [(content.get(name) or [None])[0] for name in ("test_inputs", "test_outputs")]
    else:
        of_result = [_axis_05(axis) for axis in result["axes"]]
        of_image = [_axis_05(axis) for axis in image["axes"]]
        tests = [image.get("test_tensor"), result.get("test_tensor")]
    if any(axis["letter"] in _SPACE and axis["scale"] != 1 for axis in of_result):
        raise ModelFileError("The result of the model has pixels of another size than its image.")
    weights = {
        kind: {"source": entry["source"], "sha256": entry.get("sha256"), "kwargs": _kwargs(entry)}
        for kind, entry in content["weights"].items()
        if isinstance(entry, dict)
    }
    before, after = image.get("preprocessing") or [], result.get("postprocessing") or []
    name, tags = str(content.get("name", "")), [str(tag) for tag in content.get("tags") or []]
    channels = [channel for axis in of_result for channel in axis.get("names", ())]
    return {
        "name": name or "model",
        "image": {"axes": of_image, "operations": before, "test": tests[0]},
        "result": {"axes": of_result, "operations": after, "test": tests[1]},
        "weights": weights,
        "labels": [each.lower() for each in (*tags, *channels, name)],
    }


def _kwargs(entry: dict[str, Any]) -> dict[str, Any]:
    architecture = entry.get("architecture")
    if isinstance(architecture, dict):
        entry = architecture
    kwargs = entry.get("kwargs")
    return kwargs if isinstance(kwargs, dict) else {}
