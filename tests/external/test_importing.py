"""Models of other programs predict here what they predict there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import napari_unet as nu
from napari_unet.data.frames import mirrored_positions
from napari_unet.errors import ModelFileError, ModelMismatchError
from napari_unet.external.importing import import_model
from napari_unet.model.config import UNetConfig
from napari_unet.model.trained import TrainedNetwork, save_network
from napari_unet.objects.separation import separate_objects
from napari_unet.run import Run
from napari_unet.tasks import ClassTable

from .networks import EncoderBaseDecoder, EncodersDecoders, IncDownUpOutc, with_weights
from .packages import (
    SIGMOID,
    description,
    exported_bytes,
    onnx_bytes,
    package_files,
    picture,
    scaled,
    state_bytes,
    write_zip,
)

Array = Any
MARGIN = 64  # more than any of these networks sees


def taken_in(path: Path) -> tuple[TrainedNetwork, str]:
    run = Run(import_model(path))
    assert all(event.endswith("…") for event in run)
    return run.result


def model_of(path: Path) -> nu.TrainedModel:
    return nu.TrainedModel(taken_in(path)[0])


@torch.no_grad()
def direct(network: nn.Module, image: Array, margin: int = MARGIN) -> Array:
    """The network's own answer to the whole image, mirrored far beyond its borders."""
    normal = scaled(image)[0, 0].numpy()
    for axis, size in enumerate(image.shape):
        more = -size % 16  # what is pooled must be even
        positions = mirrored_positions(-margin, size + margin + more, size)
        normal = normal.take(positions, axis=axis)
    answer = network(torch.from_numpy(normal)[None, None])[0].numpy()
    inside = tuple(slice(margin, margin + size) for size in image.shape)
    return answer[(slice(None), *inside)]


def sigmoid(scores: Array) -> Array:
    return 1 / (1 + np.exp(-scores))


def text_with(kind: str, source: str, ndim: int = 2, **kwargs: Any) -> dict[str, Any]:
    return description(ndim, weights={kind: {"source": source, "kwargs": kwargs}})


# --- the same numbers ----------------------------------------------------------------------------

PLANE, VOLUME = (150, 133), (20, 40, 36)
STYLES: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "inc-down-up": lambda: (IncDownUpOutc(), 2),
    "encoder-base-decoder": lambda: (EncoderBaseDecoder(1), 2),
    "encoder-base-decoder-3d": lambda: (EncoderBaseDecoder(1, ndim=3), 3),
    "encoders-decoders-cr": lambda: (EncodersDecoders("cr"), 3),
    "encoders-decoders-cbr": lambda: (EncodersDecoders("cbr", ndim=2), 2),
}


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("tile_size", [None, 32], ids=["whole", "tiled"])
def test_a_state_dict_predicts_what_its_own_network_does(
    tmp_path: Path, style: str, tile_size: int | None
) -> None:
    network, ndim = STYLES[style]()
    network = with_weights(network)
    model = model_of(write_zip(tmp_path / "their.zip", package_files(network, ndim=ndim,
                     text=description(ndim))))  # fmt: skip
    image = picture(*(PLANE if ndim == 2 else VOLUME), seed=1)
    expected = sigmoid(direct(network, image, 64 if ndim == 2 else 32)[0])

    found = model.predict(image, "probabilities", tile_size=tile_size, device="cpu")

    np.testing.assert_allclose(found[1], expected, atol=1e-4)


@pytest.mark.parametrize(
    "written",
    [onnx_bytes, pytest.param(exported_bytes, marks=pytest.mark.slow)],
    ids=["by-hand", "by-pytorch"],
)
def test_an_onnx_graph_predicts_what_its_own_network_does_tiled_and_whole(
    tmp_path: Path, written: Callable[[], bytes]
) -> None:
    network = with_weights(EncoderBaseDecoder(1))
    weights = {"weights.onnx": written()}
    files = package_files(network, text_with("onnx", "weights.onnx"), weights=weights)
    model = model_of(write_zip(tmp_path / "their.zip", files))
    image = picture(*PLANE, seed=1)
    expected = sigmoid(direct(network, image)[0])

    whole = model.predict(image, "probabilities", device="cpu")
    tiled = model.predict(image, "probabilities", tile_size=48, device="cpu")

    np.testing.assert_allclose(whole[1], expected, atol=1e-4)
    np.testing.assert_allclose(tiled[1], expected, atol=1e-4)
    steps = np.rint(expected * 255).astype(np.uint8)
    labels = model.predict(image, tile_size=48, device="cpu")
    np.testing.assert_array_equal(labels, separate_objects(steps, 0, 0.5, 1))


