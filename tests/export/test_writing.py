"""Exports are run again by the program of others, and none that differs is left."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

import napari_unet as nu
from napari_unet.api.model import TrainedModel
from napari_unet.errors import ConfigError, FileProblemError, ModelMismatchError
from napari_unet.export import graphs as export_graphs
from napari_unet.export.config import ExportConfig
from napari_unet.export.description import Facts
from napari_unet.export.graphs import ExportNetwork
from napari_unet.tasks import ClassTable

from .builders import CLASSES, a_model, blobs, export
from .test_graphs import ours, seen

TORCH_FORMATS = ("torchscript", "torch-export")
FORMATS = ("onnx", *TORCH_FORMATS)
QUICK = "torchscript"


@pytest.fixture(scope="session")
def model() -> Any:
    return a_model(CLASSES)


@pytest.fixture(scope="session", params=FORMATS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of objects in each format, checked on an image; read only."""
    path = tmp_path_factory.mktemp("exported") / "cells"
    return request.param, *export(a_model(), path, request.param, image=blobs(150, 140))


def test_it_tells_what_it_does(exported: Any) -> None:
    _, events, result = exported
    assert events == list(result.checks)
    assert [check.way for check in result.checks] == ["whole image", "tiles"]


def test_the_other_program_agrees_with_our_prediction(exported: Any) -> None:
    _, _, result = exported
    assert max(check.largest_difference for check in result.checks) < 1e-5
    assert min(check.agreement for check in result.checks) == 1


def test_the_files_have_their_names_and_nothing_else_is_left(exported: Any) -> None:
    kind, _, result = exported
    name = {"onnx": "cells.onnx", "torchscript": "cells.pt", "torch-export": "cells.pt2"}[kind]
    assert sorted(p.name for p in result.path.parent.iterdir()) == [name, f"{name}.md"]


@pytest.mark.slow
def test_the_python_lines_beside_it_run_on_their_own(exported: Any, tmp_path: Path) -> None:
    _, _, result = exported
    image = blobs(77, 90)
    tifffile.imwrite(tmp_path / "image.tif", image)
    (tmp_path / result.path.name).write_bytes(result.path.read_bytes())
    lines = result.readme.read_text().partition("```python\n")[2].partition("```")[0]
    program = f"import warnings\nwarnings.simplefilter('ignore')\n{lines}" + (
        "np.save('out.npy', probabilities)\nimport sys\nassert 'napari_unet' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert np.abs(np.load(tmp_path / "out.npy") - ours(a_model(), image, "YX")).max() < 1e-5


def test_an_onnx_file_names_its_axes_and_holds_its_facts(tmp_path: Path, model: Any) -> None:
    import onnx

    _, result = export(model, tmp_path / "m", "onnx", name="My classes")
    content = onnx.load(result.path)
    facts = json.loads(content.metadata_props[0].value)
    shape = content.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in shape] == ["", "", "y", "x"]
    assert facts["name"] == "My classes"
    assert facts["output_channels"] == ["background", "class 3", "class 7"]
    assert facts["label_values"] == [0, 3, 7]
    assert content.opset_import[0].version == export_graphs.ONNX_OPSET


