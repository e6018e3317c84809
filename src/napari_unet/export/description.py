"""The description of a bioimage.io model package: what its ``bioimageio.yaml`` holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_unet.data.axes import SPATIAL_AXES
from napari_unet.export.facts import FACTS_KEY
from napari_unet.export.graphs import ONNX_OPSET

if TYPE_CHECKING:
    from napari_unet.export.config import ExportConfig, ExportFormat
    from napari_unet.export.facts import Facts

_PAPER = {
    "text": "Ronneberger, O., Fischer, P., Brox, T.: U-Net: Convolutional Networks for Biomedical "
    "Image Segmentation. MICCAI 2015.",
    "doi": "10.1007/978-3-319-24574-4_28",
}


def package_sides(facts: Facts) -> tuple[int, ...]:
    """Return the smallest block that programs may cut, along ``[Z]YX``."""
    return tuple(2 * halo + step for halo, step in zip(facts.halos, facts.steps, strict=True))


def package_description(facts: Facts, config: ExportConfig) -> dict[str, Any]:
    """Return what ``bioimageio.yaml`` holds."""
    from bioimageio.spec.model.v0_5 import ModelDescr

    ndim = facts.record.network.ndim
    authors = [
        {"name": each.name, **({"affiliation": each.affiliation} if each.affiliation else {})}
        for each in config.authors
    ]
    version = torch.__version__.partition("+")[0]
    return {
        "type": "model",
        "format_version": ModelDescr.implemented_format_version,
        "name": facts.name,
        "description": facts.summary,
        "authors": authors,
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
            FACTS_KEY: _plain(facts.as_values()),
        },
    }


def _input(facts: Facts) -> dict[str, Any]:
    ndim, intensity = facts.record.network.ndim, facts.record.intensity
    letters = SPATIAL_AXES[ndim].lower()
    space = [
        {
            "type": "space",
            "id": letter,
            "size": {"min": side, "step": step},
            "concatenable": True,
            **_scale(facts, letter),
        }
        for letter, side, step in zip(letters, package_sides(facts), facts.steps, strict=True)
    ]
    return {
        "id": "image",
        "description": "Grey values as the microscope gives them",
        "axes": [
            {"type": "batch", "size": 1},
            {"type": "channel", "channel_names": _identifiers(facts.input_names)},
            *space,
        ],
        "data": {"type": "float32"},
        "pad": {"mode": "reflect"},
        "test_tensor": {"source": "test_input.npy"},
        "preprocessing": [
            {
                "id": "scale_range",
                "kwargs": {
                    "axes": list(letters),
                    "min_percentile": intensity.low_percentile,
                    "max_percentile": intensity.high_percentile,
                },
            }
        ],
    }


def _output(facts: Facts) -> dict[str, Any]:
    letters = SPATIAL_AXES[facts.record.network.ndim].lower()
    space = [
        {
            "type": "space",
            "id": letter,
            "size": {"tensor_id": "image", "axis_id": letter},
            "halo": halo,
            **_scale(facts, letter),
        }
        for letter, halo in zip(letters, facts.halos, strict=True)
    ]
    return {
        "id": "probabilities",
        "description": "Probability of each class",
        "axes": [
            {"type": "batch", "size": 1},
            {"type": "channel", "channel_names": _identifiers(facts.output_names)},
            *space,
        ],
        "data": {"type": "float32", "range": [0.0, 1.0]},
        "test_tensor": {"source": "test_output.npy"},
    }


def _scale(facts: Facts, letter: str) -> dict[str, Any]:
    size = facts.record.pixel_size.get(letter.upper())
    return {} if size is None else {"unit": "micrometer", "scale": size}


def _identifiers(names: tuple[str, ...]) -> list[str]:
    return [name.replace("-", "minus").replace("+", "plus").replace(" ", "_") for name in names]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as YAML holds them: lists, no tuples."""
    return {key: list(each) if isinstance(each, tuple) else each for key, each in values.items()}


# --- The text beside an exported file, with lines of Python that run it on their own -------------

_LOADING = {
    "onnx": (
        "import onnxruntime\n",
        'session = onnxruntime.InferenceSession("{file}")\n'
        'facts = json.loads(session.get_modelmeta().custom_metadata_map["napari_unet"])\n',
        'probabilities = session.run(None, {{"image": scaled}})[0][0]\n',
    ),
    "torchscript": (
        "import torch\n",
        'extra = {{"napari_unet.json": ""}}\n'
        'model = torch.jit.load("{file}", _extra_files=extra)\n'
        'facts = json.loads(extra["napari_unet.json"])\n',
        "probabilities = model(torch.from_numpy(scaled))[0].numpy()\n",
    ),
    "torch-export": (
        "import torch\n",
        'extra = {{"napari_unet.json": ""}}\n'
        'model = torch.export.load("{file}", extra_files=extra).module()\n'
        'facts = json.loads(extra["napari_unet.json"])\n',
        "probabilities = model(torch.from_numpy(scaled))[0].numpy()\n",
    ),
}


def readme_of(facts: Facts, file_format: ExportFormat, file: str) -> str:
    """Return the facts as text, and a Python example that needs nothing of this program."""
    return (
        f"{facts.as_markdown()}\n## In Python\n\n```python\n"
        f"{python_example(facts, file_format, file)}```\n"
    )


def python_example(facts: Facts, file_format: ExportFormat, file: str) -> str:
    """Return lines that predict ``image.tif`` whole by an exported file."""
    network = facts.record.network
    imports, load, run = (part.format(file=file) for part in _LOADING[file_format])
    channels = "" if network.input_bands > 1 else "[np.newaxis]"
    axes = tuple(range(1, 1 + network.ndim))
    shape = facts.axes[1:] if network.input_bands > 1 else facts.axes[2:]
    table = facts.record.classes
    return (
        f"import json\n\nimport numpy as np\n{imports}import tifffile\n\n"
        f"{load}"
        f'image = tifffile.imread("image.tif").astype("float32"){channels}  # {shape} in the file\n'
        f'low, high = np.percentile(image, facts["percentiles"], axis={axes}, keepdims=True)\n'
        "scaled = ((image - low) / np.maximum(high - low, 1e-9))[np.newaxis].astype(np.float32)\n"
        f"{run}"
        f"{table.task.recipe_in_python(table, facts.decision)}\n"
    )
