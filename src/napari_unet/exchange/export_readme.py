"""The text beside an exported file, with lines of Python that run it on their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_unet.exchange.export_config import ExportFormat
    from napari_unet.exchange.export_facts import Facts
    from napari_unet.model.record import ModelRecord

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


def _labelling(record: ModelRecord) -> str:
    """Return the line that makes labels of probabilities."""
    above = 'probabilities[1] > facts["threshold"]'
    if record.classes.kind == "objects":
        return f"foreground = {above}\n"
    most = record.classes.takes_most_probable(record.threshold)
    number = "probabilities.argmax(axis=0)" if most else f"({above}).astype(int)"
    return f'labels = np.array(facts["label_values"])[{number}]\n'


def python_example(facts: Facts, file_format: ExportFormat, file: str) -> str:
    """Return lines that predict ``image.tif`` whole by an exported file."""
    network = facts.record.network
    imports, load, run = (part.format(file=file) for part in _LOADING[file_format])
    channels = "" if network.input_bands > 1 else "[np.newaxis]"
    axes = tuple(range(1, 1 + network.ndim))
    shape = facts.axes[1:] if network.input_bands > 1 else facts.axes[2:]
    label = _labelling(facts.record)
    return (
        f"import json\n\nimport numpy as np\n{imports}import tifffile\n\n"
        f"{load}"
        f'image = tifffile.imread("image.tif").astype("float32"){channels}  # {shape} in the file\n'
        f'low, high = np.percentile(image, facts["percentiles"], axis={axes}, keepdims=True)\n'
        "scaled = ((image - low) / np.maximum(high - low, 1e-9))[np.newaxis].astype(np.float32)\n"
        f"{run}"
        f"{label}"
    )