def test_an_onnx_file_names_no_path_of_this_machine(tmp_path: Path, model: Any) -> None:
    _, result = export(model, tmp_path / "m", "onnx")
    content = result.path.read_bytes()
    assert b"site-packages" not in content
    assert b"export_network" not in content


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "record"),
    [
        ({"ndim": 3, "depth": 1, "flat_levels": 1}, {}),
        ({"window": 3, "in_channels": 2}, {"binning": 2, "views": 8}),
        ({}, {"binning": 2.25}),
        ({"depth": 1}, {"binning": 0.33}),
    ],
    ids=[
        "3D with a flat level",
        "two channels of three frames, binned, eight views",
        "binned by a fraction",
        "enlarged",
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_all_members_of_the_family_are_exported(
    network: Any, record: Any, format: str, tmp_path: Path
) -> None:
    _, result = export(a_model(record=record, **network), tmp_path / "m", format)
    assert result.path.exists()


@pytest.fixture(scope="session")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a TorchScript file of a binned model of three frames holds, and the model; read only."""
    model = a_model(record={"binning": 2}, window=3)
    _, result = export(model, tmp_path_factory.mktemp("traced") / "m", "torchscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        return model, torch.jit.load(result.path)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("size", [(1, 3), (2, 2), (31, 96), (150, 17)], ids=str)
def test_a_torchscript_file_takes_images_of_any_size(traced: Any, size: tuple[int, ...]) -> None:
    model, module = traced
    image = blobs(3, *size)
    with torch.inference_mode():
        found = module(torch.from_numpy(seen(model, image, "TYX"))[None])[0].numpy()
    assert np.abs(found - ours(model, image, "TYX")).max() < 1e-5


def test_a_torchscript_file_is_bound_to_no_device(traced: Any) -> None:
    assert "Device" not in str(traced[1].inlined_graph)


def test_the_channels_that_a_model_uses_are_cut_from_the_image(tmp_path: Path) -> None:
    model = a_model(record={"used_channels": (2,)})
    _, result = export(model, tmp_path / "m", QUICK, image=blobs(3, 99, 99), axes="CYX")
    assert "channel 2" in result.readme.read_text()


def test_an_image_that_shows_nothing_is_replaced_by_a_texture(tmp_path: Path) -> None:
    _, seen = export(a_model(), tmp_path / "m", QUICK, image=blobs(99, 99))
    _, unseen = export(a_model(), tmp_path / "m", QUICK, image=np.zeros((99, 99), np.uint8))
    assert (seen.checked_on, unseen.checked_on) == ("the image", "a texture")


def test_fewer_views_can_be_asked_for(tmp_path: Path) -> None:
    _, result = export(a_model(record={"views": 8}), tmp_path / "m", QUICK, views=1)
    assert "turned" not in result.readme.read_text()


@pytest.mark.parametrize(
    ("threshold", "expected", "told"),
    [(0.5, [0, 0, 2], "of the highest probability"), (0.3, [0, 2, 2], "is above 0.300")],
)
def test_two_classes_are_parted_where_the_model_says(
    threshold: float, expected: list[int], told: str, tmp_path: Path
) -> None:
    model = a_model(ClassTable("classes", "unlabelled", (1, 2)), {"threshold": threshold})
    _, result = export(model, tmp_path / "m", QUICK)
    text = result.readme.read_text()
    line = text.partition("```python\n")[2].partition("```")[0].splitlines()[-1]
    probabilities = np.array([[0.8, 0.6, 0.2], [0.2, 0.4, 0.8]])
    facts = {"label_values": [0, 2], "threshold": threshold}
    known = {"np": np, "facts": facts, "probabilities": probabilities}
    assert eval(line.removeprefix("labels = "), known).tolist() == expected
    assert told in text


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the borders of what is exported be moved by a pixel."""
    of_network = ExportNetwork.__init__

    def init(self: Any, *arguments: Any) -> None:
        of_network(self, *arguments)
        self.rims = [rim + 1 for rim in self.rims]

    monkeypatch.setattr(ExportNetwork, "__init__", init)


@pytest.mark.parametrize("format", FORMATS)
def test_a_broken_export_is_refused_with_the_figures_and_nothing_is_left(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch)
    with pytest.raises(ModelMismatchError, match=r"Nothing was exported.*% of \d+ labels alike"):
        export(a_model(), tmp_path / "m", format)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_halo_is_found_by_the_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Facts, "halos", (4, 4))
    with pytest.raises(ModelMismatchError, match="tiles"):
        export(a_model(), tmp_path / "m", QUICK)


def test_a_broken_export_leaves_the_good_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, result = export(a_model(), tmp_path / "m", QUICK)
    before = result.path.read_bytes()
    broken(monkeypatch)
    with pytest.raises(ModelMismatchError):
        export(a_model(), tmp_path / "m", QUICK)
    assert result.path.read_bytes() == before


def test_an_export_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    _, result = export(a_model(), tmp_path / "m", QUICK, stop)
    assert result is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileProblemError, match=r"Cannot write to .*Choose another place"):
        export(a_model(), tmp_path / "no" / "m", QUICK)


def test_a_library_that_is_missing_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'pip install "napari-unet-paint\[onnx\]"'):
        export(a_model(), tmp_path / "m", "onnx")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "keras"}, "choose onnx, bioimageio"),
        ({"views": 3}, "choose 1, 4 or 8"),
        ({"format": "bioimageio", "licence": "MIT"}, "--author"),
        ({"format": "bioimageio"}, "--licence"),
        ({"description": "long " * 300}, "at most"),
    ],
    ids=["format", "views", "author", "licence", "description"],
)
def test_settings_that_cannot_work_are_refused(settings: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ExportConfig(**settings)


def test_torch_formats_need_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime", "bioimageio.core"):
        monkeypatch.setitem(sys.modules, name, None)
    for each in TORCH_FORMATS:
        assert export(a_model(), tmp_path / "m", each)[1].path.exists()


def test_python_exports_in_one_line(tmp_path: Path) -> None:
    seen: list[Any] = []
    model = TrainedModel(a_model())
    result = nu.export_model(model, tmp_path / "m.pt", "torchscript", on_event=seen.append)
    again = model.export(tmp_path / "n.pt", "torchscript", image=blobs(120, 120))
    assert len(seen) == 2
    assert result.path.exists()
    assert again.path.exists()


def test_exporting_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    model = a_model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    export(model, tmp_path / "m", QUICK)
    after = model.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
