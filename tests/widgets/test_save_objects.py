"""Save objects…: predictions go to Fiji, QuPath and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Labels, Tracks
from qtpy.QtWidgets import QFileDialog

from napari_unet.io.annotations.formats import FORMATS
from napari_unet.io.annotations.reading import read_annotations
from napari_unet.widgets.common.annotation import annotation_of, new_annotation
from napari_unet.widgets.common.layers import METADATA_KEY
from napari_unet.widgets.common.result_layer import Predicted
from napari_unet.widgets.common.session import session_of
from napari_unet.widgets.predict import save_objects

from .conftest import Desk


def objects() -> Any:
    labels = np.zeros((96, 96), np.int32)
    labels[5:20, 5:20], labels[30:50, 40:60] = 1, 2
    return labels


def add_prediction(desk: Desk, labels: Any, kind: str = "objects", **more: Any) -> Labels:
    predicted = Predicted(labels.copy(), 2, kind)
    predicted.image = desk.image
    layer = Labels(labels, name="cells", metadata={METADATA_KEY: predicted}, **more)
    desk.viewer.add_layer(layer)
    return layer


def save(desk: Desk, path: Path, to: Any) -> None:
    desk.predict.measure.save_button.save(path, to)
    desk.wait_until_idle()


@pytest.mark.parametrize(
    ("to", "suffix"),
    [("labels", ".tif"), ("roi", ".zip"), ("geojson", ".geojson"), ("coco", ".json")],
)
def test_the_newest_prediction_is_saved(to: str, suffix: str, desk: Desk, tmp_path: Path) -> None:
    add_prediction(desk, objects())
    save(desk, tmp_path / "objects", to)
    found = read_annotations(tmp_path / f"objects{suffix}", (96, 96))
    np.testing.assert_array_equal(found.labels, objects())
    assert desk.last_notice == f"Wrote {tmp_path / f'objects{suffix}'}."


def test_tables_hold_intensities(desk: Desk, tmp_path: Path) -> None:
    add_prediction(desk, objects(), scale=(0.5, 0.5), units=("um", "um"))
    save(desk, tmp_path / "objects.csv", "csv")
    header = (tmp_path / "objects.csv").read_text().splitlines()[0]
    assert "mean intensity" in header
    assert "area (µm²)" in header


def test_tiff_keeps_the_pixel_size(desk: Desk, tmp_path: Path) -> None:
    add_prediction(desk, objects(), scale=(0.5, 0.25), units=("um", "um"))
    save(desk, tmp_path / "objects.tif", "labels")
    with tifffile.TiffFile(tmp_path / "objects.tif") as file:
        assert file.is_ome
        assert 'PhysicalSizeX="0.25"' in str(file.ome_metadata)


def test_classes_go_out_with_names_and_colours(desk: Desk, tmp_path: Path) -> None:
    painted = new_annotation(desk.viewer, desk.image, "classes")
    annotation_of(painted).names[2] = "nucleus"
    session_of(desk.viewer).choose_annotation(desk.image, painted)
    add_prediction(desk, objects(), "classes")
    desk.viewer.layers.selection.active = desk.viewer.layers["cells"]
    save(desk, tmp_path / "q.geojson", "geojson")
    first, second = json.loads((tmp_path / "q.geojson").read_text())["features"]
    assert second["properties"]["classification"]["name"] == "nucleus"
    assert len(first["properties"]["classification"]["color"]) == 3


@pytest.mark.parametrize(
    ("kind", "numbers"), [("objects", [0, 0, 1, 2]), ("classes", [0, 0, 2, 3])]
)
def test_the_background_of_paint_is_no_object(
    kind: Any, numbers: list[int], desk: Desk, tmp_path: Path
) -> None:
    painted = new_annotation(desk.viewer, desk.image, kind)
    painted.data = np.where(objects() > 0, objects() + 1, 0)
    painted.data[60:, :] = 1
    desk.viewer.layers.selection.active = painted
    save(desk, tmp_path / "cells.tif", "labels")
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "cells.tif"), np.array(numbers)[painted.data]
    )


def test_file_save_leaves_the_background_of_paint_out_and_says_so(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(save_objects, "current_viewer", lambda: desk.viewer)
    painted = new_annotation(desk.viewer, desk.image)
    painted.data = np.where(objects() > 0, objects() + 1, 0)
    painted.data[60:, :] = 1
    data, attributes, _ = painted.as_layer_data_tuple()
    save_objects.write_layer(str(tmp_path / "cells.zip"), data, attributes)
    found = read_annotations(tmp_path / "cells.zip", (96, 96))
    np.testing.assert_array_equal(found.labels, objects())
    assert desk.last_notice == "This layer is painted in: its number 1 is background, and left out."


def test_file_save_measures_in_the_units_of_any_layer(desk: Desk, tmp_path: Path) -> None:
    layer = Labels(objects(), scale=(0.5, 0.5), units=("um", "um"))
    data, attributes, _ = layer.as_layer_data_tuple()
    save_objects.write_layer(str(tmp_path / "cells.csv"), data, attributes)
    assert "area (µm²)" in (tmp_path / "cells.csv").read_text().splitlines()[0]


def test_an_imported_annotation_goes_out_as_it_came(desk: Desk, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", objects())
    desk.annotate.import_button.take(tmp_path / "in.tif", "background")
    desk.wait_until_idle()
    desk.viewer.layers.selection.active = desk.viewer.layers["in as annotation"]
    save(desk, tmp_path / "out.zip", "roi")
    found = read_annotations(tmp_path / "out.zip", (96, 96))
    np.testing.assert_array_equal(found.labels, objects())


def test_linked_objects_go_out_with_their_mothers(desk: Desk, tmp_path: Path) -> None:
    frames = np.stack([np.where(objects() == 1, 1, 0), np.where(objects() == 2, 2, 0)])
    desk.viewer.add_layer(Labels(frames, name="cells linked"))
    rows = np.array([[1, 0, 12, 12], [2, 1, 40, 50]], float)
    desk.viewer.add_layer(Tracks(rows, graph={2: [1]}, name="cells tracks"))
    desk.viewer.layers.selection.active = desk.viewer.layers["cells linked"]
    save(desk, tmp_path / "01_RES", "ctc")
    assert (tmp_path / "01_RES" / "res_track.txt").read_text() == "1 0 0 0\n2 1 1 1\n"


def test_what_cannot_be_written_is_told(desk: Desk, tmp_path: Path) -> None:
    add_prediction(desk, objects())
    save(desk, tmp_path / "gone" / "cells.zip", "roi")
    assert "Choose another place" in desk.last_notice


def test_without_objects_it_says_so(desk: Desk, tmp_path: Path) -> None:
    save(desk, tmp_path / "cells.zip", "roi")
    assert "no objects to save yet" in desk.last_notice


def test_the_menu_offers_all_formats_and_asks_where(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_prediction(desk, objects())
    asked = []

    def ask(*arguments: Any) -> tuple[str, str]:
        asked.append(arguments[2:])
        return str(tmp_path / "cells"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    menu = desk.predict.measure.save_button.menu()
    assert menu is not None
    actions = menu.actions()
    assert len(actions) == len(FORMATS)
    actions[1].trigger()
    desk.wait_until_idle()
    assert asked == [("objects.zip", "ROIs for Fiji's ROI Manager (ZIP) (*.zip)")]
    assert (tmp_path / "cells.zip").exists()
