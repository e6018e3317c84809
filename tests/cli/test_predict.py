"""`napari-unet predict`: results under the inputs' names; what fails is told, the rest goes on."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import save_file

from napari_unet.api.model import load_model, starting_model
from napari_unet.cli.predict import PredictionBar
from napari_unet.data.axes import Region
from napari_unet.data.frames import Frame
from napari_unet.model.config import UNetConfig
from napari_unet.model.execution import Runner
from napari_unet.model.record import ModelRecord
from napari_unet.model.trained import TrainedNetwork, save_network
from napari_unet.model.unet import UNet
from napari_unet.prediction.files import FileFormat, FileStarted, earlier_results
from napari_unet.prediction.proposals import SIZES
from napari_unet.prediction.results import PredictionProgress, PredictionStarted
from napari_unet.tasks import ClassTable

from .builders import picture, run, write_images

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
IMAGE, LABELS = picture()
CPU = ["--device", "cpu"]


def untrained(path: Path, ndim: Literal[2, 3] = 2) -> Path:
    """Write a model that keeps objects of any size."""
    network = UNetConfig(ndim=ndim, base_channels=2, depth=1, padding="same")
    record = ModelRecord(network, ClassTable("objects", "background"))
    save_network(TrainedNetwork(UNet(network), record), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two images."""
    return write_images(tmp_path / "images", one=IMAGE, two=IMAGE[:30])


# --- results -----------------------------------------------------------------------------------


def test_results_lie_under_the_names_of_the_inputs(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    assert run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU).code == 0
    assert sorted(path.name for path in (tmp_path / "o").glob("*.tif")) == ["one.tif", "two.tif"]


def test_results_are_those_of_the_python_interface(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU)
    expected = load_model(model).predict(IMAGE, device="cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "one.tif"), expected)


def test_a_starting_model_is_called_by_its_name(
    capsys: Capture, images: Path, tmp_path: Path
) -> None:
    run(capsys, "predict", "cells", images, "--output", tmp_path / "o", *CPU)
    expected = starting_model("cells").predict(IMAGE, device="cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "one.tif"), expected)


def test_an_unknown_starting_model_is_answered_with_the_known_ones(
    capsys: Capture, images: Path, tmp_path: Path
) -> None:
    outcome = run(capsys, "predict", "nuclei", images, "--output", tmp_path / "o", *CPU)
    assert outcome.code == 1
    assert outcome.error_line.endswith("no model file nuclei; bundled starting models: cells.")


def test_a_cell_size_is_that_of_the_python_interface(
    capsys: Capture, images: Path, tmp_path: Path
) -> None:
    arguments = ["cells", images, "--output", tmp_path / "o", *CPU, "--cell-size", "12"]
    outcome = run(capsys, "predict", *arguments)
    assert "Cells of 12 pixels are seen as large as the model expects them" in outcome.err
    expected = starting_model("cells").predict(IMAGE, device="cpu", cell_size=12)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "one.tif"), expected)


def test_cell_size_auto_is_the_size_at_which_cells_are_found_best(
    capsys: Capture, images: Path, tmp_path: Path
) -> None:
    arguments = ["cells", images, "--output", tmp_path / "o", *CPU, "--cell-size", "auto"]
    outcome = run(capsys, "predict", *arguments)
    size = float(outcome.err.split("Cells are about ")[1].split()[0])
    model = starting_model("cells")
    named = model.predict(
        IMAGE, device="cpu", cell_size=next(s for s in SIZES if round(s, 1) == size)
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "one.tif"), named)
    np.testing.assert_array_equal(model.predict(IMAGE, device="cpu", cell_size="auto"), named)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        ("large", "cell_size is 'large'; give a number of pixels, or auto."),
        (-1, "cell_size is -1.0; choose 0 or more pixels"),
        ("inf", "cell_size is inf; choose 0 or more pixels"),
        (1, "cell_size is 1, the model learned from cells of 30 pixels; choose 1.5 to 600"),
        (5000, "cell_size is 5000, the model learned from cells of 30 pixels; choose 1.5 to 600"),
    ],
)
def test_a_cell_size_out_of_range_is_wrong_use(
    capsys: Capture, images: Path, tmp_path: Path, size: object, text: str
) -> None:
    arguments = ["cells", images, "--output", tmp_path / "o", *CPU, "--cell-size", size]
    outcome = run(capsys, "predict", *arguments)
    assert outcome.code == 2
    assert text in outcome.error_line


