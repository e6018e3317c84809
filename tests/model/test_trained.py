from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_unet.errors import ConfigError, FileProblemError, ModelFileError
from napari_unet.model.config import UNetConfig
from napari_unet.model.record import (
    ModelRecord,
    TrainingImageRecord,
    record_from_json,
    record_to_json,
)
from napari_unet.model.trained import (
    TrainedNetwork,
    build_network,
    load_network,
    read_tensors,
    save_compact_network,
    save_network,
    write_tensors,
)
from napari_unet.model.unet import UNet
from napari_unet.tasks import ClassTable

CONFIG = UNetConfig(out_channels=3, base_channels=2, depth=2, normalization="batch")
RECORD = ModelRecord(
    network=CONFIG,
    classes=ClassTable("classes", "unlabelled", (1, 2, 7)),
    smallest_object=4,
    training={"seed": 1},
    history=[{"step": 5, "iou": 0.5, "object_f1": None}],
    images=(TrainingImageRecord("a.tif", (10, 12), "aa", "bb"),),
    versions={"torch": "2.13"},
    created="2026-11-21T10:00:00+00:00",
    steps=5,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_network(TrainedNetwork(UNet(CONFIG).eval(), RECORD), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_the_record_comes_back_as_it_was(path: Path) -> None:
    assert load_network(path).record == RECORD


def test_the_network_comes_back_in_evaluation_mode(path: Path) -> None:
    assert not load_network(path).unet.training


def test_a_loaded_network_answers_as_the_saved_one(tmp_path: Path) -> None:
    network = UNet(CONFIG).eval()
    save_network(TrainedNetwork(network, RECORD), tmp_path / "m.safetensors")
    image = torch.rand(1, 1, 44, 44)

    with torch.inference_mode():
        answer = load_network(tmp_path / "m.safetensors").unet(image)
        assert torch.equal(answer, network(image))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"format_version": 99}, "Update napari-unet-paint", id="newer format"),
        pytest.param({"arch": "os.system"}, "does not fit", id="unknown field"),
        pytest.param({"steps": "many"}, "does not fit", id="wrong type"),
        pytest.param({"network": {"depth": 10**9}}, "depth", id="absurd network"),
        pytest.param({"network": {"base_channels": 1024, "depth": 7}}, "weights", id="huge"),
        pytest.param({"classes": {"kind": "classes", "unpainted": "x"}}, "fit", id="bad table"),
    ],
)
def test_metadata_that_do_not_fit_are_refused_in_one_line(
    path: Path, changes: dict[str, Any], text: str
) -> None:
    tensors, content = read_tensors(path)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(content.get(key), dict)
        content[key] = {**content[key], **value} if both else value
    write_tensors(path, tensors, content)

    with pytest.raises(ModelFileError, match=text) as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused(path: Path) -> None:
    tensors, content = read_tensors(path)
    tensors["output.bias"] = torch.zeros(9)
    write_tensors(path, tensors, content)

    with pytest.raises(ModelFileError, match=r"output\.bias"):
        load_network(path)


def test_a_table_with_other_classes_than_the_network_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 classes"):
        ModelRecord(network=CONFIG, classes=ClassTable("objects", "unlabelled"))


def changed_file(path: Path, **changes: Any) -> str:
    """Change fields of the record in a model file; return why it is refused."""
    tensors, content = read_tensors(path)
    write_tensors(path, tensors, {**content, **changes})
    with pytest.raises(ModelFileError) as caught:
        load_network(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a model.safetensors", "Zellkerne größer 細胞.safetensors"])
def test_a_path_of_any_letters_is_taken(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mit Leerzeichen é"
    folder.mkdir()
    save_network(TrainedNetwork(UNet(CONFIG).eval(), RECORD), folder / name)
    assert load_network(folder / name).record == RECORD


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"normalization": "none"}, id="plain"),
        pytest.param({"ndim": 3}, id="3D"),
        pytest.param({"in_channels": 10, "padding": "same"}, id="ten bands, padded"),
        pytest.param({"dropout": 0.5}, id="dropout"),
        pytest.param({"ndim": 3, "flat_levels": 1}, id="3D, flat levels"),
        pytest.param({"window": 3}, id="three timepoints"),
    ],
)
def test_every_weight_comes_back_bit_by_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    config = replace(CONFIG, **changes)
    network = UNet(config)
    record = replace(RECORD, network=config)
    save_network(TrainedNetwork(network, record), tmp_path / "m.safetensors")
    found = load_network(tmp_path / "m.safetensors").network.state_dict()
    assert found.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_a_loaded_network_goes_on_learning(path: Path) -> None:
    network = load_network(path).unet.train()
    network(torch.rand(2, 1, 48, 48)).square().sum().backward()
    assert network.get_parameter("output.bias").grad is not None


