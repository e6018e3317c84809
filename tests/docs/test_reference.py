"""The reference names all that others may rely on, and says what goes in and comes out."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import napari_unet as nu
from napari_unet import errors
from napari_unet.cli.main import build_parser
from napari_unet.evaluation.scores import EvaluateConfig
from napari_unet.export.config import ExportConfig
from napari_unet.io.annotations.formats import ConvertConfig
from napari_unet.objects.linking import LinkConfig
from napari_unet.prediction.config import PredictConfig
from napari_unet.settings import declared
from napari_unet.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
NAMES = [name for name in nu.__all__ if not name.startswith("__")]
FUNCTIONS = [
    *(nu.train, nu.denoise, nu.load_model, nu.starting_model, nu.evaluate, nu.error_map, nu.link),
    *(nu.border_weight_map, nu.TrainedModel.predict, nu.TrainedModel.predict_to_zarr),
    *(nu.TrainedModel.save, TrainConfig.preset),
]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes parts of the reference from the code."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import reference_pages

    yield reference_pages
    del sys.modules["reference_pages"]


def shown() -> Iterator[str]:
    """Return the names of what the page takes from the code."""
    return (line.rpartition(".")[2] for line in re.findall(r"^::: (\S+)$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_is_on_the_page(name: str) -> None:
    assert name in shown()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: str(function.__qualname__))
def test_a_public_function_says_what_goes_in_what_comes_out_and_what_it_raises(
    function: Any,
) -> None:
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    for name in signature.parameters:
        if name not in ("self", "cls"):
            assert re.search(
                rf"^(?:[\w, *]*, )?\*{{0,2}}{name}(?:, [\w, ]+)?(?: :|$)", text, re.M
            ), name
    assert "Raises\n------" in text
    if signature.return_annotation not in ("None", "TrainConfig"):
        assert "Returns\n-------" in text


@pytest.mark.parametrize(
    ("config", "function"),
    [
        (PredictConfig, nu.TrainedModel.predict),
        (ExportConfig, nu.export_model),
        (EvaluateConfig, nu.evaluate),
        (LinkConfig, nu.link),
    ],
    ids=["prediction", "export", "evaluation", "linking"],
)
def test_the_keywords_are_the_declared_settings_with_their_defaults(
    config: type, function: Any
) -> None:
    keywords = inspect.signature(function).parameters
    given = {name: keywords[name].default for name in declared(config)}
    if "pixel_size" in given:  # None instead of a dictionary that calls would share
        assert given["pixel_size"] is None
        given["pixel_size"] = {}
    assert given == {name: setting.default for name, setting in declared(config).items()}
    others = {"self", "model", "path", "image", "on_event", "predictions", "truth", "labels"}
    others |= {"axes"} - set(declared(config))  # of the labels: no setting of linking
    others |= {"must_link", "cannot_link", "painted"}  # what is known of these labels
    assert set(keywords) - others == set(declared(config)) - others


def test_the_settings_of_a_conversion_are_keywords_of_reading_or_writing() -> None:
    reading = inspect.signature(nu.read_annotations).parameters
    writing = inspect.signature(nu.write_objects).parameters
    for name, setting in declared(ConvertConfig).items():
        given = [each[name].default for each in (reading, writing) if name in each]
        assert bool(given) == ("Python" not in setting.lacks)
        usual = None if name == "pixel_size" else setting.default
        assert all(default == usual for default in given)


def test_the_page_of_settings_is_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import make_settings_reference as reference

    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), (
        "run scripts/make_settings_reference.py"
    )


def test_the_page_of_settings_has_what_else_a_training_can_be_told() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\|[^|`]+\| `(\w+)`[^|]*\|", page, re.MULTILINE))
    keywords = set(inspect.signature(nu.train).parameters)
    given = {"images", "labels", "config", "on_event", "axes", "pixel_size"}
    assert keywords - given <= told


@pytest.mark.parametrize(
    ("command", "config"),
    [
        ("predict", PredictConfig),
        ("export", ExportConfig),
        ("evaluate", EvaluateConfig),
        ("link", LinkConfig),
        ("convert", ConvertConfig),
    ],
)
def test_each_setting_has_its_flag(command: str, config: type) -> None:
    commands: Any = next(a for a in build_parser()._actions if a.dest == "command").choices
    flags = commands[command]._option_string_actions
    for setting in declared(config).values():
        assert (setting.flag in flags) == ("command line" not in setting.lacks)


@pytest.mark.parametrize("config", [PredictConfig, EvaluateConfig, LinkConfig, ConvertConfig])
def test_each_setting_has_its_control_in_a_dock(config: type) -> None:
    dock = (ROOT / "docs" / "reference" / "widgets.md").read_text(encoding="utf-8")
    for setting in declared(config).values():
        labels = [] if "window" in setting.lacks else setting.label.split(", ")
        assert all(f"\n| {label} | " in dock for label in labels)


def test_each_error_says_what_it_is() -> None:
    classes = [each for each in vars(errors).values() if inspect.isclass(each)]
    ours = [each for each in classes if each.__module__ == errors.__name__]
    assert ours
    assert all(inspect.getdoc(each) for each in ours)


def test_the_page_of_the_commands_lists_each_option(pages: Any) -> None:
    text = pages.command_line()
    commands = next(a for a in build_parser()._actions if a.dest == "command").choices
    assert commands
    for name, command in dict(commands).items():
        assert f"## napari-unet {name}\n" in text
        for option in command._option_string_actions:
            assert option in ("-h", "--help") or f"`{option}" in text


def test_the_table_of_settings_has_each_with_the_values_of_the_presets(pages: Any) -> None:
    table = pages.settings()
    row = next(line for line in table.splitlines() if line.startswith("| `base_channels`"))
    assert row.endswith("| `16` | accurate: `24`, paper: `64` |")
    assert all(f"| `{name}` |" in table for name in TrainConfig.__dataclass_fields__)


@pytest.mark.parametrize("page", ["command-line", "python"])
def test_a_page_has_the_mark_in_whose_place_the_code_writes(page: str) -> None:
    hooks = (ROOT / "scripts" / "docs_hooks.py").read_text(encoding="utf-8")
    text = (ROOT / "docs" / "reference" / f"{page}.md").read_text(encoding="utf-8")
    assert any(mark in text for mark in re.findall(r"<!-- every \w+ -->", hooks))