def test_a_model_that_knows_no_size_of_cells_refuses_one(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    arguments = [model, images, "--output", tmp_path / "o", *CPU, "--cell-size", "12"]
    outcome = run(capsys, "predict", *arguments)
    assert outcome.code == 1
    assert "the model does not know how large the cells are" in outcome.error_line


def test_a_starting_model_predicts_a_colour_image(capsys: Capture, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", np.zeros((40, 44, 3), np.uint8), photometric="rgb")
    outcome = run(capsys, "predict", "cells", tmp_path / "i.tif", "--output", tmp_path / "o", *CPU)
    assert outcome.code == 0
    assert tifffile.imread(tmp_path / "o" / "i.tif").shape == (40, 44)


def test_a_file_of_the_name_of_a_starting_model_is_what_is_meant(
    capsys: Capture,
    model: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(model, tmp_path / "cells")
    monkeypatch.chdir(tmp_path)
    run(capsys, "predict", "cells", images, "--output", tmp_path / "o", *CPU)
    expected = load_model(model).predict(IMAGE, device="cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "one.tif"), expected)


def test_results_say_their_axes(capsys: Capture, model: Path, images: Path, tmp_path: Path) -> None:
    arguments = ["predict", model, images, "--output", tmp_path / "o", *CPU]
    run(capsys, *arguments, "--result", "probabilities")
    with tifffile.TiffFile(tmp_path / "o" / "one.tif") as file:
        assert (file.series[0].axes, file.series[0].shape) == ("CYX", (2, 48, 48))


def test_inputs_are_left_alone(capsys: Capture, model: Path, images: Path, tmp_path: Path) -> None:
    before = (images / "one.tif").read_bytes()
    run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU)
    assert (images / "one.tif").read_bytes() == before


def test_pictures_and_arrays_become_tiffs(capsys: Capture, model: Path, tmp_path: Path) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", IMAGE)
    inputs = [tmp_path / "a.png", tmp_path / "b.npy"]
    run(capsys, "predict", model, *inputs, "--output", tmp_path / "o", *CPU)
    first, second = (tifffile.imread(tmp_path / "o" / f"{name}.tif") for name in "ab")
    np.testing.assert_array_equal(first, second)


def test_globs_are_expanded(capsys: Capture, model: Path, images: Path, tmp_path: Path) -> None:
    run(capsys, "predict", model, images / "t*.tif", "--output", tmp_path / "o", *CPU)
    assert [path.name for path in (tmp_path / "o").glob("*.tif")] == ["two.tif"]


def test_names_may_hold_spaces_and_umlauts(capsys: Capture, model: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "so viele Zäune", **{"Zelle ä 1": IMAGE})
    output = tmp_path / "o ö"
    assert run(capsys, "predict", model, images, "--output", output, *CPU).code == 0
    assert (output / "Zelle ä 1.tif").is_file()


def test_the_tile_size_does_not_show(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    for folder, size in (("small", 12), ("large", 400)):
        arguments = ["predict", model, images, "--output", tmp_path / folder, *CPU]
        run(capsys, *arguments, "--tile-size", size)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "small" / "one.tif"),
        tifffile.imread(tmp_path / "large" / "one.tif"),
    )


def test_named_axes_are_believed(capsys: Capture, model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "film.npy", np.stack([IMAGE] * 3))
    arguments = ["predict", model, tmp_path / "film.npy", "--output", tmp_path / "o", *CPU]
    run(capsys, *arguments, "--axes", "TYX")
    result = tifffile.imread(tmp_path / "o" / "film.tif")
    np.testing.assert_array_equal(result[0] > 0, result[2] > 0)


def test_a_class_model_writes_classes(
    capsys: Capture, class_model: Path, images: Path, tmp_path: Path
) -> None:
    run(capsys, "predict", class_model, images, "--output", tmp_path / "o", *CPU)
    values = np.unique(tifffile.imread(tmp_path / "o" / "one.tif"))
    assert set(values) <= {0, 2, 3, 4, 5}


# --- reports -----------------------------------------------------------------------------------


def test_json_tells_of_each_file(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU, "--json")
    report = json.loads(outcome.out)
    assert outcome.out.count("\n") == 1
    assert report["failed"] == []
    first = report["predictions"][0]
    assert first["input"] == str(images / "one.tif")
    assert first["output"] == str(tmp_path / "o" / "one.tif")
    assert first["objects"] == tifffile.imread(tmp_path / "o" / "one.tif").max()


def test_without_json_the_files_are_counted(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU)
    assert outcome.out.startswith("2 of 2 predicted")


# --- what is wrong with an image ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (b"no image", "Cannot read"),
        (b"", "Cannot read"),
    ],
    ids=["text", "empty file"],
)
def test_after_a_bad_file_the_others_are_predicted(
    capsys: Capture, model: Path, images: Path, tmp_path: Path, bad: bytes, text: str
) -> None:
    (images / "bad.tif").write_bytes(bad)
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU, "--json")
    report = json.loads(outcome.out)
    assert outcome.code == 1
    assert outcome.error_line.startswith("napari-unet: bad.tif: ")
    assert text in outcome.error_line
    assert len(report["predictions"]) == 2
    assert report["failed"][0]["input"] == str(images / "bad.tif")


