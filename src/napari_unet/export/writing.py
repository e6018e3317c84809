"""Export a model for other programs, as a generator of events.

Every file is run again by the program of others before it gets its name: what is there has been
checked.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from napari_unet.errors import FileProblemError, ModelMismatchError
from napari_unet.export.checks import (
    compare_with_ours,
    make_sample,
    onnx_run,
    run_in_tiles,
    sample_sides,
    torch_export_run,
    torchscript_run,
)
from napari_unet.export.config import Exported, readme_beside, with_extension
from napari_unet.export.description import Facts, package_sides
from napari_unet.export.graphs import (
    ExportNetwork,
    require,
    write_onnx,
    write_torch_export,
    write_torchscript,
)
from napari_unet.export.package import (
    check_libraries,
    check_licence,
    package_checks,
    release_packages,
    write_package,
)
from napari_unet.io.disk import (
    put_in_place,
    replace_file,
    sweep_unfinished,
    unfinished_path,
    why_not_written,
    writing,
)
from napari_unet.model.external import ExternalNetwork

if TYPE_CHECKING:
    import threading
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from napari_unet.export.checks import Sample
    from napari_unet.export.config import ExportCheck, ExportConfig, ExportFormat
    from napari_unet.model.trained import TrainedNetwork
    from napari_unet.model.unet import UNet

_WRITERS = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "torch-export": write_torch_export,
}
_RUNS = {"onnx": onnx_run, "torchscript": torchscript_run, "torch-export": torch_export_run}


def export_network(
    trained: TrainedNetwork, path: Path, config: ExportConfig, stop: threading.Event
) -> Generator[ExportCheck, None, Exported | None]:
    """Write a model for other programs, and check it by running it; yields each check it passed.

    The format's extension is added to `path` where it lacks. Set `stop` from any thread to end
    before the next check: None is returned, and nothing is left.

    Raises ConfigError if a library is missing, or the licence is none; ModelMismatchError if the
    written file does not predict what the model does, or the image does not fit, and nothing is
    left; FileProblemError if the file cannot be written.
    """
    _check_libraries(config)
    if not trained.record.classes.task.paints:
        raise ModelMismatchError(
            "This model makes images, whose grey values only this program brings back; export "
            "writes models of labels alone. Use the model file, or save the images that it makes."
        )
    path = with_extension(path, config.format)
    views = config.views or trained.record.views
    facts = Facts(trained.record, views, config.name_for(path), config.description)
    sample = make_sample(trained, config.image, config.axes, _sides(facts, config.format), views)
    network = ExportNetwork(_own(trained), trained.record.binning, views)
    checks: list[ExportCheck] = []
    with _written(path) as hidden:
        _write(network, facts, sample, config, hidden)
        for check in _checks(hidden, facts, sample, config.format):
            if stop.is_set():
                return None
            checks.append(check)
            yield check
        put_in_place(hidden, path)
    readme = _write_readme(path, facts, config.format)
    return Exported(path, tuple(checks), readme, sample.origin)


def _own(trained: TrainedNetwork) -> UNet:
    """Return the network of a model that sees images as this program makes them."""
    if isinstance(trained.network, ExternalNetwork) or not trained.record.can_learn:
        raise ModelMismatchError(
            "This model comes from another program: it is no U-Net of this program's own, or wants "
            "images normalised in another way. Pass on the package that it came in."
        )
    return trained.network


def _check_libraries(config: ExportConfig) -> None:
    if config.format == "bioimageio":
        check_libraries()
        check_licence(config.licence)
    elif config.format == "onnx":
        require("onnx", "onnxscript", "onnxruntime")


def _sides(facts: Facts, file_format: ExportFormat) -> tuple[int, ...]:
    sides = sample_sides(facts)
    if file_format != "bioimageio":
        return sides
    return tuple(map(max, sides, package_sides(facts)))


def _write(
    network: ExportNetwork, facts: Facts, sample: Sample, config: ExportConfig, path: Path
) -> None:
    if config.format == "bioimageio":
        write_package(network, facts, sample, config, path)
    else:
        _WRITERS[config.format](network, facts, path)


def _checks(
    path: Path, facts: Facts, sample: Sample, file_format: ExportFormat
) -> Iterator[ExportCheck]:
    if file_format == "bioimageio":
        try:
            yield from package_checks(path, facts, sample)
        finally:
            release_packages()
        return
    program, run = _RUNS[file_format](path)
    ours, scaled = sample.answer(sample.pixels), sample.scaled()
    yield compare_with_ours(program, "whole image", sample, ours, run(scaled))
    yield compare_with_ours(
        program, "tiles", sample, ours, run_in_tiles(run, scaled, len(ours), facts)
    )


@contextlib.contextmanager
def _written(path: Path) -> Iterator[Path]:
    """Lend a temporary name beside a file, to be put in its place by what is written there.

    What is left of it at the end is deleted.
    """
    hidden = unfinished_path(path)
    try:
        with writing(path, "Choose another place."):
            sweep_unfinished(path.parent)
            yield hidden
    finally:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)


def _write_readme(path: Path, facts: Facts, file_format: ExportFormat) -> Path | None:
    """Write the text beside a file, where there is one."""
    readme = readme_beside(path, file_format)
    if readme is None:
        return None
    example = _python_example(facts, file_format, path.name)
    text = f"{facts.as_markdown()}\n## In Python\n\n```python\n{example}```\n"
    try:
        replace_file(readme, text.encode())
    except OSError as error:
        raise FileProblemError(
            f"{path.name} was exported, but not its description: {why_not_written(readme, error)}"
        ) from error
    return readme


# --- Lines of Python that run an exported file, and need nothing of this program ----------------

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


def _python_example(facts: Facts, file_format: ExportFormat, file: str) -> str:
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