def test_a_graph_of_fixed_size_predicts_an_image_of_any_size(tmp_path: Path) -> None:
    network = with_weights(EncoderBaseDecoder(1))
    text = text_with("onnx", "weights.onnx")
    text["inputs"][0]["shape"] = [1, 1, 64, 64]
    weights = {"weights.onnx": onnx_bytes(size=64)}
    files = package_files(network, text, weights=weights, shape=(64, 64))
    model = model_of(write_zip(tmp_path / "their.zip", files))
    image = picture(*PLANE, seed=1)

    whole = model.predict(image, "probabilities", device="cpu")
    tiled = model.predict(image, "probabilities", tile_size=32, device="cpu")

    np.testing.assert_array_equal(whole, tiled)
    # its windows of 64 pixels see a little less than the network could
    assert np.abs(whole[1] - sigmoid(direct(network, image)[0])).mean() < 0.02


def test_eight_views_of_a_graph_are_averaged(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_bytes())
    model = model_of(tmp_path / "net.onnx")
    image = picture(64, 64)

    upright = model.predict(image, "probabilities", views=8, device="cpu")
    turned = model.predict(np.rot90(image).copy(), "probabilities", views=8, device="cpu")

    np.testing.assert_allclose(np.rot90(upright, axes=(1, 2)), turned, atol=1e-5)


# --- what it becomes -----------------------------------------------------------------------------


def test_a_network_that_is_ours_becomes_one_of_ours(tmp_path: Path) -> None:
    network = with_weights(IncDownUpOutc())
    trained = taken_in(write_zip(tmp_path / "their.zip", package_files(network)))[0]

    assert trained.record.external is None
    assert trained.record.network == UNetConfig(
        base_channels=4, depth=2, padding="same", normalization="batch"
    )


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_bytes())
    model = model_of(tmp_path / "net.onnx")
    image = picture(40, 50)

    model.save(tmp_path / "net.safetensors")
    again = nu.load_model(tmp_path / "net.safetensors")

    assert again.record == model.record
    np.testing.assert_array_equal(again.predict(image), model.predict(image))


def test_load_model_takes_a_package_as_it_is(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "their.zip", package_files(with_weights(IncDownUpOutc())))
    assert nu.load_model(path).predict(picture(40, 50)).shape == (40, 50)


def test_an_unpacked_package_is_read_by_its_description(tmp_path: Path) -> None:
    for name, content in package_files(with_weights(IncDownUpOutc())).items():
        (tmp_path / name).write_bytes(content)

    by_folder, by_file = taken_in(tmp_path)[0], taken_in(tmp_path / "rdf.yaml")[0]

    assert by_folder.record.network == by_file.record.network


def test_a_package_inside_of_a_folder_of_its_zip_is_found(tmp_path: Path) -> None:
    files = package_files(with_weights(IncDownUpOutc()))
    path = write_zip(tmp_path / "a.zip", {f"their/{name}": each for name, each in files.items()})
    assert taken_in(path)[1] == "Their model"


def test_three_exclusive_maps_become_classes(tmp_path: Path) -> None:
    network = with_weights(EncoderBaseDecoder(3))
    text = description()
    text["outputs"][0]["postprocessing"] = [{"name": "softmax", "kwargs": {}}]
    files = package_files(network, text, after=lambda scores: scores.softmax(dim=1))

    trained = taken_in(write_zip(tmp_path / "their.zip", files))[0]

    assert trained.record.classes == ClassTable("classes", "background", (0, 1, 2))


def test_maps_that_do_not_exclude_each_other_are_overlapping_classes(tmp_path: Path) -> None:
    network = with_weights(EncoderBaseDecoder(3))
    model = model_of(write_zip(tmp_path / "their.zip", package_files(network)))
    image = picture(*PLANE, seed=1)
    maps = sigmoid(direct(network, image))

    found = model.predict(image, device="cpu")

    sure = np.abs(maps - 0.5) > 1e-4
    np.testing.assert_array_equal(found[sure], (maps > 0.5)[sure])