@pytest.mark.parametrize("compression", ["zlib", "lzw"])
def test_after_a_damaged_compressed_file_the_others_are_predicted(
    capsys: Capture, model: Path, images: Path, tmp_path: Path, compression: str
) -> None:
    tifffile.imwrite(images / "bad.tif", np.tile(IMAGE, (4, 4)), compression=compression)
    with tifffile.TiffFile(images / "bad.tif") as file:
        page = file.pages.first
        middle = page.dataoffsets[0] + page.databytecounts[0] // 2
    content = bytearray((images / "bad.tif").read_bytes())
    content[middle : middle + 64] = b"\xff" * 64
    (images / "bad.tif").write_bytes(bytes(content))
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU, "--json")
    assert outcome.code == 1
    assert len(json.loads(outcome.out)["predictions"]) == 2


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    "dtype", ["u1", "u2", ">u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", ">f4", "f8"]
)
def test_a_tiff_of_any_real_dtype_is_predicted(
    capsys: Capture, model: Path, tmp_path: Path, dtype: str
) -> None:
    levels = (IMAGE // 2).astype(dtype)
    path = tmp_path / "i.tif"
    order: Any = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(path, levels, byteorder=order, photometric="minisblack")
    outcome = run(capsys, "predict", model, path, "--output", tmp_path / "o", *CPU, "--json")
    assert outcome.code == 0, outcome.err
    expected = load_model(model).predict(IMAGE // 2, device="cpu")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o" / "i.tif"), expected)


@pytest.mark.fault(18)
def test_a_complex_tiff_is_one_line(capsys: Capture, model: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", IMAGE.astype("c8"))
    outcome = run(
        capsys, "predict", model, tmp_path / "i.tif", "--output", tmp_path / "o", *CPU, "--json"
    )
    assert outcome.code == 1
    assert "Images of dtype complex64 cannot be used" in outcome.error_line


@pytest.mark.fault(15)
def test_bad_pixels_of_a_file_are_counted(capsys: Capture, model: Path, tmp_path: Path) -> None:
    image = IMAGE.astype(np.float32)
    image[:2, :4] = np.nan
    tifffile.imwrite(tmp_path / "i.tif", image)
    outcome = run(capsys, "predict", model, tmp_path / "i.tif", "--output", tmp_path / "o", *CPU)
    assert outcome.code == 0
    assert "Note: 8 pixels that are not finite were replaced by the median." in outcome.err


@pytest.mark.fault(29)
@pytest.mark.parametrize(("n", "dtype"), [(5, "uint8"), (17, "uint16"), (258, "uint32")])
def test_the_dtype_of_a_tiff_holds_its_objects(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    n: int,
    dtype: str,
) -> None:
    image = np.zeros((n * 3, n * 3), np.float32)
    for row, column in np.ndindex(2, 2):
        image[row::3, column::3] = 1

    def see(self: Runner, pixels: Any, frame: Frame, region: Region) -> Any:
        grey = frame.read(region)[0]
        return np.stack([1 - grey, grey])

    monkeypatch.setattr(Runner, "compute", see)
    tifffile.imwrite(tmp_path / "i.tif", image)
    model = untrained(tmp_path / "m.safetensors")
    run(capsys, "predict", model, tmp_path / "i.tif", "--output", tmp_path / "o", *CPU)
    labels = tifffile.imread(tmp_path / "o" / "i.tif")
    assert (labels.dtype.name, labels.max()) == (dtype, n * n)
    assert len(np.unique(labels)) == n * n + 1


@pytest.mark.fault(22)
def test_transparency_that_is_left_out_is_told(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.stack([IMAGE, IMAGE], axis=-1), "LA").save(tmp_path / "i.png")
    outcome = run(capsys, "predict", model, tmp_path / "i.png", "--output", tmp_path / "o", *CPU)
    assert outcome.code == 0
    assert "Note: Transparency is left out" in outcome.err


@pytest.mark.fault(23)
def test_a_movie_that_is_taken_for_a_stack_is_told(capsys: Capture, tmp_path: Path) -> None:
    model = untrained(tmp_path / "m.safetensors", ndim=3)
    tifffile.imwrite(
        tmp_path / "i.tif", np.stack([IMAGE] * 3), imagej=True, metadata={"axes": "TYX"}
    )
    arguments = [model, tmp_path / "i.tif", "--output", tmp_path / "o", *CPU]
    outcome = run(capsys, "predict", *arguments)
    assert outcome.code == 0
    assert "Note: The file calls its axes TYX; for a 3D network T is taken for Z." in outcome.err
    named = run(capsys, "predict", *arguments, "--axes", "ZYX")
    assert "T is taken for Z" not in named.err


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((0, 9)), "The image is empty"),
        (np.zeros((40, 40, 3), np.uint8), "Model expects 1 channel(s), image has 3"),
        (np.zeros((40, 40), np.complex64), "dtype complex64"),
        (np.zeros(40), "2D network cannot read an image with 1 axes"),
    ],
    ids=["empty", "colour", "complex", "one axis"],
)
def test_an_image_that_does_not_fit_is_one_line(
    capsys: Capture, model: Path, tmp_path: Path, array: Any, text: str
) -> None:
    np.save(tmp_path / "bad.npy", array)
    arguments = ["predict", model, tmp_path / "bad.npy", "--output", tmp_path / "o", *CPU]
    outcome = run(capsys, *arguments, "--json")
    assert outcome.code == 1
    assert text in outcome.error_line
    assert not (tmp_path / "o" / "bad.tif").exists()