def test_a_record_survives_json() -> None:
    assert record_from_json(record_to_json(RECORD), "x") == RECORD


def test_a_file_from_before_there_were_volumes_is_read_as_before() -> None:
    content = record_to_json(RECORD)
    del content["pixel_size"], content["used_channels"]
    del content["network"]["flat_levels"], content["network"]["window"]
    assert record_from_json(content, "x") == RECORD


@pytest.mark.parametrize("size", [float("nan"), float("inf")])
def test_a_pixel_size_that_is_no_length_is_refused(size: float) -> None:
    with pytest.raises(ModelFileError, match="pixel_size"):
        record_from_json({**record_to_json(RECORD), "pixel_size": {"Y": size}}, "x")


@pytest.mark.parametrize("binning", [0.2, 9, float("nan"), "2", True])
def test_a_binning_that_no_training_chooses_is_refused(binning: Any) -> None:
    with pytest.raises(ModelFileError, match="binning"):
        record_from_json({**record_to_json(RECORD), "binning": binning}, "x")


def test_a_record_of_before_is_read() -> None:
    content = {**record_to_json(RECORD), "binning": 3}  # a whole number, and no size of cells
    del content["cell_size"]
    read = record_from_json(content, "x")
    assert (read.binning, read.cell_size) == (3, 0)


@pytest.mark.parametrize(("start", "known"), [("cells", "cells"), ("random", "")])
def test_a_record_of_before_began_with_what_its_settings_ask_for(start: str, known: str) -> None:
    content = record_to_json(replace(RECORD, training={"start": start}))
    del content["starting_model"]
    assert record_from_json(content, "x").starting_model == known


def test_a_record_of_before_whose_settings_do_not_tell_began_with_random_weights() -> None:
    content = record_to_json(RECORD)
    del content["starting_model"]
    assert record_from_json(content, "x").starting_model == ""


def test_pixel_size_and_channels_come_back() -> None:
    record = replace(RECORD, pixel_size={"Z": 1.5, "Y": 0.2, "X": 0.2}, used_channels=(3,))
    assert record_from_json(json.loads(json.dumps(record_to_json(record))), "x") == record


@pytest.mark.parametrize("field", ["network", "classes", "format_version"])
def test_a_record_without_a_needed_field_is_refused(field: str) -> None:
    content = record_to_json(RECORD)
    del content[field]
    with pytest.raises(ModelFileError, match=r"^my file\.x has "):
        record_from_json(content, "my file.x")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"network": None}, id="network null"),
        pytest.param({"network": []}, id="network list"),
        pytest.param({"classes": "objects"}, id="classes text"),
        pytest.param({"steps": 1.5}, id="steps fraction"),
        pytest.param({"steps": "5"}, id="steps text"),
        pytest.param({"steps": True}, id="steps boolean"),
        pytest.param({"created": 5}, id="created number"),
        pytest.param({"training": []}, id="training list"),
        pytest.param({"history": {}}, id="history table"),
        pytest.param({"history": [{"iou": "good"}]}, id="history text"),
        pytest.param({"images": [{"name": "a"}]}, id="image without shape"),
        pytest.param({"versions": {"torch": 2}}, id="version number"),
        pytest.param({"format_version": 1.0}, id="format fraction"),
        pytest.param({"format_version": True}, id="format boolean"),
        pytest.param({"format_version": None}, id="format null"),
        pytest.param({"format_version": 2}, id="next format"),
        pytest.param({"a\nb": 1}, id="field with a line break"),
        pytest.param({"pixel_size": {"Z": 0.0}}, id="pixel size zero"),
        pytest.param({"pixel_size": {"Z": -1.0}}, id="pixel size negative"),
        pytest.param({"pixel_size": {"T": 1.0}}, id="pixel size along time"),
        pytest.param({"pixel_size": {"Y": "1"}}, id="pixel size text"),
        pytest.param({"used_channels": [0, 1]}, id="more channels than the network sees"),
        pytest.param({"used_channels": [-1]}, id="channel negative"),
        pytest.param({"used_channels": [0.0]}, id="channel fraction"),
        pytest.param({"used_channels": 0}, id="channels number"),
        pytest.param(
            {"intensity": {"low_percentile": 90.0, "high_percentile": 10.0}}, id="percentiles"
        ),
        pytest.param(
            {"classes": {"kind": "classes", "unpainted": "unlabelled", "painted": [7, 2, 1]}},
            id="classes not ascending",
        ),
        pytest.param(
            {"classes": {"kind": "objects", "unpainted": "unlabelled", "painted": []}},
            id="classes fewer than channels",
        ),
    ],
)
def test_a_field_of_a_wrong_type_or_range_is_refused_in_one_line(
    path: Path, changes: dict[str, Any]
) -> None:
    assert "\n" not in changed_file(path, **changes)


