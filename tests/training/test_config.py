"""The settings: documented, bounded, frozen."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict
from typing import Any, get_args

import pytest

from napari_unet.errors import ConfigError
from napari_unet.model.config import UNetConfig
from napari_unet.settings import Setting, declared
from napari_unet.training.config import PRESET_HELP, PresetName, TrainConfig, present_names

PRESETS: tuple[PresetName, ...] = get_args(PresetName)
SETTINGS = tuple(declared(TrainConfig).values())


def just_outside(setting: Setting) -> list[tuple[str, Any]]:
    """Values one beyond the bounds of a setting."""
    found = []
    kind = type(setting.default)
    if setting.minimum is not None:
        found.append((setting.name, kind(setting.minimum - 1)))
    if setting.maximum is not None:
        found.append((setting.name, kind(setting.maximum + 1)))
    if setting.choices:
        found.append((setting.name, "something else"))
    return found


OUTSIDE = [pair for setting in SETTINGS for pair in just_outside(setting)]
INCLUSIVE = [
    (setting.name, type(setting.default)(getattr(setting, end)))
    for setting in SETTINGS
    for end in ("minimum", "maximum")
    if getattr(setting, end) is not None and setting.name not in ("patch_size", "depth")
]


@pytest.mark.parametrize("binning", [0, 0.25, 0.33, 1, 1.75, 8])
def test_binning_enlarges_and_reduces(binning: float) -> None:
    assert TrainConfig(binning=binning).binning == binning


@pytest.mark.parametrize("binning", [0.1, 0.2499])
def test_an_image_is_enlarged_four_times_at_most(binning: float) -> None:
    with pytest.raises(ConfigError, match=rf"binning is {binning}; choose 0 .* or 0.25 to 8"):
        TrainConfig(binning=binning)


def test_the_defaults_are_the_preset_fast() -> None:
    assert TrainConfig.preset("fast") == TrainConfig()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid(name: PresetName) -> None:
    assert isinstance(TrainConfig.preset(name), TrainConfig)


def test_every_preset_has_help() -> None:
    assert set(PRESET_HELP) == set(PRESETS)
    assert all(text.endswith(".") for text in PRESET_HELP.values())


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_a_sentence_of_help(setting: Setting) -> None:
    text = setting.help
    assert len(text) > 10
    assert text.endswith(".")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_default_lies_within_its_own_bounds(setting: Setting) -> None:
    setting.check(setting.default)


@pytest.mark.parametrize("name", ["kind", "unpainted", "padding", "normalization", "optimiser"])
def test_the_choices_shown_are_those_of_the_type(name: str) -> None:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    for choice in setting.choices:
        size = 36 if choice == "valid" else 192
        changes: dict[str, Any] = {name: choice, "patch_size": size}
        assert getattr(TrainConfig(**changes), name) == choice


@pytest.mark.parametrize(("name", "value"), OUTSIDE, ids=[f"{n}={v}" for n, v in OUTSIDE])
def test_a_value_out_of_bounds_is_named_with_a_remedy(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**{name: value})
    text = str(caught.value)
    assert text.startswith(f"{name} is {value!r}")
    assert "choose" in text


@pytest.mark.parametrize(("name", "value"), INCLUSIVE, ids=[f"{n}={v}" for n, v in INCLUSIVE])
def test_the_bounds_themselves_are_allowed(name: str, value: Any) -> None:
    assert getattr(TrainConfig(**{name: value}), name) == value


@pytest.mark.parametrize("name", ["learning_rate", "minutes", "zoom", "border_sigma"])
def test_a_value_that_is_no_number_is_refused(name: str) -> None:
    changes: dict[str, Any] = {name: float("nan")}
    with pytest.raises(ConfigError, match=name):
        TrainConfig(**changes)


def test_minutes_without_end_are_refused() -> None:
    with pytest.raises(ConfigError, match="minutes is inf"):
        TrainConfig(minutes=float("inf"))


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"patch_size": 100}, r"patch_size is 100; .*choose 0 plus a multiple of 8"),
        ({"patch_size": 40, "depth": 4}, r"patch_size is 40; .*choose 0 plus a multiple of 16"),
        (
            {"patch_size": 384, "depth": 4, "padding": "valid"},
            r"patch_size is 384; .*choose 4 plus a multiple of 16",
        ),
    ],
    ids=["padded", "padded and deep", "unpadded"],
)
def test_a_patch_that_the_poolings_cannot_halve_is_refused(
    changes: dict[str, Any], advice: str
) -> None:
    with pytest.raises(ConfigError, match=advice):
        TrainConfig(**changes)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_an_unpadded_patch_is_four_longer_than_a_multiple_of_the_factor(depth: int) -> None:
    assert TrainConfig(depth=depth, padding="valid", patch_size=4 + 2**depth * 6).depth == depth


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        TrainConfig().steps = 7  # type: ignore[misc]


def test_a_changed_copy_leaves_the_original_alone() -> None:
    config = TrainConfig()
    assert (config.changed(steps=7).steps, config.steps) == (7, 600)


def test_a_changed_copy_is_checked_again() -> None:
    with pytest.raises(ConfigError, match="steps is 0"):
        TrainConfig().changed(steps=0)


@pytest.mark.parametrize(("bands", "maps"), [(1, 2), (3, 5)])
def test_the_paper_preset_builds_the_published_network(bands: int, maps: int) -> None:
    network = TrainConfig.preset("paper").network(bands, maps)
    assert network == UNetConfig.paper(bands, maps)


def test_the_paper_preset_cuts_the_published_tiles() -> None:
    config = TrainConfig.preset("paper")
    assert config.patch_size == 388
    assert config.patch_size + 2 * config.network(1, 2).halo == 572


def test_a_preset_takes_changes() -> None:
    config = TrainConfig.preset("accurate", steps=5)
    assert (config.steps, config.base_channels) == (5, 24)


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no preset 'best'; choose fast, accurate, paper, 3d"):
        TrainConfig.preset("best")  # type: ignore[arg-type]


def test_an_unknown_setting_of_a_preset_is_named() -> None:
    with pytest.raises(ConfigError, match="no setting 'epochs'"):
        TrainConfig.preset("fast", epochs=5)


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_json(name: PresetName) -> None:
    config = TrainConfig.preset(name)
    assert TrainConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(("patch", "block"), [(192, 96), (48, 32), (16, 32)])
def test_held_back_blocks_are_half_a_patch_but_not_tiny(patch: int, block: int) -> None:
    assert TrainConfig(patch_size=patch).validation_block() == block


@pytest.mark.parametrize(
    ("recorded", "read"),
    [("pretrained", "cells"), ("cells", "cells"), ("nuclei", "cells"), ("random", "random")],
)
def test_a_recorded_start_is_read_by_its_present_name(recorded: str, read: str) -> None:
    assert present_names({"start": recorded, "steps": 3}) == {"start": read, "steps": 3}


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("  ", ()), ("0", (0,)), ("2, 0", (2, 0)), ("0,2", (0, 2))]
)
def test_channels_are_written_as_numbers_with_commas(text: str, numbers: tuple[int, ...]) -> None:
    assert TrainConfig(channels=text).used_channels == numbers


@pytest.mark.parametrize("text", ["a", "-1", "0,,1", "0,", "1.5", "0,0", "0;1", "\u00b2"])
def test_channels_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"channels is .*as in 0,2"):
        TrainConfig(channels=text)


def test_flat_levels_to_be_chosen_from_the_voxel_size_are_none_without_one() -> None:
    assert TrainConfig.preset("3d", flat_levels=-1).network(1, 2).flat_levels == 0


def test_flat_levels_reach_the_network() -> None:
    assert TrainConfig.preset("3d", flat_levels=2).network(1, 2).flat_levels == 2


def test_more_flat_levels_than_poolings_are_refused() -> None:
    with pytest.raises(ConfigError, match="flat_levels is 4; with depth 2 choose -1 to 2"):
        TrainConfig.preset("3d", depth=2, flat_levels=4)


def test_a_2d_network_has_no_flat_levels_whatever_the_setting() -> None:
    assert TrainConfig(flat_levels=2).network(1, 2).flat_levels == 0


def test_a_window_reaches_the_network() -> None:
    assert TrainConfig(window=3).network(1, 2).input_bands == 3


def test_an_even_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="window is 2; choose an odd number"):
        TrainConfig(window=2)