def test_objects_of_a_class_model_are_refused(
    capsys: Capture, class_model: Path, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "i", one=IMAGE)
    arguments = ["predict", class_model, images, "--output", tmp_path / "o", *CPU]
    outcome = run(capsys, *arguments, "--result", "objects", "--json")
    assert outcome.code == 1
    assert "cannot separate objects" in outcome.error_line


@pytest.mark.parametrize(
    ("flag", "value"), [("--tile-size", 1), ("--axes", "QX")], ids=["tile size", "axes"]
)
def test_a_setting_that_no_image_can_have_is_wrong_use(
    capsys: Capture, model: Path, images: Path, tmp_path: Path, flag: str, value: object
) -> None:
    arguments = ["predict", model, images, "--output", tmp_path / "o", *CPU]
    outcome = run(capsys, *arguments, flag, value, "--json")
    assert outcome.code == 2
    assert str(value) in outcome.error_line


# --- what is wrong with a path -----------------------------------------------------------------


def test_an_input_is_never_overwritten(capsys: Capture, model: Path, images: Path) -> None:
    before = (images / "one.tif").read_bytes()
    outcome = run(capsys, "predict", model, images, "--output", images, *CPU)
    assert outcome.code == 1
    assert "one.tif would overwrite what is read" in outcome.error_line
    assert (images / "one.tif").read_bytes() == before


def test_an_input_is_not_overwritten_through_a_link(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(images)
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "link", *CPU)
    assert outcome.code == 1
    assert "would overwrite" in outcome.error_line