@pytest.mark.parametrize("part", ["network", "classes", "intensity"])
def test_an_unknown_field_in_a_part_is_refused(path: Path, part: str) -> None:
    content = read_tensors(path)[1][part]
    assert "attention" in changed_file(path, **{part: {**content, "attention": True}})


@pytest.mark.parametrize(
    "changes",
    [
        {"depth": "2"},
        {"depth": True},
        {"depth": 2.5},
        {"padding": "mirror"},
        {"flat_levels": 1},
        {"flat_levels": -1},
        {"window": 2},
        {"window": 10**9 + 1},
        {"window": True},
    ],
    ids=str,
)
def test_a_network_of_a_wrong_type_is_refused(path: Path, changes: dict[str, Any]) -> None:
    network = read_tensors(path)[1]["network"]
    assert "metadata that does not fit" in changed_file(path, network={**network, **changes})


def test_a_newer_format_is_told_with_both_versions(path: Path) -> None:
    assert "format 99; this version reads 1" in changed_file(path, format_version=99)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"base_channels": 4}, id="wider"),
        pytest.param({"depth": 3}, id="deeper"),
        pytest.param({"ndim": 3}, id="3D"),
        pytest.param({"normalization": "none"}, id="without BatchNorm"),
        pytest.param({"in_channels": 4}, id="more bands"),
    ],
)
def test_weights_of_another_network_are_refused(path: Path, changes: dict[str, Any]) -> None:
    network = read_tensors(path)[1]["network"]
    message = changed_file(path, network={**network, **changes})
    assert "are not those of the network" in message
    assert "first difference: contracting." in message


@pytest.mark.parametrize("change", ["missing", "added"])
def test_one_weight_too_few_or_too_many_is_named(path: Path, change: str) -> None:
    tensors, content = read_tensors(path)
    if change == "missing":
        del tensors["output.bias"]
    else:
        tensors["backdoor"] = torch.zeros(1)
    write_tensors(path, tensors, content)
    with pytest.raises(ModelFileError, match=r"output\.bias|backdoor"):
        load_network(path)


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.bool, torch.float16, torch.float64, torch.complex64], ids=str
)
def test_weights_of_another_type_are_refused(dtype: torch.dtype) -> None:
    tensors = UNet(CONFIG).state_dict()
    tensors["output.bias"] = tensors["output.bias"].to(dtype)
    with pytest.raises(ModelFileError, match=r"output\.bias"):
        build_network(CONFIG, tensors, "x")


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_field_is_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    json = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=6,
    )
    content = record_to_json(RECORD)
    content[data.draw(st.sampled_from(sorted(content)) | st.text(max_size=4))] = data.draw(json)
    try:
        record_from_json(content, "x")
    except ModelFileError as error:
        assert "\n" not in str(error)  # noqa: PT017


def test_a_compact_file_comes_back_as_float32_rounded_once(tmp_path: Path) -> None:
    network = UNet(CONFIG).eval()
    save_compact_network(TrainedNetwork(network, RECORD), tmp_path / "c.safetensors")
    loaded = load_network(tmp_path / "c.safetensors").network.state_dict()
    for name, tensor in network.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded[name], rounded)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16], ids=str)
def test_a_file_of_mixed_number_formats_is_refused(path: Path, dtype: torch.dtype) -> None:
    tensors, content = read_tensors(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    write_tensors(path, {**tensors, name: tensors[name].to(dtype)}, content)
    with pytest.raises(ModelFileError, match="holds float32 or float16"):
        load_network(path)


def broken_model(value: float) -> TrainedNetwork:
    network = UNet(CONFIG).eval()
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] = value
    return TrainedNetwork(network, RECORD)


@pytest.mark.fault(13)
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["NaN", "infinite"])
@pytest.mark.parametrize("save", [save_network, save_compact_network], ids=["whole", "compact"])
def test_weights_that_are_not_finite_never_replace_a_good_file(
    path: Path, save: Any, value: float
) -> None:
    before = path.read_bytes()
    with pytest.raises(FileProblemError) as caught:
        save(broken_model(value), path)
    assert str(caught.value).startswith(
        "m.safetensors was not written, what was there is kept: weights of the network "
        "(contracting.0.0.weight) are not finite."
    )
    assert path.read_bytes() == before


@pytest.mark.fault(13)
def test_weights_that_overflow_float16_are_not_written_compactly(path: Path) -> None:
    with pytest.raises(FileProblemError, match="are not finite"):
        save_compact_network(broken_model(1e6), path)


@pytest.mark.fault(13)
def test_a_file_with_weights_that_are_not_finite_is_refused(path: Path) -> None:
    _, content = read_tensors(path)
    write_tensors(path, broken_model(float("nan")).network.state_dict(), content)
    with pytest.raises(ModelFileError, match=r"contracting\.0\.0\.weight.* are not finite"):
        load_network(path)