def text_05(*names: str) -> dict[str, Any]:
    space = [{"type": "space", "id": axis, "size": {"min": 16, "step": 16}} for axis in "yx"]
    answered = [
        {"type": "space", "id": axis, "halo": 8, "size": {"tensor_id": "raw", "axis_id": axis}}
        for axis in "yx"
    ]
    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": "Newer",
        "inputs": [
            {
                "id": "raw",
                "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["grey"]}, *space],
                "test_tensor": {"source": "test_input.npy"},
                "preprocessing": [
                    {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
                    {
                        "id": "scale_range",
                        "kwargs": {
                            "axes": ["y", "x"],
                            "min_percentile": 1.0,
                            "max_percentile": 99.0,
                        },
                    },
                ],
            }
        ],
        "outputs": [
            {
                "id": "maps",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": list(names)},
                    *answered,
                ],
                "test_tensor": {"source": "test_output.npy"},
                "postprocessing": [{"id": "sigmoid"}],
            }
        ],
        "weights": {
            "pytorch_state_dict": {
                "source": "weights.pt",
                "architecture": {"callable": "UNet", "source": "net.py", "kwargs": {}},
            }
        },
    }


def test_objects_and_their_outlines_become_objects(tmp_path: Path) -> None:
    network = with_weights(EncoderBaseDecoder(2))
    files = package_files(network, text_05("nuclei", "boundary"))
    model = model_of(write_zip(tmp_path / "their.zip", files))
    image = picture(*PLANE, seed=1)
    objects, outlines = sigmoid(direct(network, image))

    found = model.predict(image, "probabilities", device="cpu")

    assert model.record.classes.kind == "objects"
    np.testing.assert_allclose(found[1], np.clip(objects - outlines, 0, 1), atol=1e-4)


def test_the_name_of_a_program_in_a_package_is_never_opened(tmp_path: Path) -> None:
    files = package_files(with_weights(EncoderBaseDecoder(1)), text_05("cells"))
    files["net.py"] = b"raise SystemExit('it was run')"
    assert taken_in(write_zip(tmp_path / "their.zip", files))[1] == "Newer"


def test_a_threshold_is_taken_over(tmp_path: Path) -> None:
    network = with_weights(EncoderBaseDecoder(1))
    text = description()
    text["outputs"][0]["postprocessing"] = [
        SIGMOID, {"name": "binarize", "kwargs": {"threshold": 0.7}}]  # fmt: skip
    files = package_files(network, text, after=lambda scores: (scores.sigmoid() > 0.7).float())
    assert taken_in(write_zip(tmp_path / "a.zip", files))[0].record.threshold == 0.7


# --- what is refused -----------------------------------------------------------------------------


def refused(path: Path, words: str) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        taken_in(path)
    assert len(str(caught.value)) < 700


def test_weights_that_do_not_answer_as_the_package_says_are_refused_with_the_figure(
    tmp_path: Path,
) -> None:
    files = package_files(with_weights(IncDownUpOutc()))
    files["weights.pt"] = state_bytes(with_weights(IncDownUpOutc(), seed=1))
    refused(write_zip(tmp_path / "a.zip", files), r"differs by up to 0\.\d+ .*ONNX")


def test_a_graph_that_does_not_answer_as_the_package_says_is_refused(tmp_path: Path) -> None:
    other = onnx_bytes(seed=1)
    network = with_weights(EncoderBaseDecoder(1))
    files = package_files(network, text_with("onnx", "a.onnx"), weights={"a.onnx": other})
    refused(write_zip(tmp_path / "a.zip", files), "differs from the test output by up to")


def test_weights_of_an_unknown_network_name_the_remedy(tmp_path: Path) -> None:
    strange = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1))
    files = package_files(strange)
    refused(write_zip(tmp_path / "a.zip", files), "no U-Net that is known here .*torch.onnx.export")


def test_torchscript_is_a_program_and_not_run(tmp_path: Path) -> None:
    files = package_files(with_weights(IncDownUpOutc()), text_with("torchscript", "weights.pt"))
    refused(write_zip(tmp_path / "a.zip", files), "TorchScript, which is a program")