def test_a_second_run_says_which_results_it_replaces(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o"
    first = run(capsys, "predict", model, images, "--output", output, "--json", *CPU)
    assert "will be replaced" not in first.err
    second = run(capsys, "predict", model, images, "--output", output, "--json", *CPU)
    assert f"Note: {output / 'one.tif'} and 1 more will be replaced; another --o" in second.err


@pytest.mark.parametrize(
    ("file_format", "named"),
    [("tiff", ["one.tif"]), ("zarr", ["two.zarr"]), ("auto", ["one.tif", "two.zarr"])],
)
def test_results_of_an_earlier_run_are_those_of_the_format(
    tmp_path: Path, file_format: FileFormat, named: list[str]
) -> None:
    (tmp_path / "one.tif").touch()
    (tmp_path / "two.zarr").mkdir()
    paths = [tmp_path / "images" / name for name in ("one.tif", "two.tif", "three.tif")]
    assert [each.name for each in earlier_results(paths, tmp_path, file_format)] == named


def test_the_last_line_counts_the_objects(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    shown = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU)
    told = run(capsys, "predict", model, images, "--output", tmp_path / "p", "--json", *CPU)
    objects = sum(row["objects"] for row in json.loads(told.out)["predictions"])
    assert shown.out.endswith(f"Objects found: {objects}.\n")


def test_where_nothing_was_predicted_nothing_is_said_to_be_written(
    capsys: Capture, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "no image.tif").write_bytes(b"no image")
    outcome = run(
        capsys, "predict", model, tmp_path / "no image.tif", "--output", tmp_path / "o", *CPU
    )
    assert outcome.out == "0 of 1 predicted.\n"


def test_the_second_of_two_inputs_of_one_name_is_refused(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    shutil.copytree(images, tmp_path / "again")
    inputs = [images, tmp_path / "again"]
    outcome = run(capsys, "predict", model, *inputs, "--output", tmp_path / "o", *CPU)
    assert outcome.code == 1
    assert f"would have the name of that of {tmp_path / 'again' / 'one.tif'}" in outcome.err
    assert "2 of 4 predicted" in outcome.out


def test_an_output_that_is_a_file_is_refused(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "o").write_text("")
    outcome = run(capsys, "predict", model, images, "--output", tmp_path / "o", *CPU)
    assert outcome.code == 1
    assert f"Cannot write to {tmp_path / 'o'}" in outcome.error_line


def test_a_missing_image_is_named(capsys: Capture, model: Path, tmp_path: Path) -> None:
    outcome = run(capsys, "predict", model, tmp_path / "gone.tif", "--output", tmp_path / "o")
    assert outcome.code == 1
    assert f"There is no file or folder {tmp_path / 'gone.tif'}" in outcome.error_line


def test_a_folder_without_images_is_named(capsys: Capture, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = run(capsys, "predict", model, tmp_path / "empty", "--output", tmp_path / "o")
    assert outcome.code == 1
    assert "holds no image" in outcome.error_line


# --- what is wrong with the model --------------------------------------------------------------


def test_a_missing_model_is_named(capsys: Capture, images: Path, tmp_path: Path) -> None:
    outcome = run(capsys, "predict", tmp_path / "gone", images, "--output", tmp_path / "o")
    assert outcome.code == 1
    assert f"There is no model file {tmp_path / 'gone'}" in outcome.error_line


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_model_is_named(
    capsys: Capture, model: Path, images: Path, tmp_path: Path, share: float
) -> None:
    content = model.read_bytes()
    (tmp_path / "half.safetensors").write_bytes(content[: int(share * len(content))])
    outcome = run(
        capsys, "predict", tmp_path / "half.safetensors", images, "--output", tmp_path / "o"
    )
    assert outcome.code == 1
    assert "half.safetensors is not a complete model file" in outcome.error_line


def test_a_model_that_is_text_is_refused(capsys: Capture, images: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_text("import os; os.remove('everything')")
    outcome = run(capsys, "predict", tmp_path / "m.pt", images, "--output", tmp_path / "o")
    assert outcome.code == 1
    assert "m.pt is not a complete model file" in outcome.error_line


def test_a_model_of_another_program_is_refused(
    capsys: Capture, images: Path, tmp_path: Path
) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "m.safetensors")
    outcome = run(capsys, "predict", tmp_path / "m.safetensors", images, "--output", tmp_path / "o")
    assert outcome.code == 1
    assert "was not written by napari-unet-paint" in outcome.error_line


def test_a_training_state_is_no_model(
    capsys: Capture, model: Path, images: Path, tmp_path: Path
) -> None:
    state = model.with_name(f"{model.stem}.state.safetensors")
    outcome = run(capsys, "predict", state, images, "--output", tmp_path / "o")
    assert outcome.code == 1
    assert state.name in outcome.error_line


# --- the bar -----------------------------------------------------------------------------------


def test_the_bar_shows_each_block_whose_objects_are_separated(
    capsys: Capture, tmp_path: Path
) -> None:
    with PredictionBar(quiet=False) as bar:
        bar.show(FileStarted(1, tmp_path / "large.zarr"))
        bar.show(PredictionStarted("CPU", 2, (9, 9), "objects"))
        bar.show(PredictionProgress(1, 2))
        bar.show(PredictionProgress(2, 2))
        for block in (1, 2, 3):
            capsys.readouterr()
            bar.show(PredictionProgress(2, 2, block, 3))
            assert f"objects: block {block} of 3" in capsys.readouterr().err
        bar.show(PredictionProgress(2, 2))
        assert "objects" not in capsys.readouterr().err
