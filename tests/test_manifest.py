"""The manifest: valid, found once, and every name in it exists."""

from __future__ import annotations

import inspect
from importlib import import_module, metadata
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from npe2 import PluginManager, PluginManifest

import napari_unet

if TYPE_CHECKING:
    from npe2._pytest_plugin import TestPluginManager
    from npe2.manifest.contributions import CommandContribution, SampleDataGenerator

DISTRIBUTION = "napari-unet-paint"
TOP_LEVEL = Path(__file__).parents[1] / "napari.yaml"
PACKAGED = Path(str(files(napari_unet).joinpath("napari.yaml")))
MANIFEST = PluginManifest.from_file(TOP_LEVEL)
COMMANDS = MANIFEST.contributions.commands or []
SAMPLES = MANIFEST.contributions.sample_data or []


def test_name_is_the_distribution() -> None:
    assert MANIFEST.name == DISTRIBUTION
    assert metadata.metadata(DISTRIBUTION)["Name"] == DISTRIBUTION


def test_version_is_the_distribution_s() -> None:
    assert napari_unet.__version__ == metadata.version(DISTRIBUTION)


def test_entry_point_leads_to_the_packaged_manifest() -> None:
    found = [
        point
        for point in metadata.entry_points(group="napari.manifest")
        if point.name == DISTRIBUTION
    ]
    assert [point.value for point in found] == ["napari_unet:napari.yaml"]


def test_packaged_manifest_is_the_top_level_one() -> None:
    assert PACKAGED.read_bytes() == TOP_LEVEL.read_bytes()


def test_npe2_discovers_it() -> None:
    manager = PluginManager()
    manager.discover()
    discovered = manager.get_manifest(DISTRIBUTION)
    assert discovered.display_name == "U-Net Paint"
    assert {command.id for command in discovered.contributions.commands or []} == {
        command.id for command in COMMANDS
    }


def test_display_names() -> None:
    widgets = MANIFEST.contributions.widgets or []
    assert [widget.display_name for widget in widgets] == [
        "Paint & Segment",
        "Annotate",
        "Train",
        "Predict",
        "Models and projects",
        "Denoise",
        "Classify objects",
    ]
    assert [sample.display_name for sample in SAMPLES] == [
        "Cells in phase contrast 2D, with ten painted cells",
        "Nuclei 2D, with painted strokes",
        "Nuclei 3D, with full labels",
    ]


def test_categories_by_which_it_is_found() -> None:
    assert [str(each) for each in MANIFEST.categories] == [
        "Annotation",
        "Segmentation",
        "Measurement",
        "IO",
    ]


def test_everybody_may_find_it() -> None:
    assert MANIFEST.is_visible


def test_widgets_stand_in_the_menus() -> None:
    widgets = {widget.command for widget in MANIFEST.contributions.widgets or []}
    menus = {
        name: [command for item in items if (command := getattr(item, "command", "")) in widgets]
        for name, items in (MANIFEST.contributions.menus or {}).items()
    }
    assert {name: held for name, held in menus.items() if held} == {
        "napari/layers/annotate": ["napari-unet-paint.annotate"],
        "napari/layers/classify": ["napari-unet-paint.classify"],
        "napari/layers/filter": ["napari-unet-paint.denoise"],
        "napari/layers/segment": [
            "napari-unet-paint.segment",
            "napari-unet-paint.train",
            "napari-unet-paint.predict",
        ],
    }


def test_every_menu_holds_commands_and_submenus_that_are_there() -> None:
    known = {command.id for command in COMMANDS} | {
        each.id for each in MANIFEST.contributions.submenus or []
    }
    for items in (MANIFEST.contributions.menus or {}).values():
        assert {getattr(item, "command", "") or item.submenu for item in items} <= known


def test_the_icon_is_a_picture_in_the_package() -> None:
    assert isinstance(MANIFEST.icon, str)
    package, _, name = MANIFEST.icon.partition(":")
    picture = files(package).joinpath(name).read_text(encoding="utf-8")
    assert picture.startswith("<svg xmlns=")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.id)
def test_python_name_resolves(command: CommandContribution) -> None:
    assert command.python_name is not None
    module, _, name = command.python_name.partition(":")
    assert callable(getattr(import_module(module), name))


@pytest.mark.parametrize("name", ["AnnotateWidget", "TrainWidget", "PredictWidget"])
def test_widgets_take_napari_s_viewer(name: str) -> None:
    widget = getattr(import_module("napari_unet.widgets"), name)
    parameters = inspect.signature(widget).parameters
    assert "napari_viewer" in parameters or "viewer" in parameters


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key)
def test_sample_command_returns_layers(
    sample: SampleDataGenerator, npe2pm: TestPluginManager
) -> None:
    with npe2pm.tmp_plugin(manifest=MANIFEST):
        layers = sample.open(_registry=npe2pm.commands)
    assert [layer[2] for layer in layers if len(layer) == 3] == ["image", "labels"]