def test_torchscript_called_a_state_dict_is_not_run_either(tmp_path: Path) -> None:
    network = with_weights(IncDownUpOutc())
    files = package_files(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network, torch.zeros(1, 1, 32, 32)).save(tmp_path / "script.pt")  # type: ignore[no-untyped-call]
    files["weights.pt"] = (tmp_path / "script.pt").read_bytes()
    refused(write_zip(tmp_path / "a.zip", files), "TorchScript, which is a program")


@pytest.mark.parametrize(
    ("where", "operation", "words"),
    [
        ("inputs", {"name": "per_tile_magic", "kwargs": {}}, "'per_tile_magic' cannot be done"),
        (
            "inputs",
            {"name": "scale_range", "kwargs": {"mode": "per_dataset", "axes": "yx"}},
            "per_dataset",
        ),
        (
            "inputs",
            {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "x"}},
            "only whole images",
        ),
        ("outputs", {"name": "scale_mean_variance", "kwargs": {}}, "'scale_mean_variance'"),
    ],
    ids=["unknown", "of-a-data-set", "per-row", "afterwards"],
)
def test_an_operation_that_is_not_known_is_refused_by_name(
    tmp_path: Path, where: str, operation: dict[str, Any], words: str
) -> None:
    text = description()
    kind = "preprocessing" if where == "inputs" else "postprocessing"
    text[where][0][kind] = [operation]
    refused(
        write_zip(tmp_path / "a.zip", package_files(with_weights(IncDownUpOutc()), text)), words
    )


def test_weights_by_address_are_not_fetched(tmp_path: Path) -> None:
    text = text_with("pytorch_state_dict", "https://example.org/weights.pt")
    files = package_files(with_weights(IncDownUpOutc()), text)
    refused(write_zip(tmp_path / "a.zip", files), "nothing is fetched .*Download the whole package")


def test_a_changed_file_is_noticed_by_its_hash(tmp_path: Path) -> None:
    text = description(weights={"pytorch_state_dict": {"source": "weights.pt", "sha256": "0" * 64}})
    files = package_files(with_weights(IncDownUpOutc()), text)
    refused(write_zip(tmp_path / "a.zip", files), "checksum differs")


def test_distances_are_no_probabilities(tmp_path: Path) -> None:
    network = with_weights(EncoderBaseDecoder(3))
    text = description(tags=["stardist"], weights={"onnx": {"source": "a.onnx"}})
    text["outputs"][0]["postprocessing"] = []
    weights = {"a.onnx": onnx_bytes(classes=3)}
    files = package_files(network, text, weights=weights, after=lambda scores: scores)
    refused(write_zip(tmp_path / "a.zip", files), "stardist.*no probabilities")


def test_it_cannot_be_trained_further_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(onnx_bytes())
    trained = taken_in(tmp_path / "net.onnx")[0]
    save_network(trained, tmp_path / "net.safetensors")

    assert not trained.record.can_learn
    with pytest.raises(ModelMismatchError, match="cannot be trained further"):
        _ = trained.unet


def test_a_description_that_repeats_itself_endlessly_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = write_zip(tmp_path / "a.zip", {"rdf.yaml": "\n".join(lines).encode()})
    refused(path, "repeats itself endlessly")


def test_a_description_with_merge_keys_is_refused_before_they_are_filled_in(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 4)]
    path = write_zip(tmp_path / "a.zip", {"rdf.yaml": "\n".join(lines).encode()})
    refused(path, "merge keys .<<., which are not read")


def test_a_description_with_tags_of_python_builds_no_objects(tmp_path: Path) -> None:
    text = b"type: model\nx: !!python/object/apply:os.getcwd []\n"
    refused(write_zip(tmp_path / "a.zip", {"rdf.yaml": text}), "rdf.yaml cannot be read")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"type: application", b"type: model\nformat_version: 0.3.2",
     b"type: model\nformat_version: 0.5.3\ninputs: 3",
     yaml.safe_dump(description(outputs=[])).encode()],
    ids=["empty", "list", "no-model", "old", "nonsense", "no-output"],
)  # fmt: skip
def test_a_description_of_nothing_usable_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ModelFileError):
        taken_in(write_zip(tmp_path / "a.zip", {"rdf.yaml": content}))
